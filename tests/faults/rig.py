"""Object servers over file systems in memory, in one thread: each of their devices commits when the event loop turns, by the code
of the real disk, so a run repeats exactly.
"""

import asyncio
import contextlib
import hashlib
from collections.abc import Callable

from objstore.formats.filenames import FileKind
from objstore.formats.messages import Address, IndexTarget, MergeObjectRows, Message, Ready, Target
from objstore.model.rows import ObjectRow, merge_object_rows
from objstore.model.timestamps import from_seconds
from objstore.object.files import Place, place_of
from objstore.object.pending import PendingLog
from objstore.object.replication import ReplicationSettings
from objstore.object.server import ObjectServer
from objstore.rpc.interface import CallContext, CallsAsTasks, Dispatcher, Exchange, PeerUnavailable
from objstore.rpc.local import LocalFirst
from objstore.runtime.disk import RealDisk
from objstore.runtime.interface import Change, FileSystem
from objstore.runtime.journal import Journal, open_journal
from objstore.runtime.knobs import Knobs

NOW_S = 1_700_000_000.0
ACCOUNT_CONTAINER = "/acc/con"
CONTAINER = Address("127.0.0.1", 7)
NODE = Address("127.0.0.1", 100)
INDEX = IndexTarget("127.0.0.1", 7, "d9", 5, b"c" * 16)
KNOBS = Knobs(
    reserve_bytes_min=1, reserve_percent=0.0, journal_segment_bytes_min=16 << 10, journal_segment_bytes_max=32 << 10,
    journal_segments_max=3,
)  # fmt: skip


def at(second: float) -> int:
    """The timestamp `second` seconds after the rig's now (which stands still)."""
    return from_seconds(NOW_S + second, 7)


class StillClock:
    """The wall clock stands still; monotonic time passes when somebody sleeps."""

    def __init__(self) -> None:
        self.passed_s = 0.0

    def now(self) -> float:
        return NOW_S + 1000

    def monotonic(self) -> float:
        return self.passed_s

    async def sleep(self, delay_s: float) -> None:
        self.passed_s += delay_s
        await asyncio.sleep(0)


class InlineDisk(RealDisk):
    """RealDisk without threads: a group is what queued during one turn of the event loop. With a journal, there is a checkpoint
    after so many groups.
    """

    durable: Callable[[Change], None] = staticmethod(lambda _: None)
    """Told of each change once the disk promises it."""

    def _start(self) -> None:
        self._scheduled = False
        self._groups_per_checkpoint = 0

    def use(self, journal: Journal | None, groups_per_checkpoint: int) -> None:
        """From before the first change."""
        self._journal = self._committer._journal = journal
        self._groups_per_checkpoint = groups_per_checkpoint
        if journal is not None:
            journal.full = self.checkpoint

    async def commit(self, change: Change) -> None:
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._work)
        await super().commit(change)

    def _work(self) -> None:
        self._scheduled = False
        while not self._queue.empty():
            entries, _ = self._next_group()
            self._flush(entries)
            for entry in entries:
                if entry.outcome.error is None:
                    self.durable(entry.outcome.change)
        asyncio.get_running_loop().call_soon(self._drain)

    def _drain(self) -> None:
        while self._unlinks:
            self._unlink_one()
        if self._groups_per_checkpoint and not self.figures.groups % self._groups_per_checkpoint and self.failed is None:
            with contextlib.suppress(OSError):  # then the disk has failed
                self.checkpoint()

    async def run(self, fn):  # type: ignore[no-untyped-def]
        await asyncio.sleep(0)
        return fn()

    async def close(self) -> None:
        self._closing = True
        self._drain()
        if self.failed is None:
            with contextlib.suppress(OSError):
                self.checkpoint()


