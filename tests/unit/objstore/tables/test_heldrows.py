"""Rows that the journal made durable wait for being written together: nobody sees a difference, and none is lost."""

import asyncio
import dataclasses
import random
import shutil
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from objstore.container.server import ContainerServer
from objstore.container.store import OBJECT_ROWS
from objstore.formats.messages import ListTable, MergeObjectRows, ObjectPage, Query, StatTable, TableInfo
from objstore.model.errors import Code, NodeError
from objstore.model.rows import ObjectRow
from objstore.rpc.interface import CallContext
from objstore.runtime.clock import SystemClock
from objstore.runtime.crashpoints import NoCrashPoints
from objstore.runtime.disk import RealDisk
from objstore.runtime.filesystem import RealFileSystem
from objstore.runtime.interface import Change
from objstore.runtime.journal import open_journal
from objstore.runtime.knobs import Knobs
from objstore.tables import heldrows
from objstore.tables.database import Database
from objstore.tables.device import TableDevice
from objstore.tables.heldrows import note_of
from objstore.tables.reading import read_page
from tests.unit.objstore.tables.rig import HASH, NAME, PLACE, TARGET, gone, merge, put, rows_of, write

KNOBS = Knobs(reserve_bytes_min=1, reserve_percent=0.0, journal_segment_bytes_min=1 << 18, settle_s=600.0)
PEER = CallContext("txn", 1e12, "proxy1")  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is written just because time passes."""
    monkeypatch.setattr(heldrows, "HOLD_S", 600.0)


@asynccontextmanager
async def journaled(root: Path) -> AsyncIterator[TableDevice]:
    fs = RealFileSystem(str(root))
    disk = RealDisk("d1", fs, journal=open_journal(fs, KNOBS, None), knobs=KNOBS)
    device = TableDevice("d1", str(root), disk, SystemClock(), crash=NoCrashPoints())
    device.start()
    await device.rows.take_notes([OBJECT_ROWS])
    try:
        yield device
    finally:
        await device.stop()
        await disk.close()


@pytest.fixture
async def device(tmp_path: Path) -> AsyncIterator[TableDevice]:
    """With the container's database open."""
    (tmp_path / "d1").mkdir()
    async with journaled(tmp_path / "d1") as device:
        await device.apply(PLACE, write("create", 1))
        yield device


@asynccontextmanager
async def after_a_crash(tmp_path: Path) -> AsyncIterator[TableDevice]:
    shutil.copytree(tmp_path / "d1", tmp_path / "again")
    async with journaled(tmp_path / "again") as again:
        yield again


def written(device: TableDevice) -> list[str]:
    """What the database itself has."""
    database = device.peek(PLACE)
    assert database is not None
    return [row.name for row in rows_of(database)]


async def seen(device: TableDevice) -> list[str]:
    """What whoever asks is told."""
    database: Database[object] | None = await device.opened(PLACE, NAME)  # type: ignore[type-var]
    assert database is not None

    def read(connection: sqlite3.Connection) -> list[str]:
        return [name for (name,) in connection.execute("SELECT name FROM row ORDER BY name")]

    return await device.read(PLACE, database, read)


async def test_rows_wait_and_are_seen(device: TableDevice) -> None:
    await device.merge(PLACE, merge(put("a", 2), put("b", 2)))
    await device.merge(PLACE, merge(put("c", 2)))
    assert written(device) == []
    assert await seen(device) == ["a", "b", "c"]
    assert written(device) == ["a", "b", "c"]
    assert device.committer.figures.operations == 2, "created, and written once"


async def test_a_server_tells_of_rows_that_wait(device: TableDevice) -> None:
    server = ContainerServer({"d1": device}, None, SystemClock())  # type: ignore[arg-type]
    await server._merge(MergeObjectRows(TARGET, HASH, NAME, [put("a", 2, 7)]), PEER)
    assert written(device) == []
    info = await server.service._stat(StatTable("container", TARGET, HASH, NAME), PEER)
    assert isinstance(info, TableInfo) and (info.stats.object_count, info.stats.bytes_used) == (1, 7)
    await server._merge(MergeObjectRows(TARGET, HASH, NAME, [gone("a", 3), put("b", 3)]), PEER)
    page = await server.service._list(ListTable("container", TARGET, HASH, NAME, Query(10)), PEER)
    assert isinstance(page, ObjectPage) and [row.name for row in page.rows] == ["b"]


