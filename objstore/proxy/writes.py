"""Replicated changes of one object: a request to every primary, a majority of durable answers, the rest in the background.

A 2xx means: a majority of the primaries holds it durably (G1). A primary that fails leaves its copy with the next handoff, as an
extra for healing that never counts. A newer timestamp met at so many primaries that no majority is left leads to the same
change at a later one, a bounded number of times (G7).
"""

from collections.abc import Callable

import msgspec

from objstore.formats.messages import DeleteObject, IndexTarget, PostObject, PutObject, Stored, Target
from objstore.model.errors import Code, Conflict, InsufficientStorage, NodeError, StoreError, Unavailable
from objstore.model.quorum import Write, WriteQuorum, majority
from objstore.placement.places import ObjectPlace, Placement
from objstore.proxy.nodes import FanOut, Nodes
from objstore.rpc.interface import Outcome, PeerUnavailable
from objstore.runtime.clock import HybridClock

Change = PutObject | PostObject | DeleteObject
RequestFor = Callable[[Target, IndexTarget | None], Change]
"""Makes the request for one device, telling it which container replica to inform."""


class Written(msgspec.Struct, frozen=True):
    """A change that a majority holds. `existed`: any replica knew the object; `absent`: replicas that had nothing to change."""

    timestamp: int
    listed: bool
    existed: bool
    absent: tuple[int, ...] = ()


class Tally:
    """What the primaries said of one attempt, and what follows from it."""

    __slots__ = ("absent", "codes", "existed", "failed", "indexed_count", "indexed_needed", "quorum", "stored")

    def __init__(self, place: ObjectPlace, quorum: WriteQuorum | None = None) -> None:
        self.quorum = quorum or WriteQuorum(len(place.replicas))
        self.indexed_needed = majority(place.index_replicas)
        self.indexed_count = 0
        self.existed = False
        self.stored: list[int] = []
        self.failed: list[int] = []
        self.absent: list[int] = []
        self.codes: set[Code] = set()

    def take(self, index: int, outcome: Outcome) -> None:
        if isinstance(outcome, Stored):
            self.quorum.stored()
            self.stored.append(index)
            self.indexed_count += outcome.indexed
            self.existed |= outcome.existed
            return
        if isinstance(outcome, NodeError):
            self.codes.add(outcome.code)
            if outcome.code is Code.NEWER_EXISTS:
                self.quorum.newer_exists(outcome.timestamp)
                return
            if outcome.code is Code.NOT_FOUND or (outcome.code is Code.CORRUPT and outcome.timestamp):
                self.quorum.not_found()
                self.absent.append(index)
                return
        self.quorum.failed()
        self.failed.append(index)

    @property
    def listed(self) -> bool:
        return self.indexed_count >= self.indexed_needed

    def error(self) -> StoreError:
        """Why no majority was reached."""
        if Code.NO_SPACE in self.codes:
            return InsufficientStorage("the devices are full")
        return Unavailable("too few replicas answered; the change may or may not have been applied")


