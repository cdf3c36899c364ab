"""Power cuts at every boundary of what is no object's change: quarantine, a device's identity, the clock's floor, new databases."""

import sqlite3
from collections import deque
from collections.abc import Callable
from functools import partial

import pytest

from objstore.container.store import OBJECT_ROWS
from objstore.formats.filenames import FileKind, file_name
from objstore.formats.messages import IndexTarget, RestoreQuarantine, Target
from objstore.formats.pending import PendingUpdate, frame
from objstore.formats.quarantinerecord import QuarantineRecord
from objstore.model.errors import Code, NodeError
from objstore.model.rows import ObjectRow
from objstore.object.files import Place as ObjectPlace
from objstore.object.files import list_partition
from objstore.object.partitionindex import PartitionIndex
from objstore.object.pending import PendingLog
from objstore.object.quarantine import Quarantine
from objstore.runtime.crashpoints import NoCrashPoints
from objstore.runtime.device import IDENTITY_NAME, DeviceFloor, Identity, write_identity
from objstore.tables.device import TableDevice
from objstore.tables.place import Place
from objstore.tables.quarantine import COMPANIONS, set_aside
from tests.faults.crashfs import CrashFileSystem
from tests.faults.crashnodes import FileNode, Image, files_of
from tests.faults.crashstates import crash_images
from tests.faults.figures import Count
from tests.faults.ledger import ABSENT, Ledger, State, Truth, observed
from tests.faults.recorder import Recorder, World
from tests.faults.rig import KNOBS, InlineDisk, StillClock, at
from tests.faults.test_crash_states import report

Act = Callable[[CrashFileSystem, Callable[[], None]], None]
"""What is done; calls its second argument after each promise."""


def cut_everywhere(act: Act, check: Callable[[CrashFileSystem, int], None], image: Image = ()) -> tuple[int, int]:
    """Cut at each boundary of `act` on `image`; `check` each state with the number of promises so far, and asserts. Returns how
    many states and boundaries there were. What `check` does is cut as well.
    """
    seen: set[tuple[Image, int]] = set()
    queue: deque[tuple[Image, int]] = deque()
    promises = [0]
    boundaries = [0]

    def note(fs: CrashFileSystem, promised: Callable[[], int], _operation: str = "") -> None:
        boundaries[0] += 1
        for left in crash_images(fs):
            state = (left, promised())
            if state not in seen:
                seen.add(state)
                queue.append(state)

    def promise() -> None:
        promises[0] += 1

    fs = CrashFileSystem(image)
    fs.observer = partial(note, fs, lambda: promises[0])
    act(fs, promise)
    note(fs, lambda: promises[0])
    while queue:
        left, promised = queue.popleft()
        again = CrashFileSystem(left)
        again.observer = partial(note, again, lambda promised=promised: promised)
        check(again, promised)
    return len({left for left, _ in seen}), boundaries[0]


def count_states(count: Count, states: int, boundaries: int) -> None:
    count("crash states", **{"distinct states": states, "boundaries": boundaries})


def read(fs: CrashFileSystem, path: str) -> bytes:
    file = fs.open(path)
    return file.pread(file.size(), 0)


# --- objects in quarantine -------------------------------------------------------------------------------------


def quarantined_files(fs: CrashFileSystem, base: str) -> list[str]:
    return [path for path, _ in files_of(fs.image()) if path.startswith("quarantine/") and path.endswith("/" + base)]


async def test_a_damaged_file_is_in_its_place_or_in_quarantine(count: Count) -> None:
    path = ""

    async def setup(world: World) -> None:
        nonlocal path
        subject = world.subject("a")
        await world.client.put(subject, b"body", 1)
        path = subject.path(at(1), FileKind.DATA)
        node = world.fs.directory(subject.place.directory).entries[path.rpartition("/")[2]]
        assert isinstance(node, FileNode)
        node.data = b"bxdy"
        world.ledger.settle(subject, ABSENT)

    async def act(world: World) -> None:
        with pytest.raises(NodeError) as caught:
            await observed(world.node, world.ledger.subjects["a"])
        assert caught.value.code is Code.CORRUPT

    async def check(world: World, truth: Truth) -> list[str]:
        base = path.rpartition("/")[2]
        kept = {path, *quarantined_files(world.fs, base)}
        if not any(content.data == b"bxdy" for where, content in files_of(world.fs.image()) if where in kept):
            return ["the damaged file is lost"]
        for _ in range(2):
            try:
                return [f"reads as {await observed(world.node, world.ledger.subjects['a'])}"]
            except NodeError as error:
                assert error.code is Code.CORRUPT, "found just now or before: never said to be missing"
        entries = world.node.device.quarantine.entries()
        # Twice when both of its names came through the cut: nothing is deleted that cannot be told from evidence.
        if not entries or world.node.device.quarantined != len(entries) or {entry.path for entry in entries} != {path}:
            return [f"in quarantine: {entries}"]
        return []

    recorder = Recorder()
    await recorder.run(act, setup, check)
    report(recorder, count)


