"""Damage done to files as a failing disk does it: in place, without a trace in their times."""

import os
from typing import Literal

from objstore.testing.failures import ClusterError
from objstore.testing.holdings import META_ATTRIBUTE, Replica, body_size

Part = Literal["data", "metadata"]
FLIPPED = 0x10


def flip(path: str, offset: int) -> None:
    """Change one bit of the byte at `offset`; size and times stay as they are."""
    before = os.stat(path)
    fd = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        (byte,) = os.pread(fd, 1, offset)
        os.pwrite(fd, bytes([byte ^ FLIPPED]), offset)
    finally:
        os.close(fd)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def flip_attribute(path: str, name: str, offset: int) -> None:
    """The same in an extended attribute."""
    before = os.stat(path)
    value = bytearray(os.getxattr(path, name))
    value[offset] ^= FLIPPED
    os.setxattr(path, name, bytes(value))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def corrupt(replica: Replica, part: Part, offset: int | None) -> None:
    """Flip one bit of a replica's body, or of its metadata: at `offset`, else in the middle. Raises ClusterError when there is no
    such byte.
    """
    size = body_size(replica.path) if part == "data" else len(os.getxattr(replica.path, META_ATTRIBUTE))
    at = size // 2 if offset is None else offset
    if not 0 <= at < size:
        raise ClusterError(f"{replica.path}: its {part} has {size} bytes, so there is none at {at}")
    if part == "data":
        flip(replica.path, at)
    else:
        flip_attribute(replica.path, META_ATTRIBUTE, at)


def choose(replicas: list[Replica], which: int | str | Replica, name: str) -> Replica:
    """The replica meant: itself, the one on a node, or by its place among those that hold data (tombstones, metadata files where
    there is no data). Raises ClusterError.
    """
    if isinstance(which, Replica):
        return which
    held = [one for one in replicas if one.kind == "data"] or replicas
    if isinstance(which, int) and 0 <= which < len(held):
        return held[which]
    for one in held:
        if which in (one.node, f"{one.node}/{one.device}"):
            return one
    where = ", ".join(f"{one.node}/{one.device}" for one in held) or "no device"
    raise ClusterError(f"there is no replica {which} of {name}; it is on: {where}")
