"""The journal of a device: small changes are durable by one write, and their files later."""

import asyncio
import errno
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from objstore.formats.journal import Entry
from objstore.model.errors import Code, NodeError
from objstore.runtime.disk import RealDisk
from objstore.runtime.filesystem import RealFileSystem
from objstore.runtime.interface import OpenFile
from objstore.runtime.journal import Journal, open_journal
from objstore.runtime.knobs import Knobs
from objstore.testing.faultyfs import DiskFaults, FaultyFileSystem
from tests.faults.crashfs import CrashFileSystem
from tests.faults.crashstates import crash_images
from tests.unit.objstore.runtime.journaling import KNOBS, Log, opened, put
from tests.unit.objstore.runtime.recording import RecordingFileSystem


def found(root: Path) -> list[str]:
    return sorted(path.name for path in root.glob("objects/*/*"))


async def test_a_small_change_costs_one_sync(tmp_path: Path) -> None:
    fs = RecordingFileSystem(RealFileSystem(str(tmp_path)), str(tmp_path))
    disk = RealDisk("sda", fs, journal=opened(fs), knobs=KNOBS)
    for number in range(3):
        await disk.commit(put(number))  # makes the directories
    fs.calls.clear()
    for number in range(3, 13):
        await disk.commit(put(number))
    assert (fs.calls["sync"], fs.calls["sync_directory"], fs.calls["sync_all"]) == (10, 0, 0)
    assert not fs.is_durable("objects/0/3.data")
    await disk.settle()
    assert fs.calls["sync_all"] == 1
    assert fs.is_durable("objects/0/3.data")
    await disk.settle()
    assert fs.calls["sync_all"] == 1, "there was nothing to do"
    await disk.close()


async def test_a_large_change_is_synced_itself(tmp_path: Path) -> None:
    fs = RecordingFileSystem(RealFileSystem(str(tmp_path)), str(tmp_path))
    log = Log()
    disk = RealDisk("sda", fs, log_sink=log, journal=opened(fs, log), knobs=KNOBS)
    await disk.commit(put(1, 5000, log=b"record"))
    assert fs.is_durable("objects/1/1.data") and log.durable == [b"record"]
    await disk.close()


async def test_records_of_small_changes_are_held_until_the_checkpoint(tmp_path: Path) -> None:
    fs, log = RealFileSystem(str(tmp_path)), Log()
    disk = RealDisk("sda", fs, log_sink=log, journal=opened(fs, log), knobs=KNOBS)
    await disk.commit(put(1, log=b"record"))
    assert (log.held, log.durable) == ([b"record"], [])
    await disk.settle()
    assert (log.held, log.durable) == ([], [b"record"])
    await disk.close()


async def test_what_a_killed_process_left_is_made_again(tmp_path: Path) -> None:
    """As after a power cut that lost every file and name."""
    fs = RealFileSystem(str(tmp_path))
    disk = RealDisk("sda", fs, journal=opened(fs), knobs=KNOBS)
    for number in range(12):
        await disk.commit(put(number, log=b"%d" % number))
    for name in found(tmp_path):
        (tmp_path / put(int(name[:-5])).path).unlink()
    (tmp_path / "objects/0/3.data").write_bytes(b"torn")
    (tmp_path / "objects/2").rmdir()
    log, again = Log(), RealFileSystem(str(tmp_path))
    opened(again, log)
    for number in range(12):
        file = again.open(put(number).path)
        assert (file.pread(99, 0), file.get_attribute("meta")) == (put(number).content, b"m")
    assert sorted(log.durable) == sorted(b"%d" % number for number in range(12))
    assert os.listdir(tmp_path / "tmp") == []
    log = Log()
    opened(RealFileSystem(str(tmp_path)), log)
    assert log.durable == [], "it was settled"


async def test_what_was_settled_and_removed_does_not_come_back(tmp_path: Path) -> None:
    fs = RealFileSystem(str(tmp_path))
    disk = RealDisk("sda", fs, journal=opened(fs), knobs=KNOBS)
    for number in range(5):
        await disk.commit(put(number))
    await disk.settle()
    fs.unlink(put(2).path)
    opened(RealFileSystem(str(tmp_path)))
    assert found(tmp_path) == ["0.data", "1.data", "3.data", "4.data"]


