"""Rows against objects: what a container lists must be there.

An object that all its primaries deny, and whose deletion one of them remembers, has a row too many: the deletion is merged. One
that nobody remembers at all is a ghost: it is counted and named, never removed, as its object may be on a device that is away.
"""

import asyncio
import logging
import sqlite3
from collections import Counter
from functools import partial

from objstore.container.store import OBJECT_ROWS
from objstore.formats.messages import ObjectFiles, StatObject
from objstore.model.errors import NodeError, Unavailable
from objstore.model.names import ObjectName
from objstore.model.rows import ObjectRow
from objstore.model.timestamps import seconds_of
from objstore.model.version import Version
from objstore.placement.places import ObjectPlace, Placement
from objstore.rpc.interface import Caller, PeerUnavailable
from objstore.runtime.interface import Clock
from objstore.runtime.pacing import TokenBucket
from objstore.tables.device import TableDevice
from objstore.tables.draft import State
from objstore.tables.operations import Merge
from objstore.tables.place import Place
from objstore.tables.scanning import read_at

logger = logging.getLogger("objstore.container")

PAGE_ROWS = 256
ROWS_AT_ONCE_MAX = 8
CALL_TIMEOUT_S = 10.0
GHOST_AGE_S = 3600.0
"""A younger row may be of an object whose write is not over."""

_COLUMNS = ", ".join(OBJECT_ROWS.column_names)
_PAGE = f"SELECT {_COLUMNS} FROM row WHERE name > ? AND deleted = 0 ORDER BY name LIMIT ?"  # noqa: S608


class RowAudit:
    """Figures: rows (that were compared), rows_deleted (rows of objects known to be deleted), ghost_rows."""

    figures: tuple[str, ...] = ("rows", "rows_deleted", "ghost_rows")

    def __init__(self, placement: Placement, caller: Caller, clock: Clock, pace: TokenBucket) -> None:
        """`pace` counts rows."""
        self._placement = placement
        self._caller = caller
        self._clock = clock
        self._pace = pace

    async def check(self, device: TableDevice, place: Place, state: State, figures: Counter[str]) -> None:
        """As Check. Rows of objects that not all primaries tell of are left for the next pass."""
        marker = ""
        while rows := await read_at(device, place, partial(_page, marker)):
            for start in range(0, len(rows), ROWS_AT_ONCE_MAX):
                part = rows[start : start + ROWS_AT_ONCE_MAX]
                await self._pace.take(len(part))
                checked = await asyncio.gather(*(self._deletion(state, row, figures) for row in part))
                deletions = [row for row in checked if row is not None]
                if deletions:
                    await device.apply(place, Merge(state.settings.name, deletions, creates=False))
                    figures["rows_deleted"] += len(deletions)
            marker = rows[-1].name

    async def _deletion(self, state: State, row: ObjectRow, figures: Counter[str]) -> ObjectRow | None:
        """The row that the object's deletion would have, if that is what all primaries know of it."""
        container = state.settings.name
        account, _, short = container[1:].partition("/")
        try:
            place = self._placement.object(ObjectName(account, short, row.name), state.settings.policy)
            versions = await self._versions(place)
        except (NodeError, PeerUnavailable, Unavailable) as error:
            logger.debug("row not audited", extra={"object": f"{container}/{row.name}", "error": str(error)})
            return None
        figures["rows"] += 1
        if any(not version.deleted for version in versions):
            return None
        newest = max((version.timestamp for version in versions), default=0)
        if newest >= row.timestamp:
            return ObjectRow(row.name, newest, True, meta_timestamp=newest)
        if self._clock.now() - seconds_of(row.timestamp) > GHOST_AGE_S:
            figures["ghost_rows"] += 1
            logger.error("listed object is nowhere", extra={"object": f"{container}/{row.name}"})
        return None

    async def _versions(self, place: ObjectPlace) -> list[Version]:
        """What the primaries have of an object, deletions included. Raises NodeError, PeerUnavailable unless all answer."""
        calls = (
            self._caller.call(other.address, StatObject(other.target, place.hash, place.name), timeout_s=CALL_TIMEOUT_S)
            for other in place.replicas
        )
        replies = await asyncio.gather(*calls)
        return [reply.version for reply in replies if isinstance(reply, ObjectFiles) and reply.version is not None]


def _page(marker: str, connection: sqlite3.Connection) -> list[ObjectRow]:
    return OBJECT_ROWS.unpack(connection.execute(_PAGE, (marker, PAGE_ROWS)).fetchall())
