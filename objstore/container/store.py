"""The rows of a container's database: its objects."""

from collections.abc import Iterable, Sequence

import msgspec

from objstore.model.rows import ObjectRow, merge_object_rows
from objstore.tables.rowkind import Gone, RowKind, SqlValue, Tally

COLUMNS = (
    "name TEXT PRIMARY KEY",
    "timestamp INTEGER NOT NULL",
    "deleted INTEGER NOT NULL",
    "size INTEGER NOT NULL",
    "etag TEXT NOT NULL",
    "content_type TEXT NOT NULL",
    "type_timestamp INTEGER NOT NULL",
    "meta_timestamp INTEGER NOT NULL",
    "delete_at INTEGER NOT NULL",
)


def _unpack(rows: Iterable[tuple[SqlValue, ...]]) -> list[ObjectRow]:
    rows = list(rows)
    try:
        return msgspec.convert(rows, list[ObjectRow], strict=False)  # a third of the price of calling ObjectRow
    except msgspec.ValidationError:  # a mark of deletion that is neither 0 nor 1, which nobody here writes
        return [
            ObjectRow(name, timestamp, deleted == 1, *rest)  # type: ignore[arg-type]
            for name, timestamp, deleted, *rest in rows
        ]


def _normal(row: ObjectRow) -> ObjectRow:
    if row.type_timestamp >= row.timestamp and row.meta_timestamp >= row.timestamp:
        return row
    return merge_object_rows(row, row)


def _weigh(rows: Sequence[ObjectRow]) -> Tally:
    return {0: (0, len(rows), sum([row.size for row in rows]))}


def _died(row: ObjectRow) -> int:
    return max(row.timestamp, row.meta_timestamp)


OBJECT_ROWS: RowKind[ObjectRow] = RowKind(
    "container",
    "containers",
    ObjectRow,
    COLUMNS,
    ("CREATE INDEX row_expiring ON row (delete_at) WHERE delete_at > 0 AND deleted = 0",),
    Gone("meta_timestamp", "deleted = 1", _died),
    msgspec.structs.astuple,
    _unpack,
    merge_object_rows,
    _normal,
    _weigh,
    "json_array(name, timestamp, deleted, size, etag, content_type, type_timestamp, meta_timestamp, delete_at)",
)