async def test_an_orderly_end_leaves_nothing_to_do(tmp_path: Path) -> None:
    fs = RealFileSystem(str(tmp_path))
    disk = RealDisk("sda", fs, journal=opened(fs), knobs=KNOBS)
    await disk.commit(put(1))
    await disk.close()
    (tmp_path / put(1).path).unlink()
    assert opened(RealFileSystem(str(tmp_path))).unsettled == 0
    assert not (tmp_path / put(1).path).exists()


async def test_segments_are_written_over_while_changes_go_on(tmp_path: Path) -> None:
    fs = RealFileSystem(str(tmp_path))
    disk = RealDisk("sda", fs, journal=opened(fs), knobs=KNOBS)
    for base in range(0, 1200, 20):
        await asyncio.gather(*(disk.commit(put(number, 100)) for number in range(base, base + 20)))
    assert disk.figures.checkpoints >= 3
    sizes = sorted(path.stat().st_size for path in (tmp_path / "journal").iterdir())
    assert sizes[:2] == [64 << 10, 128 << 10] and len(sizes) <= 3
    for number in range(1190, 1200):
        (tmp_path / put(number).path).unlink()  # the last ones are in the journal still
    opened(RealFileSystem(str(tmp_path)))
    assert len(found(tmp_path)) == 1200
    await disk.close()


def full_journal(fs: object) -> Journal:
    """All segments are full and nothing is settled."""
    journal = opened(fs)
    journal.ended = True
    with pytest.raises(OSError, match="full"):
        while True:
            journal.named = journal.append([Entry("objects/1/a", bytes(4000))])
    journal.ended = False
    return journal


def test_a_full_journal_waits_for_settling(tmp_path: Path) -> None:
    journal = full_journal(RealFileSystem(str(tmp_path)))
    wanted = threading.Event()
    journal.full = wanted.set
    done = threading.Event()
    threading.Thread(target=lambda: (journal.append([Entry("objects/1/b", b"b")]), done.set()), daemon=True).start()
    assert wanted.wait(5) and not done.wait(0.3)
    journal.settle(journal.named)
    assert done.wait(5)


def test_a_full_segment_can_be_settled_again_and_again(tmp_path: Path) -> None:
    """The note has a block of its own, which is written over when the segment has no room for another."""
    journal = full_journal(RealFileSystem(str(tmp_path)))
    for number in (3, 5, journal.named):
        journal.settle(number)
        found = Journal(RealFileSystem(str(tmp_path)), KNOBS, 7)._found
        assert found.floor == number and found.missing == 0


def test_no_room_for_more_segments_is_no_error(tmp_path: Path) -> None:
    faults = DiskFaults()
    fs = FaultyFileSystem(RealFileSystem(str(tmp_path)), faults)
    journal = opened(fs)
    faults.fill(0)
    journal.full = lambda: journal.settle(journal.named)
    for _ in range(100):
        journal.named = journal.append([Entry("objects/1/a", bytes(4000))])
    assert len(os.listdir(tmp_path / "journal")) == 2


def test_no_room_for_any_segment_means_no_journal(tmp_path: Path) -> None:
    faults = DiskFaults()
    fs = FaultyFileSystem(RealFileSystem(str(tmp_path)), faults)
    faults.fill(10_000)
    assert open_journal(fs, KNOBS, None) is None


@pytest.fixture
def faults() -> Iterator[DiskFaults]:
    yield DiskFaults()


@pytest.mark.parametrize("operation", ["pwrite", "sync", "sync_all"])
async def test_after_a_failure_nothing_is_acknowledged(tmp_path: Path, faults: DiskFaults, operation: str) -> None:
    fs = FaultyFileSystem(RealFileSystem(str(tmp_path)), faults)
    disk = RealDisk("sda", fs, journal=opened(fs), knobs=KNOBS)
    await disk.commit(put(1))
    faults.fail(operation, errno.EIO)
    with pytest.raises(NodeError) as refusal:
        await disk.commit(put(2))
        await disk.settle()
    assert refusal.value.code is Code.DEVICE_FAILED
    faults.clear()
    with pytest.raises(NodeError):
        await disk.commit(put(3))
    assert disk.failed is not None
    await disk.close()


