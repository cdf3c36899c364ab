"""A few real object servers on real directories, wired by the in-process short cut, beside a container server of dictionaries."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

from objstore.formats.messages import (
    Address,
    CommitPut,
    DeleteObject,
    GetObject,
    IndexTarget,
    MergeObjectRows,
    Message,
    ObjectReply,
    OpenPut,
    PostObject,
    PutObject,
    ReadObject,
    Ready,
    Stored,
    Target,
)
from objstore.model.rows import ObjectRow, merge_object_rows
from objstore.model.timestamps import from_seconds
from objstore.model.version import Version
from objstore.object.files import Place, place_of
from objstore.object.pending import PendingLog
from objstore.object.server import ObjectServer
from objstore.rpc.interface import CallContext, Chunk, Dispatcher, Exchange, PeerUnavailable
from objstore.rpc.local import LocalFirst
from objstore.runtime.clock import SystemClock
from objstore.runtime.disk import RealDisk
from objstore.runtime.filesystem import RealFileSystem
from objstore.runtime.interface import Clock, CrashPoints
from objstore.runtime.journal import open_journal
from objstore.runtime.knobs import Knobs

NAME = "/acc/con/obj"
HASH = hashlib.md5(NAME.encode()).digest()
CONTAINER = Address("127.0.0.1", 7)
INDEX = IndexTarget("127.0.0.1", 7, "d9", 5, b"c" * 16)
NOW_S = 1_700_000_000.0
KNOBS = Knobs(reserve_bytes_min=1, reserve_percent=0.0, journal_segment_bytes_min=128 << 10, settle_s=0.05)


def at(second: float) -> int:
    """The timestamp `second` seconds after the rig's now (which stands still)."""
    return from_seconds(NOW_S + second, 7)


class StillClock(SystemClock):
    """Wall clock that stands still at NOW_S."""

    def now(self) -> float:
        return NOW_S


