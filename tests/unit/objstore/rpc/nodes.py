"""Two real nodes on 127.0.0.1, and a wire between them that can be cut, flipped and slowed."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from objstore.formats.messages import Address, Message, RunDaemon
from objstore.rpc.client import RpcClient
from objstore.rpc.interface import Dispatcher
from objstore.rpc.sameuser import SameUser
from objstore.rpc.server import RpcServer
from objstore.runtime.clock import SystemClock
from objstore.runtime.knobs import Knobs
from objstore.runtime.rng import SystemRng
from objstore.runtime.unixsockets import bound_beside, connected_beside
from tests.contract.service import Service

SECRET = b"the secret of the cluster under test"
FINGERPRINT = b"fingerprint"


async def eventually(condition: Callable[[], bool]) -> None:
    for _ in range(300):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("never became true")


@dataclass
class Nodes:
    """Makes servers and clients, and closes them all."""

    servers: list[RpcServer] = field(default_factory=list)
    clients: list[RpcClient] = field(default_factory=list)
    relays: list["Relay"] = field(default_factory=list)

    async def server(
        self,
        dispatcher: Dispatcher,
        *,
        port: int = 0,
        secret: bytes = SECRET,
        fingerprint: bytes = FINGERPRINT,
        knobs: Knobs | None = None,
        same_user: SameUser | None = None,
        unix: bool = True,
    ) -> Address:
        server = RpcServer(dispatcher, secret, "server", fingerprint, SystemClock(), SystemRng(), knobs=knobs, same_user=same_user)
        await server.start("127.0.0.1", port, unix=unix)
        self.servers.append(server)
        return Address("127.0.0.1", server.ports[0])

    def client(self, *, secret: bytes = SECRET, fingerprint: bytes = FINGERPRINT, **options: Any) -> RpcClient:
        client = RpcClient(secret, "client", fingerprint, SystemClock(), SystemRng(), **options)
        self.clients.append(client)
        return client

    async def relay(self, to: Address, *, unix: bool = False) -> "Relay":
        relay = Relay(to, unix=unix)
        await relay.start()
        self.relays.append(relay)
        return relay

    async def close(self) -> None:
        for client in self.clients:
            await asyncio.wait_for(client.close(), 5)
        for relay in self.relays:
            relay.stop()
        for server in self.servers:
            await asyncio.wait_for(server.stop(0), 5)


class Relay:
    """A proxy: `change(direction, data)` may alter what passes; directions are "up" (to the server) and "down". It listens by TCP;
    with `unix` also beside that, and goes on by the Unix socket of the server then.
    """

    def __init__(self, to: Address, *, unix: bool = False) -> None:
        self._to = to
        self._unix = unix
        self._unix_server: asyncio.Server | None = None
        self.change: Callable[[str, bytes], bytes] = lambda direction, data: data
        self.piece_bytes = 1 << 16
        self.callers: list[str] = []
        self._server: asyncio.Server | None = None
        self._writers: list[asyncio.StreamWriter] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self.address = to

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.address = Address("127.0.0.1", self._server.sockets[0].getsockname()[1])
        if self._unix:
            self._unix_server = await asyncio.start_unix_server(self._serve_unix, sock=bound_beside(*self.address))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.callers.append(writer.get_extra_info("peername")[0])
        self._join(reader, writer, *await asyncio.open_connection(*self._to))

    async def _serve_unix(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.callers.append("unix")
        self._join(reader, writer, *await asyncio.open_unix_connection(sock=connected_beside(*self._to)))

    def _join(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        up_reader: asyncio.StreamReader,
        up_writer: asyncio.StreamWriter,
    ) -> None:
        self._writers += [writer, up_writer]
        for direction, source, sink in (("up", reader, up_writer), ("down", up_reader, writer)):
            task = asyncio.ensure_future(self._pump(direction, source, sink))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pump(self, direction: str, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        try:
            while data := await source.read(self.piece_bytes):
                data = self.change(direction, data)
                for start in range(0, len(data), self.piece_bytes):
                    sink.write(data[start : start + self.piece_bytes])
                    await sink.drain()
                    if self.piece_bytes < 100:
                        await asyncio.sleep(0)
        except OSError:
            pass
        sink.close()

    def cut(self) -> None:
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()

    def stop(self) -> None:
        self.cut()
        for task in self._tasks:
            task.cancel()
        for server in (self._server, self._unix_server):
            if server is not None:
                server.close()


@dataclass
class Pair:
    """A service, its server's address, and one client."""

    nodes: Nodes
    service: Service
    address: Address
    client: RpcClient

    @property
    def server(self) -> RpcServer:
        return self.nodes.servers[0]

    async def call(self, name: str, timeout_s: float = 5) -> Message:
        return await self.client.call(self.address, RunDaemon(name), timeout_s=timeout_s)


async def shown_the_door(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, noise: bytes) -> None:
    """Say what no node says, and see the connection end without a word."""
    writer.write(noise)
    try:
        assert await asyncio.wait_for(reader.read(1000), 2) == b""
    except ConnectionResetError:
        pass  # it closed before it had read everything
    writer.close()