async def test_a_failed_device_forgets_nothing(tmp_path: Path) -> None:
    fs = RealFileSystem(str(tmp_path))
    disk = RealDisk("sda", fs, journal=opened(fs), knobs=KNOBS)
    await disk.commit(put(1))
    disk.fail("of the test")
    await disk.settle()
    await disk.close()
    (tmp_path / put(1).path).unlink()
    opened(RealFileSystem(str(tmp_path)))
    assert found(tmp_path) == ["1.data"]


class Hesitating(RealFileSystem):
    """Gives names when it is told to."""

    asked = threading.Event()
    may = threading.Event()

    def publish(self, file: OpenFile, path: str) -> None:
        if path.startswith("objects/"):
            self.asked.set()
            self.may.wait(5)
        super().publish(file, path)


async def test_what_has_no_name_yet_is_not_settled(tmp_path: Path) -> None:
    fs = Hesitating(str(tmp_path))
    disk = RealDisk("sda", fs, journal=opened(fs), knobs=KNOBS)
    fs.may.set()
    await disk.commit(put(0))
    fs.may.clear()
    fs.asked.clear()
    commit = asyncio.ensure_future(disk.commit(put(1)))
    assert await asyncio.to_thread(fs.asked.wait, 5)
    await asyncio.to_thread(disk.checkpoint)
    groups = Journal(RealFileSystem(str(tmp_path)), KNOBS, 7)._found.groups
    assert [entry.path for group in groups for entry in group.entries] == [put(1).path]
    fs.may.set()
    await commit
    await disk.close()


async def test_a_change_without_a_name_does_not_appear_after_a_crash(tmp_path: Path, faults: DiskFaults) -> None:
    fs = FaultyFileSystem(RealFileSystem(str(tmp_path)), faults)
    disk = RealDisk("sda", fs, journal=opened(fs), knobs=KNOBS)
    await disk.commit(put(1))
    faults.fail("publish", errno.ENOSPC, nth=1)
    with pytest.raises(NodeError) as refusal:
        await disk.commit(put(4, log=b"record"))
    assert refusal.value.code is Code.NO_SPACE
    log = Log()
    opened(RealFileSystem(str(tmp_path)), log)
    assert found(tmp_path) == ["1.data"]
    assert log.durable == []


def test_every_state_that_a_cut_leaves_has_what_was_acknowledged() -> None:
    """Of a run over all segments with checkpoints at odd moments."""
    fs = CrashFileSystem()
    knobs = Knobs(journal_segment_bytes_min=16 << 10, journal_segment_bytes_max=16 << 10, journal_segments_max=2)
    journal = open_journal(fs, knobs, None, seed=7)
    assert journal is not None

    def checkpoint() -> None:
        fs.sync_all()
        journal.settle(journal.named)

    journal.full = checkpoint
    done: dict[str, bytes] = {}
    under_way = ("", b"")
    checked = 0

    def cut(_operation: str = "") -> None:
        nonlocal checked
        for image in set(crash_images(fs, checked)):
            again = CrashFileSystem(image)
            open_journal(again, knobs, None, seed=7)
            for path, content in done.items():
                found = again.open(path).pread(99, 0)
                assert found == content or (path, found) == under_way
            checked += 1

    fs.observer = cut
    for number in range(14):
        path, content = under_way = f"objects/1/{number % 5}", b"%d" % number
        file = fs.create_temp()
        file.write(content)
        group = journal.append([Entry(path, content)])
        done[path] = content
        fs.observer = None
        fs.make_directory("objects/1")
        fs.publish(file, path)
        fs.observer = cut
        journal.named = group
        if number in (4, 5, 11):
            checkpoint()
    assert checked > 300
