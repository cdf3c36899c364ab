"""A whole cluster in one process: real account, container and object servers on real directories, and proxies over them."""

import asyncio
from array import array
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec

from objstore.account.server import AccountServer
from objstore.container.server import ContainerServer
from objstore.container.store import OBJECT_ROWS
from objstore.formats.messages import Address, GetObject, IndexTarget, Message, ObjectReply, StatObject
from objstore.model.conditions import NO_CONDITIONS
from objstore.model.errors import Code, NodeError
from objstore.model.identity import Identity
from objstore.model.names import ObjectName
from objstore.model.policy import ONE_POLICY, Policies
from objstore.model.rows import ObjectRow
from objstore.model.version import Version
from objstore.object.pending import PendingLog
from objstore.object.replication import ReplicationSettings
from objstore.object.server import ObjectServer
from objstore.placement.places import ObjectPlace, Placement, Rings
from objstore.proxy.bodies import InMemory
from objstore.proxy.knobs import ProxyKnobs
from objstore.proxy.operations import Context, NewObject, PutResult, ReadRequest, Upload
from objstore.proxy.store import ClusterStore
from objstore.rpc.interface import CallContext, Dispatcher
from objstore.runtime.clock import HybridClock, SystemClock
from objstore.runtime.crashpoints import NoCrashPoints
from objstore.runtime.disk import RealDisk
from objstore.runtime.filesystem import RealFileSystem
from objstore.runtime.journal import open_journal
from objstore.runtime.knobs import Knobs
from objstore.tables.device import TableDevice
from objstore.tables.heldrows import Beside
from ring.device import Device
from ring.fileformat import RingTable
from ring.ring import Ring
from tests.unit.objstore.proxy.network import Network

OWNER = Context(Identity("test:tester", frozenset({"test", "test:tester"}), frozenset({"AUTH_test"})), "tx1")
OTHER = Context(Identity("test2:tester2", frozenset({"test2", "test2:tester2"}), frozenset({"AUTH_test2"})), "tx2")
ANYBODY = Context(Identity(), "tx3")
RESELLER = Context(Identity("admin:admin", frozenset({"admin"}), reseller=True), "tx4")
ACCOUNT = "AUTH_test"
QUICK = ProxyKnobs(node_timeout_s=1.0, straggler_grace_s=0.15, hedge_s=0.05, listing_hedge_s=0.1, stall_s=0.2, failing_min_s=0.2)

_DISK_KNOBS = Knobs(
    reserve_bytes_min=1, reserve_percent=0.0, reader_threads=1, journal_segment_bytes_min=256 << 10, settle_s=0.25
)  # fmt: skip


class Node:
    """One storage node with one device, `d1`."""

    file_system: type[RealFileSystem] = RealFileSystem
    table_device: type[TableDevice] = TableDevice
    journal: bool = False
    """Without one, a test waits for no sync but those of its own files."""

    def __init__(self, number: int, root: Path, network: Network, clock: SystemClock, rings: Rings) -> None:
        self.address = Address("127.0.0.1", 6000 + number)
        self.root = root
        fs = self.file_system(str(root))
        log = PendingLog(fs)
        journal = open_journal(fs, _DISK_KNOBS, log) if self.journal else None
        self.disk = RealDisk("d1", fs, log_sink=log, journal=journal, knobs=_DISK_KNOBS)
        self.tables = self.table_device("d1", str(root), self.disk, clock, crash=NoCrashPoints())
        self.dispatcher = Dispatcher()
        caller = network.client(f"node{number}", Dispatcher())
        self.account = AccountServer({"d1": self.tables}, caller, clock)
        self.container = ContainerServer({"d1": self.tables}, caller, clock)
        self.horizon = 0
        """Deletions below it may be forgotten."""
        replication = ReplicationSettings(Placement(rings), frozenset({self.address}), lambda: self.horizon, bytes(16))
        self.object = ObjectServer(
            *({"d1": self.disk}, {"d1": log}, caller, clock), container_wait_s=0.3, replication=replication, beside=self._beside
        )
        self.object._pusher._timeout_s = 0.5
        for server in (self.account, self.container, self.object):
            server.register(self.dispatcher)
        network.nodes[self.address] = self.dispatcher

    def _beside(self, _device: str, index: IndexTarget, container: str, row: ObjectRow, size: int) -> Beside | None:
        here = Address(index.ip, index.port) == self.address
        return self.container.beside(index, container, row, size) if here else None

    async def start(self) -> None:
        self.tables.start()
        await self.tables.rows.take_notes([OBJECT_ROWS])
        await self.object.start()

    async def run(self, daemon: str) -> dict[str, int]:
        """One pass."""
        workers = [*self.account.workers(), *self.container.workers(), *self.object.workers()]
        (worker,) = [worker for worker in workers if worker.name == daemon]
        return await worker.run_once()

    async def stop(self) -> None:
        await self.object.stop()
        await self.tables.stop()
        await self.disk.close()

    def data_files(self) -> list[Path]:
        return sorted(self.root.glob("objects/*/*.data"))


