"""Rounds of the object-auditor: their pace, where they go on after a restart, and devices on which things go wrong meanwhile."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from objstore.model.names import ObjectName
from objstore.object.auditor import OVERHEAD_BYTES, AuditSettings, ObjectAuditor
from objstore.object.examining import PIECE_BYTES
from objstore.proxy.store import ClusterStore
from objstore.runtime.clock import SystemClock
from objstore.runtime.realfile import RealFile
from tests.unit.objstore.object.audited import AUDITOR, LARGE, expect_made_good, only_file, partition_of
from tests.unit.objstore.proxy.cluster import OWNER, Cluster, named, put, running


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Cluster]:
    async with running(tmp_path, count=4) as cluster:
        await cluster.store().put_container(OWNER, "AUTH_test", "c", {})
        yield cluster


@pytest.fixture
def store(cluster: Cluster) -> ClusterStore:
    return cluster.stores[0]


async def test_files_may_vanish_meanwhile(cluster: Cluster, store: ClusterStore) -> None:
    """Between being listed and being opened, and while they are read."""
    names = [name for number in range(100) if partition_of(cluster, name := ObjectName("AUTH_test", "c", f"o{number}")) == 3]
    assert len(names) > 10
    for name in names:
        await put(store, name, LARGE)
    node = cluster.nodes[0]
    fs, opened = node.disk.fs, []
    real = fs.open

    def open_(path: str) -> RealFile:
        opened.append(path)
        file = real(path)
        if len(opened) == 2:  # the cursor is the first
            for found in node.data_files():
                found.unlink()
        return file

    fs.open = open_  # type: ignore[method-assign]
    figures = await node.run(AUDITOR)
    assert len(opened) > 3
    assert (figures["corrupt"], figures["errors"], figures["files"]) == (0, 0, 1)


class _Unreadable(RealFile):
    """Of a disk with a bad block."""

    def pread(self, size: int, offset: int) -> bytes:
        raise OSError(5, "Input/output error")


@pytest.mark.parametrize("body", [b"small", LARGE], ids=["small", "large"])
async def test_blocks_that_cannot_be_read(cluster: Cluster, store: ClusterStore, body: bytes) -> None:
    """F20: another replica still can."""
    name = named(cluster, "o")
    await put(store, name, body)
    node, path = cluster.nodes[0], only_file(cluster.nodes[0])
    fs, real, inode = node.disk.fs, node.disk.fs.open, path.stat().st_ino

    def open_(where: str) -> RealFile:
        file = real(where)
        if os.fstat(file.fd).st_ino == inode:
            file.__class__ = _Unreadable
        return file

    fs.open = open_  # type: ignore[method-assign]
    await expect_made_good(cluster, name, body)


async def test_a_disk_on_which_nothing_can_be_read_is_not_emptied_into_quarantine(cluster: Cluster, store: ClusterStore) -> None:
    for number in range(40):
        await put(store, named(cluster, f"o{number}-"), b"x")
    node = cluster.nodes[0]
    real = node.disk.fs.open

    def open_(where: str) -> RealFile:
        file = real(where)
        if where.startswith("objects"):
            file.__class__ = _Unreadable
        return file

    node.disk.fs.open = open_  # type: ignore[method-assign]
    figures = await node.run(AUDITOR)
    assert 16 <= figures["corrupt"] < 24


# --- the pace, and restarts --------------------------------------------------------------------------------------


class CountedClock(SystemClock):
    """Sleeping takes no time but counts."""

    def __init__(self) -> None:
        self.slept_s = 0.0

    def monotonic(self) -> float:
        return self.slept_s

    async def sleep(self, delay_s: float) -> None:
        self.slept_s += delay_s
        await asyncio.sleep(0)


def auditor_of(cluster: Cluster, number: int, clock: SystemClock, settings: AuditSettings) -> ObjectAuditor:
    """One more, of the same devices."""
    node = cluster.nodes[number]
    known = node.object._auditor
    return ObjectAuditor(
        node.object._devices.values(), known._placement, known._own, known._caller, clock, settings, known._yielding
    )


@pytest.mark.parametrize(("count", "body"), [(10, LARGE), (400, b"tiny"), (50, bytes(PIECE_BYTES))], ids=["large", "tiny", "small"])
async def test_it_reads_no_faster_than_it_may(cluster: Cluster, store: ClusterStore, count: int, body: bytes) -> None:
    for number in range(count):
        await put(store, ObjectName("AUTH_test", "c", f"o{number}"), body)
    held = len(cluster.nodes[0].data_files())
    clock = CountedClock()
    figures = await auditor_of(cluster, 0, clock, AuditSettings(bytes_per_s=1e6)).run_once()
    assert figures["bytes"] == held * len(body) and held > count / 2
    assert clock.slept_s == pytest.approx((held * (OVERHEAD_BYTES + len(body)) - 4 * PIECE_BYTES) / 1e6, rel=0.05)


@pytest.mark.parametrize(("count", "body"), [(3, LARGE), (30, bytes(200_000)), (300, b"tiny")], ids=["large", "small", "tiny"])
async def test_no_call_of_a_disk_thread_does_much(cluster: Cluster, store: ClusterStore, count: int, body: bytes) -> None:
    for number in range(count):
        await put(store, named(cluster, f"o{number}-"), body)
    node = cluster.nodes[0]
    real, run = node.disk.fs.open, node.disk.run
    reads: list[int] = []
    opens: list[int] = []

    def open_(path: str) -> RealFile:
        file = real(path)
        pread = file.pread

        def counted(size: int, offset: int) -> bytes:
            reads[-1] += size
            return pread(size, offset)

        file.pread = counted  # type: ignore[method-assign]
        opens[-1] += 1
        return file

    async def run_(fn: Callable[[], object]) -> object:
        reads.append(0)
        opens.append(0)
        return await run(fn)

    node.disk.fs.open, node.disk.run = open_, run_  # type: ignore[method-assign, assignment]
    await node.run(AUDITOR)
    assert sum(reads) >= count * len(body) and sum(opens) >= count
    assert max(reads) <= 2 * PIECE_BYTES and max(opens) <= 8


async def test_a_pass_goes_on_where_an_earlier_process_stopped(cluster: Cluster, store: ClusterStore) -> None:
    for number in range(40):
        await put(store, named(cluster, f"o{number}-"), b"x")
    node = cluster.nodes[0]
    partitions = sorted(int(path.name) for path in node.root.glob("objects/*"))
    assert len(partitions) > 4
    listed: list[int] = []
    loop, reached = asyncio.get_running_loop(), asyncio.Event()
    real = node.disk.fs.list_directory

    def list_(path: str) -> list[str]:
        if path.startswith("objects/"):
            listed.append(int(path.rpartition("/")[2]))
        if len(listed) == 4:
            loop.call_soon_threadsafe(reached.set)
        return real(path)

    node.disk.fs.list_directory = list_  # type: ignore[method-assign]
    first = asyncio.create_task(auditor_of(cluster, 0, SystemClock(), AuditSettings(cursor_interval_s=0)).run_once())
    await reached.wait()
    first.cancel()
    await asyncio.wait([first])
    done = listed[:-1]
    assert done == partitions[: len(done)], "the last one listed was under way"
    assert list(node.root.glob("audit.cursor")) != []
    del listed[:]
    figures = await auditor_of(cluster, 0, SystemClock(), AuditSettings()).run_once()
    assert listed == partitions[len(done) :] + partitions[: len(done)], "it goes on there, and then around to there"
    assert figures["files"] == 40


@pytest.mark.parametrize("text", [b"", b"audit 1 99 99\n", b"nonsense", b"audit 1 0 100000000\n"])
async def test_any_cursor_will_do(cluster: Cluster, store: ClusterStore, text: bytes) -> None:
    await put(store, named(cluster, "o"), b"x")
    (cluster.nodes[0].root / "audit.cursor").write_bytes(text)
    figures = await cluster.nodes[0].run(AUDITOR)
    assert (figures["files"], figures["errors"]) == (1, 0)


async def test_progress_is_in_partitions(cluster: Cluster, store: ClusterStore) -> None:
    for number in range(20):
        await put(store, named(cluster, f"o{number}-"), b"x")
    auditor = cluster.nodes[0].object._auditor
    await auditor.run_once()
    assert auditor.progress.done == auditor.progress.total == len(list(cluster.nodes[0].root.glob("objects/*")))
