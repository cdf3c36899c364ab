"""One transaction under way on one database: what it holds, what changes, and the statements that write it.

All figures are kept exact in the same transaction as the rows they sum up. Few statements are used for many rows: each one gives
up the interpreter lock and must win it back from a busy event loop.
"""

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from typing import Generic, TypeVar

import msgspec

from objstore.formats.messages import IndexTarget, Kind, Setting, Settings, Stats
from objstore.model.listing import Listed
from objstore.model.rows import ContainerRow
from objstore.tables.digest import Digests, digests_of, from_bytes, to_bytes
from objstore.tables.recount import Count, without_zeros
from objstore.tables.rowkind import RowKind, Tally, added
from objstore.tables.schema import ForeignContents

ROWS_PER_STATEMENT_MAX = 64
MARKS_MAX = 64

R = TypeVar("R", bound=Listed)
T = TypeVar("T")


class State(msgspec.Struct, frozen=True):
    """All of a database but its rows, as of its last commit."""

    settings: Settings
    tally: Tally
    stats: Stats
    parent: IndexTarget | None
    """Where a container reports its row."""
    reported: ContainerRow | None
    """The row the parent last acknowledged."""
    id: bytes
    """Of this very database: each replica has its own."""
    seq: int
    """The number of the last change of a row."""
    digests: Digests
    reclaimed: int
    """Deletions older than this timestamp were forgotten here."""
    marks: dict[bytes, int]
    """Other database's id -> its `seq` up to which all its changes were received; the least recently used first."""


def stats_of(kind: Kind, tally: Tally) -> Stats:
    """The figures as messages show them."""
    containers, objects, size = (sum(entry[i] for entry in tally.values()) for i in range(3))
    return Stats(containers, objects, size, dict(sorted(tally.items())) if kind == "account" else {})


def load_state(connection: sqlite3.Connection, kind: Kind, hash_: bytes) -> State:
    """Read what a database says of itself. Raises sqlite3.Error, ForeignContents."""
    try:
        found = connection.execute(
            "SELECT kind, hash, name, put_timestamp, delete_timestamp, policy, created_timestamp, base_timestamp, parent, reported,"
            " id, seq, digest, live, reclaimed FROM info"
        ).fetchone()
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode != sqlite3.SQLITE_ERROR:
            raise
        raise ForeignContents(str(error)) from error  # no such table, no such column
    if found is None or found[:2] != (kind, hash_):
        raise ForeignContents("the database of another place")
    _, _, name, put, deleted, policy, created, base, parent, reported, id_, seq, digest, live, reclaimed = found
    values = {
        key: Setting(value, timestamp)
        for key, value, timestamp in connection.execute("SELECT key, value, timestamp FROM setting ORDER BY key")
    }
    tally = {entry[0]: entry[1:] for entry in connection.execute("SELECT policy, containers, objects, bytes FROM stat")}
    try:
        parent_target = msgspec.json.decode(parent, type=IndexTarget | None)
        reported_row = msgspec.json.decode(reported, type=ContainerRow | None)
    except msgspec.MsgspecError as error:
        raise ForeignContents(f"parent or report: {error}") from error
    settings = Settings(name, put, deleted, policy, created, values, base)
    digests = Digests(from_bytes(digest), from_bytes(live))
    marks = dict(connection.execute("SELECT id, seq FROM mark ORDER BY used"))
    return State(settings, tally, stats_of(kind, tally), parent_target, reported_row, id_, seq, digests, reclaimed, marks)


def figures_of(state: State) -> Count:
    """What the database says a count of its rows gives."""
    return Count(without_zeros(state.tally), state.digests)


