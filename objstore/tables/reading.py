"""Reads one page of a listing from a database."""

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import msgspec
import xxhash

from objstore.formats.messages import Query
from objstore.model.listing import Listed, Page, Span
from objstore.model.rows import Subdir
from objstore.tables.rowkind import RowKind

BATCH_ROWS_MAX = 128
FOLDING_BATCH_ROWS = 32
PAGE_ROWS_LOOKED_AT_MAX = 50_000
PAGE_BYTES_MAX = 1_800_000  # with one more of the longest rows it still fits one node message (Knobs.packet_bytes_max)
ROW_BYTES_MAX = 20_000  # a name of 1024 bytes, a content type as long as an HTTP field, in JSON

EMPTY_DIGEST = xxhash.xxh3_128_digest(b"")
"""Of a page that looked at no row; a missing database has it too."""

R = TypeVar("R", bound=Listed)
_encode_lines = msgspec.json.Encoder().encode_lines


@dataclass(frozen=True, slots=True)
class PageRead(Generic[R]):
    """`until`, `digest` and `table` as in ObjectPage. A page may end before its limit is reached: at PAGE_BYTES_MAX, or after
    PAGE_ROWS_LOOKED_AT_MAX rows (of a table full of tombstones); `until` then says where to go on.
    """

    rows: list[R | Subdir]
    digest: bytes
    until: str
    table: bytes


def read_page(
    connection: sqlite3.Connection,
    kind: RowKind[R],
    query: Query,
    *,
    raw: bool = False,
    rows_max: int = PAGE_ROWS_LOOKED_AT_MAX,
    held: Sequence[R] = (),
) -> PageRead[R]:
    """Of what the database has, and of rows `held` that it has not taken in yet. Blocking. Raises sqlite3.Error.

    The digest is xxh3-128 over one line of JSON for each row looked at: what the page follows from (see `model.listing`).
    """
    connection.execute("BEGIN")  # so that all is of one moment
    try:
        table = b"" if held else connection.execute("SELECT digest FROM info").fetchone()[0]
        return _read(connection, kind, Page(query, raw=raw), query, rows_max, held, table)
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def _read(
    connection: sqlite3.Connection,
    kind: RowKind[R],
    page: Page[R],
    query: Query,
    rows_max: int,
    held: Sequence[R],
    table: bytes,
) -> PageRead[R]:
    digest = xxhash.xxh3_128()
    looked_at = size = 0
    while (span := page.span) is not None and looked_at < rows_max and size < PAGE_BYTES_MAX:
        cursor = connection.execute(*_statement(kind, span, query.reverse))
        merged = _Merged(cursor, kind, span, held, query.reverse) if held else None
        try:
            while True:
                fit = 1 + (PAGE_BYTES_MAX - size) // ROW_BYTES_MAX
                wanted = min(page.room, rows_max - looked_at, fit, FOLDING_BATCH_ROWS if query.delimiter else BATCH_ROWS_MAX)
                rows = kind.unpack(cursor.fetchmany(wanted)) if merged is None else merged.fetch(wanted)
                seen = page.look(rows)
                lines = _encode_lines(seen)
                digest.update(lines)
                looked_at += len(seen)
                size += len(lines)
                if len(rows) < wanted and page.span is not None and not page.jumped:
                    page.end()
                if page.span is None or page.jumped or looked_at >= rows_max or size >= PAGE_BYTES_MAX:
                    break
        finally:
            cursor.close()  # an open statement would keep the write-ahead log from being reset
    return PageRead(page.items, digest.digest(), page.until, table)


class _Merged(Generic[R]):
    """Rows of a cursor and others, in one order of names."""

    def __init__(self, cursor: sqlite3.Cursor, kind: RowKind[R], span: Span, held: Sequence[R], reverse: bool) -> None:
        self._cursor = cursor
        self._kind = kind
        self._sign = -1 if reverse else 1
        self._held = sorted((row for row in held if row.name in span), key=lambda row: row.name, reverse=not reverse)  # a stack
        self._read: list[R] = []

    def fetch(self, count: int) -> list[R]:
        """As fetchmany."""
        if len(self._read) < count:
            self._read += self._kind.unpack(self._cursor.fetchmany(count - len(self._read)))
        found: list[R] = []
        ended, at = len(self._read) < count, 0
        while len(found) < count and (at < len(self._read) or (ended and self._held)):
            if not self._held or (at < len(self._read) and self._comes_first(self._read[at], self._held[-1])):
                found.append(self._read[at])
                at += 1
            elif at < len(self._read) and self._read[at].name == self._held[-1].name:
                found.append(self._kind.merge(self._read[at], self._held.pop()))
                at += 1
            else:
                found.append(self._kind.normal(self._held.pop()))
        del self._read[:at]
        return found

    def _comes_first(self, row: R, other: R) -> bool:
        return row.name < other.name if self._sign > 0 else row.name > other.name


def _statement(kind: RowKind[R], span: Span, reverse: bool) -> tuple[str, list[str]]:
    columns = ", ".join(kind.column_names)
    where, values = f"name {'>=' if span.inclusive else '>'} ?", [span.low]
    if span.high is not None:
        where += " AND name < ?"
        values.append(span.high)
    return f"SELECT {columns} FROM row WHERE {where} ORDER BY name {'DESC' if reverse else 'ASC'}", values  # noqa: S608
