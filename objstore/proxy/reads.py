"""Finding an object's newest version among its replicas (G5).

As many primaries are asked as a write needs (one with its bytes, the others for their metadata), the newest answer wins, and a
version or tombstone that too few hold is completed before it is believed: what was read once never vanishes. Fewer answers than
R = n - W + 1 make no view of the majority; then the answer is Unavailable, never a stale one. It is Unavailable too when what some
replica had is in quarantine, and nobody has it or something newer: such an object is damaged, not missing.
"""

from collections.abc import Awaitable, Callable, Sequence

from objstore.formats.messages import GetObject, ObjectReply
from objstore.model.errors import Code, NodeError, Unavailable
from objstore.model.lost import NONE
from objstore.model.quorum import NOTHING, Read, ReadQuorum, majority, outvoted
from objstore.model.version import Version
from objstore.placement.places import ObjectPlace, Placement, Replica
from objstore.proxy.completion import Completion, Spread
from objstore.proxy.found import Found, Part, is_sound
from objstore.proxy.leanreads import LeanRead
from objstore.proxy.nodes import FanOut, Nodes
from objstore.rpc.interface import Outcome

SEARCHES_MAX = 8
UNDER_WAY_S = 0.03
"""A change under conditions takes about so long from its promises to its majority."""
Settle = Callable[[ObjectPlace, str], Awaitable[None]]


class Finder:
    """Finds versions."""

    def __init__(self, nodes: Nodes, placement: Placement, completion: Completion, settle: Settle | None = None) -> None:
        """`settle` brings a version to a majority that promised to wait for a later one."""
        self.nodes = nodes
        self._settle = settle
        self.placement = placement
        self._completion = completion
        self._turn = 0

    async def find(self, place: ObjectPlace, part: Part, txn: str, everywhere: bool = False) -> Found:
        """Consult the primaries; with `everywhere` all of them. Raises Unavailable.

        In a sloppy policy, whatever answers is believed when the primaries make no majority, handoffs included.
        """
        self._turn += 1
        order = self.nodes.failures.order(place.replicas, self._turn)
        if not everywhere:
            found = await LeanRead(self.nodes, place, order, txn).run(part)
            if found is not None:
                return found
            order = self.nodes.failures.order(place.replicas, self._turn)
        replaced, floor = False, NOTHING
        # The first search met a replica of whatever was acknowledged: nothing older than what it saw is told.
        for number in range(SEARCHES_MAX):
            search = _Search(self.nodes, place, part, txn, order, eager=replaced or not everywhere)
            try:
                step = await search.run(everywhere or replaced)
            finally:
                search.fan.cancel()
            split = search.split()
            if split:
                await self._push_newest(search, split, len(split))
            elif replaced and (settled := search.settled()) is not None and settled >= floor:
                return search.found(settled)
            elif await self._believe(search, step, number):
                return search.found()
            replaced = search.replaced
            if replaced and floor == NOTHING:
                floor = search.quorum.newest
        raise Unavailable("others keep changing the object, or its newest data and metadata are on different replicas")

    async def _believe(self, search: "_Search", step: Read, number: int) -> bool:
        """Whether what was found can be told; False to search again. Raises Unavailable."""
        place = search.place
        if step is Read.UNAVAILABLE and not place.sloppy:
            raise Unavailable("too few replicas of the object answered")
        if place.sloppy and (step is Read.UNAVAILABLE or search.only_damaged()):
            await self._ask_handoffs(search)
        if search.only_damaged():
            raise Unavailable("every copy of the object that was found is damaged", search.lost)
        if step is not Read.COMPLETE or search.extra:
            return True
        needed = search.quorum.missing
        spread = await self._push_newest(search, search.quorum.lacking, needed)
        if spread.done >= needed:
            return True
        if spread.newer and not spread.promised:
            search.replaced = True
            return False
        if not spread.promised or self._settle is None:
            raise Unavailable("a newer version is known, but too few replicas hold it")
        if number == 0:
            await self.nodes.clock.sleep(UNDER_WAY_S)  # whoever got the promise is most likely still at it
        else:
            await self._settle(place, search.txn)
        return False

    async def _push_newest(self, search: "_Search", to: Sequence[int], needed: int) -> Spread:
        place, source = search.place, search.quorum.holders[0]
        size = search.replies[source].version.size if source in search.replies else 0
        return await self._completion.spread(place, place.replicas[source], search.quorum.newest, to, needed, size, search.txn)

    async def _ask_handoffs(self, search: "_Search") -> None:
        place = search.place
        for tried, (address, target) in enumerate(self.placement.handoffs(place)):
            if tried >= self.nodes.knobs.handoffs_tried_max:
                break
            fan = FanOut(self.nodes, search.txn)
            fan.call(0, address, GetObject(target, place.hash, place.name))
            ended = await fan.next()
            if ended is not None:
                search.extra.append(Replica(address, target))
                search.take(len(place.replicas) + len(search.extra) - 1, ended[1])
        if not search.quorum.orders:
            raise Unavailable("no replica of the object answered")


