"""What goes along with a change: durable with its file, and not forgotten before somebody has it."""

import asyncio
import contextlib
import errno
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from objstore.model.errors import NodeError
from objstore.runtime.disk import RealDisk
from objstore.runtime.filesystem import RealFileSystem
from objstore.runtime.interface import Change, Note
from objstore.runtime.journal import Journal
from objstore.testing.faultyfs import DiskFaults, FaultyFileSystem
from tests.unit.objstore.runtime.journaling import KNOBS, opened, put
from tests.unit.objstore.runtime.recording import RecordingFileSystem


async def test_what_goes_along_is_found_after_a_crash(tmp_path: Path) -> None:
    """With its file alone: what got no name never was."""
    faults = DiskFaults()
    fs = FaultyFileSystem(RealFileSystem(str(tmp_path)), faults)
    disk = RealDisk("sda", fs, journal=opened(fs), knobs=KNOBS)
    done: list[int] = []
    for number in range(4):
        note = Note(f"rows/{number}", b"row %d" % number)
        faults.clear()
        if number == 2:
            faults.fail("publish", errno.ENOSPC, nth=1)
        with contextlib.suppress(NodeError):
            await disk.commit(put(number, along=note, done=partial(done.append, number)))
    assert done == [0, 1, 3]
    assert sorted(opened(RealFileSystem(str(tmp_path))).notes) == [(f"rows/{number}", b"row %d" % number) for number in done]
    await disk.settle()
    assert opened(RealFileSystem(str(tmp_path))).notes == []
    await disk.close()


async def test_nothing_goes_along_without_the_journal(tmp_path: Path) -> None:
    fs = RealFileSystem(str(tmp_path))
    disk = RealDisk("sda", fs, journal=opened(fs), knobs=KNOBS)
    for size in (disk.note_bytes_max, disk.note_bytes_max + 1):
        change = Change("objects/1/a", bytes(size), along=Note("rows/1", b"row"))
        if size == disk.note_bytes_max:
            await disk.commit(change)
        else:
            with pytest.raises(NodeError, match="nothing can go along"):
                await disk.commit(change)
    await disk.close()


def keep_the_loop_busy(until_not: Callable[[], bool]) -> None:
    """And give the committer time to get through."""
    while until_not():
        time.sleep(0.001)
    time.sleep(0.05)


async def test_what_goes_along_is_not_forgotten_before_somebody_has_it(tmp_path: Path) -> None:
    """A checkpoint comes while the event loop does not know of the change yet."""
    fs = RealFileSystem(str(tmp_path))
    journal = opened(fs)
    disk = RealDisk("sda", fs, journal=journal, knobs=KNOBS)
    known: list[str] = []

    def checkpoint() -> None:
        disk.checkpoint()
        notes = opened(RealFileSystem(str(tmp_path))).notes
        assert notes == [("rows/1", b"row")], "nobody was told"

    commit = asyncio.ensure_future(disk.commit(put(1, along=Note("rows/1", b"row"), done=partial(known.append, "held"))))
    await asyncio.sleep(0)
    keep_the_loop_busy(lambda: journal._number == journal.named + 1)
    assert not known
    checkpoint()
    await commit
    assert known == ["held"]
    await asyncio.to_thread(disk.checkpoint)
    assert opened(RealFileSystem(str(tmp_path))).notes == []
    await disk.close()


async def test_a_change_can_be_settled_as_soon_as_it_is_acknowledged(tmp_path: Path) -> None:
    fs = RecordingFileSystem(RealFileSystem(str(tmp_path)), str(tmp_path))
    disk = RealDisk("sda", fs, journal=opened(fs), knobs=KNOBS)
    for number in range(30):
        await disk.commit(put(number))
        await disk.settle(put(number).path)
        assert fs.is_durable(put(number).path)
    await disk.commit(put(30))
    await disk.close()
    assert fs.is_durable(put(30).path), "closing leaves nothing to the next start"
    groups = Journal(RealFileSystem(str(tmp_path)), KNOBS, 7)._found.groups
    assert [entry for group in groups for entry in group.entries] == []
