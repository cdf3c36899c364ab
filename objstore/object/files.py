"""Which files a device holds of each object: the rules that choose among them, and the in-memory index of partitions.

The index is coherent because one process writes the device: a partition is listed once, then kept current by every change.
"""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Iterable
from typing import NamedTuple

from objstore.formats.filenames import FileKind, FileName, file_name, parse_file_name, partition_directory
from objstore.model.errors import Code, NodeError
from objstore.model.lost import Lost
from objstore.runtime.interface import Disk, FileSystem

logger = logging.getLogger("objstore.object")


class Place(NamedTuple):
    """One object on a device: its partition's directory and its hash."""

    directory: str
    hash: bytes

    def path(self, timestamp: int, kind: FileKind) -> str:
        """The object's file of this kind and time, relative to the device."""
        return f"{self.directory}/{file_name(self.hash, timestamp, kind)}"


class Files(NamedTuple):
    """The files that count. `timestamp` names the data file, or the tombstone when `deleted`; 0 for neither. `meta` names a
    metadata file newer than that, 0 for none; it may be there without data (quarantined), to be applied to what comes back.
    """

    timestamp: int = 0
    deleted: bool = False
    meta: int = 0

    @property
    def newest(self) -> int:
        """The newest change of any kind."""
        return max(self.timestamp, self.meta)

    @property
    def order(self) -> tuple[int, int]:
        """As `Version.order`."""
        return self.timestamp, self.newest

    @property
    def alive(self) -> bool:
        """There is data, and no later tombstone."""
        return self.timestamp > 0 and not self.deleted

    def paths(self, place: Place) -> list[str]:
        """Of all files that count, data or tombstone first."""
        found = []
        if self.timestamp:
            found.append(place.path(self.timestamp, FileKind.TOMBSTONE if self.deleted else FileKind.DATA))
        if self.meta:
            found.append(place.path(self.meta, FileKind.META))
        return found

    def covers(self, other: "Files") -> bool:
        """Whether a device with these files would take nothing from one that has `other`: the rule of `choose` for two."""
        if self.deleted:
            return self.timestamp >= other.timestamp
        if other.timestamp > self.timestamp or (other.deleted and other.timestamp == self.timestamp):
            return False
        return other.meta <= self.newest

    def as_lost(self) -> Lost:
        """The same in terms of what may be lost."""
        return Lost(self.timestamp if self.alive else 0, self.timestamp if self.deleted else 0, self.meta)

    def is_old_to(self, other: "Files") -> bool:
        """Whether a device with `other` has newer data, or all of this and more."""
        return other.timestamp > self.timestamp or (other.covers(self) and not self.covers(other))


NOTHING = Files()

Partition = dict[bytes, Files]


class Leftover(NamedTuple):
    """A crash came between a change and the removal of what it replaced, or somebody planted files."""

    place: Place
    files: Files
    obsolete: list[str]  # paths


def choose(names: Iterable[FileName]) -> tuple[Files, list[FileName]]:
    """What counts among all files of one object, and what does not.

    The newest of data and tombstones wins, a tombstone on a tie (as in listing rows). The newest metadata file counts when it
    is newer than that, and that is no tombstone. The outcome depends on the set of names alone, so all replicas agree.
    """
    ordered = sorted(names, key=lambda n: (n.timestamp, n.kind is FileKind.TOMBSTONE), reverse=True)
    main = next((n for n in ordered if n.kind is not FileKind.META), None)
    timestamp = main.timestamp if main else 0
    deleted = main is not None and main.kind is FileKind.TOMBSTONE
    meta = next((n for n in ordered if n.kind is FileKind.META and n.timestamp > timestamp and not deleted), None)
    obsolete = [n for n in ordered if n is not main and n is not meta]
    return Files(timestamp, deleted, meta.timestamp if meta else 0), obsolete


def list_partition(fs: FileSystem, directory: str) -> tuple[Partition, list[Leftover], int]:
    """Read a partition's directory: what counts, what is left over, and how many names are none of ours. Blocking; OSError."""
    by_hash: dict[bytes, list[FileName]] = {}
    strange = 0
    for text in fs.list_directory(directory):
        try:
            name = parse_file_name(text)
        except ValueError:
            strange += 1
        else:
            by_hash.setdefault(name.hash, []).append(name)
    partition: Partition = {}
    leftovers = []
    for hash_, names in by_hash.items():
        files, obsolete = choose(names)
        partition[hash_] = files
        if obsolete:
            place = Place(directory, hash_)
            leftovers.append(Leftover(place, files, [place.path(n.timestamp, n.kind) for n in obsolete]))
    return partition, leftovers, strange


class PartitionIndex:
    """Partitions of one device by directory, at most about `entries_max` objects in memory, the least recently used forgotten.

    Used in the event loop alone.
    """

    def __init__(self, disk: Disk, *, entries_max: int = 200_000) -> None:
        self._disk = disk
        self._entries_max = entries_max
        self._partitions: OrderedDict[str, Partition] = OrderedDict()
        self._loading: dict[str, tuple[asyncio.Task[Partition], Partition]] = {}
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
        return partition.get(place.hash, NOTHING)

    async def find(self, place: Place) -> Files:
        """As `get`, loading the partition when needed. Raises NodeError device_failed, busy."""
        files = self.get(place)
        if files is not None:
            return files
        return (await self.load(place.directory)).get(place.hash, NOTHING)

    async def load(self, directory: str) -> Partition:
        """List a partition, or wait for the listing under way. Raises NodeError device_failed, busy."""
        if directory not in self._loading:
            changes: Partition = {}
            self._loading[directory] = (asyncio.create_task(self._load(directory, changes)), changes)
        return await asyncio.shield(self._loading[directory][0])

    async def _load(self, directory: str, changes: Partition) -> Partition:
        try:
            partition, leftovers, strange = await self._disk.run(lambda: self._list(directory))
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
                partition.pop(hash_, None)
            else:
                partition[hash_] = files
        self.forget(directory)
        self._partitions[directory] = partition
        self.entries += len(partition) + 1
        self._evict()
        self.loads += 1
        if strange:
            self.strange_names += strange
            logger.warning("unknown names in partition", extra={"directory": directory, "count": strange})
        self.leftovers += leftovers
        return partition

    def _list(self, directory: str) -> tuple[Partition, list[Leftover], int]:
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

    def peek(self, directory: str) -> Partition | None:
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
        if files == NOTHING:
            self.entries -= partition.pop(place.hash, None) is not None
            return
        if place.hash not in partition:
            self.entries += 1
        partition[place.hash] = files
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


def place_of(policy: int, partition: int, hash_: bytes) -> Place:
    """Where an object lives on any device that holds its partition."""
    return Place(partition_directory(policy, partition), hash_)
