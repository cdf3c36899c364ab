"""A database of an earlier release becomes one of this when it is opened, whole or not at all."""

import sqlite3
from pathlib import Path
from typing import Any

import pytest

from objstore.account.store import CONTAINER_ROWS
from objstore.container.store import OBJECT_ROWS
from objstore.formats.messages import Setting, Stats
from objstore.model.rows import ContainerRow, ObjectRow
from objstore.tables import schema
from objstore.tables.database import Database
from objstore.tables.digest import digests_of
from objstore.tables.place import Place
from objstore.tables.recount import count
from objstore.tables.rowkind import RowKind
from objstore.tables.scanning import state_of
from tests.unit.objstore.tables.rig import HASH, NAME, PLACE, device_at, gone, merge, put, rows_of
from tests.unit.objstore.tables.version1 import database_of_1

OBJECTS = [put("a", 1, size=5), put("b", 1, size=7), gone("c", 2)]
CONTAINERS = [ContainerRow("p", 1, 0, 2, 20, 0, 3), ContainerRow("q", 1, 2, 9, 9, 0, 3)]


def objects_of_1(path: Path) -> None:
    rows = [OBJECT_ROWS.pack(row)[:8] for row in OBJECTS]
    database_of_1(path, "container", HASH, NAME, rows, (0, 2, 12), 1)  # type: ignore[arg-type]


def containers_of_1(path: Path) -> None:
    rows = [CONTAINER_ROWS.pack(row) for row in CONTAINERS]
    database_of_1(path, "account", HASH, "/acc", rows, (1, 2, 20), 1)  # type: ignore[arg-type]


def layout(path: str) -> list[tuple[str, str, str]]:
    """All tables, columns and indexes, whatever statement made them."""
    connection = sqlite3.connect(path)
    tables = connection.execute("SELECT type, name, tbl_name FROM sqlite_schema ORDER BY name").fetchall()
    for _, name, _ in list(tables):
        tables += connection.execute('SELECT ?, name, type || "notnull" || pk FROM pragma_table_info(?)', (name, name)).fetchall()
    connection.close()
    return tables


@pytest.mark.parametrize("kind", [OBJECT_ROWS, CONTAINER_ROWS])
def test_a_migrated_database_is_like_a_new_one(tmp_path: Path, kind: RowKind[Any]) -> None:
    old, new = tmp_path / "old.db", tmp_path / "new.db"
    (objects_of_1 if kind is OBJECT_ROWS else containers_of_1)(old)
    new.write_bytes(schema.empty_database(kind, HASH))
    writer = schema.open_writer(str(old), kind)
    assert writer.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert writer.execute("PRAGMA user_version").fetchone() == (schema.VERSION,)
    writer.close()
    assert layout(str(old)) == layout(str(new))


def test_objects_are_kept_numbered_and_summed_up(tmp_path: Path) -> None:
    objects_of_1(tmp_path / "t.db")
    database: Database[ObjectRow] = Database(str(tmp_path / "t.db"), OBJECT_ROWS, HASH)
    state = database.state
    assert rows_of(database) == OBJECTS
    assert (state.stats, state.seq, state.marks, state.reclaimed) == (Stats(0, 2, 12), 3, {}, 0)
    assert state.settings.values == {"user:colour": Setting("blue", 1)}
    assert state.digests == digests_of(OBJECTS)
    assert database.read(lambda c: c.execute("SELECT name, seq FROM row").fetchall()) == [("a", 1), ("b", 2), ("c", 3)]
    database.transact([merge(put("d", 3))])
    assert database.state.seq == 4
    assert database.read(lambda c: count(c, OBJECT_ROWS)).digests == database.state.digests
    database.close()


def test_containers_are_kept_numbered_and_summed_up(tmp_path: Path) -> None:
    containers_of_1(tmp_path / "t.db")
    database: Database[ContainerRow] = Database(str(tmp_path / "t.db"), CONTAINER_ROWS, HASH)
    assert (database.state.stats, database.state.seq) == (Stats(1, 2, 20, {0: (1, 2, 20)}), 2)
    assert database.state.digests == digests_of(CONTAINERS)
    database.close()


async def test_a_scan_meets_a_database_of_an_earlier_release(tmp_path: Path) -> None:
    place = Place(OBJECT_ROWS, PLACE.partition, HASH)
    objects_of_1(tmp_path / place.path)
    async with device_at(tmp_path) as device:
        state = await state_of(device, place)
        assert state is not None
        assert (state.settings.name, state.seq, device.quarantined) == (NAME, 3, 0)


def test_migrations_run_once_in_order_and_all_or_nothing(tmp_path: Path) -> None:
    path = tmp_path / "t.db"
    objects_of_1(path)
    connection = sqlite3.connect(path, isolation_level=None)
    first = schema.MIGRATIONS[0]
    second = {"container": ("ALTER TABLE info ADD COLUMN extra INTEGER NOT NULL DEFAULT 1", "UPDATE info SET extra = extra + 1")}
    third = {"container": ("UPDATE info SET extra = extra * 10", "CREATE TABLE more (x INTEGER) STRICT")}
    schema.migrate(connection, OBJECT_ROWS, (first, second))  # type: ignore[arg-type]
    schema.migrate(connection, OBJECT_ROWS, (first, second, third))  # type: ignore[arg-type]
    schema.migrate(connection, OBJECT_ROWS, (first, second, third))  # type: ignore[arg-type]
    assert connection.execute("SELECT extra FROM info").fetchone() == (20,)
    assert connection.execute("PRAGMA user_version").fetchone() == (4,)
    broken = {"container": ("UPDATE info SET extra = 9", "no SQL at all")}
    with pytest.raises(sqlite3.OperationalError):
        schema.migrate(connection, OBJECT_ROWS, (first, second, third, broken))  # type: ignore[arg-type]
    assert connection.execute("SELECT extra FROM info").fetchone() == (20,)
    assert connection.execute("PRAGMA user_version").fetchone() == (4,)
    connection.close()