async def test_a_restored_file_is_in_its_place_or_in_quarantine(count: Count) -> None:
    async def setup(world: World) -> None:
        subject = world.subject("a")
        await world.client.put(subject, b"body", 1)
        Quarantine(world.fs, world.clock).move(subject.path(at(1), FileKind.DATA), "a mistake", subject.name)
        world.ledger.settle(subject, ABSENT)

    async def act(world: World) -> None:
        subject = world.ledger.subjects["a"]
        path = subject.path(at(1), FileKind.DATA)
        number = world.ledger.begin(subject, State(at(1), at(1), False, b"body", (), "a/b"), path)
        await world.node.server.restore_quarantine(RestoreQuarantine("d1", path.rpartition("/")[2]), None)
        world.ledger.promise(subject, number)

    async def check(world: World, truth: Truth) -> list[str]:
        (_, allowed), subject = truth[0], world.ledger.subjects["a"]
        entries = world.node.device.quarantine.entries()
        try:
            state = await observed(world.node, subject)
        except NodeError as error:
            assert error.code is Code.CORRUPT
            return [] if ABSENT in allowed and len(entries) == 1 else [f"not restored, in quarantine: {entries}"]
        return [] if state != ABSENT and state in allowed else [f"reads as {state}, in quarantine: {entries}"]

    recorder = Recorder()
    await recorder.run(act, setup, check)
    report(recorder, count)


# --- the pending log ---------------------------------------------------------------------------------------------


def test_a_group_of_rows_torn_by_a_power_cut_is_no_damage(count: Count, caplog: pytest.LogCaptureFixture) -> None:
    groups = [[frame(10 * number + i, row_update(10 * number + i)) for i in range(8)] for number in range(3)]

    def act(fs: CrashFileSystem, promise: Callable[[], None]) -> None:
        log = PendingLog(fs)
        for group in groups:
            log.append(group)
            promise()

    def check(fs: CrashFileSystem, promised: int) -> None:
        log = PendingLog(fs)
        assert log.recover() >= 8 * promised and log.damaged_bytes == 0

    count_states(count, *cut_everywhere(act, check))
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


def row_update(number: int) -> PendingUpdate:
    """As long as a sector or two."""
    row = ObjectRow(f"{number}" + "x" * 100 * (number % 10), at(1), False)
    return PendingUpdate(Target("d1", 12), bytes(16), IndexTarget("127.0.0.1", 7, "d9", 5, bytes(16)), "/acc/con", row)


# --- a device ---------------------------------------------------------------------------------------------------


def test_a_device_has_its_identity_whole_or_not_at_all(count: Count) -> None:
    identity = Identity("cluster", "d1", "id")

    def act(fs: CrashFileSystem, promise: Callable[[], None]) -> None:
        write_identity(fs, identity)
        promise()

    def check(fs: CrashFileSystem, promised: int) -> None:
        if IDENTITY_NAME in fs.list_directory("") or promised:
            assert read(fs, IDENTITY_NAME) == identity.encode()

    count_states(count, *cut_everywhere(act, check))


def test_the_clocks_floor_never_falls(count: Count) -> None:
    def act(fs: CrashFileSystem, promise: Callable[[], None]) -> None:
        floor = DeviceFloor(fs, "floor")
        for ticks in (100, 200, 300):
            floor.save(ticks)
            promise()

    def check(fs: CrashFileSystem, promised: int) -> None:
        assert DeviceFloor(fs, "floor").load() in (100 * promised, 100 * promised + 100)

    count_states(count, *cut_everywhere(act, check))


# --- databases --------------------------------------------------------------------------------------------------

HASH = bytes(16)
PLACE = Place(OBJECT_ROWS, 7, HASH)
RECORD = QuarantineRecord(PLACE.path, "damaged", "/acc/con", 1.0)