async def test_a_container_with_rows_that_wait_is_not_empty(device: TableDevice) -> None:
    await device.merge(PLACE, merge(put("a", 2)))
    with pytest.raises(NodeError) as refusal:
        await device.apply(PLACE, write("delete", 3))
    assert refusal.value.code is Code.NOT_EMPTY


async def test_rows_that_waited_are_there_after_a_crash(device: TableDevice, tmp_path: Path) -> None:
    await device.merge(PLACE, merge(put("a", 2), put("b", 2)))
    await device.merge(PLACE, merge(gone("b", 3)))
    async with after_a_crash(tmp_path) as again:
        assert await seen(again) == ["a", "b"]
        (_, row) = rows_of(again.peek(PLACE))  # type: ignore[arg-type]
        assert row.deleted


async def test_an_acknowledged_row_is_in_the_journal(device: TableDevice, tmp_path: Path) -> None:
    """Not only in memory: whoever is told of it may lose the rest of the process at once."""
    acknowledged = [f"o{number}" for number in range(40)]
    await asyncio.gather(*(device.merge(PLACE, merge(put(name, 2))) for name in acknowledged))
    async with after_a_crash(tmp_path) as again:
        assert await seen(again) == sorted(acknowledged)


async def test_the_journal_forgets_rows_only_once_they_are_written(device: TableDevice, tmp_path: Path) -> None:
    await device.merge(PLACE, merge(put("a", 2)))
    await device.disk.settle()
    assert written(device) == ["a"]
    await device.merge(PLACE, merge(put("b", 2)))
    async with after_a_crash(tmp_path) as again:
        assert again.disk.take_notes() == []
        assert await seen(again) == ["a", "b"]


async def test_rows_that_come_in_during_a_checkpoint_are_not_put_down(device: TableDevice, tmp_path: Path) -> None:
    async def more() -> None:
        for number in range(200):
            await device.merge(PLACE, merge(put(f"o{number}", 2)))

    coming = asyncio.ensure_future(more())
    checkpoints = 0
    while not coming.done():
        await device.disk.settle()
        await asyncio.sleep(0.001)
        checkpoints += 1
    assert checkpoints > 3 and device.disk.figures.checkpoints > 3
    assert not (tmp_path / "d1/rows").exists()
    async with after_a_crash(tmp_path) as again:
        assert len(await seen(again)) == 200


async def test_notes_that_nobody_took_are_not_forgotten(device: TableDevice, tmp_path: Path) -> None:
    await device.merge(PLACE, merge(put("a", 2)))
    shutil.copytree(tmp_path / "d1", tmp_path / "again")
    fs = RealFileSystem(str(tmp_path / "again"))
    disk = RealDisk("d1", fs, journal=open_journal(fs, KNOBS, None), knobs=KNOBS)
    await disk.settle()
    await disk.close()
    async with journaled(tmp_path / "again") as again:
        assert await seen(again) == ["a"]


async def test_rows_that_could_not_be_written_are_kept(device: TableDevice, monkeypatch: pytest.MonkeyPatch) -> None:
    await device.merge(PLACE, merge(put("a", 2)))
    database = device.peek(PLACE)
    assert database is not None

    def locked(_operations: object) -> None:
        error = sqlite3.OperationalError("database is locked")
        error.sqlite_errorcode, error.sqlite_errorname = sqlite3.SQLITE_BUSY, "SQLITE_BUSY"
        raise error

    monkeypatch.setattr(database, "transact", locked)
    with pytest.raises(NodeError):
        await seen(device)
    monkeypatch.undo()
    assert await seen(device) == ["a"]


