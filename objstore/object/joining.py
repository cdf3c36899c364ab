"""Has a device learn of which partitions it holds all that the other primaries hold, by comparing digests (see Membership)."""

import asyncio
import logging
from collections import Counter
from collections.abc import Sequence
from functools import partial

from objstore.formats.messages import Address, CompareMembers, PartitionDigests, Target
from objstore.formats.messages.objectsync import DIGESTS_PER_CALL_MAX
from objstore.model.errors import NodeError
from objstore.object.holdings import Holdings
from objstore.object.membership import Known
from objstore.placement.places import Placement, Replica, members_of, memberships
from objstore.rpc.interface import Caller, PeerUnavailable
from ring.ring import Ring

logger = logging.getLogger("objstore.object")

CALL_TIMEOUT_S = 30.0


class Joining:
    """Compares the partitions of devices with their other primaries, until each was found equal once."""

    def __init__(self, placement: Placement, own: frozenset[Address], caller: Caller) -> None:
        self._placement = placement
        self._own = own
        self._caller = caller

    async def run(self, holdings: Holdings) -> int:
        """One pass; returns of how many partitions the device does not know yet that it holds all. Where it knows it of all and the
        ring is the one of then, there is nothing to do. Raises NodeError, OSError.
        """
        device, membership = holdings.device, holdings.device.membership
        rings = {policy: self._placement.ring(policy) for policy in self._placement.policies()}
        settled = {policy for policy, ring in rings.items() if membership.settled.get(policy) is ring}
        current: Known = {}
        equal: Known = {}
        for policy, ring in rings.items():
            if policy in settled:
                continue
            sets, members = await device.disk.run(partial(self._look, ring, policy, device.name))
            current |= {(policy, partition): one for partition, one in members.items()}
            wanted = [partition for partition, one in members.items() if not membership.is_member(policy, partition, one)]
            for start in range(0, len(wanted), DIGESTS_PER_CALL_MAX):
                part = wanted[start : start + DIGESTS_PER_CALL_MAX]
                for partition in await self._equal(holdings, policy, part, sets, members):
                    equal[policy, partition] = members[partition]
        if membership.learn(current, equal, settled) and device.disk.failed is None:
            await membership.save()
        missing = Counter(
            policy for (policy, partition), one in current.items() if not membership.is_member(policy, partition, one)
        )
        membership.settled = {policy: ring for policy, ring in rings.items() if not missing[policy]}
        return missing.total()

    def _look(self, ring: Ring, policy: int, device: str) -> tuple[dict[int, tuple[Replica, ...]], dict[int, int]]:
        """Of each partition that the device is a primary of: the primaries, and what tells this set of them apart. Blocking."""
        sets = memberships(ring, policy, self._own, device)
        return sets, {partition: members_of(partition, replicas) for partition, replicas in sets.items()}

    async def _equal(
        self, holdings: Holdings, policy: int, partitions: list[int], sets: dict[int, tuple[Replica, ...]], members: dict[int, int]
    ) -> list[int]:
        """Those whose other primaries all answer that they hold the same, and have the same primaries in their rings."""
        device = holdings.device
        ours = dict(zip(partitions, (one.value for one in await holdings.digests(policy, partitions)), strict=True))
        shared: dict[Replica, list[int]] = {}
        for partition in partitions:
            for replica in sets[partition]:
                if not (replica.address in self._own and replica.target.device == device.name):
                    key = Replica(replica.address, Target(replica.target.device, 0, policy))
                    shared.setdefault(key, []).append(partition)
        replies = await asyncio.gather(
            *(self._ask(peer, policy, wanted, [members[p] for p in wanted]) for peer, wanted in shared.items())
        )
        equal = set(partitions)
        for wanted, theirs in zip(shared.values(), replies, strict=True):
            equal -= {partition for partition, digest in zip(wanted, theirs, strict=True) if digest != ours[partition]}
        return sorted(equal)

    async def _ask(self, peer: Replica, policy: int, partitions: list[int], members: list[int]) -> Sequence[int]:
        request = CompareMembers(peer.target.device, policy, partitions, members)
        try:
            reply = await self._caller.call(peer.address, request, timeout_s=CALL_TIMEOUT_S)
        except (NodeError, PeerUnavailable) as error:
            logger.info("peer not compared", extra={"peer": f"{peer.address.ip}:{peer.address.port}", "error": str(error)})
            return [-1] * len(partitions)
        assert isinstance(reply, PartitionDigests)
        return reply.digests
