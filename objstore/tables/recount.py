"""What a database's figures and digests must be, from its rows alone."""

import sqlite3
from typing import NamedTuple, TypeVar

from objstore.model.listing import Listed
from objstore.tables.digest import Digests, digests_of, to_bytes
from objstore.tables.rowkind import RowKind, Tally, added

BATCH_ROWS = 1000

R = TypeVar("R", bound=Listed)


class Count(NamedTuple):
    """All that is kept exact beside the rows. No entry of the tally is of zeros."""

    tally: Tally
    digests: Digests


def count(connection: sqlite3.Connection, kind: RowKind[R]) -> Count:
    """Of all rows, in one pass. Blocking. Raises sqlite3.Error."""
    tally, digests = Tally(), Digests()
    cursor = connection.execute(f"SELECT {', '.join(kind.column_names)} FROM row")  # noqa: S608
    try:
        while found := cursor.fetchmany(BATCH_ROWS):
            rows = kind.unpack(found)
            tally = added(tally, kind.weigh([row for row in rows if not row.deleted]))
            digests += digests_of(rows)
    finally:
        cursor.close()  # an open statement would keep the write-ahead log from being reset
    return Count(without_zeros(tally), digests)


def without_zeros(tally: Tally) -> Tally:
    """The figures of the policies that have any."""
    return {policy: entry for policy, entry in tally.items() if any(entry)}


def write_count(connection: sqlite3.Connection, counted: Count) -> None:
    """Inside a transaction. Raises sqlite3.Error."""
    connection.execute("DELETE FROM stat")
    connection.executemany(
        "INSERT INTO stat (policy, containers, objects, bytes) VALUES (?, ?, ?, ?)",
        [(policy, *entry) for policy, entry in counted.tally.items()],
    )
    digests = counted.digests
    connection.execute("UPDATE info SET digest = ?, live = ?", (to_bytes(digests.rows), to_bytes(digests.live)))
