"""Group commit: nothing is acknowledged before it is durable, and nothing after a failed sync."""

import asyncio
import errno
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from objstore.model.errors import Code, NodeError
from objstore.runtime.disk import RealDisk
from objstore.runtime.filesystem import RealFileSystem
from objstore.runtime.interface import Change
from objstore.runtime.knobs import Knobs
from tests.unit.objstore.runtime.recording import Fault, RecordingFileSystem, RecordingLog

MakeDisk = Callable[..., RealDisk]


@pytest.fixture
def fs(tmp_path: Path) -> RecordingFileSystem:
    return RecordingFileSystem(RealFileSystem(str(tmp_path)), str(tmp_path))


@pytest.fixture
async def make_disk(fs: RecordingFileSystem) -> AsyncIterator[MakeDisk]:
    made: list[RealDisk] = []

    def make(**options: object) -> RealDisk:
        made.append(RealDisk("sda", fs, **options))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for disk in made:
        await asyncio.wait_for(disk.close(), 5)


def put(number: int, partition: int = 7, **fields: object) -> Change:
    return Change(f"objects/{partition}/{number}.data", b"body %d" % number, {"meta": b"m"}, **fields)  # type: ignore[arg-type]


async def acknowledged_durably(disk: RealDisk, fs: RecordingFileSystem, changes: list[Change]) -> bool:
    """Commits all at once; False when any was acknowledged that a power cut in that moment would have lost."""
    durable = []

    async def commit(change: Change) -> None:
        await disk.commit(change)
        durable.append(fs.is_durable(change.path))

    await asyncio.gather(*(commit(change) for change in changes))
    return all(durable)


async def test_everything_is_durable_when_acknowledged(fs: RecordingFileSystem, make_disk: MakeDisk) -> None:
    changes = [put(number, partition=number % 3) for number in range(40)]
    assert await acknowledged_durably(make_disk(), fs, changes)


@pytest.mark.parametrize("lost", ["file sync", "directory sync", "sync of the new parent", "sync of the device's own directory"])
async def test_a_missing_sync_is_seen(fs: RecordingFileSystem, make_disk: MakeDisk, lost: str) -> None:
    """The test above can fail: without any one of the syncs it does."""
    if lost == "file sync":
        fs.lies.add("sync")
    else:
        fs.lying_directories.add({"directory sync": "objects/7", "sync of the new parent": "objects"}.get(lost, ""))
    assert not await acknowledged_durably(make_disk(), fs, [put(number) for number in range(3)])


async def test_order_of_one_change(fs: RecordingFileSystem, make_disk: MakeDisk) -> None:
    fs.inner.make_directory("objects/7")
    (Path(fs.root) / "objects/7/old").write_bytes(b"")
    log = RecordingLog(fs)
    disk = make_disk(log_sink=log)
    await disk.commit(put(1, log=b"record", unlink=["objects/7/old"]))
    await disk.close()
    assert fs.log == [
        "free",
        "create_temp",
        "write",
        "set_attribute",
        "sync",
        "log",
        "publish objects/7/1.data",
        "sync_directory objects/7",
        "unlink objects/7/old",
    ]
    assert log.records == [b"record"]


async def test_unlink_comes_after_the_acknowledgement(fs: RecordingFileSystem, make_disk: MakeDisk) -> None:
    fs.inner.make_directory("objects/7")
    disk = make_disk()
    gate = threading.Event()
    unlink = fs.inner.unlink

    def slow_unlink(path: str) -> None:
        gate.wait(5)
        unlink(path)

    fs.inner.unlink = slow_unlink  # type: ignore[method-assign]
    await asyncio.wait_for(disk.commit(put(1, unlink=["objects/7/old"])), 2)
    gate.set()


async def test_concurrent_changes_share_directory_syncs(fs: RecordingFileSystem, make_disk: MakeDisk) -> None:
    disk = make_disk()
    await disk.commit(put(0))
    before = fs.calls["sync_directory"]
    await asyncio.gather(*(disk.commit(put(number)) for number in range(1, 101)))
    assert fs.calls["sync_directory"] - before < 20
    assert fs.calls["sync"] == 101


