"""Bringing a version from a replica that has it to those that lack it."""

from collections.abc import Iterable
from dataclasses import dataclass

import msgspec

from objstore.formats.messages import Pushed, PushObject
from objstore.model.errors import Code, NodeError
from objstore.placement.places import ObjectPlace, Placement, Replica
from objstore.proxy.nodes import FanOut, Nodes
from objstore.rpc.interface import PeerUnavailable


@dataclass(slots=True)
class Spread:
    """How many took a version, and whether any refused it because something newer is there, or was promised."""

    done: int = 0
    newer: bool = False
    promised: bool = False


class Completion:
    """Has replicas copy objects among themselves."""

    def __init__(self, nodes: Nodes, placement: Placement) -> None:
        self._nodes = nodes
        self.placement = placement

    async def spread(
        self,
        place: ObjectPlace,
        source: Replica,
        order: tuple[int, int],
        to: Iterable[int],
        needed: int,
        size: int,
        txn: str,
        *,
        restamp: int = 0,
        members: int = 0,
    ) -> Spread:
        """Have `source` push its version of this order to primaries `to` (as of `restamp`, see PushObject); returns as soon as
        `needed` have it. The rest goes on in the background. Who has something newer by now does not count: whoever wrote that
        may not have known of this version.
        """
        fan, spread = FanOut(self._nodes, txn), Spread()
        for i in to:
            request = self._request(place, source, place.replicas[i], i)
            request = msgspec.structs.replace(request, expected=order, restamp=restamp, members=members)
            fan.call(i, source.address, request, self._timeout_s(size))
        try:
            while spread.done < needed and (ended := await fan.next()) is not None:
                spread.done += isinstance(ended[1], Pushed)
                if isinstance(ended[1], NodeError):
                    spread.newer |= ended[1].code is Code.NEWER_EXISTS
                    spread.promised |= ended[1].code is Code.PROMISED
        finally:
            fan.leave()
        return spread

    def mend(self, place: ObjectPlace, source: Replica, index: int, size: int, txn: str) -> None:
        """Give primary `index` what it missed, in the background; where that fails, a handoff, as an extra."""
        if not self._nodes.crowded:
            self._nodes.spawn(self._mend(place, source, index, size, txn))

    async def _mend(self, place: ObjectPlace, source: Replica, index: int, size: int, txn: str) -> None:
        tried = 0
        primary = place.replicas[index]
        targets = [] if self._nodes.failures.troubled(primary.address) else [primary]
        for target in (*targets, *self.placement.handoffs(place)):
            if tried > self._nodes.knobs.handoffs_tried_max:
                return
            tried += 1
            try:
                request = self._request(place, source, target, index)
                await self._nodes.call(source.address, request, txn, self._timeout_s(size))
            except (NodeError, PeerUnavailable):
                continue
            return

    def _request(self, place: ObjectPlace, source: Replica, target: Replica, index: int) -> PushObject:
        (ip, port), told = target.address, place.index[index]
        return PushObject(source.target, place.hash, place.name, ip, port, target.target, told)

    def _timeout_s(self, size: int) -> float:
        return self._nodes.knobs.node_timeout_s + size / self._nodes.knobs.push_bytes_per_s_min
