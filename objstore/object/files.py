"""Which files a device holds of each object: the rules that choose among them."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from objstore.formats.filenames import FileKind, FileName, file_name, parse_file_name, partition_directory
from objstore.model.lost import Lost
from objstore.runtime.interface import FileSystem


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

Partition = Mapping[bytes, Files]


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


def list_partition(fs: FileSystem, directory: str) -> tuple[dict[bytes, Files], list[Leftover], int]:
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
    partition: dict[bytes, Files] = {}
    leftovers = []
    for hash_, names in by_hash.items():
        files, obsolete = choose(names)
        partition[hash_] = files
        if obsolete:
            place = Place(directory, hash_)
            leftovers.append(Leftover(place, files, [place.path(n.timestamp, n.kind) for n in obsolete]))
    return partition, leftovers, strange


def place_of(policy: int, partition: int, hash_: bytes) -> Place:
    """Where an object lives on any device that holds its partition."""
    return Place(partition_directory(policy, partition), hash_)
