"""The rows of a database by the order of their last changes, and their form on the wire."""

import sqlite3
from collections.abc import Sequence
from typing import NamedTuple, TypeVar

import msgspec

from objstore.model.errors import Code, NodeError
from objstore.model.listing import Listed
from objstore.tables.rowkind import RowKind

CHANGES_BYTES_MAX = 1 << 18
"""Of rows in one message. While they are merged they take some ten times as much memory; a process seldom gives it back. With
one more of the longest rows they still fit a node message (Knobs.packet_bytes_max).
"""
BATCH_ROWS = 200

R = TypeVar("R", bound=Listed)


class Changes(NamedTuple):
    """All changes after some number, up to `until`; `more`: there were later ones. `rows` as in TakeRows."""

    rows: bytes
    row_count: int
    until: int
    more: bool


def read_changes(connection: sqlite3.Connection, kind: RowKind[R], since: int, *, bytes_max: int = CHANGES_BYTES_MAX) -> Changes:
    """Blocking. Raises sqlite3.Error."""
    encode = msgspec.msgpack.Encoder().encode
    columns = ", ".join(kind.column_names)
    rows: list[msgspec.Raw] = []
    size = until = 0
    # What is read last may be newer than this number, never older: nothing up to it is left out.
    newest: int = connection.execute("SELECT seq FROM info").fetchone()[0]
    cursor = connection.execute(f"SELECT {columns}, seq FROM row WHERE seq > ? ORDER BY seq", (since,))  # noqa: S608
    try:
        while found := cursor.fetchmany(BATCH_ROWS):
            for row, values in zip(kind.unpack([values[:-1] for values in found]), found, strict=True):
                encoded = encode(row)
                rows.append(msgspec.Raw(encoded))
                size += len(encoded)
                until = values[-1]
                if size >= bytes_max:
                    return Changes(encode(rows), len(rows), until, until < newest)
    finally:
        cursor.close()  # an open statement would keep the write-ahead log from being reset
    return Changes(encode(rows), len(rows), max(until, newest), False)


def encode_rows(rows: Sequence[Listed]) -> bytes:
    """As in TakeRows."""
    return msgspec.msgpack.encode(rows)


def decode_rows(kind: RowKind[R], data: bytes) -> list[R]:
    """Raises NodeError bad_request."""
    try:
        rows: list[R] = msgspec.msgpack.decode(data, type=list[kind.row])  # type: ignore[name-defined]
    except msgspec.DecodeError as error:
        raise NodeError(Code.BAD_REQUEST, f"no rows of {kind.kind}s: {error}") from error
    return rows