class Draft(Generic[R]):
    """What operations see and change. Nothing is durable, or visible elsewhere, before `write` and a commit."""

    def __init__(self, connection: sqlite3.Connection, kind: RowKind[R], state: State) -> None:
        self.settings = state.settings
        self.parent = state.parent
        self.reported = state.reported
        self.marks = state.marks
        self.reclaimed = state.reclaimed
        self._connection = connection
        self._kind = kind
        self._before = state
        self._pending: dict[str, R] = {}
        self._tally: Tally = state.tally
        self._seq = state.seq
        self._digests = state.digests

    def give_name(self, name: str) -> None:
        """A database just made belongs to the first name that uses it."""
        self.settings = msgspec.structs.replace(self.settings, name=name)

    @property
    def id(self) -> bytes:
        """The database's own."""
        return self._before.id

    def set_mark(self, id_: bytes, seq: int) -> None:
        """All changes of the other database up to `seq` are in here. Of MARKS_MAX databases the least recently used is
        forgotten: what it sends then comes from the beginning, which is harmless.
        """
        marks = {known: at for known, at in self.marks.items() if known != id_}
        if len(marks) >= MARKS_MAX:
            del marks[next(iter(marks))]
        self.marks = {**marks, id_: seq}

    def merge_rows(self, rows: Iterable[R]) -> None:
        """Take rows in. They are written together with those of other operations of this transaction."""
        pending, merge = self._pending, self._kind.merge
        for row in rows:
            known = pending.get(row.name)
            pending[row.name] = row if known is None else merge(known, row)

    def known(self, names: Sequence[str]) -> dict[str, R]:
        """The rows of these names, deleted ones too, with all that was merged so far."""
        self._write_rows()
        return {row.name: row for row in self._kind.unpack(self._select(names))}

    def forget(self, horizon: int, seq: int, rows_max: int) -> int:
        """Remove rows that died before the timestamp `horizon` and have not changed since `seq`; returns how many. Deletions
        from before `horizon` are not taken in any more.
        """
        self._write_rows()
        columns, gone = ", ".join(self._kind.column_names), self._kind.gone
        where = f"{gone.where} AND {gone.column} < ? AND seq <= ? LIMIT ?"
        found = self._connection.execute(f"SELECT {columns} FROM row WHERE {where}", (horizon, seq, rows_max))  # noqa: S608
        rows = self._kind.unpack(found.fetchall())
        self._connection.executemany("DELETE FROM row WHERE name = ?", [(row.name,) for row in rows])
        self._digests -= digests_of(rows)
        if rows:
            self.reclaimed = max(self.reclaimed, horizon)
        return len(rows)

    def correct(self, tally: Tally, digests: Digests) -> None:
        """Add what the figures were found to lack. They only ever change by differences, so this holds at any later time too."""
        self._tally = added(self._tally, tally)
        self._digests += digests

    @property
    def empty(self) -> bool:
        """Whether no row lives, those just merged included."""
        self._write_rows()
        return not any(any(entry) for entry in self._tally.values())

    def write(self) -> State:
        """Write all that changed; returns the state to publish once committed. Raises sqlite3.Error."""
        self._write_rows()
        before = self._before
        if (self.settings, self.parent, self.reported) != (before.settings, before.parent, before.reported):
            self._write_info()
        if self._tally is not before.tally:
            self._connection.executemany(
                "INSERT OR REPLACE INTO stat (policy, containers, objects, bytes) VALUES (?, ?, ?, ?)",
                [(policy, *entry) for policy, entry in self._tally.items() if before.tally.get(policy) != entry],
            )
        digests = self._digests
        if (self._seq, digests, self.reclaimed) != (before.seq, before.digests, before.reclaimed):
            self._connection.execute(
                "UPDATE info SET seq = ?, digest = ?, live = ?, reclaimed = ?",
                (self._seq, to_bytes(digests.rows), to_bytes(digests.live), self.reclaimed),
            )
        if self.marks is not before.marks:
            self._write_marks()
        stats = before.stats if self._tally is before.tally else stats_of(self._kind.kind, self._tally)
        return msgspec.structs.replace(
            before,
            settings=self.settings,
            tally=self._tally,
            stats=stats,
            parent=self.parent,
            reported=self.reported,
            seq=self._seq,
            digests=digests,
            reclaimed=self.reclaimed,
            marks=self.marks,
        )

    # --- rows --------------------------------------------------------------------------------------------------

    def _write_rows(self) -> None:
        if not self._pending:
            return
        kind, pending = self._kind, self._pending
        known = {row.name: row for row in kind.unpack(self._select(list(pending)))}
        changed: list[R] = []
        replaced: list[R] = []
        for name, row in pending.items():
            old = known.get(name)
            if old is None:
                if not (row.deleted and kind.gone.died(row) < self.reclaimed):  # else forgotten once, and for good
                    changed.append(kind.normal(row))
            elif row != old and (new := kind.merge(old, row)) != old:
                changed.append(new)
                replaced.append(old)
        self._pending = {}
        if changed:
            self._insert(changed)
            tally = added(self._tally, kind.weigh([row for row in changed if not row.deleted]))
            self._tally = added(tally, kind.weigh([row for row in replaced if not row.deleted]), -1)
            self._digests += digests_of(changed) - digests_of(replaced)

    def _select(self, names: Sequence[str]) -> Iterator[tuple[str | int, ...]]:
        columns = ", ".join(self._kind.column_names)
        for part in powers_of_two(names):
            places = ",".join("?" * len(part))
            yield from self._connection.execute(f"SELECT {columns} FROM row WHERE name IN ({places})", part).fetchall()  # noqa: S608

    def _insert(self, rows: list[R]) -> None:
        columns, pack = (*self._kind.column_names, "seq"), self._kind.pack
        places = "(" + ",".join("?" * len(columns)) + ")"
        for part in powers_of_two(rows):
            values = ",".join([places] * len(part))
            first = self._seq + 1
            self._connection.execute(
                f"INSERT OR REPLACE INTO row ({', '.join(columns)}) VALUES {values}",  # noqa: S608
                [value for seq, row in enumerate(part, first) for value in (*pack(row), seq)],
            )
            self._seq += len(part)

    def _write_marks(self) -> None:
        connection, before = self._connection, self._before.marks
        connection.executemany("DELETE FROM mark WHERE id = ?", [(id_,) for id_ in before if id_ not in self.marks])
        connection.executemany(
            "INSERT OR REPLACE INTO mark (id, seq, used) VALUES (?, ?, ?)",
            [(id_, seq, used) for used, (id_, seq) in enumerate(self.marks.items())],
        )

    # --- settings ----------------------------------------------------------------------------------------------

    def _write_info(self) -> None:
        settings, connection = self.settings, self._connection
        connection.execute(
            "UPDATE info SET name = ?, put_timestamp = ?, delete_timestamp = ?, policy = ?, created_timestamp = ?,"
            " base_timestamp = ?, parent = ?, reported = ?",
            (
                settings.name,
                settings.put_timestamp,
                settings.delete_timestamp,
                settings.policy,
                settings.created_timestamp,
                settings.base_timestamp,
                msgspec.json.encode(self.parent).decode(),
                msgspec.json.encode(self.reported).decode(),
            ),
        )
        before, now = self._before.settings.values, settings.values
        connection.executemany("DELETE FROM setting WHERE key = ?", [(key,) for key in before if key not in now])
        connection.executemany(
            "INSERT OR REPLACE INTO setting (key, value, timestamp) VALUES (?, ?, ?)",
            [(key, *setting) for key, setting in now.items() if before.get(key) != setting],
        )


def powers_of_two(items: Sequence[T]) -> Iterator[list[T]]:
    """Split into runs of 64, 32, 16 ... 1, so that few statement texts serve all sizes and stay prepared."""
    start, size = 0, ROWS_PER_STATEMENT_MAX
    while start < len(items):
        while size > len(items) - start:
            size //= 2
        yield list(items[start : start + size])
        start += size
