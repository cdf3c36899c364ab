"""How databases of earlier releases become those of this one: statements, frozen as they were when their version came out."""

from collections.abc import Mapping

from objstore.formats.messages import Kind

Migrations = tuple[Mapping[Kind, tuple[str, ...]], ...]

_TO_2 = (
    "ALTER TABLE info ADD COLUMN seq INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE info ADD COLUMN digest BLOB NOT NULL DEFAULT x'00000000000000000000000000000000'",
    "ALTER TABLE info ADD COLUMN live BLOB NOT NULL DEFAULT x'00000000000000000000000000000000'",
    "ALTER TABLE info ADD COLUMN reclaimed INTEGER NOT NULL DEFAULT 0",
    "CREATE TABLE mark (id BLOB PRIMARY KEY, seq INTEGER NOT NULL, used INTEGER NOT NULL) WITHOUT ROWID, STRICT",
    "ALTER TABLE row RENAME TO row_of_1",
)
_NUMBERED = (
    "UPDATE info SET seq = (SELECT count(*) FROM row)",
    "DROP TABLE row_of_1",
    "CREATE INDEX row_seq ON row (seq)",
)
_OBJECT_COLUMNS_OF_1 = "name, timestamp, deleted, size, etag, content_type, type_timestamp, meta_timestamp"
_CONTAINER_COLUMNS_OF_1 = "name, put_timestamp, delete_timestamp, object_count, bytes_used, policy, reported"

MIGRATIONS: Migrations = (
    {
        "container": (
            *_TO_2,
            "CREATE TABLE row (name TEXT PRIMARY KEY, timestamp INTEGER NOT NULL, deleted INTEGER NOT NULL, size INTEGER NOT NULL,"
            " etag TEXT NOT NULL, content_type TEXT NOT NULL, type_timestamp INTEGER NOT NULL, meta_timestamp INTEGER NOT NULL,"
            " delete_at INTEGER NOT NULL, seq INTEGER NOT NULL) WITHOUT ROWID, STRICT",
            f"INSERT INTO row SELECT {_OBJECT_COLUMNS_OF_1}, 0, row_number() OVER (ORDER BY name) FROM row_of_1",  # noqa: S608
            *_NUMBERED,
            "CREATE INDEX row_gone ON row (meta_timestamp) WHERE deleted = 1",
            "CREATE INDEX row_expiring ON row (delete_at) WHERE delete_at > 0 AND deleted = 0",
        ),
        "account": (
            *_TO_2,
            "CREATE TABLE row (name TEXT PRIMARY KEY, put_timestamp INTEGER NOT NULL, delete_timestamp INTEGER NOT NULL,"
            " object_count INTEGER NOT NULL, bytes_used INTEGER NOT NULL, policy INTEGER NOT NULL, reported INTEGER NOT NULL,"
            " seq INTEGER NOT NULL) WITHOUT ROWID, STRICT",
            f"INSERT INTO row SELECT {_CONTAINER_COLUMNS_OF_1}, row_number() OVER (ORDER BY name) FROM row_of_1",  # noqa: S608
            *_NUMBERED,
            "CREATE INDEX row_gone ON row (delete_timestamp) WHERE delete_timestamp >= put_timestamp",
        ),
    },
)
"""MIGRATIONS[n] leads from version n + 1 to n + 2, by kind; the last leads to what `schema.empty_database` makes."""