@pytest.fixture
def locked(device: TableDevice) -> Iterator[None]:
    """Another process writes to the database, for long."""
    other = sqlite3.connect(device.path_of(PLACE), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    yield
    other.execute("ROLLBACK")
    other.close()


async def test_rows_of_a_locked_database_are_put_down(
    device: TableDevice, locked: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The journal goes on without them, and they come back after a crash."""
    monkeypatch.setattr(heldrows, "WRITTEN_TIMEOUT_S", 0.5)
    await device.merge(PLACE, merge(put("a", 2), put("b", 2)))
    await device.merge(PLACE, merge(gone("b", 3)))
    await device.disk.settle()
    assert device.disk.figures.checkpoints == 1
    assert written(device) == []
    async with after_a_crash(tmp_path) as again:
        assert again.disk.take_notes() == [], "the journal has forgotten them"
        assert await seen(again) == ["a", "b"]
        await again.merge(PLACE, merge(put("c", 4)))
        await again.disk.settle()
        assert not (tmp_path / "again/rows/held").exists()


async def test_rows_put_down_are_written_in_the_end(device: TableDevice, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heldrows, "WRITTEN_TIMEOUT_S", 0.5)
    other = sqlite3.connect(device.path_of(PLACE), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    await device.merge(PLACE, merge(put("a", 2)))
    await device.disk.settle()
    other.execute("ROLLBACK")
    other.close()
    await device.merge(PLACE, merge(put("b", 2)))
    await device.disk.settle()
    assert written(device) == ["a", "b"]
    assert not (tmp_path / "d1/rows/held").exists()


async def test_a_damaged_file_of_rows_is_told_and_passed_over(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "d1/rows").mkdir(parents=True)
    (tmp_path / "d1/rows/held").write_bytes(b"0000damaged")
    async with journaled(tmp_path / "d1") as device:
        await device.apply(PLACE, write("create", 1))
    assert "cannot be read" in caplog.text


async def test_too_many_rows_are_written_at_once(device: TableDevice, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heldrows, "ROWS_MAX", 5)
    await device.merge(PLACE, merge(*(put(f"o{number}", 2) for number in range(5))))
    await device.merge(PLACE, merge(put("p", 2)))
    assert len(written(device)) == 6


async def test_a_database_that_is_not_open_is_opened_for_its_rows(tmp_path: Path) -> None:
    (tmp_path / "d1").mkdir()
    async with journaled(tmp_path / "d1") as device:
        await device.merge(PLACE, merge(put("a", 2)))
        assert written(device) == ["a"]


async def test_time_writes_them_too(device: TableDevice, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heldrows, "HOLD_S", 0.01)
    await device.merge(PLACE, merge(put("a", 2)))
    for _ in range(200):
        if written(device):
            break
        await asyncio.sleep(0.01)
    assert written(device) == ["a"]


async def test_an_orderly_end_writes_them(tmp_path: Path) -> None:
    (tmp_path / "d1").mkdir()
    async with journaled(tmp_path / "d1") as device:
        await device.apply(PLACE, write("create", 1))
        await device.merge(PLACE, merge(put("a", 2)))
    fs = RealFileSystem(str(tmp_path / "d1"))
    journal = open_journal(fs, KNOBS, None)
    assert journal is not None and journal.notes == []
    async with journaled(tmp_path / "d1") as again:
        assert await seen(again) == ["a"]


async def test_a_locked_database_is_listed_with_the_rows_that_wait(device: TableDevice, monkeypatch: pytest.MonkeyPatch) -> None:
    await device.merge(PLACE, merge(put("b", 2), put("d", 2)))
    assert await seen(device) == ["b", "d"]
    server = ContainerServer({"d1": device}, None, SystemClock())  # type: ignore[arg-type]
    path = device.path_of(PLACE)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        await device.merge(PLACE, merge(put("a", 3), gone("b", 3), put("d", 3, 9)))
        page = await server.service._list(ListTable("container", TARGET, HASH, NAME, Query(10)), PEER)
        assert isinstance(page, ObjectPage)
        assert [(row.name, row.size) for row in page.rows if isinstance(row, ObjectRow)] == [("a", 1), ("d", 9)]
        assert page.table == b""
        again = await server.service._list(ListTable("container", TARGET, HASH, NAME, Query(10), True, table_only=True), PEER)
        assert isinstance(again, ObjectPage)
        assert (again.rows, again.digest, again.table) == ([], page.digest, b""), "its table alone would say too little"
        assert isinstance(await server.service._stat(StatTable("container", TARGET, HASH, NAME), PEER), TableInfo)
    finally:
        other.execute("ROLLBACK")
        other.close()
    assert await seen(device) == ["a", "b", "d"]


async def test_rows_that_wait_are_in_the_digest_of_the_table(device: TableDevice) -> None:
    server = ContainerServer({"d1": device}, None, SystemClock())  # type: ignore[arg-type]
    question = ListTable("container", TARGET, HASH, NAME, Query(10), True, table_only=True)
    told = []
    for rows in ([put("a", 2)], [put("b", 2)], [gone("b", 3)]):
        await device.merge(PLACE, merge(*rows))
        page = await server.service._list(question, PEER)
        assert isinstance(page, ObjectPage) and not page.digest
        full = await server.service._list(ListTable("container", TARGET, HASH, NAME, Query(10)), PEER)
        assert isinstance(full, ObjectPage) and full.table == page.table
        told.append(page.table)
    assert len({b"", *told}) == 4


QUERIES = [
    Query(limit, marker, end, prefix, delimiter, reverse)
    for limit in (1, 3, 100)
    for marker, end in (("", ""), ("b", ""), ("", "m"), ("c/", "x"))
    for prefix, delimiter in (("", ""), ("", "/"), ("c/", "/"), ("c/d", ""))
    for reverse in (False, True)
]


@pytest.mark.parametrize("seed", range(12))
async def test_rows_that_wait_are_listed_as_if_they_were_written(device: TableDevice, tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    names = ["a", "b", "c", "c/", "c/a", "c/d", "c/d/e", "c/e", "d", "m", "x/1", "x/2", "z", "\U0001f600"]
    row = lambda name, second: (gone if rng.random() < 0.3 else put)(name, second)  # noqa: E731
    written_rows = [row(name, 2) for name in rng.sample(names, rng.randrange(len(names)))]
    held = [row(name, rng.choice((1, 3))) for name in rng.sample(names, rng.randrange(1, len(names)))]
    await device.apply(PLACE, merge(*written_rows))
    database = device.peek(PLACE)
    assert database is not None
    before = [
        database.read(lambda c, q=query, r=raw: read_page(c, OBJECT_ROWS, q, raw=r, held=held))  # type: ignore[misc]
        for query in QUERIES
        for raw in (False, True)
    ]
    await device.apply(PLACE, merge(*held))
    after = [
        database.read(lambda c, q=query, r=raw: read_page(c, OBJECT_ROWS, q, raw=r))  # type: ignore[misc]
        for query in QUERIES
        for raw in (False, True)
    ]
    assert {page.table for page in before} == {b""}, "of what nobody has as a table yet"
    assert [dataclasses.replace(page, table=b"") for page in after] == before


async def test_rows_that_come_in_too_late_are_left_to_the_journal(device: TableDevice, tmp_path: Path) -> None:
    """Their change was under way when the device was stopped, and is durable: whoever tells so must not fail."""
    names = [f"o{number:04d}" for number in range(600)]
    database = device.peek(PLACE)
    assert database is not None
    note = device.rows.note(PLACE, NAME, [put(name, 2) for name in names], database)
    await device.stop()
    if note is None:  # too long for one note: as many as go into it
        names = names[: len(names) // 4]
        note = note_of(PLACE, NAME, [put(name, 2) for name in names])
    await device.disk.commit(Change(note.path, b"", note=note.record))
    for name in names * 5:
        device.rows.hold(PLACE, NAME, [put(name, 2)])
    await device.disk.close()
    async with after_a_crash(tmp_path) as again:
        assert await seen(again) == names
