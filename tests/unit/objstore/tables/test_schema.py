"""The files that databases are, and the settings that make their commits durable."""

import sqlite3
from pathlib import Path

import pytest

from objstore.account.store import CONTAINER_ROWS
from objstore.container.store import OBJECT_ROWS
from objstore.tables import schema
from tests.unit.objstore.tables.rig import HASH


def made(tmp_path: Path, image: bytes | None = None) -> str:
    path = tmp_path / "a?b#c%41.db"
    path.write_bytes(schema.empty_database(OBJECT_ROWS, HASH) if image is None else image)
    return str(path)


def value(connection: sqlite3.Connection, pragma: str) -> object:
    return connection.execute(f"PRAGMA {pragma}").fetchone()[0]


def test_each_commit_is_durable(tmp_path: Path) -> None:
    writer = schema.open_writer(made(tmp_path))
    assert value(writer, "journal_mode") == "wal"
    assert value(writer, "synchronous") == 2  # FULL
    assert value(writer, "page_size") == schema.PAGE_BYTES
    assert value(writer, "recursive_triggers") == 0
    assert value(writer, "trusted_schema") == 0
    assert value(writer, "wal_autocheckpoint") == schema.CHECKPOINT_PAGES
    writer.close()


def test_a_new_database_is_sound_and_unborn(tmp_path: Path) -> None:
    images = {"container": schema.empty_database(OBJECT_ROWS, HASH), "account": schema.empty_database(CONTAINER_ROWS, HASH)}
    for kind, image in images.items():
        writer = schema.open_writer(made(tmp_path, image))
        assert value(writer, "integrity_check") == "ok"
        assert writer.execute("SELECT kind, put_timestamp, name FROM info").fetchall() == [(kind, 0, "")]
        assert writer.execute("SELECT * FROM row").fetchall() == []
        writer.close()


def test_each_database_has_an_id_of_its_own(tmp_path: Path) -> None:
    ids = set()
    for _ in range(2):
        writer = schema.open_writer(made(tmp_path))
        ids.add(writer.execute("SELECT id FROM info").fetchone()[0])
        writer.close()
    assert len(ids) == 2


def test_a_reader_cannot_write(tmp_path: Path) -> None:
    path = made(tmp_path)
    reader = schema.open_reader(path)
    with pytest.raises(sqlite3.OperationalError):
        reader.execute("UPDATE info SET name = 'x'")
    reader.close()


def test_a_missing_file_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(sqlite3.OperationalError):
        schema.open_writer(str(tmp_path / "none.db"))
    assert list(tmp_path.iterdir()) == []


def test_strangers_and_later_versions_are_refused(tmp_path: Path) -> None:
    path = made(tmp_path)
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA user_version={schema.VERSION + 1}")
    connection.close()
    with pytest.raises(schema.WrongSchema, match="version"):
        schema.open_writer(path)
    stranger = str(tmp_path / "stranger.db")
    sqlite3.connect(stranger).execute("CREATE TABLE t (x)")
    with pytest.raises(schema.WrongSchema, match="application"):
        schema.open_writer(stranger)


def test_migrations_run_once_in_order_and_all_or_nothing(tmp_path: Path) -> None:
    connection = sqlite3.connect(made(tmp_path), isolation_level=None)
    first = ("ALTER TABLE info ADD COLUMN extra INTEGER NOT NULL DEFAULT 1",)
    second = ("UPDATE info SET extra = extra + 1", "CREATE TABLE more (x INTEGER) STRICT")
    schema.migrate(connection, (first,))
    schema.migrate(connection, (first, second))
    schema.migrate(connection, (first, second))
    assert connection.execute("SELECT extra FROM info").fetchone() == (2,)
    assert value(connection, "user_version") == 3
    with pytest.raises(sqlite3.OperationalError):
        schema.migrate(connection, (first, second, ("UPDATE info SET extra = 9", "no SQL at all")))
    assert connection.execute("SELECT extra FROM info").fetchone() == (2,)
    assert value(connection, "user_version") == 3
    connection.close()