class Cluster:
    """`count` nodes; every partition's primaries are the first `replicas` of them, so the rest are handoffs. On directories that
    are there already it is the same cluster again.
    """

    node: type[Node] = Node
    clock_type: type[SystemClock] = SystemClock

    def __init__(self, root: Path, count: int, replicas: int, policies: Policies = ONE_POLICY, table_replicas: int = 0) -> None:
        self.clock = self.clock_type()
        self.network = Network(self.clock)
        self.policies = policies
        self.nodes = []
        ring = ring_of(count, range(replicas))
        tables = ring_of(count, range(table_replicas or replicas))
        self.rings = Rings(tables, tables, {policy.index: ring for policy in policies}, b"pre", b"suf")
        for number in range(count):
            directory = root / f"n{number}"
            directory.mkdir(exist_ok=True)
            self.nodes.append(self.node(number, directory, self.network, self.clock, self.rings))
        self.stores: list[ClusterStore] = []

    def store(self, knobs: ProxyKnobs = QUICK, clock: SystemClock | None = None) -> ClusterStore:
        """One more proxy."""
        dispatcher = Dispatcher()
        number = len(self.stores)
        client = self.network.client(f"proxy{number}", dispatcher)
        clock = clock or self.clock
        hlc = HybridClock(clock, 100 + number)
        store = ClusterStore(self.rings, client, clock, hlc, dispatcher, policies=self.policies, knobs=knobs)
        self.stores.append(store)
        return store

    def place(self, name: ObjectName, policy: int = 0) -> ObjectPlace:
        return Placement(self.rings).object(name, policy)

    async def ask(self, node: int, request: Message) -> Message:
        dispatcher = self.nodes[node].dispatcher
        peer = self.network.client("test", Dispatcher())._peer
        return await dispatcher.handlers[type(request)](request, CallContext("", self.clock.monotonic() + 5, peer))

    async def held(self, name: ObjectName, nodes: range | None = None) -> list[tuple[Version | None, bytes | None]]:
        """What each node holds of an object: version (a tombstone too) and bytes, in order. Of what is in quarantine, nothing."""
        place, found = self.place(name), []
        target = place.replicas[0].target
        for node in nodes or range(len(self.nodes)):
            try:
                files = await self.ask(node, StatObject(target, place.hash, place.name))
            except NodeError as error:
                if error.code is not Code.CORRUPT:
                    raise
                found.append((None, None))
                continue
            try:
                reply = await self.ask(node, GetObject(target, place.hash, place.name, 1 << 30))
                assert isinstance(reply, ObjectReply)
                found.append((reply.version, reply.body))
            except NodeError:
                found.append((files.version, None))  # type: ignore[attr-defined]
        return found

    def down(self, *numbers: int) -> None:
        for number in numbers:
            self.network.fault(self.nodes[number].address).down = True

    async def stop(self) -> None:
        self.network.heal()
        for store in self.stores:
            await store.stop()
        for node in self.nodes:
            await node.stop()


def ring_of(count: int, primaries: Sequence[int], part_power: int = 3) -> Ring:
    """Of `count` nodes, with these as the primaries of every partition but the last."""
    devices = tuple(Device(i, 1, i + 1, "127.0.0.1", 6000 + i, "d1", 100.0) for i in range(count))
    # The last partition gives every node a place in the ring; names that fall there are not used by the tests.
    rows = []
    for replica, node in enumerate(primaries):
        row = [node] * ((1 << part_power) - 1) + [count - 1 - replica]
        rows.append(array("H", row))
    return Ring(RingTable(devices, tuple(rows), 32 - part_power, 1))


@asynccontextmanager
async def running(
    root: Path, count: int = 4, replicas: int = 3, policies: Policies = ONE_POLICY, table_replicas: int = 0
) -> AsyncIterator[Cluster]:
    """`table_replicas` are those of accounts and containers, as many as of objects where not given."""
    cluster = Cluster(root, count, replicas, policies, table_replicas)
    for node in cluster.nodes:
        await node.start()
    try:
        yield cluster
    finally:
        await cluster.stop()


def named(cluster: Cluster, text: str, container: str = "c") -> ObjectName:
    """A name like `text` whose primaries are the first nodes."""
    for attempt in range(100):
        name = ObjectName(ACCOUNT, container, f"{text}{attempt or ''}")
        if cluster.place(name).replicas[0].address == cluster.nodes[0].address:
            return name
    raise AssertionError("no such name")


async def put(store: ClusterStore, name: ObjectName, body: bytes, ctx: Context = OWNER, **fields: object) -> PutResult:
    new: NewObject = msgspec.structs.replace(NewObject("text/plain"), **fields)  # type: ignore[arg-type]
    return await store.put_object(ctx, name, new, Upload(InMemory(body), len(body)), NO_CONDITIONS)


async def get(store: ClusterStore, name: ObjectName, ctx: Context = OWNER, **fields: object) -> bytes:
    read = await store.open_object(ctx, ReadRequest(name, NO_CONDITIONS, **fields))  # type: ignore[arg-type]
    try:
        span = read.spans[0] if read.spans else None
        return b"".join([piece async for piece in read.body(span)])
    finally:
        await read.close()


async def head(store: ClusterStore, name: ObjectName, ctx: Context = OWNER) -> Version:
    read = await store.open_object(ctx, ReadRequest(name, NO_CONDITIONS, head=True))
    await read.close()
    return read.version


async def damage(cluster: Cluster, name: ObjectName, *numbers: int, policy: int = 0) -> None:
    """Damage the copies of some nodes, and have them found; they do not ask for good ones by themselves."""
    place = cluster.place(name, policy)
    await asyncio.sleep(0.05)  # superseded files are removed behind the answer
    for number in numbers:
        node = cluster.nodes[number]
        (file,) = node.root.glob(f"objects*/*/{place.hash.hex()}.*.data")
        file.write_bytes(b"")
        node.object._devices["d1"].set_aside_listeners.clear()
        try:
            await cluster.ask(number, GetObject(place.replicas[0].target, place.hash, place.name))
            raise AssertionError("damage was not found")
        except NodeError as error:
            assert error.code is Code.CORRUPT and not file.exists()
