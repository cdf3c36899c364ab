"""The open databases of a device: bounded, the least recently used is closed first."""

from collections.abc import Hashable
from itertools import count
from typing import Any, Generic, TypeVar

from objstore.tables.database import Database

OPEN_MAX = 256

K = TypeVar("K", bound=Hashable)


class OpenDatabases(Generic[K]):
    """`get` may be called from any thread; the rest belongs to the device's writer thread, which alone opens and closes."""

    def __init__(self, open_max: int = OPEN_MAX) -> None:
        self._open: dict[K, Database[Any]] = {}
        self._open_max = open_max
        self._uses = count(1)

    def __len__(self) -> int:
        return len(self._open)

    def get(self, key: K) -> Database[Any] | None:
        """The open database, marked as just used."""
        database = self._open.get(key)
        if database is not None:
            database.used = next(self._uses)
        return database

    def add(self, key: K, database: Database[Any]) -> list[Database[Any]]:
        """Keep one more; returns those that must be closed for it."""
        database.used = next(self._uses)
        self._open[key] = database
        surplus = len(self._open) - self._open_max
        if surplus <= 0:
            return []
        oldest = sorted(self._open, key=lambda k: self._open[k].used)[:surplus]
        return [self._open.pop(k) for k in oldest]

    def remove(self, key: K) -> Database[Any] | None:
        """Forget one, to be closed by the caller."""
        return self._open.pop(key, None)

    def clear(self) -> list[Database[Any]]:
        """Forget all, to be closed by the caller."""
        databases = list(self._open.values())
        self._open.clear()
        return databases
