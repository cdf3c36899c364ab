"""Databases as the first release made them: its own statements."""

import sqlite3
from pathlib import Path

from objstore.formats.messages import Kind

_SHARED = """
PRAGMA page_size=4096;
CREATE TABLE info (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    id BLOB NOT NULL,
    kind TEXT NOT NULL,
    hash BLOB NOT NULL,
    name TEXT NOT NULL DEFAULT '',
    put_timestamp INTEGER NOT NULL DEFAULT 0,
    delete_timestamp INTEGER NOT NULL DEFAULT 0,
    policy INTEGER NOT NULL DEFAULT 0,
    created_timestamp INTEGER NOT NULL DEFAULT 0,
    base_timestamp INTEGER NOT NULL DEFAULT 0,
    parent TEXT NOT NULL DEFAULT 'null',
    reported TEXT NOT NULL DEFAULT 'null'
) STRICT;
CREATE TABLE setting (key TEXT PRIMARY KEY, value TEXT NOT NULL, timestamp INTEGER NOT NULL) WITHOUT ROWID, STRICT;
CREATE TABLE stat (
    policy INTEGER PRIMARY KEY,
    containers INTEGER NOT NULL,
    objects INTEGER NOT NULL,
    bytes INTEGER NOT NULL
) STRICT;
"""
_ROWS = {
    "container": "CREATE TABLE row (name TEXT PRIMARY KEY, timestamp INTEGER NOT NULL, deleted INTEGER NOT NULL,"
    " size INTEGER NOT NULL, etag TEXT NOT NULL, content_type TEXT NOT NULL, type_timestamp INTEGER NOT NULL,"
    " meta_timestamp INTEGER NOT NULL) WITHOUT ROWID, STRICT",
    "account": "CREATE TABLE row (name TEXT PRIMARY KEY, put_timestamp INTEGER NOT NULL, delete_timestamp INTEGER NOT NULL,"
    " object_count INTEGER NOT NULL, bytes_used INTEGER NOT NULL, policy INTEGER NOT NULL, reported INTEGER NOT NULL)"
    " WITHOUT ROWID, STRICT",
}


def database_of_1(
    path: Path, kind: Kind, hash_: bytes, name: str, rows: list[tuple[str | int, ...]], stat: tuple[int, int, int], put: int
) -> None:
    """A database with these rows; `stat` says what they sum up to, under policy 0."""
    path.parent.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(path, isolation_level=None)
    connection.executescript(_SHARED)
    connection.execute(_ROWS[kind])
    connection.execute(
        "INSERT INTO info (one, id, kind, hash, name, put_timestamp, created_timestamp) VALUES (1, randomblob(16), ?, ?, ?, ?, ?)",
        (kind, hash_, name, put, put),
    )
    connection.execute("INSERT INTO setting VALUES ('user:colour', 'blue', ?)", (put,))
    connection.execute("INSERT INTO stat VALUES (0, ?, ?, ?)", stat)
    connection.execute("BEGIN")
    connection.executemany(f"INSERT INTO row VALUES ({','.join('?' * len(rows[0]))})", rows)
    connection.execute("COMMIT")
    connection.execute("PRAGMA application_id=1868720755")
    connection.execute("PRAGMA user_version=1")
    connection.execute("PRAGMA journal_mode=WAL")
    connection.close()