class Writer:
    """Writes small changes: puts with the body at hand, deletions, metadata. In a sloppy policy, what failed at primaries is tried
    at handoffs, which count then.
    """

    def __init__(self, nodes: Nodes, placement: Placement, hlc: HybridClock) -> None:
        self.nodes = nodes
        self.placement = placement
        self.hlc = hlc

    async def write(self, place: ObjectPlace, at: Callable[[int], RequestFor], txn: str, after: int = 0) -> Written:
        """Apply the change that `at(timestamp)` describes, at a timestamp above `after`.

        Raises Unavailable, InsufficientStorage, Conflict when newer writes keep coming, or NodeError not_found when too many
        replicas had nothing to change.
        """
        existed = False
        for _ in range(self.nodes.knobs.commit_attempts_max):
            timestamp = self.hlc.next(after)
            attempt = _Attempt(self, place, at(timestamp), txn)
            verdict = await attempt.run()
            tally = attempt.tally
            existed |= tally.existed
            if verdict is Write.DONE:
                return Written(timestamp, tally.listed, existed, tuple(tally.absent))
            if verdict is Write.FAILED:
                moved = self.placement.around(place, tally.failed) if place.sloppy else None
                if moved is not None and tally.failed:
                    place = moved
                    continue
                gone = tally.absent and Code.CORRUPT not in tally.codes
                raise NodeError(Code.NOT_FOUND) if gone else tally.error()
            after = tally.quorum.newer
        raise Conflict("newer writes of the same object keep coming")

    async def write_once(self, place: ObjectPlace, request_for: RequestFor, txn: str) -> None:
        """Apply a change at the timestamp that it has. Raises Unavailable, InsufficientStorage; Conflict when too many replicas
        have something newer.
        """
        verdict, tally = await self.write_at(place, request_for, txn)
        if verdict is Write.RETRY:
            raise Conflict("a newer version is there")
        if verdict is not Write.DONE:
            raise tally.error()

    async def write_at(self, place: ObjectPlace, request_for: RequestFor, txn: str) -> tuple[Write, Tally]:
        """Apply a change at the timestamp that it has; whatever comes of it."""
        attempt = _Attempt(self, place, request_for, txn)
        return await attempt.run(), attempt.tally

    async def grace(self, fan: FanOut, tally: Tally) -> None:
        """Give the last replicas a moment: then replicas are equal when the client is answered, and nothing piles up. Nobody
        waits for a peer that is known to be slow.
        """
        grace_s = 0.0 if fan.overdue else self.nodes.knobs.straggler_grace_s
        deadline = 0.0
        while fan.outstanding:
            if fan.hopeless() and not self.nodes.crowded:
                return
            now = self.nodes.clock.monotonic()
            deadline = deadline or now + grace_s
            ended = await fan.next(max(0.0, deadline - now))
            if ended is None:
                for address in fan.pending:
                    self.nodes.failures.slow(address)
                return
            tally.take(*ended)

    async def list_by_others(self, place: ObjectPlace, tally: Tally, request_for: RequestFor, txn: str) -> None:
        """Container replicas whose own object replica missed the change hear of it from one that has it: the same change once more
        only informs, so that a majority of the rows is durable although two of the six processes involved do not answer.
        """
        fan = FanOut(self.nodes, txn)
        for i in range(len(place.replicas)):
            if i not in tally.stored and not self.nodes.troubled(place.index[i]):
                address, target = place.replicas[tally.stored[i % len(tally.stored)]]
                fan.call(i, address, request_for(target, place.index[i]))
        deadline = self.nodes.clock.monotonic() + self.nodes.knobs.straggler_grace_s
        try:
            while not tally.listed:
                ended = await fan.next(max(0.0, deadline - self.nodes.clock.monotonic()))
                if ended is None:
                    return
                tally.indexed_count += isinstance(ended[1], Stored) and ended[1].indexed
        finally:
            fan.leave()

    def spare(self, place: ObjectPlace, index: int, request_for: RequestFor, txn: str) -> None:
        """Leave the copy of primary `index`, which missed the change, with a handoff: in the background, as an extra."""
        if not self.nodes.crowded:
            self.nodes.spawn(self._spare(place, index, request_for, txn))

    async def _spare(self, place: ObjectPlace, index: int, request_for: RequestFor, txn: str) -> None:
        tried = 0
        for address, target in self.placement.handoffs(place):
            if tried >= self.nodes.knobs.handoffs_tried_max:
                return
            if not self.nodes.failures.admit(address):
                continue
            tried += 1
            try:
                await self.nodes.call(address, request_for(target, place.index[index]), txn)
            except (NodeError, PeerUnavailable):
                continue
            return


class _Attempt:
    """A change at one timestamp."""

    __slots__ = ("_fan", "_place", "_request_for", "_skipped", "_txn", "_writer", "tally")

    def __init__(self, writer: Writer, place: ObjectPlace, request_for: RequestFor, txn: str) -> None:
        self.tally = Tally(place)
        self._writer = writer
        self._place = place
        self._request_for = request_for
        self._txn = txn
        self._fan = FanOut(writer.nodes, txn, self.tally.quorum.needed)
        self._skipped: list[int] = []

    async def run(self) -> Write:
        """Not undone when cancelled: what was sent goes on."""
        tally, fan = self.tally, self._fan
        verdict = Write.WAIT
        try:
            self._send()
            await fan.most(tally.quorum.needed, self._writer.nodes.knobs.straggler_grace_s)
            while (verdict := tally.quorum.decide()) is Write.WAIT:
                ended = await fan.next(together=tally.quorum.needed - tally.quorum.stored_count)
                if ended is None:
                    raise RuntimeError("a write waits for nobody")
                tally.take(*ended)
                if not isinstance(ended[1], Stored):
                    self._send_skipped()
            if verdict is Write.DONE:
                for index in self._skipped:
                    tally.take(index, PeerUnavailable("known to fail"))
                await self._writer.grace(fan, tally)
                if not tally.listed:
                    await self._writer.list_by_others(self._place, tally, self._request_for, self._txn)
                for index in tally.failed:
                    self._writer.spare(self._place, index, self._request_for, self._txn)
        finally:
            fan.leave(self._late if verdict is Write.DONE else None)
        return verdict

    def _send(self) -> None:
        """To every primary, but not to one known to fail as long as the others make a majority."""
        replicas, admit = self._place.replicas, self._writer.nodes.failures.admit
        self._skipped = [i for i in range(len(replicas)) if not admit(replicas[i].address)]
        for i in range(len(replicas)):
            if i not in self._skipped:
                self._call(i)
        if len(replicas) - len(self._skipped) < self.tally.quorum.needed:
            self._send_skipped()

    def _send_skipped(self) -> None:
        """Others fail too, so the ones that failed a moment ago are needed: they may be back."""
        for i in self._skipped:
            self._call(i)
        self._skipped = []

    def _call(self, index: int) -> None:
        address, target = self._place.replicas[index]
        told = self._place.index[index]
        request = self._request_for(target, told)
        if self._writer.nodes.troubled(told):
            request = msgspec.structs.replace(request, defer=True)
        self._fan.call(index, address, request)

    def _late(self, index: int, outcome: Outcome) -> None:
        newer = isinstance(outcome, NodeError) and outcome.code in (Code.NEWER_EXISTS, Code.NOT_FOUND)
        if not isinstance(outcome, Stored) and not newer:
            self._writer.spare(self._place, index, self._request_for, self._txn)