class Wire:
    """Caller to whoever is plugged in; `down` addresses do not answer."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._plugs: dict[Address, LocalFirst] = {}
        self.down: set[Address] = set()

    def plug(self, address: Address, dispatcher: Dispatcher) -> None:
        self._plugs[address] = LocalFirst({address}, dispatcher, self, clock=self._clock)

    def _find(self, address: Address) -> LocalFirst:
        if address in self.down or address not in self._plugs:
            raise PeerUnavailable(f"{address} is down")
        return self._plugs[address]

    async def call(self, address: Address, request: Message, *, timeout_s: float, txn: str = "") -> Message:
        return await self._find(address).call(address, request, timeout_s=timeout_s, txn=txn)

    async def open(self, address: Address, request: Message, *, timeout_s: float, txn: str = "") -> Exchange:
        return await self._find(address).open(address, request, timeout_s=timeout_s, txn=txn)


class Containers:
    """Merges rows as a container server does; counts calls. While `gate` is clear, calls hang."""

    def __init__(self) -> None:
        self.rows: dict[str, dict[str, ObjectRow]] = {}
        self.calls: list[int] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.dispatcher = Dispatcher()
        self.dispatcher.on(MergeObjectRows, self.merge)

    async def merge(self, request: Message, context: CallContext) -> Message:
        assert isinstance(request, MergeObjectRows)
        await self.gate.wait()
        self.calls.append(len(request.rows))
        rows = self.rows.setdefault(request.name, {})
        for row in request.rows:
            rows[row.name] = merge_object_rows(rows.get(row.name, row), row)
        return Ready()


class Node:
    """One object server with one device, `d1`, on a directory."""

    def __init__(
        self,
        root: Path,
        wire: Wire,
        address: Address,
        clock: Clock,
        points: CrashPoints | None = None,
        file_system: type[RealFileSystem] = RealFileSystem,
        journal: bool = True,
    ) -> None:
        root.mkdir(parents=True, exist_ok=True)
        self.root = root
        self.stopped = False
        self.address = address
        self.wire = wire
        self.fs = file_system(str(root))
        self.log = PendingLog(self.fs, points=points)
        opened = open_journal(self.fs, KNOBS, self.log) if journal else None
        self.disk = RealDisk("d1", self.fs, log_sink=self.log, journal=opened, knobs=KNOBS, crash=points)
        self.server = ObjectServer({"d1": self.disk}, {"d1": self.log}, wire, clock, points, container_wait_s=0.2)
        self.dispatcher = Dispatcher()
        self.server.register(self.dispatcher)
        wire.plug(address, self.dispatcher)

    async def stop(self) -> None:
        if not self.stopped:
            self.stopped = True
            await self.server.stop()
            await self.disk.close()

    @property
    def device(self):
        return self.server._devices["d1"]

    async def drained(self) -> None:
        """Wait until superseded files are unlinked: the committer does it when it has nothing better to do."""
        for _ in range(200):
            if len(self.files()) <= 1:
                return
            await asyncio.sleep(0.005)

    @property
    def place(self) -> Place:
        return place_of(0, 12, HASH)

    def files(self, suffix: str = "") -> list[Path]:
        """All object files, by name."""
        return sorted(p for p in self.root.glob("objects/*/*") if p.name.endswith(suffix))

    def data_file(self) -> Path:
        (found,) = self.files(".data")
        return found

    async def call(self, request: Message) -> Message:
        return await self.wire.call(self.address, request, timeout_s=5.0)

    async def put(self, body: bytes, second: float, *, name: str = NAME, hash_: bytes = HASH, **more: object) -> Stored:
        index = more.pop("index", INDEX)
        version = Version(name, at(second), size=len(body), etag=hashlib.md5(body).hexdigest(), **more)
        reply = await self.call(PutObject(TARGET, hash_, version, body, index))
        assert isinstance(reply, Stored)
        return reply

    async def post(self, second: float, user: dict[str, str], content_type: str | None = None) -> Stored:
        reply = await self.call(PostObject(TARGET, HASH, NAME, at(second), {"x-delete-at": "9"}, user, content_type, INDEX))
        assert isinstance(reply, Stored)
        return reply

    async def delete(self, second: float) -> Stored:
        reply = await self.call(DeleteObject(TARGET, HASH, NAME, at(second), INDEX))
        assert isinstance(reply, Stored)
        return reply

    async def get(
        self, start: int = 0, length: int = -1, *, inline_max: int = 65536, name: str = NAME, hash_: bytes = HASH
    ) -> ObjectReply:
        reply = await self.call(GetObject(TARGET, hash_, name, inline_max, start, length))
        assert isinstance(reply, ObjectReply)
        return reply

    async def open_put(self, body: bytes, size: int, piece: int = 1 << 20) -> Exchange:
        """A stream to which all of `body` was sent."""
        exchange = await self.wire.open(self.address, OpenPut(TARGET, HASH, NAME, size), timeout_s=5.0)
        assert isinstance(await exchange.receive(), Ready)
        for start in range(0, len(body), piece):
            await exchange.send_chunk(body[start : start + piece])
        return exchange

    async def put_large(self, body: bytes, second: float) -> Stored:
        exchange = await self.open_put(body, len(body))
        await exchange.send(CommitPut(large_version(body, second), INDEX))
        reply = await exchange.receive()
        assert isinstance(reply, Stored)
        await exchange.finish()
        return reply

    async def read(self, second: float, start: int, length: int) -> bytes:
        """The bytes of a ReadObject stream that ended cleanly."""
        exchange = await self.wire.open(self.address, ReadObject(TARGET, HASH, at(second), start, length), timeout_s=5.0)
        assert isinstance(await exchange.receive(), Ready)
        pieces = []
        while isinstance(piece := await exchange.receive(), Chunk):
            pieces.append(piece.data)
        await exchange.finish()
        return b"".join(pieces)


TARGET = Target("d1", 12)


def large_version(body: bytes, second: float) -> Version:
    return Version(NAME, at(second), size=len(body), etag=hashlib.md5(body).hexdigest(), content_type="a/b")


class Rig:
    """A container server and any number of object servers."""

    def __init__(self, tmp_path: Path) -> None:
        self._tmp_path = tmp_path
        self.clock = StillClock()
        self.wire = Wire(self.clock)
        self.containers = Containers()
        self.wire.plug(CONTAINER, self.containers.dispatcher)
        self.nodes: list[Node] = []

    async def node(
        self,
        directory: str = "one",
        points: CrashPoints | None = None,
        file_system: type[RealFileSystem] = RealFileSystem,
        journal: bool = True,
    ) -> Node:
        """Start a node; on the directory of a stopped one it is that node again."""
        address = Address("127.0.0.1", 100 + len(self.nodes))
        node = Node(self._tmp_path / directory, self.wire, address, self.clock, points, file_system, journal)
        self.nodes.append(node)
        await node.server.start()
        return node

    @property
    def rows(self) -> dict[str, ObjectRow]:
        return self.containers.rows.get("/acc/con", {})

    async def stop(self) -> None:
        for node in self.nodes:
            await node.stop()


async def make_rig(tmp_path: Path) -> AsyncIterator[Rig]:
    rig = Rig(tmp_path)
    yield rig
    await rig.stop()
