"""The rows of an account's database: its containers, with what each last said of its contents."""

from collections.abc import Iterable

import msgspec

from objstore.model.rows import ContainerRow, merge_container_rows
from objstore.tables.rowkind import RowKind, SqlValue, Weight

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


def _weigh(row: ContainerRow) -> Weight:
    return Weight(row.policy, 1, row.object_count, row.bytes_used)


CONTAINER_ROWS: RowKind[ContainerRow] = RowKind(
    "account", "accounts", COLUMNS, msgspec.structs.astuple, _unpack, merge_container_rows, _normal, _weigh
)
