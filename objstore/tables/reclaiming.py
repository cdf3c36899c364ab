"""Forgets what was deleted long ago: rows first, then a database that is deleted itself and holds no row any more."""

import sqlite3
from collections.abc import Callable
from functools import partial

from objstore.tables.device import TableDevice
from objstore.tables.draft import State
from objstore.tables.operations import Forget
from objstore.tables.place import Place
from objstore.tables.scanning import read_at

ROWS_PER_TRANSACTION = 1000


class Reclaimer:
    """Looks at a database's deletions once, then only when it has changed or the oldest of them may be forgotten."""

    def __init__(self, horizon: Callable[[], int]) -> None:
        """`horizon()` is the timestamp below which deletions may be forgotten, 0 for none."""
        self._horizon = horizon
        self._oldest: dict[tuple[str, Place], tuple[int, int]] = {}
        """Database -> its counter at the last look, and when the oldest deleted row died, 0 without any."""

    async def is_over(self, device: TableDevice, place: Place, state: State) -> bool:
        """Whether all of the database is deleted, and may be forgotten: where another has none, none is made. Raises NodeError."""
        if not _deleted(state, self._horizon()):
            return False
        return not state.digests.rows or (await read_at(device, place, partial(_newest, place)) or 0) < self._horizon()

    async def reclaim(self, device: TableDevice, place: Place, state: State, seq: int) -> int:
        """Forget the rows that all primaries know to be deleted, as they know all changes up to `seq`; returns how many.
        Raises NodeError.
        """
        horizon, key = self._horizon(), (device.name, place)
        if not horizon:
            return 0
        looked, oldest = self._oldest.get(key, (-1, 0))
        if looked != state.seq:
            oldest = await read_at(device, place, partial(_oldest, place)) or 0
            self._oldest[key] = (state.seq, oldest)
        if not oldest or oldest >= horizon:
            return 0
        total, more = 0, True
        while more:
            count: int = await device.apply(place, Forget(state.settings.name, horizon, seq, ROWS_PER_TRANSACTION))
            total, more = total + count, count == ROWS_PER_TRANSACTION
        self._oldest.pop(key, None)
        return total

    def is_spent(self, state: State) -> bool:
        """Whether the database is deleted, that is long ago, and nothing is left in it."""
        return _deleted(state, self._horizon()) and not state.digests.rows

    def forget(self, device: TableDevice, place: Place) -> None:
        """The database was removed."""
        self._oldest.pop((device.name, place), None)


def _deleted(state: State, horizon: int) -> bool:
    settings = state.settings
    return not settings.exists and settings.delete_timestamp < horizon and not any(any(entry) for entry in state.tally.values())


def _oldest(place: Place, connection: sqlite3.Connection) -> int:
    return _extreme(place, connection, "min")


def _newest(place: Place, connection: sqlite3.Connection) -> int:
    return _extreme(place, connection, "max")


def _extreme(place: Place, connection: sqlite3.Connection, which: str) -> int:
    gone = place.kind.gone
    found = connection.execute(f"SELECT {which}({gone.column}) FROM row WHERE {gone.where}").fetchone()  # noqa: S608
    return found[0] or 0
