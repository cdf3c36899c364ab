"""The replication part of the object server: answers other replicators, and fetches good copies of what was found damaged."""

import asyncio
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from objstore.formats.filenames import policy_of_directory
from objstore.formats.messages import (
    Address,
    ClaimPartition,
    DigestPartitions,
    IndexTarget,
    ListPartition,
    PartitionDigests,
    PartitionList,
    PushObject,
    Ready,
    Target,
)
from objstore.formats.messages.objectsync import DIGESTS_PER_CALL_MAX, ENTRIES_PER_CALL_MAX
from objstore.model.errors import Code, NodeError
from objstore.model.names import ObjectName
from objstore.object.device import ObjectDevice
from objstore.object.digests import DigestLog
from objstore.object.files import Place
from objstore.object.holdings import Holdings
from objstore.object.merge import valid_name
from objstore.object.push import Pusher
from objstore.object.reader import Corrupt
from objstore.object.removal import Removal
from objstore.object.replicator import ObjectReplicator
from objstore.placement.places import Placement, Replica
from objstore.rpc.interface import CallContext, Caller, Dispatcher, PeerUnavailable
from objstore.runtime.interface import Clock, CrashPoints, Worker
from objstore.runtime.pacing import TokenBucket

logger = logging.getLogger("objstore.object")

REPAIRS_UNDER_WAY_MAX = 64
REPAIR_TIMEOUT_S = 60.0
PARTITION_MAX = 1 << 32


@dataclass(frozen=True, slots=True)
class ReplicationSettings:
    """`own`: the addresses of this process in the rings. `horizon()`: the timestamp below which deletions may be forgotten.
    `boot`: 16 bytes that tell this start of the machine from others. `bytes_per_s`: what may be sent, 0 for no limit.
    """

    placement: Placement
    own: frozenset[Address]
    horizon: Callable[[], int]
    boot: bytes
    bytes_per_s: float = 0.0
    burst_bytes: float = 16e6


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
        self._repairs: set[asyncio.Task[None]] = set()
        pusher = Pusher(caller, pace=TokenBucket(clock, settings.bytes_per_s, settings.burst_bytes))
        self.replicator = ObjectReplicator(
            self._holdings.values(),
            settings.placement,
            settings.own,
            caller,
            pusher,
            Removal(points),
            settings.horizon,
        )
        for holdings in self._holdings.values():
            holdings.device.set_aside_listeners.append(self._damaged)

    def register(self, dispatcher: Dispatcher) -> None:
        """Answer other replicators."""
        dispatcher.on(DigestPartitions, self.digests)  # type: ignore[arg-type]
        dispatcher.on(ListPartition, self.list)  # type: ignore[arg-type]
        dispatcher.on(ClaimPartition, self.claim)  # type: ignore[arg-type]

    def workers(self) -> list[Worker]:
        """The background jobs."""
        return [self.replicator]

    async def start(self) -> None:
        """Read what earlier processes knew."""
        for holdings in self._holdings.values():
            await holdings.load()

    async def stop(self) -> None:
        """End repairs under way; the replicators of other nodes do what is left."""
        for task in self._repairs:
            task.cancel()
        if self._repairs:
            await asyncio.wait(self._repairs)

    # --- answers -----------------------------------------------------------------------------------------------

    async def digests(self, request: DigestPartitions, _context: CallContext) -> PartitionDigests:
        """As DigestPartitions says."""
        self._find(request.device)
        partitions = request.partitions
        if request.policy < 0 or len(partitions) > DIGESTS_PER_CALL_MAX or not all(0 <= p < PARTITION_MAX for p in partitions):
            raise NodeError(Code.BAD_REQUEST, "not a policy and partitions")
        found = await self._holdings[request.device].digests(request.policy, partitions)
        return PartitionDigests([digest.value for digest in found])

    async def list(self, request: ListPartition, _context: CallContext) -> PartitionList:
        """As ListPartition says."""
        target = self._checked(request.target)
        holdings = self._holdings[target.device]
        found = await holdings.list(target.policy, target.partition, request.after, ENTRIES_PER_CALL_MAX, durable=request.durable)
        return PartitionList(*found)

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

    # --- repairs -----------------------------------------------------------------------------------------------

    def _damaged(self, device: ObjectDevice, place: Place, error: Corrupt) -> None:
        """A file went to quarantine: ask the other primaries for theirs at once, without waiting for their next pass."""
        if len(self._repairs) < REPAIRS_UNDER_WAY_MAX:
            task = asyncio.get_running_loop().create_task(self._repair(device, place, error.name))
            self._repairs.add(task)
            task.add_done_callback(self._repairs.discard)

    async def _repair(self, device: ObjectDevice, place: Place, name: str) -> None:
        top, _, number = place.directory.partition("/")
        policy = policy_of_directory(top)
        assert policy is not None
        replicas = self._settings.placement.primaries(policy, int(number))
        here = [one for one in replicas if one.address in self._settings.own and one.target.device == device.name]
        if not here or device.disk.failed is not None:
            return
        index = self._index(place, policy, here[0], name)
        for other in replicas:
            if other == here[0]:
                continue
            address, target = here[0]
            request = PushObject(other.target, place.hash, name, address.ip, address.port, target, index)
            try:
                await self._caller.call(other.address, request, timeout_s=REPAIR_TIMEOUT_S)
            except (NodeError, PeerUnavailable) as refusal:
                logger.info(
                    "no copy from a peer", extra={"peer": f"{other.address.ip}:{other.address.port}", "error": str(refusal)}
                )
                continue
            logger.warning("object repaired", extra={"device": device.name, "object": name, "from": other.target.device})
            return

    def _index(self, place: Place, policy: int, here: Replica, name: str) -> IndexTarget | None:
        if not valid_name(name):
            return None
        found = self._settings.placement.object(ObjectName(*name[1:].split("/", 2)), policy)
        return found.index[found.replicas.index(here)] if found.hash == place.hash else None