async def test_a_lone_change_waits_for_nobody(make_disk: MakeDisk) -> None:
    disk = make_disk()
    await disk.commit(put(0))
    assert disk.figures.groups == 1
    started = asyncio.get_running_loop().time()
    await disk.commit(put(1))
    assert asyncio.get_running_loop().time() - started < 1
    assert disk.figures.groups == 2


async def test_groups_are_bounded(fs: RecordingFileSystem, make_disk: MakeDisk) -> None:
    disk = make_disk(knobs=Knobs(group_changes_max=4))
    await asyncio.gather(*(disk.commit(put(number)) for number in range(40)))
    assert disk.figures.groups >= 10


@pytest.mark.parametrize("operation", ["write", "set_attribute", "create_temp", "publish"])
async def test_a_failing_write_fails_its_change_alone(fs: RecordingFileSystem, make_disk: MakeDisk, operation: str) -> None:
    disk = make_disk()
    fs.inner.make_directory("objects/7")
    fs.faults.append(Fault(operation, 3))
    results = await asyncio.gather(*(disk.commit(put(number)) for number in range(6)), return_exceptions=True)
    assert [isinstance(result, NodeError) for result in results] == [False, False, True, False, False, False]
    assert isinstance(results[2], NodeError) and results[2].code == Code.DEVICE_FAILED
    assert fs.list_directory("objects/7") == [f"{n}.data" for n in range(6) if n != 2]
    assert disk.failed is None
    assert not fs.open_temps


@pytest.mark.parametrize("operation", ["sync", "sync_directory", "free"])
async def test_a_failed_sync_ends_the_device(fs: RecordingFileSystem, make_disk: MakeDisk, operation: str) -> None:
    disk = make_disk()
    await disk.commit(put(0))
    fs.gate = threading.Event()  # the first group waits at its directory sync while the others queue up behind it
    fs.faults.append(Fault(operation, fs.calls[operation] + 2))
    first = asyncio.ensure_future(disk.commit(put(1)))
    await asyncio.sleep(0.05)
    second = asyncio.gather(*(disk.commit(put(number)) for number in range(2, 6)), return_exceptions=True)
    await asyncio.sleep(0.05)
    fs.gate.set()
    await first
    results = await second
    assert all(isinstance(result, NodeError) and result.code == Code.DEVICE_FAILED for result in results), results
    assert disk.failed is not None and "injected" in disk.failed
    fs.faults.clear()
    calls = dict(fs.calls)
    with pytest.raises(NodeError, match="injected") as refused:
        await disk.commit(put(9))
    assert refused.value.code == Code.DEVICE_FAILED
    assert dict(fs.calls) == calls, "nothing touches a failed device, and no sync is tried again"
    assert not fs.open_temps


async def test_a_failed_log_sync_ends_the_device(fs: RecordingFileSystem, make_disk: MakeDisk) -> None:
    log = RecordingLog(fs)
    disk = make_disk(log_sink=log)
    log.code = errno.EIO
    with pytest.raises(NodeError) as refused:
        await disk.commit(put(1, log=b"record"))
    assert refused.value.code == Code.DEVICE_FAILED and disk.failed is not None
    assert fs.list_directory("objects/7") == []


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
@pytest.mark.parametrize("operation", ["write", "set_attribute", "sync", "log"])
async def test_no_space(fs: RecordingFileSystem, make_disk: MakeDisk, operation: str, code: int) -> None:
    log = RecordingLog(fs)
    disk = make_disk(log_sink=log)
    if operation == "log":
        log.code = code
    else:
        fs.faults.append(Fault(operation, 1, code))
    with pytest.raises(NodeError) as refused:
        await disk.commit(put(1, log=b"record"))
    assert refused.value.code == Code.NO_SPACE
    assert disk.failed is None and not fs.open_temps and fs.list_directory("objects/7") == []
    fs.faults.clear()
    log.code = None
    await disk.commit(put(2, log=b"record"))


async def test_the_reserve_is_for_urgent_changes(fs: RecordingFileSystem, make_disk: MakeDisk) -> None:
    disk = make_disk(knobs=Knobs(reserve_bytes_min=1 << 20, reserve_percent=0))
    fs.free_bytes = (1 << 20) + 10
    with pytest.raises(NodeError) as refused:
        await disk.commit(Change("objects/7/large", bytes(11)))
    assert refused.value.code == Code.NO_SPACE
    await disk.commit(Change("objects/7/small", bytes(10)))
    await disk.commit(Change("objects/7/tombstone", bytes(11), urgent=True))
    disk.require_space(10)
    with pytest.raises(NodeError):
        disk.require_space(11)
    fs.free_bytes = 1 << 30
    await disk.commit(Change("objects/7/large", bytes(11)))


