"""Clients that write, read, delete and list over plain HTTP, and remember what they were told.

All clients share the keys, so that their operations meet. The ETag says which write a read saw; every byte must be of that write.
"""

import asyncio
import hashlib
import itertools
import json
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from urllib.parse import quote

import aiohttp

from objstore.testing.history import ABSENT, History, Kind, Operation, Outcome

NOTE = "X-Object-Meta-Note"
TIMEOUT_S = 15.0
PAUSE_AFTER_FAILURE_S = 0.1
SIZES = (60, 4_000, 60_000, 300_000)
MIX: dict[Kind, float] = {"put": 0.35, "get": 0.3, "head": 0.05, "delete": 0.1, "post": 0.1, "list": 0.1}
PAGE_ROWS = 1000
RANGED = 0.3
"""The share of GETs that ask for a part."""


@dataclass(slots=True)
class Load:
    """`clients` clients on one container. `endpoints`: storage URLs of the same account; each operation takes one at random. The
    same `seed` gives the same operations in the same order to each client; what they meet is up to the cluster.
    """

    endpoints: Sequence[str]
    token: str
    container: str = "load"
    clients: int = 6
    keys: int = 20
    seed: int = 1
    sizes: Sequence[int] = SIZES
    history: History = field(default_factory=History)
    operations_max: int = 200_000
    _session: aiohttp.ClientSession | None = None
    _tasks: "list[asyncio.Task[None]]" = field(default_factory=list)
    _going: asyncio.Event = field(default_factory=asyncio.Event)
    _busy: int = 0
    _tags: dict[str, str] = field(default_factory=dict)
    """ETag -> tag of every body that was ever sent."""
    _numbers: "itertools.count[int]" = field(default_factory=itertools.count)

    async def start(self) -> None:
        """Make the container, start the clients. Raises aiohttp.ClientError, TimeoutError."""
        self._session = aiohttp.ClientSession(
            headers={"X-Auth-Token": self.token},
            timeout=aiohttp.ClientTimeout(total=TIMEOUT_S),
            # A connection for each request: on one that was kept open, aiohttp sends a request again when it was cut off, and what
            # could not be sent the second time may have arrived the first time.
            connector=aiohttp.TCPConnector(limit=0, force_close=True),
        )
        async with self._session.put(f"{self.endpoints[0]}/{self.container}") as answer:
            answer.raise_for_status()
        self._going.set()
        self._tasks = [asyncio.create_task(self._client(number)) for number in range(self.clients)]

    async def pause(self) -> None:
        """Begin nothing more; returns when all that was begun has ended."""
        self._going.clear()
        while self._busy:
            self._check()
            await asyncio.sleep(0.005)

    def resume(self) -> None:
        """Go on."""
        self._check()
        self._going.set()

    async def stop(self) -> None:
        """End the clients when their operations have ended, and close their connections."""
        try:
            await self.pause()
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            if self._session is not None:
                await self._session.close()

    def _check(self) -> None:
        """A client that ended has met a defect here: its error is the caller's."""
        for task in self._tasks:
            if task.done() and not task.cancelled():
                task.result()

    # --- clients -----------------------------------------------------------------------------------------------

    async def _client(self, client: int) -> None:
        rng = random.Random(f"{self.seed} {client}")  # noqa: S311 - a test's choice, not a secret
        kinds, weights = list(MIX), list(MIX.values())
        while len(self.history.operations) < self.operations_max:
            await self._going.wait()
            self._busy += 1
            try:
                known = await self.one(client, rng.choices(kinds, weights)[0], f"key {rng.randrange(self.keys):03d}", rng)
            finally:
                self._busy -= 1
            if not known:
                await asyncio.sleep(PAUSE_AFTER_FAILURE_S)

    async def one(self, client: int, kind: Kind, key: str, rng: random.Random) -> bool:
        """Make one operation, and keep what came of it; whether its outcome is known."""
        tag = f"{client}-{next(self._numbers)}-{rng.choice(self.sizes)}" if kind in ("put", "post", "delete") else ABSENT
        base = rng.choice(self.endpoints)
        operation = self.history.begin(client, kind, "" if kind == "list" else key, time.monotonic(), tag, tag)
        try:
            if kind == "list":
                await self._list(operation, base)
            else:
                first = rng.randrange(max(self.sizes))
                part = (first, first + rng.randrange(max(self.sizes)))
                await self._object(operation, base, part if kind == "get" and rng.random() < RANGED else None)
        except aiohttp.ClientConnectorError as error:
            operation.outcome, operation.what = "unsent", str(error)
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            operation.what = f"{operation.what} {type(error).__name__} {error}".strip()
        return operation.known

    async def read_all(self, client: int = -1) -> Operation:
        """Read every key, and the listing, for a last judgement. Returns the listing."""
        rng = random.Random(0)  # noqa: S311 - as above
        for number in range(self.keys):
            await self.one(client, "head", f"key {number:03d}", rng)
            await self.one(client, "get", f"key {number:03d}", rng)
        await self.one(client, "list", "", rng)
        return self.history.operations[-1]

    async def told(self) -> tuple[dict[str, int], tuple[int, int]]:
        """The container's listing as name -> size, and its own figures (objects, bytes). Raises aiohttp.ClientError."""
        assert self._session is not None
        rows = await self._rows(self.endpoints[0])
        async with self._session.head(f"{self.endpoints[0]}/{self.container}") as answer:
            answer.raise_for_status()
            told = int(answer.headers["X-Container-Object-Count"]), int(answer.headers["X-Container-Bytes-Used"])
        return {str(row["name"]): int(str(row["bytes"])) for row in rows}, told

    async def _object(self, operation: Operation, base: str, part: tuple[int, int] | None = None) -> None:
        assert self._session is not None
        kind, headers = operation.kind, {}
        body = body_of(operation.tag) if kind == "put" else None
        if kind in ("put", "post"):
            headers[NOTE] = operation.tag
        if body is not None:
            self._tags[hashlib.md5(body, usedforsecurity=False).hexdigest()] = operation.tag
        if part is not None:
            headers["Range"] = f"bytes={part[0]}-{part[1]}"
        url = f"{base}/{self.container}/{quote(operation.key)}"
        async with self._session.request(kind.upper(), url, data=body, headers=headers) as answer:
            operation.what = f"{answer.status} {answer.headers.get('X-Trans-Id', '')}"
            content = await answer.read()
            operation.ended_s = time.monotonic()
            if answer.status == 404:
                operation.outcome = "absent"
            elif answer.status // 100 == 2 or answer.status == 416:
                operation.outcome = "ok" if kind not in ("get", "head") else self._seen(operation, answer, content, part)

    def _seen(self, operation: Operation, answer: aiohttp.ClientResponse, content: bytes, part: tuple[int, int] | None) -> Outcome:
        """Which write a read saw, and whether all it says and holds is of that write."""
        tag = self._tags.get(answer.headers.get("ETag", "").strip('"'))
        if tag is None:
            return "unknown" if answer.status == 416 else "wrong"
        operation.tag, operation.note = tag, None if answer.status == 416 else answer.headers.get(NOTE, "")
        body = body_of(tag)
        if operation.kind == "head":
            return "ok" if answer.headers.get("Content-Length") == str(len(body)) else "wrong"
        first, last = part if part is not None else (0, len(body))
        expected = body[first : last + 1]
        return "ok" if content == expected or (answer.status == 416 and first >= len(body)) else "wrong"

    async def _list(self, operation: Operation, base: str) -> None:
        operation.names = tuple(str(row["name"]) for row in await self._rows(base, operation))
        operation.ended_s = time.monotonic()
        operation.outcome = "ok"

    async def _rows(self, base: str, operation: Operation | None = None) -> list[dict[str, object]]:
        """The whole listing, page by page. Raises aiohttp.ClientError for any answer but 200."""
        assert self._session is not None
        rows: list[dict[str, object]] = []
        while True:
            marker = quote(str(rows[-1]["name"])) if rows else ""
            url = f"{base}/{self.container}?format=json&limit={PAGE_ROWS}&marker={marker}"
            async with self._session.get(url) as answer:
                if operation is not None:
                    operation.what = f"{answer.status} {answer.headers.get('X-Trans-Id', '')}"
                answer.raise_for_status()
                page = json.loads(await answer.read())
            rows += page
            if len(page) < PAGE_ROWS:
                return rows


def body_of(tag: str) -> bytes:
    """The body that the write with this tag stores: as long as the tag's last part says, all of it following from the tag."""
    size = int(tag.rpartition("-")[2])
    line = f"{tag}\n".encode()
    return (line * (size // len(line) + 1))[:size]
