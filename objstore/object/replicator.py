"""The object-replicator: makes replicas equal, hands handoff copies back, forgets old deletions.

A pass compares one digest per partition with each other primary, many partitions to a call; equal ones cost nothing more. Where
they differ, this device lists what the other holds and pushes what that one lacks (it never pulls: the other's own replicator does
its part). On a device that is no primary of a partition, everything is pushed to all primaries, and an object is removed only when
each of them has said that it is durable there.
"""

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TypeVar

from objstore.formats.filenames import partition_directory, policy_of_directory
from objstore.formats.messages import (
    Address,
    ClaimPartition,
    DigestPartitions,
    GetObject,
    IndexTarget,
    ListPartition,
    Message,
    ObjectReply,
    PartitionDigests,
    PartitionList,
    Ready,
)
from objstore.formats.messages.objectsync import DIGESTS_PER_CALL_MAX
from objstore.model.errors import Code, NodeError, Unavailable
from objstore.model.lost import NONE, Lost
from objstore.model.names import ObjectName
from objstore.model.quorum import majority
from objstore.object.device import ObjectDevice, read_failed
from objstore.object.digests import Digest
from objstore.object.files import NOTHING, Files, Partition, Place
from objstore.object.holdings import Holdings, files_of
from objstore.object.joining import Joining
from objstore.object.merge import valid_name
from objstore.object.push import Misplaced, Push, Pusher
from objstore.object.removal import Removal
from objstore.object.repairs import Repairs
from objstore.placement.places import Placement, Replica
from objstore.rpc.interface import Caller, PeerUnavailable
from objstore.runtime.interface import Progress
from objstore.runtime.pacing import Yielding

T = TypeVar("T", bound=Message)
logger = logging.getLogger("objstore.object")

CALL_TIMEOUT_S = 30.0
CLAIM_S = 30.0
BLOCK_PARTITIONS = 256
PARTITIONS_AT_ONCE_MAX = 4
PUSHES_AT_ONCE_MAX = 16
PUSHES_IN_TURN = 16
"""So many objects are sent between two turns, see Yielding."""
ERRORS_LOGGED_MAX = 3


@dataclass(slots=True)
class _Block:
    """Some partitions of one policy on one device, and what is known of them."""

    holdings: Holdings
    policy: int
    partitions: Sequence[int]
    ours: dict[int, Digest] = field(default_factory=dict)
    theirs: dict[tuple[int, Replica], int | None] = field(default_factory=dict)
    """Digest of (partition, primary); None when it did not answer."""


@dataclass(frozen=True, slots=True)
class _Listed:
    """What a peer holds of a partition, and what it lost of it."""

    held: dict[bytes, Files]
    lost: dict[bytes, Lost]

    def knows_newer(self, hash_: bytes, files: Files) -> bool:
        missed = self.lost.get(hash_, NONE).beyond(files.timestamp, files.meta)
        return missed != NONE or files.is_old_to(self.held.get(hash_, NOTHING))


