"""What runs on a file system whose power is cut: a cluster of three nodes under load, and the look at what a cut has left.

Everything is reported at once to whoever cuts, in lines on a pipe: what was asked for, what was acknowledged, what was seen.
"""

import asyncio
import hashlib
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from objstore.formats.messages import Address, DeleteObject, ListTable, Message, PutObject, Query, Stored
from objstore.model.conditions import NO_CONDITIONS
from objstore.model.errors import NodeError, ObjectNotFound, StoreError
from objstore.model.names import ObjectName
from objstore.model.rows import ObjectRow
from objstore.placement.places import Placement
from objstore.proxy.store import ClusterStore
from objstore.rpc.interface import Caller, CallsAsTasks, Dispatcher, Exchange, PeerUnavailable
from objstore.runtime.clock import HybridClock
from objstore.runtime.disk import RealDisk
from objstore.runtime.filesystem import RealFileSystem
from objstore.runtime.interface import Clock, CrashPoints
from objstore.runtime.knobs import Knobs
from objstore.tables.database import Database
from objstore.tables.device import TableDevice
from objstore.tables.place import Place
from tests.unit.objstore.proxy.cluster import ACCOUNT, OWNER, QUICK, Cluster, Node, get, put

CONTAINER = "cuts"
NODES = 3
MAJORITY = 2
WRITERS = 8
KEYS_OF_WRITER = 4
NEW_KEY_SHARE = 0.3
SIZES = (0, 50, 700, 3000, 3000, 9000, 30_000)
LARGE_BYTES = 150_000
LARGE_SHARE = 0.04
DELETE_SHARE = 0.15
LATE_S = 0.05

Say = Callable[..., None]


# --- the truth ---------------------------------------------------------------------------------------------------


@dataclass
class Known:
    """Of one key: the tag acknowledged or seen last (0: nothing yet), those asked for since, and whether its row is promised."""

    tag: int = 0
    since: list[int] = field(default_factory=list)
    listed: bool = False


Truth = dict[str, Known]


@dataclass(frozen=True)
class Write:
    """What a tag stands for."""

    deletes: bool
    body: bytes
    etag: str


