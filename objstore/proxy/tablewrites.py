"""Replicated changes of an account or container: every primary is asked, a majority must have it durably.

There is no handoff for databases: a replica that misses a change learns it from the others.
"""

from dataclasses import dataclass
from typing import Literal

from objstore.formats.messages import TableWritten, WriteTable
from objstore.model.errors import Code, Conflict, InsufficientStorage, NodeError, StoreError, Unavailable
from objstore.model.quorum import Write, WriteQuorum
from objstore.placement.places import TablePlace
from objstore.proxy.infocache import InfoCache
from objstore.proxy.nodes import FanOut, Nodes
from objstore.rpc.interface import Outcome
from objstore.runtime.clock import HybridClock

Action = Literal["create", "update", "delete"]
_UNTOUCHED = (Code.NOT_EMPTY, Code.NOT_FOUND, Code.NEWER_EXISTS)
"""Who refuses for such a reason has changed nothing."""


class NotEmpty(Exception):
    """A replica still holds rows; `applied`: others have deleted it, or still may."""

    def __init__(self, applied: bool) -> None:
        super().__init__()
        self.applied = applied


class Missing(Exception):
    """The account or container does not exist."""


@dataclass(frozen=True, slots=True)
class TableChange:
    action: Action
    values: dict[str, str]
    policy: int = 0


class TableWriter:
    """Not thread-safe; one per proxy process."""

    def __init__(self, nodes: Nodes, cache: InfoCache, hlc: HybridClock) -> None:
        self._nodes = nodes
        self._cache = cache
        self._hlc = hlc

    async def write(self, place: TablePlace, change: TableChange, txn: str, after: int = 0, at: int = 0) -> int:
        """Apply a change at a timestamp above `after`, or at timestamp `at` where that is given; returns the timestamp.

        Raises Missing, NotEmpty, Unavailable, InsufficientStorage, or Conflict when newer changes keep coming.
        """
        try:
            for _ in range(self._nodes.knobs.commit_attempts_max):
                timestamp = at or self._hlc.next(after)
                attempt = _Attempt(self._nodes, place, change, timestamp, txn)
                verdict = await attempt.run()
                if verdict is Write.DONE:
                    return timestamp
                if verdict is Write.FAILED:
                    await self._explain(place, attempt)
                    continue  # replicas that lacked it have been told
                after = attempt.quorum.newer
                if at:
                    break
        finally:
            self._cache.forget(place.name)
        raise Conflict("a newer change of the same name is there" if at else "newer changes of the same name keep coming")

    async def _explain(self, place: TablePlace, attempt: "_Attempt") -> None:
        """Raise what the failure means; return when it was healed and is worth another try."""
        if Code.NOT_EMPTY in attempt.codes:
            raise NotEmpty(attempt.perhaps_applied)
        if Code.NOT_FOUND not in attempt.codes:
            raise attempt.error()
        if not await self._cache.heal(place):
            raise Missing


class _Attempt:
    """A change at one timestamp."""

    def __init__(self, nodes: Nodes, place: TablePlace, change: TableChange, timestamp: int, txn: str) -> None:
        self.quorum = WriteQuorum(len(place.replicas))
        self.codes: set[Code] = set()
        self._undecided = len(place.replicas)
        self._nodes = nodes
        self._fan = FanOut(nodes, txn)
        for i, (address, target) in enumerate(place.replicas):
            request = WriteTable(
                place.kind,
                target,
                place.hash,
                place.name,
                timestamp,
                change.action,
                change.values,
                change.policy,
                place.parents[i],
            )
            self._fan.call(i, address, request)

    async def run(self) -> Write:
        """Not undone when cancelled: what was sent goes on."""
        try:
            while (verdict := self.quorum.decide()) is Write.WAIT:
                ended = await self._fan.next()
                if ended is None:
                    raise RuntimeError("a write waits for nobody")
                self._take(ended[1])
            if verdict is Write.DONE:
                await self._grace()
        finally:
            self._fan.leave()
        return verdict

    async def _grace(self) -> None:
        deadline = 0.0
        while self._fan.outstanding and not self._fan.hopeless():
            now = self._nodes.clock.monotonic()
            deadline = deadline or now + self._nodes.knobs.straggler_grace_s
            ended = await self._fan.next(max(0.0, deadline - now))
            if ended is None:
                for address in self._fan.pending:
                    self._nodes.failures.slow(address)
                return

    def _take(self, outcome: Outcome) -> None:
        if isinstance(outcome, TableWritten):
            self.quorum.stored()
        elif isinstance(outcome, NodeError) and outcome.code is Code.NEWER_EXISTS:
            self.quorum.newer_exists(outcome.timestamp)
        else:
            self.quorum.failed()
            if isinstance(outcome, NodeError):
                self.codes.add(outcome.code)
        if isinstance(outcome, NodeError) and outcome.code in _UNTOUCHED:
            self._undecided -= 1

    @property
    def perhaps_applied(self) -> bool:
        """Whether any replica made the change, or did not say that it never will: it may still be on its way to one."""
        return self._undecided > 0

    def error(self) -> StoreError:
        if Code.NO_SPACE in self.codes:
            return InsufficientStorage("the devices are full")
        return Unavailable("too few replicas answered; the change may or may not have been applied")
