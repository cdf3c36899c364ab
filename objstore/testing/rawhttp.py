"""A plain HTTP client that hides nothing: one request is sent once, or the caller hears that it could not be."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

HEAD_BYTES_MAX = 1 << 16


class NotSent(Exception):
    """Nobody listens there: nothing was sent."""


class Broken(Exception):
    """The connection ended, or what came is no answer: the request may have been carried out."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Header names are lower case. `body` is whole: as long as the head said."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def words(self) -> str:
        """Status and transaction."""
        return f"{self.status} {self.headers.get('x-trans-id', '')}".strip()


class Connection:
    """One connection to the server of `url`, made when it is needed and kept as long as it is good. Not for two tasks at once."""

    def __init__(self, url: str) -> None:
        where = urlsplit(url)
        self._host, self._port = where.hostname or "", where.port or 80
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def request(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes = b"", *, timeout_s: float = 30.0
    ) -> Answer:
        """Raises NotSent, Broken, TimeoutError."""
        try:
            async with asyncio.timeout(timeout_s):
                reader, writer = self._streams or await self._connect()
                lines = [f"{method} {target} HTTP/1.1", f"Host: {self._host}:{self._port}", f"Content-Length: {len(body)}"]
                lines += [f"{name}: {value}" for name, value in headers.items()]
                writer.write("\r\n".join([*lines, "", ""]).encode() + body)
                answer = await _answer(reader, has_body=method != "HEAD")
        except (OSError, EOFError, ValueError, asyncio.LimitOverrunError) as error:
            self.close()
            if isinstance(error, TimeoutError):
                raise
            raise Broken(f"{type(error).__name__} {error}") from error
        except BaseException:
            self.close()
            raise
        if answer.headers.get("connection", "").lower() == "close":
            self.close()
        return answer

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        try:
            self._streams = await asyncio.open_connection(self._host, self._port, limit=HEAD_BYTES_MAX)
        except OSError as error:
            raise NotSent(f"{self._host}:{self._port}: {error.strerror or error}") from error
        return self._streams

    def close(self) -> None:
        """The next request makes another one."""
        if self._streams is not None:
            self._streams[1].transport.abort()
            self._streams = None


async def _answer(reader: asyncio.StreamReader, *, has_body: bool) -> Answer:
    """Raises EOFError for an answer that ends too early, ValueError for one that makes no sense."""
    status, headers = 100, {}
    while status < 200:  # 100 Continue and its like come before the answer
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *fields = head.split("\r\n")[:-2]
        status = int(first.partition(" ")[2][:3])
        headers = {name.strip().lower(): value.strip() for name, _, value in (field.partition(":") for field in fields)}
    if not has_body or status in (204, 304):
        return Answer(status, headers, b"")
    if "content-length" not in headers:
        raise ValueError("an answer without a length")
    return Answer(status, headers, await reader.readexactly(int(headers["content-length"])))
