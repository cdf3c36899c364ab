"""Which objects have come to the end of their time, by the container databases of this process's devices."""

import logging
import sqlite3
from collections.abc import AsyncIterator, Mapping
from functools import partial
from typing import NamedTuple

from objstore.container.store import OBJECT_ROWS
from objstore.model.errors import NodeError
from objstore.model.rows import ObjectRow
from objstore.tables.device import TableDevice
from objstore.tables.draft import load_state
from objstore.tables.place import Place
from objstore.tables.scanning import places, read_at

logger = logging.getLogger("objstore.container")

PAGE_ROWS_MAX = 500

_COLUMNS = ", ".join(OBJECT_ROWS.column_names)
_DUE = (
    f"SELECT {_COLUMNS} FROM row"  # noqa: S608
    " WHERE delete_at > 0 AND deleted = 0 AND delete_at <= ? AND (delete_at, name) > (?, ?) ORDER BY delete_at, name LIMIT ?"
)
_NEXT = "SELECT min(delete_at) FROM row WHERE delete_at > 0 AND deleted = 0"


class Due(NamedTuple):
    """Objects of one container, live here, whose `delete_at` has passed; the earliest first."""

    container: str  # "/account/container"
    policy: int
    rows: list[ObjectRow]


class _Look(NamedTuple):
    """What one look at a database found. `next`: when its earliest row is due, 0 when none ever is."""

    due: Due
    next: int


class ExpiringRows:
    """Looks at each database once, then only when it has changed or its earliest object is due: a pass with nothing to do costs
    nothing. Several replicas of a container know the same objects.
    """

    def __init__(self, devices: Mapping[str, TableDevice]) -> None:
        self._devices = devices
        self._unseen = dict(devices)  # no scan of it has ended yet
        self._changed: dict[tuple[str, Place], None] = {}  # a set in order of arrival
        self._next: dict[tuple[str, Place], int] = {}
        for device in devices.values():
            device.changed.append(partial(self._note, device.name))

    async def due(self, now: float) -> AsyncIterator[Due]:
        """Pages of at most PAGE_ROWS_MAX rows each that were due at `now` (seconds since the epoch). What cannot be read now is
        logged, and looked at again the next time.
        """
        for device in list(self._unseen.values()):
            try:
                async for place in places(device, OBJECT_ROWS):
                    self._note(device.name, place)
                self._unseen.pop(device.name, None)
            except NodeError as error:
                logger.warning("scan failed", extra={"device": device.name, "error": str(error)})
        changed, self._changed = self._changed, {}
        waiting = [key for key, at in self._next.items() if at <= now and key not in changed]
        for key in [*changed, *waiting]:
            async for page in self._pages(key, int(now)):
                yield page

    def _note(self, device: str, place: Place) -> None:
        if place.kind is OBJECT_ROWS:
            self._changed[device, place] = None

    async def _pages(self, key: tuple[str, Place], now: int) -> AsyncIterator[Due]:
        name, place = key
        after: tuple[int, str] = (0, "")
        while True:
            try:
                look = await read_at(self._devices[name], place, partial(_look, place, now, after))
            except NodeError as error:
                self._changed[key] = None
                logger.warning("container unreadable", extra={"device": name, "path": place.path, "error": str(error)})
                return
            self._next.pop(key, None)
            if look is None:
                return
            if look.next:
                self._next[key] = look.next
            rows = look.due.rows
            if rows:
                yield look.due
            if len(rows) < PAGE_ROWS_MAX:
                return
            after = (rows[-1].delete_at, rows[-1].name)


def _look(place: Place, now: int, after: tuple[int, str], connection: sqlite3.Connection) -> _Look:
    rows = OBJECT_ROWS.unpack(connection.execute(_DUE, (now, *after, PAGE_ROWS_MAX)).fetchall())
    settings = load_state(connection, "container", place.hash).settings
    return _Look(Due(settings.name, settings.policy, rows), connection.execute(_NEXT).fetchone()[0] or 0)
