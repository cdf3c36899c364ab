"""Where a name lives: its replicas' addresses, and which container replica each object replica keeps informed."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple
from zlib import crc32

import msgspec
from xxhash import xxh3_64_intdigest

from objstore.formats.messages import Address, IndexTarget, Kind, Target
from objstore.model.errors import Unavailable
from objstore.model.names import ObjectName
from ring.device import Device
from ring.hashing import hash_of, hash_path, partition_of
from ring.ring import Ring

ENTRIES_MAX = 20_000


@dataclass(slots=True)
class Rings:
    """The rings in use. Whoever reloads ring files replaces a ring here; the next request follows it.

    `prefix` and `suffix` are the cluster's hash secrets; `objects` goes by policy index.
    """

    account: Ring
    container: Ring
    objects: dict[int, Ring]
    prefix: bytes = b""
    suffix: bytes = b""


class Replica(NamedTuple):
    """One device of a partition, and the address of the process that owns it."""

    address: Address
    target: Target


class ObjectPlace(msgspec.Struct, frozen=True):
    """Replica i of the object keeps container replica `index[i]` informed: the one of its own process where there is one, which
    costs no message, and goes with it when the node is lost instead of leaving two pairs broken. `sloppy`: handoffs may stand in
    for primaries.
    """

    name: str
    hash: bytes
    replicas: tuple[Replica, ...]
    index: tuple[IndexTarget, ...]
    index_replicas: int
    """How many replicas the container has."""
    sloppy: bool = False


@dataclass(frozen=True, slots=True)
class TablePlace:
    """An account or container. Container replica i reports to account replica `parents[i]`; accounts report to nobody."""

    kind: Kind
    name: str
    hash: bytes
    replicas: tuple[Replica, ...]
    parents: tuple[IndexTarget | None, ...]


def memberships(ring: Ring, policy: int, own: Collection[Address], device: str) -> dict[int, tuple[Replica, ...]]:
    """The partitions of which a device of a process with addresses `own` is a primary, and all primaries of each. Goes over the
    whole ring, and keeps nothing: for a thread, not for the event loop.
    """
    ids = {one.id for one in ring.devices if one is not None and (one.ip, one.port) in own and one.device == device}
    mine = sorted({partition for row in ring.rows for partition, id_ in enumerate(row) if id_ in ids})
    return {partition: tuple([_replica(one, partition, policy) for one in ring.primaries(partition)]) for partition in mine}


def members_of(partition: int, replicas: Iterable[Replica]) -> int:
    """Tells sets of primaries of a partition apart: a digest of who they are, in any order; never 0."""
    text = repr((partition, sorted((*replica.address, replica.target.device) for replica in replicas)))
    return int(xxh3_64_intdigest(text.encode()) >> 1) | 1


class Placement:
    """Looks names up in the rings. Not thread-safe."""

    def __init__(self, rings: Rings, sloppy: Collection[int] = (), *, entries_max: int = ENTRIES_MAX) -> None:
        """`sloppy`: the policies whose quorums handoffs count in. `entries_max` bounds each of three caches."""
        self._rings = rings
        self._sloppy = frozenset(sloppy)
        self._entries_max = entries_max
        self._partitions: dict[tuple[int, int], tuple[Ring, tuple[Replica, ...]]] = {}
        self._accounts: dict[str, tuple[Ring, TablePlace]] = {}
        self._containers: dict[tuple[str, str], tuple[Ring, Ring, TablePlace, tuple[IndexTarget, ...]]] = {}

    def account(self, account: str) -> TablePlace:
        rings = self._rings
        known = self._accounts.get(account)
        if known is not None and known[0] is rings.account:
            return known[1]
        hash_ = hash_path(rings.prefix, rings.suffix, account)
        replicas = self._replicas(-1, rings.account, partition_of(hash_, rings.account.part_shift))
        place = TablePlace("account", f"/{account}", hash_, replicas, (None,) * len(replicas))
        if len(self._accounts) >= self._entries_max:
            self._accounts.clear()
        self._accounts[account] = (rings.account, place)
        return place

    def container(self, account: str, container: str) -> TablePlace:
        return self._container(account, container)[2]

    def object(self, name: ObjectName, policy: int) -> ObjectPlace:
        """Raises Unavailable when this process has no ring for the policy."""
        rings = self._rings
        ring = rings.objects.get(policy)
        if ring is None:
            raise Unavailable(f"no ring for storage policy {policy}")
        account, container, key = name
        path = f"/{account}/{container}/{key}"
        hash_ = hash_of(rings.prefix, rings.suffix, path)
        replicas = self._replicas(policy, ring, partition_of(hash_, ring.part_shift))
        index = self._container(account, container)[3]
        return ObjectPlace(path, hash_, replicas, _paired(replicas, index), len(index), policy in self._sloppy)

    def table(self, name: str) -> TablePlace:
        """The place of "/account" or "/account/container"."""
        account, slash, container = name[1:].partition("/")
        return self.container(account, container) if slash else self.account(account)

    def index_now(self, container: str, index: IndexTarget) -> IndexTarget:
        """Where a row that was written for `index` belongs by the rings of today: there, as long as it holds the container; else
        to one of those that do, always the same.
        """
        account, _, name = container[1:].partition("/")
        targets = self._container(account, name)[3]
        if index in targets:
            return index
        return targets[crc32(f"{index.ip} {index.port} {index.device}".encode()) % len(targets)]

    def primaries(self, kind: Kind | int, partition: int) -> tuple[Replica, ...]:
        """Who holds a partition of accounts, of containers, or of a storage policy's objects. Raises Unavailable without a ring,
        IndexError for a partition that the ring does not have.
        """
        if kind == "account":
            return self._replicas(-1, self._rings.account, partition)
        if kind == "container":
            return self._replicas(-2, self._rings.container, partition)
        assert isinstance(kind, int)
        ring = self._rings.objects.get(kind)
        if ring is None:
            raise Unavailable(f"no ring for storage policy {kind}")
        return self._replicas(kind, ring, partition)

    def policies(self) -> list[int]:
        """The storage policies that there are rings for."""
        return list(self._rings.objects)

    def ring(self, policy: int) -> Ring:
        """The ring of a storage policy: another one when it has changed. Raises KeyError when there is none."""
        return self._rings.objects[policy]

    def handoffs(self, place: ObjectPlace) -> Iterator[Replica]:
        """The devices behind the primaries, in the order in which to try them."""
        target = place.replicas[0].target
        ring = self._rings.objects[target.policy]
        return (_replica(device, target.partition, target.policy) for device in ring.handoffs(target.partition))

    def around(self, place: ObjectPlace, failed: Collection[int]) -> ObjectPlace | None:
        """The same place with handoffs instead of replicas `failed`; None when there are not enough."""
        handoffs = (replica for replica in self.handoffs(place) if replica not in place.replicas)
        replicas = list(place.replicas)
        for i in failed:
            stand_in = next(handoffs, None)
            if stand_in is None:
                return None
            replicas[i] = stand_in
        around: ObjectPlace = msgspec.structs.replace(place, replicas=tuple(replicas))
        return around

    def _container(self, account: str, container: str) -> tuple[Ring, Ring, TablePlace, tuple[IndexTarget, ...]]:
        rings = self._rings
        known = self._containers.get((account, container))
        if known is not None and known[0] is rings.container and known[1] is rings.account:
            return known
        hash_ = hash_path(rings.prefix, rings.suffix, account, container)
        replicas = self._replicas(-2, rings.container, partition_of(hash_, rings.container.part_shift))
        above = self.account(account)
        parents = tuple(_index_target(above.replicas[i % len(above.replicas)], above.hash) for i in range(len(replicas)))
        place = TablePlace("container", f"/{account}/{container}", hash_, replicas, parents)
        entry = (rings.container, rings.account, place, tuple(_index_target(replica, hash_) for replica in replicas))
        if len(self._containers) >= self._entries_max:
            self._containers.clear()
        self._containers[account, container] = entry
        return entry

    def _replicas(self, key: int, ring: Ring, partition: int) -> tuple[Replica, ...]:
        """`key` tells the rings apart: a policy's index, -1 for accounts, -2 for containers."""
        known = self._partitions.get((key, partition))
        if known is not None and known[0] is ring:
            return known[1]
        replicas = tuple(_replica(device, partition, max(key, 0)) for device in ring.primaries(partition))
        if len(self._partitions) >= self._entries_max:
            self._partitions.clear()
        self._partitions[key, partition] = (ring, replicas)
        return replicas


def _paired(replicas: Sequence[Replica], index: tuple[IndexTarget, ...]) -> tuple[IndexTarget, ...]:
    """Each container replica is told by at most one object replica, as long as there are enough."""
    left = list(index)
    paired: list[IndexTarget | None] = []
    for address, _ in replicas:
        found = None
        for target in left:
            if target.port == address.port and target.ip == address.ip:
                found = target
                left.remove(target)
                break
        paired.append(found)
    others = iter(left)
    return tuple([found or next(others, None) or index[i % len(index)] for i, found in enumerate(paired)])


def _replica(device: Device, partition: int, policy: int) -> Replica:
    return Replica(Address(device.ip, device.port), Target(device.device, partition, policy))


def _index_target(replica: Replica, hash_: bytes) -> IndexTarget:
    address, target = replica
    return IndexTarget(address.ip, address.port, target.device, target.partition, hash_)
