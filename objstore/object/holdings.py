"""What a device holds of whole partitions: for its own replicator, and for those of other nodes that ask."""

import asyncio
from collections.abc import Callable, Sequence

from objstore.formats.digestlog import DigestRecord
from objstore.formats.filenames import partition_directory
from objstore.formats.messages import HeldObject
from objstore.model.errors import Code, NodeError
from objstore.object.device import ObjectDevice, read_failed
from objstore.object.digests import SETTLED_NS, Digest, DigestLog, Summary, digest_of
from objstore.object.files import NOTHING, Files, Partition, list_partition
from objstore.runtime.interface import Clock

LISTINGS_PER_CALL_MAX = 64
"""Partitions that one call of a disk thread lists: the thread serves readers too."""
OBJECTS_IN_A_ROW_MAX = 256
"""Objects in memory that are looked at in one turn of the event loop: about half a millisecond."""


class Holdings:
    """Of one device. Used in the event loop alone."""

    def __init__(self, device: ObjectDevice, log: DigestLog, clock: Clock, horizon: Callable[[], int]) -> None:
        """`horizon()`: the timestamp below which deletions may be forgotten."""
        self.device = device
        self.log = log
        self.listings = 0
        """How many directories had to be listed."""
        self._clock = clock
        self._horizon = horizon

    async def digests(self, policy: int, partitions: Sequence[int]) -> list[Digest]:
        """One per partition. Directories that are as the log knows them, and partitions in memory, are not listed.

        Raises NodeError device_failed, busy.
        """
        horizon = self._horizon()
        found: dict[int, Digest] = {}
        unknown, looked_at = [], 0
        for partition in partitions:
            loaded = self.device.index.peek(partition_directory(policy, partition))
            if loaded is None:
                unknown.append(partition)
                continue
            summary = loaded.summary
            if not isinstance(summary, Summary) or not summary.holds(horizon):
                loaded.summary = summary = Summary(horizon, digest_of(loaded, horizon))
                looked_at += len(loaded)
            found[partition] = summary.digest
            if looked_at >= OBJECTS_IN_A_ROW_MAX:  # clients are served by the same loop
                looked_at = 0
                await asyncio.sleep(0)
        for start in range(0, len(unknown), LISTINGS_PER_CALL_MAX):
            part = unknown[start : start + LISTINGS_PER_CALL_MAX]
            try:
                digests, listings = await self.device.disk.run(lambda part=part: self._look(policy, part, horizon))  # type: ignore[misc]
            except OSError as error:
                raise read_failed(error) from error
            found.update(zip(part, digests, strict=True))
            self.listings += listings
        damaged = {place.directory for place, _ in self.device.with_losses()}
        for partition in partitions if damaged else ():
            directory = partition_directory(policy, partition)
            if directory in damaged:
                found[partition] = found[partition].missing(await self.device.missed(directory))
        return [found[partition] for partition in partitions]

    def _look(self, policy: int, partitions: Sequence[int], horizon: int) -> tuple[list[Digest], int]:
        """In a disk thread."""
        fs, listings = self.device.disk.fs, 0
        digests = []
        for partition in partitions:
            directory = partition_directory(policy, partition)
            state = fs.directory_state(directory)
            if state is None:
                digests.append(Digest(0))
                continue
            record = self.log.get(policy, partition, state, horizon)
            if record is not None:
                digests.append(Digest(record.digest, record.oldest_tombstone))
                continue
            listings += 1
            digest = digest_of(list_partition(fs, directory)[0], horizon)
            digests.append(digest)
            settled = self._clock.now() * 1e9 - state[1] > SETTLED_NS
            if settled and not digest.forgettable and fs.directory_state(directory) == state:
                self.log.put(DigestRecord(policy, partition, *state, digest.value, digest.oldest_tombstone))
        return digests, listings

    async def partition(self, policy: int, partition: int, *, durable: bool = False) -> Partition:
        """All objects of a partition, forgettable deletions left out. `durable`: no name in it can be lost by a power cut.

        Raises NodeError device_failed, busy.
        """
        directory, horizon = partition_directory(policy, partition), self._horizon()
        loaded: Partition | None = None if durable else self.device.index.peek(directory)
        if loaded is None:
            disk = self.device.disk
            if durable and disk.failed is not None:
                raise NodeError(Code.DEVICE_FAILED, disk.failed)
            try:
                loaded = await disk.run(lambda: self._list(directory, durable))
            except OSError as error:
                raise read_failed(error) from error
        return {
            hash_: files
            for hash_, files in loaded.items()
            if files != NOTHING and not (files.deleted and files.timestamp < horizon)
        }

    def _list(self, directory: str, durable: bool) -> Partition:
        fs = self.device.disk.fs
        held = list_partition(fs, directory)[0]
        if durable and held:  # names are synced after they were read: what came meanwhile is not in the answer
            try:
                for path in (directory, directory.partition("/")[0], ""):
                    fs.sync_directory(path)
            except FileNotFoundError:  # the last of them was removed meanwhile
                return {}
            except OSError as error:
                self.device.disk.fail(f"sync of directory {directory}: {error.strerror or error}")
                raise
        return held

    async def list(self, policy: int, partition: int, after: bytes, limit: int, *, durable: bool) -> tuple[list[HeldObject], bool]:
        """A page of a partition in order of the hashes, and whether it is the last. Raises NodeError device_failed, busy."""
        held = await self.partition(policy, partition, durable=durable)
        hashes = sorted(hash_ for hash_ in held if hash_ > after)
        page = [HeldObject(hash_, *held[hash_]) for hash_ in hashes[:limit]]
        return page, len(hashes) <= limit

    async def load(self) -> None:
        """Read the log of an earlier process."""
        if not self.device.disk.gone:
            await self.device.disk.run(self.log.load)

    async def save(self) -> None:
        """Write what the log learned."""
        if not self.device.disk.gone:
            await self.device.disk.run(self.log.flush)


def files_of(held: HeldObject) -> Files:
    """As the index has them."""
    return Files(held.timestamp, held.deleted, held.meta)
