"""kill -9 at every named point of every change: after a restart the old or the new state, never a mixture, and the row arrives."""

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from objstore.model.errors import Code, NodeError
from objstore.model.version import Version
from objstore.object.crashes import CRASH_POINTS, QUARANTINE_MOVED, QUARANTINE_RECORD, REMOVAL_OLDER_GONE, UPLOAD_PIECE
from objstore.runtime.committer import CRASH_POINTS as DISK_POINTS
from objstore.runtime.crashpoints import KillAt
from tests.unit.objstore.object.rig import Node, Rig, at

ALL = CRASH_POINTS + DISK_POINTS
LARGE = bytes(range(256)) * 4096 * 2

CHANGES: dict[str, Callable[[Node], Awaitable[object]]] = {
    "put": lambda node: node.put(b"new", 2, content_type="n/n"),
    "put_large": lambda node: node.put_large(LARGE, 2),
    "post": lambda node: node.post(2, {"posted": "yes"}, "p/p"),
    "delete": lambda node: node.delete(2),
}
JOURNALED = ("disk.journal_synced", "disk.named", "disk.acknowledged", "disk.all_synced", "disk.settled")
OF_EACH_CHANGE = [
    point
    for point in ALL
    if point not in (UPLOAD_PIECE, QUARANTINE_RECORD, QUARANTINE_MOVED, REMOVAL_OLDER_GONE)
    and point not in ("disk.journal_synced", "disk.all_synced", "disk.settled")
]


def run_and_die(root: Path, point: str, count: int, scenario: Callable[[Node], Awaitable[object]], *, journal: bool = True) -> bool:
    """Run `scenario` on a node of another process that is killed at the point. Returns whether all of it was acknowledged."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            asyncio.run(_scenario(root, KillAt(ALL, point, count), scenario, writer, journal))
            status = 0
        finally:
            sys.stderr.flush()
            os._exit(status)
    os.close(writer)
    _, status = os.waitpid(pid, 0)
    acknowledged = os.read(reader, 10) == b"ack"
    os.close(reader)
    assert os.WIFSIGNALED(status), f"{point} was never reached"
    assert os.WTERMSIG(status) == signal.SIGKILL
    return acknowledged


async def _scenario(root: Path, points: KillAt, scenario: Callable[[Node], Awaitable[object]], writer: int, journal: bool) -> None:
    node = await Rig(root).node(points=points, journal=journal)
    await scenario(node)
    os.write(writer, b"ack")
    await asyncio.sleep(0.5)  # points after the acknowledgement


async def state(node: Node) -> tuple[Version | None, bytes]:
    try:
        version = (await node.get(inline_max=-1)).version
    except NodeError as error:
        assert error.code is Code.NOT_FOUND
        return None, b""
    return version, await node.read(1 if version.timestamp == at(1) else 2, 0, version.size)


async def read_rows(rig: Rig, node: Node) -> None:
    (updater,) = node.server.workers()
    figures = await updater.run_once()
    assert (figures["pending"], figures["damaged_bytes"]) == (0, 0)


@pytest.mark.parametrize("point", OF_EACH_CHANGE)
@pytest.mark.parametrize("change", CHANGES)
def test_killed_on_the_way_of_a_change(tmp_path: Path, change: str, point: str) -> None:
    async def scenario(node: Node) -> None:
        await node.put(b"old", 1, content_type="o/o")
        await CHANGES[change](node)

    acknowledged = run_and_die(tmp_path, point, 2, scenario, journal=False)
    asyncio.run(check_change(tmp_path, change, acknowledged))


@pytest.mark.parametrize("point", JOURNALED)
@pytest.mark.parametrize("change", ["put", "post", "delete"])
def test_killed_on_the_way_of_a_change_through_the_journal(tmp_path: Path, change: str, point: str) -> None:
    settling = point in ("disk.all_synced", "disk.settled")

    async def scenario(node: Node) -> None:
        await node.put(b"old", 1, content_type="o/o")
        if settling:
            await asyncio.sleep(0.2)  # a checkpoint of the first change comes before the second
        await CHANGES[change](node)

    acknowledged = run_and_die(tmp_path, point, 2, scenario)
    # Rows that the dead process delivered are not in its log any more once the journal is settled.
    asyncio.run(check_change(tmp_path, change, acknowledged, rows=point != "disk.settled"))


async def check_change(root: Path, change: str, acknowledged: bool, *, rows: bool = True) -> None:
    rig = Rig(root)
    node = await rig.node()
    version, body = await state(node)
    old = version is not None and version.timestamp == at(1) and version.meta_timestamp == at(1)
    assert not (old and acknowledged)
    if old:
        assert body == b"old"
    elif change == "delete":
        assert version is None
    else:
        assert version is not None
        assert body == {"put": b"new", "put_large": LARGE, "post": b"old"}[change]
        assert version.user == ({"posted": "yes"} if change == "post" else {})
    await read_rows(rig, node)
    if rows:
        row = rig.rows["obj"]
        assert row.deleted == (version is None)
        if version is not None:
            assert (row.timestamp, row.meta_timestamp, row.size) == (version.timestamp, version.meta_timestamp, len(body))
            assert row.content_type == version.content_type
        else:
            assert row.timestamp == at(2)
    assert list((node.root / "tmp").iterdir()) == []
    await node.put(b"after", 3)
    assert (await node.get()).body == b"after"
    await rig.stop()


@pytest.mark.parametrize("piece", [1, 3])
def test_killed_in_the_middle_of_an_upload(tmp_path: Path, piece: int) -> None:
    async def scenario(node: Node) -> None:
        await node.put_large(LARGE, 1)

    assert not run_and_die(tmp_path, UPLOAD_PIECE, min(piece, 2), scenario)

    async def check() -> None:
        rig = Rig(tmp_path)
        node = await rig.node()
        assert await state(node) == (None, b"")
        assert list((node.root / "tmp").iterdir()) == []
        await rig.stop()

    asyncio.run(check())


@pytest.mark.parametrize("point", [QUARANTINE_RECORD, QUARANTINE_MOVED])
def test_killed_in_the_middle_of_a_quarantine(tmp_path: Path, point: str) -> None:
    async def scenario(node: Node) -> None:
        await node.put(b"body", 1)
        os.truncate(node.data_file(), 1)
        await node.get()

    assert not run_and_die(tmp_path, point, 1, scenario)

    async def check() -> None:
        rig = Rig(tmp_path)
        node = await rig.node()
        moved = point == QUARANTINE_MOVED
        assert node.server.report("d1")[1] == (1 if moved else 0)
        with pytest.raises(NodeError) as caught:
            await node.get()
        assert (caught.value.code, caught.value.timestamp) == (Code.CORRUPT, at(1))
        assert node.server.report("d1")[1] == 1
        assert node.files() == []
        await rig.stop()

    asyncio.run(check())


def test_all_points_are_known() -> None:
    """A point added without a test here fails."""
    assert len(ALL) == len(set(ALL))
    elsewhere = {UPLOAD_PIECE, QUARANTINE_RECORD, QUARANTINE_MOVED, REMOVAL_OLDER_GONE}
    assert set(OF_EACH_CHANGE) | set(JOURNALED) | elsewhere == set(ALL)