class Containers:
    """Merges rows as a container server does, durably."""

    def __init__(self) -> None:
        self.rows: dict[str, ObjectRow] = {}
        self.dispatcher = Dispatcher()
        self.dispatcher.on(MergeObjectRows, self.merge)

    async def merge(self, request: Message, _context: CallContext) -> Message:
        assert isinstance(request, MergeObjectRows) and request.name == ACCOUNT_CONTAINER
        for row in request.rows:
            known = self.rows.get(row.name)
            self.rows[row.name] = row if known is None else merge_object_rows(known, row)
        return Ready()


class Wire(CallsAsTasks):
    """Caller to whoever is plugged in; `down` addresses do not answer."""

    def __init__(self, clock: StillClock) -> None:
        self._clock = clock
        self._plugs: dict[Address, LocalFirst] = {}
        self.down: set[Address] = set()

    def plug(self, address: Address, dispatcher: Dispatcher) -> None:
        self._plugs[address] = LocalFirst({address}, dispatcher, self, self._clock)

    def _find(self, address: Address) -> LocalFirst:
        if address in self.down or address not in self._plugs:
            raise PeerUnavailable(f"{address} is down")
        return self._plugs[address]

    async def call(self, address: Address, request: Message, *, timeout_s: float, txn: str = "") -> Message:
        return await self._find(address).call(address, request, timeout_s=timeout_s, txn=txn)

    async def open(self, address: Address, request: Message, *, timeout_s: float, txn: str = "") -> Exchange:
        return await self._find(address).open(address, request, timeout_s=timeout_s, txn=txn)


class ObjectNode:
    """One object server with one device, `d1`, on a file system. Call `start` before use."""

    def __init__(
        self,
        fs: FileSystem,
        wire: Wire,
        clock: StillClock,
        address: Address = NODE,
        *,
        segment_bytes_max: int = 1 << 20,
        replication: ReplicationSettings | None = None,
        journal: int = 0,
    ) -> None:
        """`journal`: how many groups come between checkpoints; 0: there is no journal."""
        self._journal = journal
        self.fs = fs
        self.wire = wire
        self.address = address
        self.log = PendingLog(fs, segment_bytes_max=segment_bytes_max)
        self.disk = InlineDisk("d1", fs, log_sink=self.log, knobs=KNOBS)
        self.server = ObjectServer({"d1": self.disk}, {"d1": self.log}, wire, clock, container_wait_s=30.0, replication=replication)
        self.dispatcher = Dispatcher()
        self.server.register(self.dispatcher)
        wire.plug(address, self.dispatcher)

    async def start(self) -> None:
        if self._journal:
            self.disk.use(open_journal(self.fs, KNOBS, self.log), self._journal)
        await self.server.start()

    async def stop(self) -> None:
        await self.server.stop()
        await self.disk.close()

    async def call(self, request: Message) -> Message:
        return await self.wire.call(self.address, request, timeout_s=60.0)

    async def open(self, request: Message) -> Exchange:
        return await self.wire.open(self.address, request, timeout_s=60.0)

    @property
    def device(self):  # type: ignore[no-untyped-def]
        return self.server._devices["d1"]

    async def update(self) -> dict[str, int]:
        """One pass of the object-updater."""
        return await self.run("object-updater")

    async def run(self, daemon: str) -> dict[str, int]:
        """One pass of a background job."""
        (worker,) = (worker for worker in self.server.workers() if worker.name == daemon)
        return await worker.run_once()


class Subject:
    """An object of the tests: its name, and its place on every device."""

    def __init__(self, text: str, partition: int, hash_: bytes = b"") -> None:
        """`hash_` where rings give it."""
        self.row_name = text
        self.name = f"{ACCOUNT_CONTAINER}/{text}"
        self.hash = hash_ or hashlib.md5(self.name.encode()).digest()
        self.target = Target("d1", partition)
        self.place: Place = place_of(0, partition, self.hash)

    def path(self, timestamp: int, kind: FileKind) -> str:
        return self.place.path(timestamp, kind)
