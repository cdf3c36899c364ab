"""The replication part of the object server: answers other replicators, and runs its own and the repairs."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from objstore.formats.filenames import partition_directory
from objstore.formats.messages import (
    Address,
    ClaimPartition,
    CompareMembers,
    DigestPartitions,
    ListPartition,
    PartitionDigests,
    PartitionList,
    Ready,
    Target,
)
from objstore.formats.messages.objectsync import DIGESTS_PER_CALL_MAX, ENTRIES_PER_CALL_MAX
from objstore.model.errors import Code, NodeError, Unavailable
from objstore.object.device import ObjectDevice
from objstore.object.digests import DigestLog
from objstore.object.holdings import Holdings
from objstore.object.joining import Joining
from objstore.object.push import Pusher
from objstore.object.removal import Removal
from objstore.object.repairs import Repairs
from objstore.object.replicator import ObjectReplicator
from objstore.placement.places import Placement, members_of
from objstore.rpc.interface import CallContext, Caller, Dispatcher
from objstore.runtime.interface import Clock, CrashPoints, Worker
from objstore.runtime.pacing import TokenBucket, Yielding

PARTITION_MAX = 1 << 32


@dataclass(frozen=True, slots=True)
class ReplicationSettings:
    """`own`: the addresses of this process in the rings. `horizon()`: the timestamp below which deletions may be forgotten.
    `boot`: 16 bytes that tell this start of the machine from others. `bytes_per_s`: what may be sent, 0 for no limit.
    `yielding`: what background jobs wait by; None for one of this server's own.
    """

    placement: Placement
    own: frozenset[Address]
    horizon: Callable[[], int]
    boot: bytes
    bytes_per_s: float = 0.0
    burst_bytes: float = 16e6
    yielding: Yielding | None = None


class Replication:
    """Of all devices of a node. Used in the event loop alone; `stop` at the end."""

    def __init__(
        self,
        devices: Iterable[ObjectDevice],
        find: Callable[[str], ObjectDevice],
        caller: Caller,
        clock: Clock,
        points: CrashPoints,
        settings: ReplicationSettings,
        yielding: Yielding,
    ) -> None:
        """`find(name)`: a device that serves; raises NodeError."""
        self._find = find
        self._caller = caller
        self._clock = clock
        self._settings = settings
        self._holdings = {
            device.name: Holdings(device, DigestLog(device.disk.fs, settings.boot), clock, settings.horizon) for device in devices
        }
        self._claims: dict[Target, tuple[str, float]] = {}
        self._repairs = Repairs(settings.placement, settings.own, caller, clock, settings.horizon)
        pusher = Pusher(caller, pace=TokenBucket(clock, settings.bytes_per_s, settings.burst_bytes))
        self.replicator = ObjectReplicator(
            self._holdings.values(),
            settings.placement,
            settings.own,
            caller,
            pusher,
            Removal(points),
            self._repairs,
            Joining(settings.placement, settings.own, caller),
            settings.horizon,
            yielding,
        )
        for holdings in self._holdings.values():
            holdings.device.set_aside_listeners.append(self._repairs.damaged)

    def register(self, dispatcher: Dispatcher) -> None:
        """Answer other replicators."""
        dispatcher.on(DigestPartitions, self.digests)
        dispatcher.on(ListPartition, self.list)
        dispatcher.on(ClaimPartition, self.claim)
        dispatcher.on(CompareMembers, self.compare_members)

    def workers(self) -> list[Worker]:
        """The background jobs."""
        return [self.replicator]

    async def start(self) -> None:
        """Read what earlier processes knew."""
        for holdings in self._holdings.values():
            await holdings.load()

    async def stop(self) -> None:
        """End repairs under way; the replicators of other nodes do what is left."""
        await self._repairs.stop()

    # --- answers -----------------------------------------------------------------------------------------------

    async def digests(self, request: DigestPartitions, _context: CallContext) -> PartitionDigests:
        """As DigestPartitions says."""
        self._find(request.device)
        partitions = request.partitions
        if request.policy < 0 or len(partitions) > DIGESTS_PER_CALL_MAX or not all(0 <= p < PARTITION_MAX for p in partitions):
            raise NodeError(Code.BAD_REQUEST, "not a policy and partitions")
        found = await self._holdings[request.device].digests(request.policy, partitions)
        return PartitionDigests([digest.value for digest in found])

    async def compare_members(self, request: CompareMembers, _context: CallContext) -> PartitionDigests:
        """As CompareMembers says."""
        if len(request.members) != len(request.partitions):
            raise NodeError(Code.BAD_REQUEST, "not partitions and their primaries")
        found = await self.digests(DigestPartitions(request.device, request.policy, request.partitions), _context)
        asked = zip(request.partitions, request.members, found.digests, strict=True)
        return PartitionDigests([value if self._holds(request, p, members) else -1 for p, members, value in asked])

    def _holds(self, request: CompareMembers, partition: int, members: int) -> bool:
        try:
            replicas = self._settings.placement.primaries(request.policy, partition)
        except (IndexError, Unavailable):
            return False
        here = any(one.address in self._settings.own and one.target.device == request.device for one in replicas)
        return here and members_of(partition, replicas) == members

    async def list(self, request: ListPartition, _context: CallContext) -> PartitionList:
        """As ListPartition says."""
        target = self._checked(request.target)
        holdings = self._holdings[target.device]
        found = await holdings.list(target.policy, target.partition, request.after, ENTRIES_PER_CALL_MAX, durable=request.durable)
        if request.after:
            return PartitionList(*found)
        return PartitionList(*found, await holdings.device.missed(partition_directory(target.policy, target.partition)))

    async def claim(self, request: ClaimPartition, _context: CallContext) -> Ready:
        """As ClaimPartition says."""
        target, now = self._checked(request.target), self._clock.monotonic()
        holder, until = self._claims.get(target, ("", 0.0))
        if holder != request.by and until > now:
            raise NodeError(Code.BUSY, f"{holder} completes this partition")
        self._claims.pop(target, None)
        if request.seconds > 0:
            self._claims = {known: claim for known, claim in self._claims.items() if claim[1] > now}
            self._claims[target] = (request.by, now + request.seconds)
        return Ready()

    def _checked(self, target: Target) -> Target:
        self._find(target.device)
        if target.policy < 0 or not 0 <= target.partition < PARTITION_MAX:
            raise NodeError(Code.BAD_REQUEST, "not a policy and partition")
        return target
