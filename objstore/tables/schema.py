"""The schema of account and container databases, its versions, and how a connection is set up.

A database is one SQLite file in WAL mode. `synchronous=FULL` makes each commit durable before it returns: WAL with NORMAL loses
every commit since the last checkpoint when power fails, and so does a rollback journal the last one.
"""

import sqlite3
import sys
from typing import TypeVar

from objstore.model.listing import Listed
from objstore.tables.migrations import MIGRATIONS, Migrations
from objstore.tables.recount import count, write_count
from objstore.tables.rowkind import RowKind

APPLICATION_ID = 0x6F626A73  # "objs": tells `file` and us that the database is ours
BUSY_TIMEOUT_S = 0.25
PAGE_BYTES = 4096
WRITER_CACHE_KIB = 1024
READER_CACHE_KIB = 256
WAL_BYTES_MAX = PAGE_BYTES * 1000
"""A write-ahead log that has grown beyond it is moved into the database; what is written then begins it anew, at this length."""
STATEMENTS_CACHED = 64
LATER_VERSION_MAX = 1000
"""A version beyond it is no later release's but damage."""

R = TypeVar("R", bound=Listed)

VERSION = 1 + len(MIGRATIONS)

_SHARED = """
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
    reported TEXT NOT NULL DEFAULT 'null',
    seq INTEGER NOT NULL DEFAULT 0,
    digest BLOB NOT NULL DEFAULT x'00000000000000000000000000000000',
    live BLOB NOT NULL DEFAULT x'00000000000000000000000000000000',
    reclaimed INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE TABLE setting (key TEXT PRIMARY KEY, value TEXT NOT NULL, timestamp INTEGER NOT NULL) WITHOUT ROWID, STRICT;
CREATE TABLE stat (
    policy INTEGER PRIMARY KEY,
    containers INTEGER NOT NULL,
    objects INTEGER NOT NULL,
    bytes INTEGER NOT NULL
) STRICT;
CREATE TABLE mark (id BLOB PRIMARY KEY, seq INTEGER NOT NULL, used INTEGER NOT NULL) WITHOUT ROWID, STRICT;
"""
"""`info.seq` counts changes of rows: each row carries the number of its last one, so that "changed since" is a range of an
index. `digest` and `live` are sums over all rows and over the live ones (see `digest.py`), `reclaimed` is the timestamp below
which tombstones were forgotten. `mark` says how far another database's changes were received: its id, its `seq`, and an order of
use.
"""


class WrongSchema(Exception):
    """The file is a database, but not one this program can work with; one plain line says why."""


class ForeignContents(Exception):
    """A sound SQLite file holds what this program cannot have written."""


class OldSchema(WrongSchema):
    """Of an earlier release: it can be used once a writer has opened it."""


def empty_database(kind: RowKind[R], hash_: bytes) -> bytes:
    """The bytes of a database of this kind that holds nothing, in WAL mode. It has an id of its own, and knows the hash that
    its file is named by: one that turns up in another's place is found out.
    """
    connection = sqlite3.connect(":memory:", isolation_level=None)
    try:
        connection.execute(f"PRAGMA page_size={PAGE_BYTES}")
        connection.executescript(_SHARED)
        for statement in row_statements(kind):
            connection.execute(statement)
        connection.execute("INSERT INTO info (one, id, kind, hash) VALUES (1, randomblob(16), ?, ?)", (kind.kind, hash_))
        connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version={VERSION}")
        image = bytearray(connection.serialize())
    finally:
        connection.close()
    # A database in memory cannot be in WAL mode. The two bytes at 18 say it: SQLite's file format, section 1.3.3.
    image[18:20] = b"\x02\x02"
    return bytes(image)


def row_statements(kind: RowKind[R]) -> tuple[str, ...]:
    """What makes the table of rows and its indexes."""
    return (
        f"CREATE TABLE row ({', '.join(kind.columns)}, seq INTEGER NOT NULL) WITHOUT ROWID, STRICT",
        "CREATE INDEX row_seq ON row (seq)",
        f"CREATE INDEX row_gone ON row ({kind.gone.column}) WHERE {kind.gone.where}",
        *kind.indexes,
    )


def open_writer(path: str, kind: RowKind[R]) -> sqlite3.Connection:
    """The connection that writes; one per database. A database of an earlier release becomes one of this.

    Raises sqlite3.Error, WrongSchema, ForeignContents.
    """
    connection = _connect(path, WRITER_CACHE_KIB)
    try:
        mode = connection.execute("PRAGMA journal_mode=WAL").fetchone()[0]
        if mode != "wal":
            raise WrongSchema(f"journal mode {mode}")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA wal_autocheckpoint=0")  # those of SQLite itself say nothing of a failed sync
        connection.execute(f"PRAGMA journal_size_limit={WAL_BYTES_MAX}")
        migrate(connection, kind)
    except BaseException:
        connection.close()
        raise
    return connection


def open_reader(path: str) -> sqlite3.Connection:
    """A connection that only reads. Raises sqlite3.Error, WrongSchema, OldSchema, ForeignContents."""
    connection = _connect(path, READER_CACHE_KIB)
    try:
        connection.execute("PRAGMA query_only=ON")
        if check_version(connection, VERSION) < VERSION:
            raise OldSchema("a database of an earlier release")
    except BaseException:
        connection.close()
        raise
    return connection


def leave_log(connection: sqlite3.Connection) -> None:
    """Have SQLite not move the write-ahead log when this connection closes last. Python 3.11 has no way to say so."""
    if sys.version_info >= (3, 12):
        connection.setconfig(sqlite3.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, True)


def check_version(connection: sqlite3.Connection, newest: int) -> int:
    """The version of the database's schema. Raises WrongSchema for a later release's, ForeignContents for a stranger's (an
    empty file is one), sqlite3.Error.
    """
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    if application != APPLICATION_ID or not 1 <= version <= LATER_VERSION_MAX:
        raise ForeignContents(f"application id {application:#x}, schema version {version}")
    if version > newest:
        raise WrongSchema(f"schema version {version}, this program knows {newest}")
    return version


def migrate(connection: sqlite3.Connection, kind: RowKind[R], migrations: Migrations = MIGRATIONS) -> None:
    """Bring an older schema up to date in one transaction. Raises WrongSchema, ForeignContents, sqlite3.Error.

    Digests follow the form of a row, so they are made anew.
    """
    newest = 1 + len(migrations)
    version = check_version(connection, newest)
    if version == newest:
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        for statements in migrations[version - 1 :]:
            for statement in statements[kind.kind]:
                connection.execute(statement)
        write_count(connection, count(connection, kind))
        connection.execute(f"PRAGMA user_version={newest}")
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise


def _connect(path: str, cache_kib: int) -> sqlite3.Connection:
    # check_same_thread: a connection is used by one thread at a time, not always by the same.
    connection = sqlite3.connect(
        f"file:{quoted(path)}?mode=rw",
        uri=True,
        timeout=BUSY_TIMEOUT_S,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=STATEMENTS_CACHED,
    )
    try:
        connection.execute("PRAGMA trusted_schema=OFF")
        connection.execute("PRAGMA cell_size_check=ON")
        connection.execute("PRAGMA recursive_triggers=OFF")
        connection.execute(f"PRAGMA cache_size=-{cache_kib}")
    except BaseException:
        connection.close()
        raise
    return connection


def quoted(path: str) -> str:
    """A path as it must stand in an SQLite URI (RFC 3986 escapes for the three characters that would end it)."""
    return path.replace("%", "%25").replace("?", "%3f").replace("#", "%23")
