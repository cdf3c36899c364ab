"""The rows of an account's database: its containers, with what each last said of its contents."""

from collections.abc import Iterable, Sequence

import msgspec

from objstore.model.rows import ContainerRow, merge_container_rows
from objstore.tables.rowkind import Gone, RowKind, SqlValue, Tally

COLUMNS = (
    "name TEXT PRIMARY KEY",
    "put_timestamp INTEGER NOT NULL",
    "delete_timestamp INTEGER NOT NULL",
    "object_count INTEGER NOT NULL",
    "bytes_used INTEGER NOT NULL",
    "policy INTEGER NOT NULL",
    "reported INTEGER NOT NULL",
)


def _unpack(rows: Iterable[tuple[SqlValue, ...]]) -> list[ContainerRow]:
    return [ContainerRow(*row) for row in rows]  # type: ignore[arg-type]


def _normal(row: ContainerRow) -> ContainerRow:
    return row


def _weigh(rows: Sequence[ContainerRow]) -> Tally:
    tally: Tally = {}
    for row in rows:
        containers, objects, size = tally.get(row.policy, (0, 0, 0))
        tally[row.policy] = (containers + 1, objects + row.object_count, size + row.bytes_used)
    return tally


def _died(row: ContainerRow) -> int:
    return row.delete_timestamp


CONTAINER_ROWS: RowKind[ContainerRow] = RowKind(
    "account",
    "accounts",
    ContainerRow,
    COLUMNS,
    (),
    Gone("delete_timestamp", "delete_timestamp >= put_timestamp", _died),
    msgspec.structs.astuple,
    _unpack,
    merge_container_rows,
    _normal,
    _weigh,
)