class _Search:
    """One search over the primaries, in the order given."""

    __slots__ = (
        "_bytes_from",
        "_eager",
        "_next",
        "_order",
        "_part",
        "_wanted",
        "extra",
        "fan",
        "lost",
        "nodes",
        "place",
        "quorum",
        "replaced",
        "replies",
        "txn",
    )

    def __init__(self, nodes: Nodes, place: ObjectPlace, part: Part, txn: str, order: list[int], *, eager: bool = False) -> None:
        """`eager`: all send the bytes, as what one has may be replaced before it is asked again."""
        self.nodes = nodes
        self.place = place
        self.txn = txn
        self.fan = FanOut(nodes, txn)
        self.quorum = ReadQuorum(len(place.replicas))
        self.replies: dict[int, ObjectReply] = {}
        self.extra: list[Replica] = []
        self.lost = NONE
        """The newest of what replicas have in quarantine, and nothing as new."""
        self.replaced = False
        """What was newest was not any more when others were to have it."""
        self._part = part
        self._order = order
        self._wanted = majority(len(order))
        self._next = 0
        self._bytes_from = -1
        self._eager = eager

    async def run(self, everywhere: bool) -> Read:
        for _ in range(len(self._order) if everywhere else self._wanted):
            self._ask()
        patient = True
        while True:
            step = self.quorum.decide(patient)
            if everywhere and step is Read.DONE and patient and self.fan.outstanding:
                step = Read.WAIT  # one of those not heard yet may know something newer
            if step is Read.WAIT:
                if patient:  # fewer answers than a majority decide nothing
                    ended = await self.fan.next(self.nodes.knobs.hedge_s, self._wanted - len(self.quorum.orders))
                else:
                    ended = await self.fan.next()
                if ended is not None:
                    self.take(*ended)
                    continue
                patient = False
                for address in self.fan.pending:
                    self.nodes.failures.slow(address)
                if self._next == len(self._order):
                    continue
                step = Read.ASK
            if step is not Read.ASK:
                return step
            self._ask()

    def _ask(self) -> None:
        """Ask one more primary; for the bytes too, unless they are under way from one that does not hang."""
        i = self._order[self._next]
        self._next += 1
        address, target = self.place.replicas[i]
        place, part = self.place, self._part
        if self._eager or not (self._bytes_from in self.replies or self._bytes_soon()):
            self._bytes_from = i
            request = GetObject(target, place.hash, place.name, part.inline_max, part.start, part.length)
        else:
            request = GetObject(target, place.hash, place.name)
        self.quorum.asked()
        self.fan.call(i, address, request)

    def _bytes_soon(self) -> bool:
        if not self.fan.waits_for(self._bytes_from):
            return False
        return not self.nodes.failures.troubled(self.place.replicas[self._bytes_from].address)

    def take(self, index: int, outcome: Outcome) -> None:
        if isinstance(outcome, ObjectReply) and is_sound(outcome, self.place.name):
            self.replies[index] = outcome
            self.quorum.answered(index, outcome.version.order)
        elif isinstance(outcome, NodeError) and outcome.code is Code.NOT_FOUND:
            deleted = outcome.timestamp
            self.quorum.answered(index, (deleted, deleted) if deleted else NOTHING)
        elif isinstance(outcome, NodeError) and outcome.code is Code.CORRUPT and outcome.lost != NONE:
            self.lost = self.lost.with_(outcome.lost)
            self.quorum.answered(index, NOTHING)
        else:
            self.quorum.failed(index)

    def split(self) -> list[int]:
        """The primaries with older data than the newest and a newer POST, which applies to the newest too. A majority has each of
        the two, but not the same one. Where one majority has the newest and not the POST, that was never acknowledged.
        """
        quorum, replies = self.quorum, self.replies
        if quorum.unanimous or quorum.agreed:
            return []
        timestamp, meta = quorum.newest
        if not any(quorum.orders[index][0] == timestamp for index in replies):
            return []  # it is deleted
        older = (i for i in replies if i < len(self.place.replicas) and quorum.orders[i][0] < timestamp)
        return [i for i in older if quorum.orders[i][1] > meta]

    def only_damaged(self) -> bool:
        """Whether a version, deletion or metadata that was lost is newer than all that sound copies say, and these do not show
        that it was never acknowledged. A lost deletion is not missed where there is nothing that it deleted.
        """
        quorum = self.quorum
        newest = quorum.newest
        missed = self.lost.beyond(*newest)
        if missed == NONE:
            return False
        if not missed.data and not any(quorum.orders[index] == newest for index in self.replies):
            return False
        count = len(self.place.replicas)
        return not outvoted(self.lost, [order for index, order in quorum.orders.items() if index < count], count)

    def settled(self) -> tuple[int, int] | None:
        """What a majority holds while the newest is on its way, if all that was asked for of it is here: where changes follow one
        another so closely, what one answer says is replaced before the next question arrives. None for nothing.
        """
        order = self.quorum.settled
        if order is None or self.lost != NONE or self.extra:
            return None
        replies = [reply for index, reply in self.replies.items() if self.quorum.orders[index] == order]
        lacks_bytes = any(reply.body is None and reply.version.size <= self._part.inline_max for reply in replies)
        return None if lacks_bytes else order

    def found(self, order: tuple[int, int] | None = None) -> Found:
        """The newest version, or that of this order."""
        quorum, replies, primaries = self.quorum, self.replies, self.place.replicas
        newest = order or quorum.newest
        version: Version | None = None
        body: bytes | None = None
        holders: list[Replica] = []
        for index, reply in replies.items():
            if quorum.orders[index] == newest:
                version = reply.version
                body = reply.body if body is None else body
                holders.append(primaries[index] if index < len(primaries) else self.extra[index - len(primaries)])
        if version is None:
            return Found(None, newest[0], None, (), ())
        others = tuple([primaries[i] for i in self._order if i not in quorum.orders])
        return Found(version, 0, body, tuple(holders), others)
