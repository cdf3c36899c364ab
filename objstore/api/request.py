"""A request as our handlers see it: names in lower case, values as text, the body as pieces. Only this module, `connection`
and `edge` know aiohttp.
"""

from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, unquote_to_bytes

from aiohttp.http_parser import RawRequestMessage
from aiohttp.streams import StreamReader

from objstore.api.utf8headers import BodyMalformed, NameCodec
from objstore.model.errors import BodyIncomplete, BodyTimeout, InvalidInput, TooLarge
from objstore.model.octets import text_of

if TYPE_CHECKING:
    from objstore.api.connection import Connection, Writer

QUERY_FIELDS_MAX = 100
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class BodyStalled(Exception):
    """The client sends too slowly; set on the payload by the connection's watch."""


class Request:
    """One request. `target` is as the client sent it (bytes ≥ 0x80 percent-encoded), `path` and `query_text` its two halves."""

    __slots__ = (
        "_payload", "_query", "body_wanted", "connection", "headers", "keep_alive", "method", "path", "payload_size",
        "query_text", "responded", "target", "txn", "upgrade", "user", "version", "waiting", "writer",
    )  # fmt: skip

    def __init__(
        self,
        message: RawRequestMessage,
        payload: StreamReader,
        connection: "Connection",
        writer: "Writer",
        codec: NameCodec,
    ) -> None:
        self._payload = payload
        self._query: dict[str, str] | None = None
        self.connection = connection
        self.writer = writer
        self.method = message.method
        self.version = message.version
        self.target = message.path
        self.path, _, self.query_text = message.path.partition("?")
        self.keep_alive = not message.should_close
        self.upgrade = message.upgrade
        self.body_wanted = False
        self.waiting = False
        self.responded = False
        self.txn = ""
        self.user = ""
        headers: dict[str, str] = {}
        for raw_name, raw_value in message.raw_headers:
            name = raw_name.lower().decode("latin-1")  # ASCII: the parser takes nothing else
            if name.startswith(codec.mark):
                name = text_of(codec.decode(name))
            value = raw_value.decode("ascii") if raw_value.isascii() else text_of(raw_value)
            headers[name] = f"{headers[name]},{value}" if name in headers else value
        self.headers: Mapping[str, str] = headers
        length = headers.get("content-length")
        self.payload_size = None if length is None else int(length)

    @property
    def chunked(self) -> bool:
        return "transfer-encoding" in self.headers

    @property
    def secure(self) -> bool:
        """Whether it came over TLS, as far as we or a proxy before us (`X-Forwarded-Proto`) know. Good for what the client is told
        of its own request, not for decisions: anybody can send the header.
        """
        transport = self.connection.transport
        encrypted = transport is not None and transport.get_extra_info("sslcontext") is not None
        return encrypted or self.headers.get("x-forwarded-proto", "").lower() == "https"

    @property
    def has_body(self) -> bool:
        """Whether any byte of a body is announced; a chunked one may still turn out empty."""
        return self.chunked or bool(self.payload_size)

    @property
    def query(self) -> dict[str, str]:
        """The query's fields, the first of each name. Raises InvalidInput when there are too many or one is no UTF-8."""
        if self._query is None:
            self._query = _parse_query(self.query_text) if self.query_text else {}
        return self._query

    @property
    def bytes_received(self) -> int:
        """Of the body, so far."""
        return self._payload.total_bytes

    @property
    def unread(self) -> bool:
        """Whether body bytes may still come."""
        return not self._payload.is_eof()

    @property
    def broken(self) -> bool:
        """Whether the body cannot be read to its end, so that no next request can follow it."""
        return self._payload.exception() is not None

    @property
    def awaits_continue(self) -> bool:
        """Whether the client holds its body back until we say 100 Continue."""
        return (
            "expect" in self.headers
            and self.headers["expect"].lower() == "100-continue"
            and self.version >= (1, 1)
            and not self.body_wanted
            and self.unread
            and not self._payload.total_bytes
        )

    def whole(self, size_max: int) -> bytes | None:
        """The body, where all of it is here already and it has at most `size_max` bytes: then `pieces` has nothing more of it."""
        size, payload = self.payload_size, self._payload
        if size is None or size > size_max or payload.total_bytes != size or not payload.is_eof() or self.broken:
            return None
        self.body_wanted = True
        return payload.read_nowait()

    async def pieces(self, piece_bytes: int, size_max: int) -> AsyncIterator[bytes]:
        """The body in pieces of at least `piece_bytes`, the last one aside. The first pull sends 100 Continue where it is due.

        Raises BodyIncomplete, BodyTimeout, TooLarge beyond `size_max`, InvalidInput for broken framing.
        """
        if self.awaits_continue:
            await self.writer.write(_CONTINUE)
        self.body_wanted = True
        payload, total = self._payload, 0
        while True:
            parts: list[bytes] = []
            gathered = 0
            while gathered < piece_bytes:
                part = await self._read(payload)
                if not part:
                    break
                parts.append(part)
                gathered += len(part)
                if payload.at_eof():
                    break
            total += gathered
            if total > size_max:
                raise TooLarge
            if gathered:
                yield parts[0] if len(parts) == 1 else b"".join(parts)
            if payload.at_eof() or gathered < piece_bytes:
                return

    async def _read(self, payload: StreamReader) -> bytes:
        self.waiting = True
        try:
            return await payload.readany()
        except BodyStalled:
            raise BodyTimeout from None
        except BodyMalformed:
            raise InvalidInput("Malformed body") from None
        except (OSError, RuntimeError):  # aiohttp: reset, or "Connection closed."
            raise BodyIncomplete from None
        finally:
            self.waiting = False

    async def read(self, size_max: int) -> bytes:
        """The whole body. Raises as `pieces`."""
        if self.payload_size is not None and self.payload_size > size_max:
            raise TooLarge
        return b"".join([piece async for piece in self.pieces(size_max + 1, size_max)])

    def strip_origin(self) -> None:
        """Turn an absolute target (RFC 9112 section 3.2.2) that names the host of the Host field into a path."""
        scheme, separator, rest = self.target.partition("://")
        host, slash, path = rest.partition("/")
        if separator and scheme.lower() in ("http", "https") and host.lower() == self.headers.get("host", "").lower():
            self.path, _, self.query_text = (slash + path or "/").partition("?")

    def stall(self) -> None:
        """Give up waiting for the body."""
        self._payload.set_exception(BodyStalled())

    def _cancel(self, exc: BaseException) -> None:
        """aiohttp: the connection is gone."""
        self._payload.set_exception(exc if isinstance(exc, OSError) else ConnectionResetError())


def _parse_query(text: str) -> dict[str, str]:
    try:
        fields = parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=QUERY_FIELDS_MAX)
    except ValueError:
        raise InvalidInput("Bad query string") from None
    query: dict[str, str] = {}
    for name, value in fields:
        query.setdefault(name, value)
    return query


def path_segments(path: str, count: int) -> list[str] | None:
    """The first `count` segments of a raw path that begins with a slash, percent-decoded exactly once; the last one keeps its
    slashes. As in Swift, `%2F` separates too, so that no account or container name can hold a slash. None when the bytes are no
    UTF-8 or hold a NUL.

    >>> path_segments("/v1/a/c%20d/o//../%2Fx", 4)
    ['v1', 'a', 'c d', 'o//..//x']
    """
    if "%" in path:
        try:
            path = unquote_to_bytes(path).decode()
        except UnicodeDecodeError:
            return None
    return None if "\0" in path else path[1:].split("/", count - 1)
