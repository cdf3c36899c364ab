"""What keeps the replicas of account and container databases equal and sound, and what that takes."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from objstore.formats.messages import Address
from objstore.model.listing import Listed
from objstore.placement.places import Placement
from objstore.rpc.interface import Caller, Dispatcher
from objstore.runtime.interface import Clock, Worker
from objstore.runtime.pacing import TokenBucket, Yielding
from objstore.tables.auditor import Check, TableAuditor
from objstore.tables.comparison import WHOLE_ROWS_MIN
from objstore.tables.neighbours import Neighbours
from objstore.tables.pairsync import PairSync
from objstore.tables.replicator import TableReplicator
from objstore.tables.service import TableService
from objstore.tables.syncservice import SyncService

R = TypeVar("R", bound=Listed)

BURST_BYTES = 16e6


@dataclass(frozen=True, slots=True)
class UpkeepSettings:
    """`own`: the addresses of this process in the rings. `horizon()`: the timestamp below which deletions may be forgotten, 0
    for none. Speeds are of one process and kind, 0 for no limit.
    """

    placement: Placement
    own: frozenset[Address]
    horizon: Callable[[], int] = lambda: 0
    replicate_bytes_per_s: float = 0.0
    audit_bytes_per_s: float = 0.0
    audit_rows_per_s: float = 0.0
    whole_rows_min: int = WHOLE_ROWS_MIN
    yielding: Yielding | None = None
    """How background jobs wait for clients; None: not at all."""


class Upkeep:
    """Of the databases of one kind on this process's devices."""

    def __init__(
        self, service: TableService[R], caller: Caller, clock: Clock, settings: UpkeepSettings, check: Check | None = None
    ) -> None:
        """`check`: what the auditor does beside looking at the databases themselves."""
        yielding = settings.yielding or Yielding(clock)
        neighbours = Neighbours(settings.placement, settings.own)
        pace = TokenBucket(clock, settings.replicate_bytes_per_s, BURST_BYTES)
        pairs = PairSync(service, caller, clock, pace, whole_rows_min=settings.whole_rows_min)
        self._sync = SyncService(service, neighbours, clock)
        self.replicator = TableReplicator(service, neighbours, pairs, clock, settings.horizon, yielding)
        audit_pace = TokenBucket(clock, settings.audit_bytes_per_s, BURST_BYTES)
        self.auditor = TableAuditor(service, neighbours, pairs, audit_pace, yielding, check)

    def register(self, dispatcher: Dispatcher) -> None:
        """Answer other replicators."""
        self._sync.register(dispatcher)

    def workers(self) -> list[Worker]:
        """Both daemons."""
        return [self.replicator, self.auditor]
