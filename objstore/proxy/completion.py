"""Bringing a version from a replica that has it to those that lack it."""

from collections.abc import Iterable

from objstore.formats.messages import Pushed, PushObject
from objstore.model.errors import NodeError
from objstore.placement.places import ObjectPlace, Placement, Replica
from objstore.proxy.nodes import FanOut, Nodes
from objstore.rpc.interface import PeerUnavailable


class Completion:
    """Has replicas copy objects among themselves."""

    def __init__(self, nodes: Nodes, placement: Placement) -> None:
        self._nodes = nodes
        self.placement = placement

    async def spread(self, place: ObjectPlace, source: Replica, to: Iterable[int], needed: int, size: int, txn: str) -> int:
        """Have `source` push its newest version to primaries `to`; returns how many took it, as soon as `needed` did. The rest
        goes on in the background.
        """
        fan, done = FanOut(self._nodes, txn), 0
        for i in to:
            request = self._request(place, source, place.replicas[i], i)
            fan.call(i, source.address, request, self._timeout_s(size))
        try:
            while done < needed and (ended := await fan.next()) is not None:
                done += isinstance(ended[1], Pushed)
        finally:
            fan.leave()
        return done

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
        address = target.address
        return PushObject(source.target, place.hash, place.name, address.ip, address.port, target.target, place.index[index])

    def _timeout_s(self, size: int) -> float:
        return self._nodes.knobs.node_timeout_s + size / self._nodes.knobs.push_bytes_per_s_min
