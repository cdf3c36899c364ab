"""The files that databases are, and the settings that make their commits durable."""

import sqlite3
from pathlib import Path
from typing import Any

import pytest

from objstore.account.store import CONTAINER_ROWS
from objstore.container.store import OBJECT_ROWS
from objstore.tables import schema
from objstore.tables.rowkind import RowKind
from tests.unit.objstore.tables.rig import HASH


def made(tmp_path: Path, image: bytes | None = None) -> str:
    path = tmp_path / "a?b#c%41.db"
    path.write_bytes(schema.empty_database(OBJECT_ROWS, HASH) if image is None else image)
    return str(path)


def value(connection: sqlite3.Connection, pragma: str) -> object:
    return connection.execute(f"PRAGMA {pragma}").fetchone()[0]


def test_each_commit_is_durable(tmp_path: Path) -> None:
    writer = schema.open_writer(made(tmp_path), OBJECT_ROWS)
    assert value(writer, "journal_mode") == "wal"
    assert value(writer, "synchronous") == 2  # FULL
    assert value(writer, "page_size") == schema.PAGE_BYTES
    assert value(writer, "recursive_triggers") == 0
    assert value(writer, "trusted_schema") == 0
    assert value(writer, "wal_autocheckpoint") == 0
    writer.close()


def test_a_new_database_is_sound_and_unborn(tmp_path: Path) -> None:
    kinds: tuple[RowKind[Any], ...] = (OBJECT_ROWS, CONTAINER_ROWS)
    for kind in kinds:
        image = schema.empty_database(kind, HASH)
        writer = schema.open_writer(made(tmp_path, image), kind)
        assert value(writer, "integrity_check") == "ok"
        assert writer.execute("SELECT kind, put_timestamp, name FROM info").fetchall() == [(kind.kind, 0, "")]
        assert writer.execute("SELECT * FROM row").fetchall() == []
        writer.close()


def test_each_database_has_an_id_of_its_own(tmp_path: Path) -> None:
    ids = set()
    for _ in range(2):
        writer = schema.open_writer(made(tmp_path), OBJECT_ROWS)
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
        schema.open_writer(str(tmp_path / "none.db"), OBJECT_ROWS)
    assert list(tmp_path.iterdir()) == []


def test_a_later_release_is_refused_and_a_stranger_found_out(tmp_path: Path) -> None:
    path = made(tmp_path)
    set_version(path, schema.VERSION + 1)
    for opening in (lambda: schema.open_writer(path, OBJECT_ROWS), lambda: schema.open_reader(path)):
        with pytest.raises(schema.WrongSchema, match="version"):
            opening()
    set_version(path, 1 << 24 | schema.VERSION)  # a bit that flipped
    with pytest.raises(schema.ForeignContents):
        schema.open_reader(path)
    stranger = str(tmp_path / "stranger.db")
    sqlite3.connect(stranger).execute("CREATE TABLE t (x)")
    empty = tmp_path / "empty.db"
    empty.write_bytes(b"")
    for odd in (stranger, str(empty)):
        with pytest.raises(schema.ForeignContents):
            schema.open_writer(odd, OBJECT_ROWS)


def set_version(path: str, version: int) -> None:
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA user_version={version}")
    connection.close()
