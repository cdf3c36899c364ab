"""Every call to the file system fails once: what was acknowledged is there after a restart, what was refused did no harm."""

import asyncio
import errno
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from objstore.formats.messages import IndexTarget, Stored, Target
from objstore.formats.pending import PendingUpdate, frame, scan
from objstore.model.errors import Code, NodeError
from objstore.model.rows import ObjectRow
from objstore.object.files import choose, list_partition
from objstore.object.pending import PendingLog
from objstore.runtime.filesystem import RealFileSystem
from objstore.runtime.realfile import RealFile
from tests.unit.objstore.object.rig import HASH, Node, Rig, at

FILE_CALLS = ("write", "pwrite", "pread", "size", "set_attribute", "get_attribute", "sync")
FS_CALLS = (
    "create_temp", "publish", "open", "open_append", "make_directory", "sync_directory", "list_directory", "rename", "unlink",
    "allocate", "free", "open_write", "sync_all",
)  # fmt: skip


class FaultyFileSystem(RealFileSystem):
    """Notes every call while armed; the `fail_at`-th one fails with `error`, and does nothing."""

    def arm(self, fail_at: int = 0, error: int = errno.EIO) -> None:
        self.calls: list[str] = []
        self.fail_at = fail_at
        self.error = error
        for name in FS_CALLS:
            setattr(self, name, self._noted(name, getattr(RealFileSystem, name).__get__(self)))

    def _noted(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def noted(*arguments: Any) -> Any:
            self.calls.append(name)
            if len(self.calls) == self.fail_at:
                raise OSError(self.error, "injected")
            result = call(*arguments)
            if isinstance(result, RealFile):
                for file_call in FILE_CALLS:
                    setattr(result, file_call, self._noted(file_call, getattr(result, file_call)))
            return result

        return noted


CHANGES: dict[str, Callable[[Node], Any]] = {
    "put": lambda node: node.put(b"new", 2),
    "put_large": lambda node: node.put_large(b"new" * 50_000, 2),
    "post": lambda node: node.post(2, {"a": "1"}),
    "delete": lambda node: node.delete(2),
}


@pytest.mark.parametrize("error", [errno.EIO, errno.ENOSPC])
@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("journal", [True, False])
async def test_each_call_of_a_change_fails_once(tmp_path: Path, change: str, error: int, journal: bool) -> None:
    fail_at = 0
    while True:
        fail_at += 1
        acknowledged, injected = await change_with_fault(tmp_path / str(fail_at), change, fail_at, error, journal)
        if not injected:
            assert acknowledged
            break
    assert fail_at > 7


async def change_with_fault(root: Path, change: str, fail_at: int, error: int, journal: bool) -> tuple[bool, bool]:
    rig = Rig(root)
    node = await rig.node(file_system=FaultyFileSystem, journal=journal)
    assert isinstance(node.fs, FaultyFileSystem)
    await node.put(b"old", 1)
    node.device.index.forget("objects/12")
    node.fs.arm(fail_at, error)
    try:
        acknowledged = isinstance(await CHANGES[change](node), Stored)
    except NodeError as refusal:
        assert refusal.code in (Code.DEVICE_FAILED, Code.NO_SPACE), refusal
        acknowledged = False
    await node.stop()
    injected = len(node.fs.calls) >= fail_at
    again = await rig.node()
    newest = await newest_of(again)
    assert newest == at(2) or (newest == at(1) and not acknowledged)
    (updater,) = again.server.workers()
    await updater.run_once()
    row = rig.rows["obj"]
    assert max(row.timestamp, row.meta_timestamp) == newest
    assert list((root / "one/tmp").iterdir()) == []
    await rig.stop()
    return acknowledged, injected


async def newest_of(node: Node) -> int:
    """The newest change of the object, read back in full."""
    try:
        version = (await node.get(inline_max=-1)).version
    except NodeError as error:
        assert error.code is Code.NOT_FOUND
        return error.timestamp
    assert len(await node.read(1 if version.timestamp == at(1) else 2, 0, version.size)) == version.size
    return version.meta_timestamp


def update(second: int) -> PendingUpdate:
    row = ObjectRow("o", at(second), False)
    return PendingUpdate(Target("d1", 1), HASH, IndexTarget("::1", 1, "d", 1, HASH), "/a/c", row)


def test_a_record_and_its_segment_are_synced_before_they_count(tmp_path: Path) -> None:
    fs = FaultyFileSystem(str(tmp_path))
    log = PendingLog(fs)
    fs.arm()
    log.append([frame(log.begin(), update(1))])
    assert fs.calls == ["open_append", "sync_directory", "write", "sync"]
    fs.arm()
    log.append([frame(log.begin(), update(2)), frame(log.begin(), update(3))])
    assert fs.calls == ["write", "sync"]
    assert log.pending == 3


@pytest.mark.parametrize("call", ["open_append", "sync_directory", "write", "sync"])
def test_after_a_failed_append_the_next_one_begins_a_new_segment(tmp_path: Path, call: str) -> None:
    fs = FaultyFileSystem(str(tmp_path))
    log = PendingLog(fs)
    fs.arm(["open_append", "sync_directory", "write", "sync"].index(call) + 1)
    with pytest.raises(OSError, match="injected"):
        log.append([frame(log.begin(), update(1))])
    assert log.pending == 0
    good = log.begin()
    log.append([frame(good, update(2))])
    assert log.pending == 1
    newest = sorted((tmp_path / "pending").iterdir())[-1]
    assert scan(newest.read_bytes()).records == {good: update(2)}
    again = PendingLog(RealFileSystem(str(tmp_path)))
    again.recover()
    assert again.pending >= 1
    assert again.begin() > good


@pytest.mark.parametrize("seed", range(6))
async def test_changes_of_one_object_at_once_leave_what_the_index_says(rig: Rig, node: Node, seed: int) -> None:
    rng = random.Random(seed)
    work = []
    for second in rng.sample(range(1, 25), 16):
        kind = rng.choice(("put", "put", "large", "post", "delete"))
        work.append(
            {
                "put": lambda s: node.put(b"%d" % s, s),
                "large": lambda s: node.put_large(b"%08d" % s * 20_000, s),
                "post": lambda s: node.post(s, {"s": str(s)}),
                "delete": node.delete,
            }[kind](second)
        )
    results = await asyncio.gather(*work, return_exceptions=True)
    assert all(isinstance(r, Stored | NodeError) for r in results)
    known = node.device.index.get(node.place)
    await node.stop()
    partition, leftovers, strange = list_partition(node.fs, "objects/12")
    assert (partition[HASH], leftovers, strange) == (known, [], 0)
    assert choose([])[0] != known
    again = await rig.node()
    if known.alive:
        assert (await again.get(inline_max=-1)).version.order == (known.timestamp, max(known.meta, known.timestamp))
    row = rig.rows["obj"]
    assert (row.timestamp, row.deleted) == (known.timestamp, known.deleted)
