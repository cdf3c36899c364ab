"""Pages of a listing without a delimiter, made by SQLite itself: one row comes back, the page as JSON.

To step through a thousand rows gives up the interpreter lock a thousand times, and makes a thousand objects for a replica that was
asked for a digest only.
"""

import sqlite3
from typing import Any, NamedTuple

import xxhash

from objstore.formats.messages import Query
from objstore.model.listing import Span, span_of
from objstore.tables.reading import EMPTY_DIGEST, PAGE_BYTES_MAX
from objstore.tables.rowkind import RowKind

ROUNDS_MAX = 8
"""So many times it is looked for rows in the place of deleted ones."""


class PlainPage(NamedTuple):
    """`packed`: the rows looked at as a JSON array, `dead` of them deleted. `digest`, `until` and `table` as in ObjectPage."""

    packed: bytes
    dead: int
    digest: bytes
    until: str
    table: bytes


def read_plain_page(connection: sqlite3.Connection, kind: RowKind[Any], query: Query) -> PlainPage | None:
    """None for what must be read row by row: with a delimiter, of a kind without a JSON form, too large, or with too many deleted
    rows; that depends on the rows alone, so that replicas with equal rows agree. Blocking. Raises sqlite3.Error.
    """
    span = span_of(query) if query.limit > 0 else None
    if query.delimiter or not kind.json or span is None:
        return None
    texts: list[str] = []
    tables: set[bytes] = set()
    live = dead = size = 0
    until = ""
    for _ in range(ROUNDS_MAX):
        wanted = query.limit - live
        found, of_them_dead, text, last, table = connection.execute(*_rows(kind, span, query.reverse, wanted)).fetchone()
        tables.add(table)
        if found:
            texts.append(text)
            size += len(text)
            live += found - of_them_dead
            dead += of_them_dead
        if size > PAGE_BYTES_MAX:
            return None
        if found < wanted:
            break
        until = last
        if live == query.limit:
            break
        span = Span(span.low, span.inclusive, until) if query.reverse else Span(until, False, span.high)
        until = ""
    else:
        return None
    packed = f"[{','.join(texts)}]".encode()
    if len(packed) > PAGE_BYTES_MAX:
        return None
    # Each round is a statement, and so of a moment of its own.
    table = tables.pop() if len(tables) == 1 else b""
    digest = xxhash.xxh3_128_digest(packed) if texts else EMPTY_DIGEST
    return PlainPage(packed, dead, digest, until, table)


def _rows(kind: RowKind[Any], span: Span, reverse: bool, limit: int) -> tuple[str, list[str | int]]:
    """How many rows there are, how many of them are deleted, all of them in the order of the inner query, the name of the last, and
    the digest of the table: all of one moment.
    """
    where, values = _where(span)
    order, last = ("DESC", "min(name)") if reverse else ("ASC", "max(name)")
    inner = f"SELECT name, {kind.gone.where} AS dead, {kind.json} AS text FROM row WHERE {where} ORDER BY name {order} LIMIT ?"  # noqa: S608
    return (
        f"SELECT count(*), sum(dead), group_concat(text), {last}, (SELECT digest FROM info) FROM ({inner})",  # noqa: S608
        [*values, limit],
    )


def _where(span: Span) -> tuple[str, list[str | int]]:
    if span.high is None:
        return f"name {'>=' if span.inclusive else '>'} ?", [span.low]
    return f"name {'>=' if span.inclusive else '>'} ? AND name < ?", [span.low, span.high]