class ObjectReplicator:
    """Worker. Figures: partitions, in_sync, differing (with at least one primary), pushed, failed (pushes and peers that did not
    answer), handoffs (partitions that belong elsewhere), removed (objects handed back), reclaimed (deletions forgotten), missed
    (objects of which something newer than what is here is in quarantine, and no good copy was got yet), joining (partitions of
    which a device does not know yet whether it holds all).
    """

    name = "object-replicator"

    def __init__(
        self,
        holdings: Iterable[Holdings],
        placement: Placement,
        own: frozenset[Address],
        caller: Caller,
        pusher: Pusher,
        removal: Removal,
        repairs: Repairs,
        joining: Joining,
        horizon: Callable[[], int],
        yielding: Yielding,
    ) -> None:
        """`own`: the addresses in the rings of this process. `horizon` as for Holdings."""
        self.progress = Progress()
        self._holdings = list(holdings)
        self._placement = placement
        self._own = own
        self._caller = caller
        self._pusher = pusher
        self._removal = removal
        self._repairs = repairs
        self._joining = joining
        self._horizon = horizon
        self._yielding = yielding
        self._pushes = asyncio.Semaphore(PUSHES_AT_ONCE_MAX)
        self._begun = 0
        self._errors_logged = 0

    async def run_once(self) -> dict[str, int]:
        """One pass over all devices. A device or peer that fails does not hold up the others."""
        names = ("partitions", "in_sync", "differing", "pushed", "failed", "handoffs", "removed", "reclaimed", "missed", "joining")
        figures: Counter[str] = Counter(dict.fromkeys(names, 0))
        self._errors_logged = 0
        self.progress = Progress()
        work: list[tuple[Holdings, int, list[int]]] = []
        for holdings in self._holdings:
            try:
                work += [(holdings, policy, found) for policy, found in await self._partitions(holdings.device)]
            except NodeError as error:
                self._complain(figures, "device not replicated", holdings.device, error)
        self.progress.total = sum(len(partitions) for _, _, partitions in work)
        for holdings, policy, partitions in work:
            for start in range(0, len(partitions), BLOCK_PARTITIONS):
                block = _Block(holdings, policy, partitions[start : start + BLOCK_PARTITIONS])
                try:
                    await self._block(block, figures)
                except (NodeError, Unavailable) as error:
                    self._complain(figures, "partitions not replicated", holdings.device, error)
                self.progress.done += len(block.partitions)
        for holdings in self._holdings:
            try:
                figures["missed"] += await self._repairs.run(holdings.device)
            except NodeError as error:
                self._complain(figures, "what was lost is not asked for", holdings.device, error)
            await self._promises(holdings, figures)
            await holdings.save()
        return dict(figures)

    async def _promises(self, holdings: Holdings, figures: Counter[str]) -> None:
        """For changes under conditions: on which partitions a device has a say, and promises that nobody came back for."""
        device, horizon = holdings.device, self._horizon()
        try:
            figures["joining"] += await self._joining.run(holdings)
            await device.promises.forget(lambda _, ballot: ballot < horizon)
        except (NodeError, OSError) as error:
            self._complain(figures, "promises not looked through", device, error)

    async def _partitions(self, device: ObjectDevice) -> list[tuple[int, list[int]]]:
        """Policy and partitions that have a directory on the device."""
        fs = device.disk.fs

        def look() -> list[tuple[int, list[int]]]:
            found = []
            for name in fs.list_directory(""):
                policy = policy_of_directory(name)
                if policy is not None:
                    found.append((policy, sorted(int(entry) for entry in fs.list_directory(name) if entry.isdecimal())))
            return found

        in_memory = device.index.directories()
        try:
            found = await device.disk.run(look)
        except OSError as error:
            raise read_failed(error) from error
        there = {partition_directory(policy, partition) for policy, partitions in found for partition in partitions}
        for directory in in_memory:
            if directory not in there:  # removed behind the running process: what it remembers is not there any more
                device.index.forget(directory)
        return found

    # --- comparing ---------------------------------------------------------------------------------------------

    async def _block(self, block: _Block, figures: Counter[str]) -> None:
        figures["partitions"] += len(block.partitions)
        primaries = {}
        for partition in block.partitions:
            try:
                primaries[partition] = self._placement.primaries(block.policy, partition)
            except IndexError:  # of a ring with more partitions
                logger.warning("partition is in no ring", extra={"device": block.holdings.device.name, "partition": partition})
        ours = await block.holdings.digests(block.policy, list(primaries))
        block.ours = dict(zip(primaries, ours, strict=True))
        others = {p: [replica for replica in found if not self._is(block, replica)] for p, found in primaries.items()}
        at_home = {p: peers for p, peers in others.items() if len(peers) < len(primaries[p])}
        await self._compare(block, at_home, figures)
        gate = asyncio.Semaphore(PARTITIONS_AT_ONCE_MAX)

        async def one(partition: int) -> None:
            async with gate:
                await self._yielding.turn()
                try:
                    if partition in at_home:
                        await self._at_home(block, partition, at_home[partition], figures)
                    else:
                        figures["handoffs"] += 1
                        await self._away(block, partition, others[partition], figures)
                except NodeError as error:
                    self._complain(figures, "partition not replicated", block.holdings.device, error)

        await asyncio.gather(*(one(partition) for partition in others))

    def _is(self, block: _Block, replica: Replica) -> bool:
        return replica.address in self._own and replica.target.device == block.holdings.device.name

    async def _compare(self, block: _Block, peers: dict[int, list[Replica]], figures: Counter[str]) -> None:
        """Ask each peer for its digests of all partitions that it shares with this device."""
        shared: dict[tuple[Address, str], list[tuple[int, Replica]]] = {}
        for partition, replicas in peers.items():
            for replica in replicas:
                shared.setdefault((replica.address, replica.target.device), []).append((partition, replica))

        async def ask(address: Address, device: str, wanted: list[tuple[int, Replica]]) -> None:
            answers: list[int | None] = [None] * len(wanted)
            try:
                for start in range(0, len(wanted), DIGESTS_PER_CALL_MAX):
                    part = [partition for partition, _ in wanted[start : start + DIGESTS_PER_CALL_MAX]]
                    reply = await self._call(address, DigestPartitions(device, block.policy, part), PartitionDigests)
                    answers[start : start + len(part)] = reply.digests
            except NodeError as error:
                self._complain(figures, "peer not compared", block.holdings.device, error)
            block.theirs.update(zip(wanted, answers, strict=True))

        await asyncio.gather(*(ask(address, device, wanted) for (address, device), wanted in shared.items()))

    # --- a partition that belongs here -------------------------------------------------------------------------

    async def _at_home(self, block: _Block, partition: int, peers: list[Replica], figures: Counter[str]) -> None:
        ours = block.ours[partition]
        differing = [peer for peer in peers if block.theirs[partition, peer] not in (ours.value, None)]
        if differing:
            figures["differing"] += 1
            known = [await self._list(peer, durable=False) for peer in differing] if len(differing) > 1 else []
            for peer in differing:
                await self._complete(block, partition, peer, known, figures)
        elif all(block.theirs[partition, peer] == ours.value for peer in peers):
            figures["in_sync"] += 1
            if ours.forgettable:
                # All that hold the partition hold the same: nobody has a version that a forgotten deletion would uncover.
                forgotten = await self._removal.reclaim(block.holdings.device, block.policy, partition, self._horizon())
                figures["reclaimed"] += forgotten  # not in one line with the wait: others count meanwhile

    async def _complete(
        self, block: _Block, partition: int, peer: Replica, known: Sequence[_Listed], figures: Counter[str]
    ) -> None:
        """Push to one peer what it lacks. One device does so at a time: the second would send all of it again.

        Of no object goes out what is known to be old, because this device or another peer (`known`) lost a newer version, or a peer
        holds one. On an empty peer it would make an old version's second copy, and two that agree are believed.
        """
        claim = f"{block.holdings.device.name} {min(self._own)}"
        try:
            await self._call(peer.address, ClaimPartition(peer.target, claim, CLAIM_S), Ready)
        except NodeError as error:
            if error.code is Code.BUSY:
                return
            raise
        try:
            theirs = (await self._list(peer, durable=False)).held
            device, directory = block.holdings.device, partition_directory(block.policy, partition)
            ours = {
                hash_: files
                for hash_, files in (await block.holdings.partition(block.policy, partition)).items()
                if not any(one.knows_newer(hash_, files) for one in known) and device.lost(Place(directory, hash_), files) == NONE
            }
            await self._push_all(block, partition, peer, ours, theirs, figures)
        finally:
            with contextlib.suppress(NodeError):  # it ends by itself
                await self._call(peer.address, ClaimPartition(peer.target, claim, 0.0), Ready)

    async def _list(self, peer: Replica, *, durable: bool) -> _Listed:
        found = _Listed({}, {})
        after = b""
        while True:
            page = await self._call(peer.address, ListPartition(peer.target, after, durable), PartitionList)
            found.held.update((held.hash, files_of(held)) for held in page.entries)
            found.lost.update(page.lost)
            if page.complete or not page.entries:
                return found
            after = page.entries[-1].hash

    async def _push_all(
        self, block: _Block, partition: int, peer: Replica, ours: Partition, theirs: Partition, figures: Counter[str]
    ) -> set[bytes]:
        """Returns the objects that the peer holds durably now, as far as it was told or said so."""
        covered = set()

        async def push(hash_: bytes, files: Files, held: Files) -> None:
            place = Place(partition_directory(block.policy, partition), hash_)
            async with self._pushes:
                self._begun += 1
                if self._begun % PUSHES_IN_TURN == 0:  # a turn for each would outlast the claim of a partition
                    await self._yielding.turn()
                try:
                    sent = await self._pusher.push(block.holdings.device, self._push(place, block.policy, peer, held))
                except NodeError as error:
                    if error.code is not Code.PROMISED or not await self._push_settled(block, partition, place, peer, files, held):
                        self._complain(figures, "object not pushed", block.holdings.device, error)
                        return
                    sent = files
            figures["pushed"] += 1
            if sent.covers(files):
                covered.add(hash_)

        lacking = []
        for hash_, files in ours.items():
            held = theirs.get(hash_, NOTHING)
            if held.covers(files):
                covered.add(hash_)
            elif files.timestamp or held.alive:  # metadata without data goes only where the data is
                lacking.append(push(hash_, files, held))
        await asyncio.gather(*lacking)
        return covered

    async def _push_settled(self, block: _Block, partition: int, place: Place, peer: Replica, files: Files, held: Files) -> bool:
        """A promise stands against a copy: then send only what a majority of the primaries holds. Whether it was sent."""
        order, holding = (files.timestamp, files.newest), 0
        for replica in self._placement.primaries(block.policy, partition):
            try:
                reply = await self._call(replica.address, GetObject(replica.target, place.hash, ""), ObjectReply)
                holding += reply.version.order == order
            except NodeError as error:
                holding += files.deleted and error.code is Code.NOT_FOUND and error.timestamp == files.timestamp
        if holding < majority(len(self._placement.primaries(block.policy, partition))):
            return False
        sent = await self._pusher.push(block.holdings.device, replace(self._push(place, block.policy, peer, held), settled=True))
        return sent == files

    def _push(self, place: Place, policy: int, peer: Replica, held: Files) -> Push:
        return Push(place, peer.address, peer.target, "", partial(self._index, place, policy, peer), held)

    def _index(self, place: Place, policy: int, peer: Replica, name: str) -> IndexTarget:
        """The container replica that this primary keeps informed: rows follow objects, whoever wrote them first."""
        if not valid_name(name):
            raise Misplaced("file of no object")
        found = self._placement.object(ObjectName(*name[1:].split("/", 2)), policy)
        if found.hash != place.hash:
            raise Misplaced("file of another object")
        return found.index[found.replicas.index(peer)] if peer in found.replicas else found.index[0]

    # --- a partition that belongs elsewhere --------------------------------------------------------------------

    async def _away(self, block: _Block, partition: int, primaries: list[Replica], figures: Counter[str]) -> None:
        """Hand a partition back: push to every primary, remove what all of them hold durably."""
        device = block.holdings.device
        ours = await block.holdings.partition(block.policy, partition)
        everywhere, all_answered = set(ours), True
        for primary in primaries:
            try:
                theirs = (await self._list(primary, durable=True)).held
                everywhere &= await self._push_all(block, partition, primary, ours, theirs, figures)
            except NodeError as error:
                self._complain(figures, "handoff not handed back", device, error)
                all_answered = False
        if all_answered:
            confirmed = {hash_: ours[hash_] for hash_ in everywhere}
            removed = await self._removal.remove(device, block.policy, partition, confirmed, self._horizon())
            figures["removed"] += removed

    # --- calls -------------------------------------------------------------------------------------------------

    async def _call(self, address: Address, request: Message, answer: type[T]) -> T:
        """Raises NodeError; busy for a peer that does not answer."""
        try:
            reply = await self._caller.call(address, request, timeout_s=CALL_TIMEOUT_S)
        except PeerUnavailable as error:
            raise NodeError(Code.DEVICE_FAILED, f"{address.ip}:{address.port} did not answer: {error}") from error
        assert isinstance(reply, answer)
        return reply

    def _complain(self, figures: Counter[str], what: str, device: ObjectDevice, error: Exception) -> None:
        figures["failed"] += 1
        if self._errors_logged < ERRORS_LOGGED_MAX:
            self._errors_logged += 1
            logger.warning(what, extra={"device": device.name, "error": str(error)})