def table_device(fs: CrashFileSystem) -> TableDevice:
    return TableDevice("d1", "/nowhere", InlineDisk("d1", fs, knobs=KNOBS), StillClock(), crash=NoCrashPoints())


def whole_database(data: bytes) -> bool:
    connection = sqlite3.connect(":memory:")
    try:
        # A database in memory cannot be in WAL mode.
        connection.deserialize(data[:18] + b"\1\1" + data[20:])
        return connection.execute("SELECT hash FROM info").fetchone() == (HASH,)
    finally:
        connection.close()


def with_files(*files: tuple[str, bytes]) -> Image:
    fs = CrashFileSystem()
    fs.make_directory(PLACE.directory)
    for path, data in files:
        file = fs.create_temp()
        file.write(data)
        fs.publish(file, path)
    return fs.image()


@pytest.mark.parametrize("leftovers", [(), COMPANIONS])
def test_a_new_database_is_whole_and_without_anothers_log(leftovers: tuple[str, ...], count: Count) -> None:
    def act(fs: CrashFileSystem, promise: Callable[[], None]) -> None:
        table_device(fs)._create(PLACE)
        promise()

    def check(fs: CrashFileSystem, promised: int) -> None:
        names = {path for path, _ in files_of(fs.image())}
        if PLACE.path in names or promised:
            assert whole_database(read(fs, PLACE.path))
            assert not {PLACE.path + ending for ending in COMPANIONS} & names, "SQLite would replay it into the new database"

    image = with_files(*((PLACE.path + ending, b"old log") for ending in leftovers)) if leftovers else ()
    count_states(count, *cut_everywhere(act, check, image))


def test_a_damaged_database_is_in_its_place_or_in_quarantine(count: Count) -> None:
    def act(fs: CrashFileSystem, promise: Callable[[], None]) -> None:
        set_aside(fs, NoCrashPoints(), RECORD)
        promise()

    def check(fs: CrashFileSystem, promised: int) -> None:
        names = {path for path, _ in files_of(fs.image())}
        moved = [path for path in names if path.startswith("quarantine/") and path.endswith(".db")]
        assert moved or PLACE.path in names, "the database is lost"
        if PLACE.path in names:
            assert PLACE.path + "-wal" in names, "without its log it may look sound, and lacks rows"
        assert not promised or PLACE.path not in names

    image = with_files((PLACE.path, b"database"), (PLACE.path + "-wal", b"log"), (PLACE.path + "-shm", b"index"))
    count_states(count, *cut_everywhere(act, check, image))


async def test_what_is_read_after_a_kill_outlives_a_power_cut() -> None:
    """A killed process gave the name and had not synced it yet: the next one syncs it before anybody reads the object."""
    fs = CrashFileSystem()
    for changed in fs.make_directory("objects/3"):
        fs.sync_directory(changed)
    file = fs.create_temp()
    file.write(b"body")
    file.sync()
    fs.publish(file, f"objects/3/{file_name(bytes(16), at(1), FileKind.DATA)}")
    killed = fs.after_a_kill()
    files = await PartitionIndex(InlineDisk("d1", killed)).find(ObjectPlace("objects/3", bytes(16)))
    assert files.alive
    for left in crash_images(killed):
        partition, _, _ = list_partition(CrashFileSystem(left), "objects/3")
        assert partition == {bytes(16): files}


async def test_what_is_superseded_goes_after_the_new_name_is_durable() -> None:
    """An audit lists for itself, so it may be the first to find what a killed process left behind."""
    world = World(CrashFileSystem(), Ledger())
    await world.node.start()
    subject = world.subject("a")
    await world.client.put(subject, b"old", 1)
    killed: list[CrashFileSystem] = []
    world.fs.observer = lambda _operation: killed.append(world.fs.after_a_kill())
    await world.client.put(subject, b"new", 2)
    world.fs.observer = None
    await world.node.stop()
    swept = 0
    for fs in killed:
        again = World(fs, Ledger())
        await again.node.start()
        _, leftovers, _ = list_partition(fs, subject.place.directory)
        swept += len(leftovers)
        await again.node.device.remove_leftovers(leftovers)
        for left in crash_images(fs):
            partition, _, _ = list_partition(CrashFileSystem(left), subject.place.directory)
            assert partition[subject.place.hash].alive
    assert swept > 0
