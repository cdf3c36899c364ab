"""A whole edge on a real socket over the store in memory, and raw bytes in and out of it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from memory_store import MemoryStore

from objstore.api.edge import Edge
from objstore.api.limits import EdgeLimits
from objstore.api.pages import Pages
from objstore.api.swift.api import SwiftApi
from objstore.api.swift.call import SwiftLimits
from objstore.api.swift.info import swift_info
from objstore.auth.tempauth import TempAuth, User
from objstore.auth.tokens import TokenSigner
from objstore.model.policy import Policies, Policy
from objstore.runtime.clock import SystemClock
from objstore.runtime.rng import SystemRng

USERS = [
    User("test", "tester", "testing", admin=True),
    User("test", "tester2", "testing2", admin=True),
    User("test", "tester3", "testing3"),
    User("test2", "tester2", "testing2", admin=True),
    User("test5", "tester5", "testing5", service=True),
    User("admin", "admin", "admin", reseller=True),
]
POLICIES = Policies([Policy(0, "gold", default=True, aliases=("au",)), Policy(1, "silver")])


@dataclass
class Answer:
    """One response, taken apart strictly."""

    status: int
    fields: list[tuple[str, str]]
    body: bytes

    def __getitem__(self, name: str) -> str:
        """The one field of this name."""
        found = [value for key, value in self.fields if key.lower() == name.lower()]
        assert len(found) == 1, (name, self.fields)
        return found[0]

    def __contains__(self, name: str) -> bool:
        return any(key.lower() == name.lower() for key, _ in self.fields)

    def names(self) -> set[str]:
        return {key for key, _ in self.fields}


@dataclass
class Counted:
    """The metrics of an edge."""

    requests: list[tuple[str, int, int, int]] = field(default_factory=list)

    def request(self, method: str, status: int, seconds: float, bytes_in: int, bytes_out: int) -> None:
        assert seconds >= 0
        self.requests.append((method, status, bytes_in, bytes_out))


class Wire:
    """A client connection of raw bytes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def answer(self, method: str = "GET") -> Answer:
        """The next response; a 100 Continue counts as one."""
        head = await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), 10)
        lines = head[:-4].split(b"\r\n")
        version, status, _ = lines[0].split(b" ", 2)
        assert version in (b"HTTP/1.1", b"HTTP/1.0"), lines[0]
        fields = []
        for line in lines[1:]:
            name, separator, value = line.partition(b": ")
            assert separator and b"\r" not in line and b"\n" not in line, line
            fields.append((name.decode("latin-1"), value.decode("latin-1")))
        answer = Answer(int(status), fields, b"")
        if method != "HEAD" and answer.status not in (100, 204, 304):
            answer.body = await self._body(answer)
        return answer

    async def _body(self, answer: Answer) -> bytes:
        if "Transfer-Encoding" not in answer:
            return await asyncio.wait_for(self.reader.readexactly(int(answer["Content-Length"])), 10)
        assert answer["Transfer-Encoding"] == "chunked" and "Content-Length" not in answer
        body = b""
        while True:
            size = int((await asyncio.wait_for(self.reader.readuntil(b"\r\n"), 10))[:-2], 16)
            body += (await self.reader.readexactly(size + 2))[:-2]
            if not size:
                return body

    async def closed(self, timeout_s: float = 10) -> bool:
        """Whether the server ends the connection, sending nothing more."""
        with suppress(ConnectionError):
            return await asyncio.wait_for(self.reader.read(1), timeout_s) == b""
        return True

    def close(self) -> None:
        self.writer.close()


def head(method: str, path: str, fields: dict[str, str | bytes] | None = None) -> bytes:
    """A request head."""
    lines = [f"{method} {path} HTTP/1.1".encode(), b"Host: localhost"]
    for name, value in (fields or {}).items():
        lines.append(name.encode() + b": " + (value if isinstance(value, bytes) else value.encode()))
    return b"\r\n".join(lines) + b"\r\n\r\n"


class Site:
    """The running edge."""

    def __init__(self, edge: Edge, store: MemoryStore, auth: TempAuth, port: int, metrics: Counted) -> None:
        self.edge = edge
        self.store = store
        self.auth = auth
        self.port = port
        self.metrics = metrics
        self.server: asyncio.Server | None = None

    def token(self, user: str = "test:tester", key: str = "testing") -> str:
        grant = self.auth.log_in(user, key)
        assert grant is not None
        return grant.token

    async def connect(self) -> Wire:
        return Wire(*await asyncio.open_connection("127.0.0.1", self.port, limit=1 << 20))

    async def pause(self) -> None:
        """Let the server take what was sent."""
        for _ in range(3):
            await asyncio.sleep(0)

    async def raw(self, data: bytes, method: str = "GET") -> Answer:
        """Send bytes on a new connection and read one response."""
        wire = await self.connect()
        wire.send(data)
        try:
            return await wire.answer(method)
        finally:
            wire.close()

    async def call(
        self,
        method: str,
        path: str,
        fields: dict[str, Any] | None = None,
        body: bytes | None = None,
        user: str | None = "test:tester",
        key: str = "testing",
    ) -> Answer:
        """One request as `user` (None: anonymous). `path` is below the account when it does not begin with a slash."""
        sent: dict[str, str | bytes] = {} if user is None else {"X-Auth-Token": self.token(user, key)}
        if body is not None:
            sent["Content-Length"] = str(len(body))
        sent |= fields or {}
        path = path if path.startswith("/") else f"/v1/AUTH_test/{path}" if path else "/v1/AUTH_test"
        return await self.raw(head(method, path, sent) + (body or b""), method)


@asynccontextmanager
async def running_site(limits: EdgeLimits | None = None, swift_limits: SwiftLimits | None = None) -> AsyncIterator[Site]:
    """An edge that listens, and is drained in the end."""
    clock, rng, metrics = SystemClock(), SystemRng(), Counted()
    edge_limits, api_limits = limits or EdgeLimits(), swift_limits or SwiftLimits()
    store = MemoryStore(clock, POLICIES)
    auth = TempAuth(USERS, TokenSigner(b"secret" * 6, clock, rng), rng)
    info = swift_info("0.1.0", POLICIES, api_limits, edge_limits)
    pages = Pages(auth, info, lambda: ("text/plain; version=0.0.4", b"up 1\n"), draining=lambda: edge.draining)
    edge = Edge(SwiftApi(store, auth, POLICIES, clock, rng, api_limits, edge_limits), pages, clock, rng, metrics, edge_limits)
    server = await asyncio.get_running_loop().create_server(edge.make_server(), "127.0.0.1", 0)
    site = Site(edge, store, auth, server.sockets[0].getsockname()[1], metrics)
    site.server = server
    watch = asyncio.create_task(edge.serve_clock())
    try:
        yield site
    finally:
        watch.cancel()
        server.close()
        await edge.drain(0.0)
