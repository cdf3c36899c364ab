"""Whose turn it is: some work on an account or container is to be done by one of its replicas, all of which know of it.

It is the first replica's; the next one's while the ones before it do not answer, or have no such database. As a replica may answer
and yet not do its work, the next ones also take what has waited for too long. Two may do the same for a while: it must be harmless.
"""

from collections.abc import Collection

from objstore.formats.messages import Address, StatTable, TableInfo
from objstore.model.errors import NodeError
from objstore.placement.places import Replica, TablePlace
from objstore.rpc.interface import Caller, PeerUnavailable
from objstore.runtime.interface import Clock

CALL_TIMEOUT_S = 2.0
SILENT_HOLD_S = 30.0
"""How long a process that did not answer is not asked again."""
OVERDUE_S = 3600.0


class Turns:
    """Of one process. Used in the event loop alone."""

    def __init__(self, own: Collection[Address], caller: Caller, clock: Clock) -> None:
        """`own`: this process's addresses in the rings."""
        self._own = frozenset(own)
        self._caller = caller
        self._clock = clock
        self._silent: dict[Address, float] = {}

    def rank(self, table: TablePlace) -> int | None:
        """The place of this process's replica among all; None when it has none, only a copy that belongs elsewhere."""
        return next((rank for rank, replica in enumerate(table.replicas) if replica.address in self._own), None)

    def overdue(self, table: TablePlace, waiting_s: float) -> bool:
        """Whether work that has waited for so long is anybody's who holds a replica."""
        rank = self.rank(table)
        return rank is not None and waiting_s > rank * OVERDUE_S

    async def ours(self, table: TablePlace) -> bool:
        """Whether this process's replica is the first of those that are there."""
        rank = self.rank(table)
        if rank is None:
            return False
        for replica in table.replicas[:rank]:
            if await self._is_there(table, replica):
                return False
        return True

    async def _is_there(self, table: TablePlace, replica: Replica) -> bool:
        now = self._clock.monotonic()
        if self._silent.get(replica.address, 0.0) > now:
            return False
        request = StatTable(table.kind, replica.target, table.hash, table.name)
        try:
            reply = await self._caller.call(replica.address, request, timeout_s=CALL_TIMEOUT_S)
        except PeerUnavailable:
            self._silent[replica.address] = now + SILENT_HOLD_S
            return False
        except NodeError:
            return False
        assert isinstance(reply, TableInfo)
        return reply.settings is not None
