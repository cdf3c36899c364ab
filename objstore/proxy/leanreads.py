"""Reads where all is well, which is nearly always: as many primaries as a write needs agree, and one sent what was asked for.

Any other answer, or none in time, is no answer at all here: a search (`reads.py`) begins anew then, and knows what to make of it.
"""

import asyncio
from collections.abc import Sequence
from functools import partial

from objstore.formats.messages import GetObject, ObjectHeld, ObjectReply
from objstore.model.errors import Code, NodeError
from objstore.model.quorum import majority
from objstore.placement.places import ObjectPlace
from objstore.proxy.found import Found, Part, is_sound
from objstore.proxy.nodes import Nodes
from objstore.rpc.interface import Begun, Outcome, PeerUnavailable

_NO_VERSION = -1
"""Instead of a metadata timestamp: nobody who has a version agrees with one who has a deletion."""
_NOTHING = (0, _NO_VERSION)


class LeanRead:
    """One read. The first of `order` is asked for the bytes, the others only for what they have."""

    __slots__ = ("_begun", "_left", "_newest", "_nodes", "_order", "_place", "_reply", "_txn", "_waiter", "alarm")

    def __init__(self, nodes: Nodes, place: ObjectPlace, order: Sequence[int], txn: str) -> None:
        """`order`: in which the primaries are to be asked."""
        self.alarm = 0
        self._nodes = nodes
        self._place = place
        self._order = order
        self._txn = txn
        self._begun: list[Begun | None] = []
        self._left = 0
        self._newest: tuple[int, int] | None = None
        self._reply: ObjectReply | None = None
        self._waiter: asyncio.Future[bool] | None = None

    async def run(self, part: Part) -> Found | None:
        """None where something has to be looked into."""
        nodes, order = self._nodes, self._order
        self._ask(part, majority(len(order)))
        self.alarm = nodes.alarms.set(self, nodes.knobs.hedge_s)
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            return self._found() if await self._waiter else None
        finally:
            self.alarm, self._reply = 0, None  # the alarm keeps this for a while, and need not keep the bytes
            for one in self._begun:
                if one is not None:
                    one.cancel()

    def _ask(self, part: Part | None, until: int) -> None:
        """Those that were not asked yet, up to this number of them; the first for `part`."""
        nodes, place, begun = self._nodes, self._place, self._begun
        begin, timeout_s = nodes.caller.begin, nodes.knobs.node_timeout_s
        for number in range(len(begun), until):
            address, target = place.replicas[self._order[number]]
            if part is None:
                request = GetObject(target, place.hash, place.name, lean=True)
            else:
                request = GetObject(target, place.hash, place.name, part.inline_max, part.start, part.length)
                part = None
            self._left += 1
            begun.append(begin(address, request, partial(self._answered, number), timeout_s=timeout_s, txn=self._txn))

    def _answered(self, number: int, outcome: Outcome | BaseException) -> None:
        self._begun[number] = None  # it refers to this: nothing is left to the collector of cycles
        failures, address = self._nodes.failures, self._place.replicas[self._order[number]].address
        if isinstance(outcome, PeerUnavailable):
            failures.failed(address)
        elif not failures.none:
            failures.well(address)  # in time: later than the alarm it would not be heard
        order = self._order_of(outcome)
        if self._newest is None:
            self._newest = order
        self._left -= 1
        if order is None or order != self._newest:
            self._end(False)
        elif not self._left:
            if order == _NOTHING and len(self._begun) < len(self._order):
                # Before "never heard of it" is believed, the others are asked: a disk may have been replaced by an empty one.
                self._ask(None, len(self._order))
            else:
                self._end(True)

    def _order_of(self, outcome: Outcome | BaseException) -> tuple[int, int] | None:
        """The order of what a primary has; None for no plain answer."""
        if isinstance(outcome, ObjectHeld):
            return outcome.order
        if isinstance(outcome, ObjectReply):
            if not is_sound(outcome, self._place.name):
                return None
            self._reply = outcome
            return outcome.version.order
        if isinstance(outcome, NodeError) and outcome.code is Code.NOT_FOUND:
            return outcome.timestamp, _NO_VERSION
        return None

    def _end(self, agreed: bool) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(agreed)

    def wake(self) -> None:
        """As Sleeper: somebody hangs."""
        for number, one in enumerate(self._begun):
            if one is not None:
                self._nodes.failures.slow(self._place.replicas[self._order[number]].address)
        self._end(False)

    def _found(self) -> Found:
        assert self._newest is not None
        reply, replicas, order, asked = self._reply, self._place.replicas, self._order, len(self._begun)
        if reply is None:
            return Found(None, self._newest[0], None, (), ())
        holders = tuple([replicas[index] for index in order[:asked]])
        return Found(reply.version, 0, reply.body, holders, tuple([replicas[index] for index in order[asked:]]))
