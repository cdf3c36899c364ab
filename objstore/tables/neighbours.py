"""Who else holds a database, by the rings in use."""

from collections.abc import Collection
from typing import NamedTuple

from objstore.formats.messages import Address, IndexTarget
from objstore.placement.places import Placement, Replica
from objstore.tables.place import Place


class Holders(NamedTuple):
    """`primary`: whether the device asked for is one of the partition's primaries; `others` are the rest of them."""

    primary: bool
    others: tuple[Replica, ...]


class Neighbours:
    """Of the devices of this process, which others know by `own` addresses. Follows the rings as they change."""

    def __init__(self, placement: Placement, own: Collection[Address]) -> None:
        self._placement = placement
        self._own = frozenset(own)

    def holders(self, place: Place, device: str) -> Holders | None:
        """None for a partition that the ring does not have."""
        try:
            primaries = self._placement.primaries(place.kind.kind, place.partition)
        except IndexError:
            return None
        others = tuple(replica for replica in primaries if not self._is(replica, device))
        return Holders(len(others) < len(primaries), others)

    def parent(self, place: Place, name: str, device: str) -> IndexTarget | None:
        """Where the container's replica on this device reports its row; None for an account, for a device that is no primary,
        and for a name that has another place in the rings.
        """
        if place.kind.kind != "container" or name.count("/") < 2:
            return None
        found = self._placement.table(name)
        if found.hash != place.hash:
            return None
        for replica, parent in zip(found.replicas, found.parents, strict=True):
            if self._is(replica, device) and replica.target.partition == place.partition:
                return parent
        return None

    def _is(self, replica: Replica, device: str) -> bool:
        return replica.address in self._own and replica.target.device == device