def write_of(key: str, tag: int) -> Write:
    """The change with this tag: tags are unique, and say all of it."""
    rng = random.Random(tag)
    if rng.random() < DELETE_SHARE:
        return Write(True, b"", "")
    size = LARGE_BYTES if rng.random() < LARGE_SHARE else rng.choice(SIZES)
    text = f"{key} {tag} ".encode()
    body = (text * (size // len(text) + 1))[:size] if size else b""
    return Write(False, body, hashlib.md5(body).hexdigest())


def learn(truth: Truth, line: str) -> None:
    """Take in one line of a report: `asked`, `acked`, `seen`."""
    word, key, tag, *more = line.split(" ")
    known = truth.setdefault(key, Known())
    if word == "asked":
        known.since.append(int(tag))
    elif word in ("acked", "seen"):
        known.tag, known.since, known.listed = int(tag), [], more == ["listed"]


# --- settings -----------------------------------------------------------------------------------------------------


class FilesNotSynced(RealFileSystem):
    def sync(self, fd: int, directory: str | None) -> None:
        if directory is not None:
            super().sync(fd, directory)


class DirectoriesNotSynced(RealFileSystem):
    def sync(self, fd: int, directory: str | None) -> None:
        if directory is None:
            super().sync(fd, directory)


class NothingSyncedAtOnce(RealFileSystem):
    """The journal forgets what nobody has synced."""

    def sync_all(self) -> None:
        pass


class RowsNotSynced(TableDevice):
    """SQLite's synchronous=NORMAL: a commit leaves its write-ahead log to the kernel."""

    def require(self, place: Place, *, create: bool) -> Database | None:  # type: ignore[type-arg]
        database = super().require(place, create=create)
        if database is not None:
            database._writer.execute("PRAGMA synchronous=NORMAL")
        return database


class RowsElsewhere(TableDevice):
    """On a file system that is never cut: else the syncs of rows make the names of objects durable on their way."""

    def __init__(self, name: str, root: str, disk: RealDisk, clock: Clock, *, crash: CrashPoints) -> None:
        elsewhere = Path(root).parent.parent / "elsewhere" / Path(root).name
        elsewhere.mkdir(parents=True, exist_ok=True)
        other = RealDisk(name, RealFileSystem(str(elsewhere)), knobs=Knobs(reserve_bytes_min=1, reserve_percent=0.0))
        super().__init__(name, str(elsewhere), other, clock, crash=crash)


class OneIsEnough(CallsAsTasks):
    """A Caller that confirms small changes before two of three nodes have seen them: they follow."""

    def __init__(self, inner: Caller, honest: Address) -> None:
        self._inner = inner
        self._honest = honest
        self._late: set[asyncio.Task[None]] = set()

    async def call(self, address: Address, request: Message, *, timeout_s: float, txn: str = "") -> Message:
        if address == self._honest or not isinstance(request, PutObject | DeleteObject):
            return await self._inner.call(address, request, timeout_s=timeout_s, txn=txn)
        task = asyncio.create_task(self._follow(address, request, timeout_s))
        self._late.add(task)
        task.add_done_callback(self._late.discard)
        return Stored(True)

    async def _follow(self, address: Address, request: Message, timeout_s: float) -> None:
        await asyncio.sleep(LATE_S)
        try:
            await self._inner.call(address, request, timeout_s=timeout_s)
        except (NodeError, PeerUnavailable):
            pass

    async def open(self, address: Address, request: Message, *, timeout_s: float, txn: str = "") -> Exchange:
        return await self._inner.open(address, request, timeout_s=timeout_s, txn=txn)


FILE_SYSTEMS = {"files": FilesNotSynced, "directories": DirectoriesNotSynced, "settled": NothingSyncedAtOnce}
TABLE_DEVICES = {"files": RowsElsewhere, "directories": RowsElsewhere, "rows": RowsNotSynced}
SETTINGS = ("right", "direct", "files", "directories", "rows", "quorum", "settled")
"""`right`; `direct`: right too, without a journal; and what is set wrong in the controls."""
WITHOUT_JOURNAL = ("direct", "files", "directories", "rows")


class CutCluster(Cluster):
    """Three nodes on one file system."""

    def __init__(self, root: Path, setting: str) -> None:
        class OfSetting(Node):
            file_system = FILE_SYSTEMS.get(setting, RealFileSystem)
            table_device = TABLE_DEVICES.get(setting, TableDevice)
            journal = setting not in WITHOUT_JOURNAL

        self.node = OfSetting
        self.setting = setting
        super().__init__(root, NODES, NODES)

    def proxy(self) -> ClusterStore:
        dispatcher = Dispatcher()
        caller: Caller = self.network.client("proxy", dispatcher)
        if self.setting == "quorum":
            caller = OneIsEnough(caller, self.nodes[0].address)
        store = ClusterStore(self.rings, caller, self.clock, HybridClock(self.clock, 100), dispatcher, knobs=QUICK)
        self.stores.append(store)
        return store


# --- a life -------------------------------------------------------------------------------------------------------


async def live(root: Path, setting: str, truth: Truth, recent: set[str], seed: int, say: Say, *, load: bool) -> None:
    """Start on `root`, look at all rows and at the objects in `recent`, then change objects until the power goes (`load`), or
    stop.
    """
    cluster = CutCluster(root, setting)
    for node in cluster.nodes:
        await node.start()
    store = cluster.proxy()
    if await store.peek_container(ACCOUNT, CONTAINER) is None:
        await store.put_container(OWNER, ACCOUNT, CONTAINER, {})
    await Look(cluster, store, truth, recent, say).run()
    say("ready")
    if load:
        # Of directories that nobody syncs, the next sync of any file makes the names durable: only the last change is lost.
        writers = 1 if setting == "directories" else WRITERS
        await asyncio.gather(*(_writer(store, number, seed, say) for number in range(writers)))
    await cluster.stop()


async def _writer(store: ClusterStore, number: int, seed: int, say: Say) -> None:
    rng = random.Random(seed * WRITERS + number)
    counter = 0
    while True:
        counter += 1
        tag = (seed * WRITERS + number) * 10_000 + counter
        key = f"n{tag}" if rng.random() < NEW_KEY_SHARE else f"w{number}.{rng.randrange(KEYS_OF_WRITER)}"
        say("asked", key, tag)
        await _change(store, key, tag, say)


async def _change(store: ClusterStore, key: str, tag: int, say: Say) -> None:
    name, write = ObjectName(ACCOUNT, CONTAINER, key), write_of(key, tag)
    try:
        if write.deletes:
            try:
                await store.delete_object(OWNER, name, NO_CONDITIONS)
            except ObjectNotFound:  # a tombstone is written all the same
                pass
            say("acked", key, tag)
        else:
            result = await put(store, name, write.body)
            say("acked", key, tag, *(("listed",) if result.listed else ()))
    except StoreError:
        await asyncio.sleep(0.01)  # the power is gone, or a node hangs: not acknowledged


class Look:
    """What a cut has left, compared with the truth. Each problem is said as `lost-object`, `lost-row` or `wrong`."""

    def __init__(self, cluster: CutCluster, store: ClusterStore, truth: Truth, recent: set[str], say: Say) -> None:
        self._cluster = cluster
        self._store = store
        self._truth = truth
        self._recent = sorted(recent)
        self._say = say

    async def run(self) -> None:
        rows = await self._rows()
        for key, known in self._truth.items():
            if known.listed and not known.since and not self._is_listed(known.tag, key, rows.get(key)):
                self._say("lost-row", key, f"tag {known.tag} is listed as {rows.get(key)}; {await self._all_of(key)}")
        for key in self._recent:
            await self._check_copies(key, self._truth[key])
            await self._check_object(key, self._truth[key])
        for node in self._cluster.nodes:
            await node.run("object-updater")
        rows = await self._rows()
        for key, known in self._truth.items():
            if not known.since:
                self._check_row("wrong", key, known.tag, rows.get(key))
        for key in rows.keys() - self._truth.keys():
            self._say("wrong", key, "is listed, and was never asked for")

    async def _check_copies(self, key: str, known: Known) -> None:
        """What was acknowledged last is on a majority of the devices."""
        if known.since or not known.tag:
            return
        write = write_of(key, known.tag)
        held = await self._cluster.held(ObjectName(ACCOUNT, CONTAINER, key))
        good = sum((version is not None and version.deleted) if write.deletes else body == write.body for version, body in held)
        if good < MAJORITY:
            self._say("lost-object", key, f"tag {known.tag} is whole on {good} of {NODES} devices")

    async def _check_object(self, key: str, known: Known) -> None:
        """A reader sees it, or one of those asked for since; whatever was seen stays."""
        for newest in (False, True) if known.since else (False,):
            try:
                tag = await self._seen(key, known, newest)
            except (StoreError, NodeError) as error:
                self._say("lost-object", key, f"tag {known.tag} cannot be read: {error}")
                return
            if tag is None:
                held = await self._cluster.held(ObjectName(ACCOUNT, CONTAINER, key))
                devices = [(version.deleted, version.timestamp, body and body[:20]) if version else None for version, body in held]
                self._say("lost-object", key, f"tag {known.tag} reads as none of {[known.tag, *known.since]}: {devices}")
                return
            if tag != known.tag:
                known.tag, known.since = tag, [later for later in known.since if later > tag]
                self._report(key, known)
        if known.since:
            known.since = [later for later in known.since if later != known.tag and await self._anywhere(key, later)]
            self._report(key, known)

    def _report(self, key: str, known: Known) -> None:
        """What was seen stays; what was asked for since may still come."""
        self._say("seen", key, known.tag)
        for later in known.since:
            self._say("asked", key, later)

    async def _anywhere(self, key: str, tag: int) -> bool:
        """Whether any device holds what may be this change: a read does not ask one that is too slow."""
        write = write_of(key, tag)
        held = await self._cluster.held(ObjectName(ACCOUNT, CONTAINER, key))
        return any((version is not None and version.deleted) if write.deletes else body == write.body for version, body in held)

    async def _seen(self, key: str, known: Known, newest: bool) -> int | None:
        """Which tag a reader sees; None for none of those that it may."""
        try:
            body: bytes | None = await get(self._store, ObjectName(ACCOUNT, CONTAINER, key), newest=newest)
        except ObjectNotFound:
            body = None
        for tag in (known.tag, *reversed(known.since)):  # of an object that is not there nobody can tell which deletion it was
            write = write_of(key, tag) if tag else Write(True, b"", "")
            if body is None if write.deletes else body == write.body:
                return tag
        return None

    async def _all_of(self, key: str) -> str:
        """What every device holds of a key, and what every replica of the container lists."""
        held = await self._cluster.held(ObjectName(ACCOUNT, CONTAINER, key))
        objects = [(version.timestamp, version.deleted, version.size) if version else None for version, _ in held]
        table = Placement(self._cluster.rings).container(ACCOUNT, CONTAINER)
        listed = []
        for number, replica in enumerate(table.replicas):
            query = Query(1, end_marker=key + "\0", prefix=key)
            request = ListTable("container", replica.target, table.hash, table.name, query, raw_rows=True)
            page = await self._cluster.ask(number, request)
            listed.append([(row.timestamp, row.deleted, row.size) for row in page.rows])  # type: ignore[attr-defined]
        return f"objects {objects}, rows {listed}"

    @staticmethod
    def _is_listed(tag: int, key: str, row: ObjectRow | None) -> bool:
        write = write_of(key, tag) if tag else Write(True, b"", "")
        if write.deletes:
            return row is None
        return row is not None and (row.size, row.etag) == (len(write.body), write.etag)

    def _check_row(self, problem: str, key: str, tag: int, row: ObjectRow | None) -> None:
        write = write_of(key, tag) if tag else Write(True, b"", "")
        if write.deletes:
            if row is not None:
                self._say(problem, key, f"tag {tag} is deleted, and listed")
        elif row is None or (row.size, row.etag) != (len(write.body), write.etag):
            self._say(problem, key, f"tag {tag} is listed as {row}")

    async def _rows(self) -> dict[str, ObjectRow]:
        found: dict[str, ObjectRow] = {}
        marker = ""
        while True:
            listing = await self._store.list_container(OWNER, ACCOUNT, CONTAINER, Query(10_000, marker))
            page = [row for row in listing.rows if isinstance(row, ObjectRow)]
            found.update((row.name, row) for row in page)
            if not page:
                return found
            marker = page[-1].name
