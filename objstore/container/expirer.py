"""The object-expirer: deletes objects whose x-delete-at has passed. Readers have not seen them since; this frees their space, and
takes them out of listings.

Rows say which; the objects themselves have the last word, by a majority of their replicas.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Protocol

from objstore.container.expiring import Due, ExpiringRows
from objstore.model.errors import NodeError, StoreError
from objstore.model.names import ObjectName
from objstore.model.rows import ObjectRow
from objstore.placement.places import Placement
from objstore.rpc.interface import PeerUnavailable
from objstore.runtime.interface import Clock, Progress
from objstore.runtime.jumps import JumpWatch
from objstore.tables.device import TableDevice
from objstore.tables.turns import Turns

logger = logging.getLogger("objstore.container")

AT_ONCE_MAX = 16
ERRORS_LOGGED_MAX = 3


class Expiry(Protocol):
    """What the expirer needs of the cluster's operations."""

    async def expire(self, name: ObjectName, policy: int, row: ObjectRow) -> bool:
        """Delete an object if it has expired, durably on a majority; the listing follows. False when it has not (any more): the
        row was old, and is not any longer. Idempotent; whatever a client writes meanwhile wins. Raises StoreError.
        """


class ObjectExpirer:
    """Worker. Figures: expired (deleted), stale (rows that were old), failed (tried again by the next pass), left (rows whose turn
    is another replica's), refused (passes that were not made, as the clock cannot be trusted).
    """

    name = "object-expirer"

    def __init__(
        self,
        devices: Mapping[str, TableDevice],
        placement: Placement,
        turns: Turns,
        expiry: Expiry,
        clock: Clock,
        clock_trusted: Callable[[], bool],
    ) -> None:
        self.progress = Progress()
        """In rows; how many there are is not known."""
        self._rows = ExpiringRows(devices)
        self._placement = placement
        self._turns = turns
        self._expiry = expiry
        self._clock = clock
        self._clock_trusted = clock_trusted
        self._jumps = JumpWatch(clock)
        self._slots = asyncio.Semaphore(AT_ONCE_MAX)
        self._errors_logged = 0

    async def run_once(self) -> dict[str, int]:
        """All that is due now."""
        figures: Counter[str] = Counter(expired=0, stale=0, failed=0, left=0, refused=0)
        self.progress = Progress()
        self._errors_logged = 0
        if not (self._jumps.steady() and self._clock_trusted()):
            figures["refused"] = 1
            return dict(figures)
        now = self._clock.now()
        async for page in self._rows.due(now):
            rows = await self._ours(page, now)
            figures["left"] += len(page.rows) - len(rows)
            await asyncio.gather(*(self._expire(page, row, figures) for row in rows))
            self.progress.done += len(page.rows)
        return dict(figures)

    async def _ours(self, page: Due, now: float) -> list[ObjectRow]:
        table = self._placement.table(page.container)
        if await self._turns.ours(table):
            return page.rows
        return [row for row in page.rows if self._turns.overdue(table, now - row.delete_at)]

    async def _expire(self, page: Due, row: ObjectRow, figures: Counter[str]) -> None:
        account, _, container = page.container[1:].partition("/")
        name = ObjectName(account, container, row.name)
        async with self._slots:
            try:
                expired = await self._expiry.expire(name, page.policy, row)
            except (StoreError, NodeError, PeerUnavailable) as error:
                figures["failed"] += 1
                if self._errors_logged < ERRORS_LOGGED_MAX:
                    self._errors_logged += 1
                    logger.warning("object not expired", extra={"object": str(name), "error": str(error) or type(error).__name__})
            else:
                figures["expired" if expired else "stale"] += 1