async def test_a_temporary_file_belongs_to_the_disk(fs: RecordingFileSystem, make_disk: MakeDisk) -> None:
    disk = make_disk()
    file = await disk.run(fs.create_temp)
    await disk.run(lambda: file.write(b"large body"))
    await disk.commit(Change("objects/7/1.data", file, {"meta": b"m"}))
    reopened = fs.open("objects/7/1.data")
    assert reopened.pread(100, 0) == b"large body" and reopened.get_attribute("meta") == b"m"
    reopened.close()
    disk.fail("for the test")
    other = fs.create_temp()
    with pytest.raises(NodeError):
        await disk.commit(Change("objects/7/2.data", other))
    assert not fs.open_temps


async def test_the_queue_is_bounded(fs: RecordingFileSystem, make_disk: MakeDisk) -> None:
    disk = make_disk(knobs=Knobs(commit_queue_changes_max=3))
    fs.gate = threading.Event()
    waiting = [asyncio.ensure_future(disk.commit(put(number))) for number in range(3)]
    await asyncio.sleep(0.02)
    with pytest.raises(NodeError) as refused:
        await disk.commit(put(9))
    assert refused.value.code == Code.BUSY
    fs.gate.set()
    await asyncio.gather(*waiting)
    fs.gate = None
    await disk.commit(put(9))


async def test_cancelled_while_waiting(fs: RecordingFileSystem, make_disk: MakeDisk) -> None:
    disk = make_disk()
    fs.gate = threading.Event()
    commit = asyncio.ensure_future(disk.commit(put(1)))
    await asyncio.sleep(0.02)
    commit.cancel()
    fs.gate.set()
    await asyncio.gather(commit, return_exceptions=True)
    assert commit.cancelled()
    await disk.commit(put(2))
    assert fs.list_directory("objects/7") == ["1.data", "2.data"]
    assert disk.queued == 0


async def test_close_finishes_what_is_queued(fs: RecordingFileSystem, make_disk: MakeDisk) -> None:
    disk = make_disk()
    commits = [asyncio.ensure_future(disk.commit(put(number))) for number in range(10)]
    await asyncio.sleep(0)
    await disk.close()
    await asyncio.gather(*commits)
    with pytest.raises(NodeError):
        await disk.commit(put(99))
    with pytest.raises(NodeError):
        await disk.run(lambda: 1)


async def test_a_defect_in_the_log_refuses_everything(fs: RecordingFileSystem, make_disk: MakeDisk) -> None:
    class Broken:
        def append(self, records: list[bytes]) -> None:
            raise RuntimeError("defect")

    disk = make_disk(log_sink=Broken())
    for _ in range(2):
        with pytest.raises(NodeError) as refused:
            await asyncio.wait_for(disk.commit(put(1, log=b"record")), 2)
        assert refused.value.code == Code.DEVICE_FAILED
    assert not fs.open_temps


@pytest.mark.parametrize("path", ["", "/etc/x", "a//b", "../x", "a/./b", "a/.."])
async def test_paths_stay_inside(make_disk: MakeDisk, path: str) -> None:
    disk = make_disk()
    with pytest.raises(ValueError):
        await disk.commit(Change(path, b""))
    assert disk.failed is None


@pytest.mark.parametrize(
    ("directory", "code", "lost"), [(None, errno.EIO, True), (None, errno.ENOSPC, False), ("d", errno.ENOSPC, True)]
)
async def test_a_failed_sync_of_anybody_ends_the_writing(
    make_disk: MakeDisk, fs: RecordingFileSystem, directory: str | None, code: int, lost: bool
) -> None:
    disk = make_disk()
    fs.sync_failed(OSError(code, "injected"), directory)
    assert (disk.failed is not None) == lost
    if lost:
        with pytest.raises(NodeError) as refused:
            await disk.commit(put(1))
        assert refused.value.code is Code.DEVICE_FAILED
    else:
        await disk.commit(put(1))
