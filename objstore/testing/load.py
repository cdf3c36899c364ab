"""Clients that write, read, delete and list over plain HTTP, and remember what they were told.

All clients share the keys, so that their operations meet. The ETag says which write a read saw; every byte must be of that write.
"""

import asyncio
import hashlib
import itertools
import json
import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import quote, urlsplit

from objstore.testing.history import ABSENT, History, Kind, Operation, Outcome
from objstore.testing.rawhttp import Answer, Broken, Connection, NotSent

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
    _connections: dict[tuple[int, str], Connection] = field(default_factory=dict)
    _tasks: "list[asyncio.Task[None]]" = field(default_factory=list)
    _going: asyncio.Event = field(default_factory=asyncio.Event)
    _busy: int = 0
    _tags: dict[str, str] = field(default_factory=dict)
    """ETag -> tag of every body that was ever sent."""
    _numbers: "itertools.count[int]" = field(default_factory=itertools.count)

    async def start(self) -> None:
        """Make the container, start the clients. Raises NotSent, Broken, TimeoutError, ValueError."""
        answer = await self._ask(-1, self.endpoints[0], "PUT", "")
        if answer.status // 100 != 2:
            raise ValueError(f"the container cannot be made: {answer.words}")
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
            for connection in self._connections.values():
                connection.close()

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
        except NotSent as error:
            operation.outcome, operation.what = "unsent", str(error)
        except (Broken, TimeoutError) as error:
            operation.what = f"{type(error).__name__} {error}".strip()
        return operation.known

    async def read_all(self, client: int = -1) -> Operation:
        """Read every key, and the listing, for a last judgement, on new connections. Returns the listing."""
        for (owner, _), connection in self._connections.items():
            if owner == client:
                connection.close()
        rng = random.Random(0)  # noqa: S311 - as above
        for number in range(self.keys):
            await self.one(client, "head", f"key {number:03d}", rng)
            await self.one(client, "get", f"key {number:03d}", rng)
        await self.one(client, "list", "", rng)
        return self.history.operations[-1]

    async def told(self) -> tuple[dict[str, int], tuple[int, int]]:
        """The container's listing as name -> size, and its own figures (objects, bytes). Raises Broken and as a request."""
        rows, what = await self._rows(-1, self.endpoints[0])
        answer = await self._ask(-1, self.endpoints[0], "HEAD", "")
        if rows is None or answer.status != 204:
            raise Broken(f"listing: {what}; HEAD: {answer.words}")
        told = int(answer.headers["x-container-object-count"]), int(answer.headers["x-container-bytes-used"])
        return {str(row["name"]): int(str(row["bytes"])) for row in rows}, told

    async def _ask(
        self, client: int, base: str, method: str, path: str, headers: Mapping[str, str] | None = None, body: bytes = b""
    ) -> Answer:
        """One request below the container, on a connection of this client's own."""
        connection = self._connections.setdefault((client, base), Connection(base))
        target = f"{urlsplit(base).path}/{self.container}{path}"
        return await connection.request(method, target, {"X-Auth-Token": self.token, **(headers or {})}, body, timeout_s=TIMEOUT_S)

    async def _object(self, operation: Operation, base: str, part: tuple[int, int] | None = None) -> None:
        kind, headers = operation.kind, {}
        body = body_of(operation.tag) if kind == "put" else b""
        if kind in ("put", "post"):
            headers[NOTE] = operation.tag
        if kind == "put":
            self._tags[hashlib.md5(body, usedforsecurity=False).hexdigest()] = operation.tag
        if part is not None:
            headers["Range"] = f"bytes={part[0]}-{part[1]}"
        answer = await self._ask(operation.client, base, kind.upper(), f"/{quote(operation.key)}", headers, body)
        operation.ended_s, operation.what = time.monotonic(), answer.words
        if answer.status == 404:
            operation.outcome = "absent"
        elif answer.status // 100 == 2 or answer.status == 416:
            operation.outcome = "ok" if kind not in ("get", "head") else self._seen(operation, answer, part)

    def _seen(self, operation: Operation, answer: Answer, part: tuple[int, int] | None) -> Outcome:
        """Which write a read saw, and whether all it says and holds is of that write."""
        tag = self._tags.get(answer.headers.get("etag", "").strip('"'))
        if tag is None:
            return "unknown" if answer.status == 416 else "wrong"
        operation.tag, operation.note = tag, None if answer.status == 416 else answer.headers.get(NOTE.lower(), "")
        body = body_of(tag)
        if operation.kind == "head":
            return "ok" if answer.headers.get("content-length") == str(len(body)) else "wrong"
        first, last = part if part is not None else (0, len(body))
        return "ok" if answer.body == body[first : last + 1] or (answer.status == 416 and first >= len(body)) else "wrong"

    async def _list(self, operation: Operation, base: str) -> None:
        rows, operation.what = await self._rows(operation.client, base)
        operation.ended_s = time.monotonic()
        if rows is not None:
            operation.names = tuple(str(row["name"]) for row in rows)
            operation.outcome = "ok"

    async def _rows(self, client: int, base: str) -> tuple[list[dict[str, object]] | None, str]:
        """The whole listing, page by page, and the last answer in words; None when one of them was refused."""
        rows: list[dict[str, object]] = []
        while True:
            marker = quote(str(rows[-1]["name"])) if rows else ""
            answer = await self._ask(client, base, "GET", f"?format=json&limit={PAGE_ROWS}&marker={marker}")
            if answer.status != 200:
                return None, answer.words
            page = json.loads(answer.body)
            rows += page
            if len(page) < PAGE_ROWS:
                return rows, answer.words


def body_of(tag: str) -> bytes:
    """The body that the write with this tag stores: as long as the tag's last part says, all of it following from the tag."""
    size = int(tag.rpartition("-")[2])
    line = f"{tag}\n".encode()
    return (line * (size // len(line) + 1))[:size]
