"""The in-memory index of a device's partitions.

It is coherent because one process writes the device: a partition is listed once, then kept current by every change.
"""

import asyncio
import logging
from collections import OrderedDict

from objstore.model.errors import Code, NodeError
from objstore.object.files import NOTHING, Files, Leftover, Place, list_partition
from objstore.object.partition import CompactPartition
from objstore.runtime.interface import Disk

logger = logging.getLogger("objstore.object")


class PartitionIndex:
    """Partitions of one device by directory, at most about `entries_max` objects in memory, the least recently used forgotten.

    Used in the event loop alone.
    """

    def __init__(self, disk: Disk, *, entries_max: int = 200_000) -> None:
        self._disk = disk
        self._entries_max = entries_max
        self._partitions: OrderedDict[str, CompactPartition] = OrderedDict()
        self._loading: dict[str, tuple[asyncio.Task[CompactPartition], dict[bytes, Files]]] = {}
        self.entries = 0
        self.loads = 0
        self.strange_names = 0
        self.leftovers: list[Leftover] = []
        """Found by loads; whoever cleans up takes them from here."""

    def get(self, place: Place) -> Files | None:
        """What is known at once; None when the partition must be loaded."""
        partition = self._partitions.get(place.directory)
        if partition is None:
            return None
        self._partitions.move_to_end(place.directory)
        return partition.files(place.hash)

    async def find(self, place: Place) -> Files:
        """As `get`, loading the partition when needed. Raises NodeError device_failed, busy."""
        files = self.get(place)
        if files is not None:
            return files
        return (await self.load(place.directory)).files(place.hash)

    async def load(self, directory: str) -> CompactPartition:
        """List a partition, or wait for the listing under way. Raises NodeError device_failed, busy."""
        if directory not in self._loading:
            changes: dict[bytes, Files] = {}
            self._loading[directory] = (asyncio.create_task(self._load(directory, changes)), changes)
        return await asyncio.shield(self._loading[directory][0])

    async def _load(self, directory: str, changes: dict[bytes, Files]) -> CompactPartition:
        try:
            listed, leftovers, strange = await self._disk.run(lambda: self._list(directory))
        except OSError as error:
            raise NodeError(Code.DEVICE_FAILED, f"cannot list {directory}: {error.strerror}") from error
        finally:
            forgotten = directory not in self._loading or self._loading[directory][1] is not changes
            if not forgotten:
                del self._loading[directory]
        if forgotten:  # files went away while they were being listed
            return await self.load(directory)
        for hash_, files in changes.items():  # they happened while the directory was read, before or after their name was
            if files == NOTHING:
                listed.pop(hash_, None)
            else:
                listed[hash_] = files
        self.forget(directory)
        partition = self._partitions[directory] = CompactPartition(listed)
        self.entries += len(partition) + 1
        self._evict()
        self.loads += 1
        if strange:
            self.strange_names += strange
            logger.warning("unknown names in partition", extra={"directory": directory, "count": strange})
        self.leftovers += leftovers
        return partition

    def _list(self, directory: str) -> tuple[dict[bytes, Files], list[Leftover], int]:
        """List a partition and make its names durable: a process that was killed may have given a name and not synced it. What is
        read once must not be gone after a power cut (45 µs on a directory that is clean). Blocking; OSError.
        """
        found = list_partition(self._disk.fs, directory)
        if found[0] and self._disk.failed is None:
            try:
                self._disk.fs.sync_directory(directory)  # a sync that fails fails the device by itself
            except FileNotFoundError:  # removed since it was listed
                return list_partition(self._disk.fs, directory)
        return found

    def peek(self, directory: str) -> CompactPartition | None:
        """A partition that is in memory, not to be changed. Does not count as a use."""
        return self._partitions.get(directory)

    def directories(self) -> list[str]:
        """Of the partitions that are in memory."""
        return list(self._partitions)

    def put(self, place: Place, files: Files) -> None:
        """A change was made: this is what the device now holds, NOTHING where the last file was removed."""
        loading = self._loading.get(place.directory)
        if loading is not None:
            loading[1][place.hash] = files
        partition = self._partitions.get(place.directory)
        if partition is None:
            return
        self.entries += partition.put(place.hash, files)
        self._evict()

    def forget(self, directory: str) -> None:
        """The next use lists the partition again; so does whoever waits for a listing under way."""
        self._loading.pop(directory, None)
        partition = self._partitions.pop(directory, None)
        if partition is not None:
            self.entries -= len(partition) + 1

    def _evict(self) -> None:
        while self.entries > self._entries_max and len(self._partitions) > 1:
            self.forget(next(iter(self._partitions)))
