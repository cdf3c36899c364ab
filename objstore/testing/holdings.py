"""What the devices of a cluster hold, read from their files: not what the processes believe, and also where one is down."""

import contextlib
import hashlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from objstore.app.config import Config
from objstore.app.rings import Rings
from objstore.formats.filenames import FileKind, FileName, file_name, parse_file_name, policy_directory
from objstore.formats.objectmeta import ATTRIBUTE, Damaged, UnknownFormat, decode, decode_version
from objstore.model.timestamps import to_swift
from objstore.model.version import Version
from objstore.runtime.realfile import ATTRIBUTE_PREFIX
from objstore.testing.failures import ClusterError
from objstore.testing.layout import Member
from ring.hashing import hash_path, partition_of
from ring.ring import Ring

META_ATTRIBUTE = ATTRIBUTE_PREFIX + ATTRIBUTE
READ_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Replica:
    """One file that a device holds of one object. `kind`: "data", "meta" (what a POST set) or "ts" (a tombstone). `md5` and `size`
    are of the body as it stands on the device, right or damaged; "" and 0 for the other kinds. `primary`: the device's place in
    the ring's order, None on a handoff. `timestamp` is the model's; `str(replica)` shows it as Swift does.
    """

    node: str
    device: str
    path: str
    timestamp: int
    kind: str
    md5: str
    size: int
    primary: int | None

    def __str__(self) -> str:
        place = "handoff" if self.primary is None else f"primary {self.primary + 1}"
        body = f", {self.size} bytes, md5 {self.md5}" if self.kind == FileKind.DATA else ""
        return f"{self.node}/{self.device} ({place}): {self.kind} of {to_swift(self.timestamp)}{body}"


class Holdings:
    """Looks at the devices of `members` through the rings of `rings`."""

    def __init__(self, config: Config, rings: Rings, members: Iterable[Member]) -> None:
        self.rings = rings
        self.salt = (config.cluster.hash_prefix.encode(), config.cluster.hash_suffix.encode())
        self.members = {member.ip: member for member in members if member.kind == "storage"}

    def devices(self) -> Iterator[tuple[Member, str, str]]:
        """Every device that is there: member, name, path."""
        for member in self.members.values():
            for name in sorted(os.listdir(member.devices_root)):
                path = os.path.join(member.devices_root, name)
                if os.path.exists(os.path.join(path, "identity.json")):
                    yield member, name, path

    def replicas(self, name: tuple[str, str, str]) -> list[Replica]:
        """All files of one object on all devices, primaries first."""
        hash_ = hash_path(*self.salt, *name)
        found = []
        for policy, ring in self.rings.objects.items():
            partition = partition_of(hash_, ring.part_shift)
            order = self.order(ring, partition)
            for member, device, path in self.devices():
                directory = os.path.join(path, policy_directory(policy), str(partition))
                for file in object_files(directory):
                    if file.hash == hash_:
                        place = order.get((member.ip, device))
                        with contextlib.suppress(FileNotFoundError):  # replaced since it was listed
                            found.append(_replica(member.name, device, directory, file, place))
        return sorted(found, key=lambda one: (one.primary is None, one.primary or 0, one.node, one.device, one.path))

    def order(self, ring: Ring, partition: int) -> dict[tuple[str, str], int]:
        """The primaries of a partition: (address, device) -> place."""
        return {(device.ip, device.device): place for place, device in enumerate(ring.primaries(partition))}


def object_files(directory: str) -> list[FileName]:
    """The object files of a partition's directory, sorted; none when it is missing. Names of another kind are left out."""
    try:
        names = os.listdir(directory)
    except (FileNotFoundError, NotADirectoryError):
        return []
    found = []
    for name in sorted(names):
        try:
            found.append(parse_file_name(name))
        except ValueError:
            continue
    return found


def _replica(node: str, device: str, directory: str, file: FileName, place: int | None) -> Replica:
    path = os.path.join(directory, file_name(*file))
    md5, size = body_digest(path) if file.kind is FileKind.DATA else ("", 0)
    return Replica(node, device, path, file.timestamp, file.kind.value, md5, size, place)


def body_digest(path: str) -> tuple[str, int]:
    """md5 and size of a data file's body; of the whole file when its metadata does not say where the body ends."""
    digest = hashlib.md5(usedforsecurity=False)
    with open(path, "rb") as file:
        left = size = body_size(path)
        while left and (piece := file.read(min(left, READ_BYTES))):
            digest.update(piece)
            left -= len(piece)
    return digest.hexdigest(), size - left


def body_size(path: str) -> int:
    """Bytes of a data file that are the object's; all of them when its metadata is damaged."""
    try:
        return decode(os.getxattr(path, META_ATTRIBUTE)).body_size
    except (OSError, Damaged, UnknownFormat):
        return os.path.getsize(path)


def version_of(path: str) -> Version:
    """What an object file says of itself. Raises OSError, Damaged, UnknownFormat."""
    header = decode(os.getxattr(path, META_ATTRIBUTE))
    if header.version is not None:
        return header.version
    with open(path, "rb") as file:
        file.seek(header.version_offset)
        return decode_version(header, file.read(header.version_size))


def object_name(text: str, account: str) -> tuple[str, str, str]:
    """ "container/object" of `account`, or "/account/container/object". Raises ClusterError for anything else."""
    parts = text[1:].split("/", 2) if text.startswith("/") else [account, *text.split("/", 1)]
    if len(parts) != 3 or not all(parts):
        raise ClusterError(f"{text!r} is no object: give container/object, or /account/container/object")
    return parts[0], parts[1], parts[2]
