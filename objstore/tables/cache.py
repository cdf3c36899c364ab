"""The open databases of a device, and what it knows of the closed ones: bounded, the least recently used go first."""

from collections import OrderedDict
from collections.abc import Hashable
from itertools import count
from threading import Lock
from typing import Any, Generic, TypeVar

from objstore.tables.database import Database
from objstore.tables.draft import State

OPEN_MAX = 256
STATES_MAX = 10_000

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


class ClosedStates(Generic[K]):
    """What closed databases last committed. Nobody but the device's writer thread changes them, so it stays true until that
    thread opens or replaces one. Thread-safe.
    """

    def __init__(self, states_max: int = STATES_MAX) -> None:
        self._states: OrderedDict[K, State] = OrderedDict()
        self._states_max = states_max
        self._changes = 0
        self._lock = Lock()

    @property
    def changes(self) -> int:
        """Grows whenever a database may have changed; to be looked at before one is read."""
        return self._changes

    def get(self, key: K) -> State | None:
        """What is known of it, if anything."""
        with self._lock:
            state = self._states.get(key)
            if state is not None:
                self._states.move_to_end(key)
            return state

    def note(self, key: K, state: State, changes: int | None = None) -> None:
        """It was closed in this state, or was read when `changes` were so many: then it counts only if that still holds."""
        with self._lock:
            if changes is None:
                self._changes += 1
            elif changes != self._changes:
                return
            self._states[key] = state
            self._states.move_to_end(key)
            if len(self._states) > self._states_max:
                self._states.popitem(last=False)

    def forget(self, key: K) -> None:
        """It was opened, replaced or removed."""
        with self._lock:
            self._changes += 1
            self._states.pop(key, None)
