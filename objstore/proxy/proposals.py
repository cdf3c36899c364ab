"""Changes under conditions, linearizable per object: CASPaxos over its primaries, with the object's timestamp as ballot.

A writer announces its timestamp first (Prepare). A majority that promised to take nothing earlier has told, by the same answers,
what the object is; the condition is decided on that, and the change is made at the announced timestamp, unless somebody announced
a later one meanwhile: then all begins again. What is found on too few replicas is proposed anew before anybody is refused because
of it. The guarantee, its limits and why each step is needed: docs/consistency.md.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from objstore.formats.messages import (
    DeleteObject,
    GiveBack,
    IndexTarget,
    Prepare,
    Promised,
    Target,
)
from objstore.model.errors import Code, Conflict, NodeError, PreconditionFailed, Unavailable
from objstore.model.quorum import Write, majority
from objstore.model.version import BASE, Version
from objstore.placement.places import ObjectPlace, Replica, members_of
from objstore.proxy.completion import Completion
from objstore.proxy.nodes import FanOut, Nodes
from objstore.proxy.writes import Tally, Writer, Written
from objstore.rpc.interface import Outcome
from objstore.runtime.clock import HybridClock

ROUNDS_MAX = 12
PAUSE_MIN_S = 0.01
PAUSE_MAX_S = 0.5
_SPREADING = 0x9E3779B97F4A7C15
"""Makes neighbouring timestamps lie far apart."""


@dataclass(slots=True)
class Ballot:
    """A timestamp that was announced, and what the primaries answered."""

    timestamp: int
    members: int
    promised: dict[int, Version | None] = field(default_factory=dict)
    """By primary, what it holds: a version, a tombstone, or nothing."""
    spoke: int = 0
    """How many of them knew what was written before."""
    newer: int = 0
    codes: set[Code] = field(default_factory=set)

    @property
    def newest(self) -> Version | None:
        """The newest of them, tombstones included."""
        return max((one for one in self.promised.values() if one is not None), key=lambda one: one.order, default=None)

    @property
    def agreed(self) -> bool:
        """All that answered have the same."""
        return len(self.holders) == len(self.promised)

    @property
    def holders(self) -> list[int]:
        """Who has the newest."""
        newest = self.newest
        order = newest.order if newest is not None else None
        return [i for i, one in self.promised.items() if (one.order if one is not None else None) == order]


@dataclass(frozen=True, slots=True)
class Attempt:
    """What came of the change at one ballot: `written` when a majority has it, else the newest timestamp met (0 for none)."""

    written: Written | None
    newer: int = 0


def attempted(ballot: Ballot, verdict: Write, tally: Tally) -> Attempt:
    """What came of a small change. Raises Unavailable, InsufficientStorage when it can never succeed."""
    if verdict is Write.DONE:
        return Attempt(Written(ballot.timestamp, tally.listed, tally.existed, tuple(tally.absent)))
    if not tally.quorum.newer:
        raise tally.error()
    return Attempt(None, tally.quorum.newer)


Change = Callable[[Ballot, int], Awaitable[Attempt]]
"""Makes the change at a ballot, over what has this timestamp (0 for nothing). Raises StoreError when it can never succeed."""
Judge = Callable[[Version | None], None]
"""Decides the condition on a version, None for none. Raises PreconditionFailed."""


class Proposer:
    """Used in the event loop alone. Within a process, changes of one object under conditions come one after the other."""

    def __init__(self, nodes: Nodes, completion: Completion, writer: Writer, hlc: HybridClock) -> None:
        self._nodes = nodes
        self._completion = completion
        self._writer = writer
        self._hlc = hlc
        self._turns: dict[bytes, tuple[asyncio.Lock, int]] = {}

    async def propose(self, place: ObjectPlace, judge: Judge, change: Change, txn: str) -> Written:
        """Make a change if its condition holds.

        Raises PreconditionFailed when it does not; Conflict when others keep getting in between, or when this change may have been
        made and then replaced; Unavailable without a majority; what `change` raises.
        """
        with self._turn(place) as turn:
            async with turn:
                return await _Proposal(self, place, judge, change, txn).run()

    @contextmanager
    def _turn(self, place: ObjectPlace) -> Iterator[asyncio.Lock]:
        lock, users = self._turns.get(place.hash, (asyncio.Lock(), 0))
        self._turns[place.hash] = (lock, users + 1)
        try:
            yield lock
        finally:
            lock, users = self._turns[place.hash]
            if users > 1:
                self._turns[place.hash] = (lock, users - 1)
            else:
                del self._turns[place.hash]

    async def settle(self, place: ObjectPlace, txn: str) -> None:
        """Have a majority hold the newest version, whatever was promised. Raises Unavailable."""
        after = 0
        for round_ in range(ROUNDS_MAX):
            ballot = await self.announce(place, after, txn)
            if self.is_enough(place, ballot) and await self.stand(place, ballot, txn) is not None:
                return
            self.give_back(place, ballot, txn)
            if not ballot.newer:
                raise Unavailable("too few replicas of the object answered")
            after = ballot.newer
            await self.pause(round_, ballot)
        raise Unavailable("others keep changing the object")

    # --- the steps ---------------------------------------------------------------------------------------------

    async def announce(self, place: ObjectPlace, after: int, txn: str) -> Ballot:
        """Ask every primary for a promise at a timestamp above `after`, until enough gave one, or none is left to ask."""
        replicas = place.replicas
        ballot = Ballot(self._hlc.next(after), members_of(replicas[0].target.partition, replicas))
        fan = FanOut(self._nodes, txn)
        for i, (address, target) in enumerate(replicas):
            fan.call(i, address, Prepare(target, place.hash, place.name, ballot.timestamp, ballot.members))
        try:
            while not self.is_enough(place, ballot) and (ended := await fan.next()) is not None:
                self._take(ballot, *ended)
            while not ballot.agreed and (ended := await fan.next(self._nodes.knobs.hedge_s)) is not None:
                self._take(ballot, *ended)  # one more may show that a majority has the newest
        finally:
            fan.leave()
        return ballot

    def _take(self, ballot: Ballot, index: int, outcome: Outcome) -> None:
        if isinstance(outcome, Promised):
            ballot.promised[index] = outcome.version
            ballot.spoke += outcome.member
        elif isinstance(outcome, NodeError):
            ballot.codes.add(outcome.code)
            if outcome.code is Code.NEWER_EXISTS:
                ballot.newer = max(ballot.newer, outcome.timestamp)

    def is_enough(self, place: ObjectPlace, ballot: Ballot) -> bool:
        """A majority that knows what was written before; or all, when some are new to the partition."""
        count = len(place.replicas)
        return ballot.spoke >= majority(count) or len(ballot.promised) == count

    async def stand(self, place: ObjectPlace, ballot: Ballot, txn: str) -> int | None:
        """See that a majority holds the newest version of those that answered: nobody may be refused because of one that could
        vanish. Proposed anew at the ballot where too few have it. Returns the timestamp that it has then, 0 for nothing at all;
        None when it did not succeed.
        """
        newest, answers, needed = ballot.newest, ballot.promised.values(), majority(len(place.replicas))
        if newest is None or len(ballot.holders) >= needed:
            self.give_back(place, ballot, txn)
            return newest.timestamp if newest is not None else 0
        if any(one is not None and one.timestamp < newest.timestamp and one.order[1] > newest.order[1] for one in answers):
            return None  # a POST that applies to the newest too: readers join the two
        if newest.deleted:

            def request(target: Target, index: IndexTarget | None) -> DeleteObject:
                return DeleteObject(target, place.hash, place.name, ballot.timestamp, index, members=ballot.members)

            verdict, tally = await self._writer.write_at(place, request, txn)
            ballot.newer = max(ballot.newer, tally.quorum.newer)
            return ballot.timestamp if verdict is Write.DONE else None
        source = place.replicas[ballot.holders[0]]
        everybody = range(len(place.replicas))
        spread = await self._completion.spread(
            place, source, newest.order, everybody, needed, newest.size, txn, restamp=ballot.timestamp, members=ballot.members
        )
        return ballot.timestamp if spread.done >= needed else None

    def give_back(self, place: ObjectPlace, ballot: Ballot, txn: str) -> None:
        """No change will come at this ballot. In the background; who does not hear of it forgets its promise in time."""
        for replica in place.replicas:
            if not self._nodes.crowded:
                self._nodes.spawn(self._give_back(replica, place.hash, ballot.timestamp, txn))

    async def _give_back(self, replica: Replica, hash_: bytes, timestamp: int, txn: str) -> None:
        await self._nodes.call(replica.address, GiveBack(replica.target, hash_, timestamp), txn)

    async def pause(self, round_: int, ballot: Ballot) -> None:
        """Before the next round: others are at it too, so for a time that differs between them."""
        longest = min(PAUSE_MAX_S, PAUSE_MIN_S * 2**round_)
        share = (ballot.timestamp * _SPREADING >> 32) % 1000 / 1000
        await self._nodes.clock.sleep(longest * (0.2 + 0.8 * share))


class _Proposal:
    """One change under way."""

    def __init__(self, proposer: Proposer, place: ObjectPlace, judge: Judge, change: Change, txn: str) -> None:
        self._proposer = proposer
        self._place = place
        self._judge = judge
        self._change = change
        self._txn = txn
        self._mine: set[int] = set()
        """The ballots at which the change may be held by somebody."""
        self._base = -1
        """What it was meant to replace then."""

    async def run(self) -> Written:
        after = 0
        for round_ in range(ROUNDS_MAX):
            ballot = await self._proposer.announce(self._place, after, self._txn)
            if not self._proposer.is_enough(self._place, ballot):
                self._proposer.give_back(self._place, ballot, self._txn)
                if not ballot.newer:
                    raise _nobody(ballot)
            else:
                written = await self._decide(ballot)
                if written is not None:
                    return written
            after = max(after, ballot.newer)
            await self._proposer.pause(round_, ballot)
        raise Conflict("others keep changing the object at the same time")

    async def _decide(self, ballot: Ballot) -> Written | None:
        proposer, newest = self._proposer, ballot.newest
        if newest is not None and (newest.timestamp in self._mine or newest.origin in self._mine):
            self._mine.add(ballot.timestamp)  # it was made, and only has to be held by a majority
            at = await proposer.stand(self._place, ballot, self._txn)
            return None if at is None else Written(at, False, True)
        self._require_not_made(ballot)
        try:
            self._judge(None if newest is None or newest.deleted else newest)
        except PreconditionFailed:
            if await proposer.stand(self._place, ballot, self._txn) is None:
                raise Unavailable("too few replicas answered; what is there could not be settled") from None
            raise
        self._base = 0 if newest is None else max(newest.order)
        self._mine.add(ballot.timestamp)
        attempt = await self._change(ballot, self._base)
        ballot.newer = max(ballot.newer, attempt.newer)
        return attempt.written

    def _require_not_made(self, ballot: Ballot) -> None:
        """Raises Conflict when the change may have been made at an earlier ballot and then replaced: making it once more would make
        it twice. It was not made when what is there is older, or replaced the same version as it would have.
        """
        newest = ballot.newest
        if not self._mine or newest is None or newest.timestamp < min(self._mine):
            return
        if newest.deleted or newest.system.get(BASE) != str(self._base):
            self._proposer.give_back(self._place, ballot, self._txn)
            raise Conflict("others changed the object at the same time; the change may or may not have been applied")


def _nobody(ballot: Ballot) -> Exception:
    if Code.OTHER_RING in ballot.codes:
        return Unavailable("the rings of the cluster are being changed; try again")
    return Unavailable("too few replicas of the object answered; nothing was changed")
