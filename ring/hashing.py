"""From a path to a partition, the same way as OpenStack Swift ("The Rings", partition shift value)."""

from __future__ import annotations

import hashlib


def hash_path(prefix: bytes, suffix: bytes, account: str, container: str | None = None, obj: str | None = None) -> bytes:
    """The 16 bytes of md5(prefix + "/account[/container[/object]]" + suffix), names in UTF-8.

    `prefix` and `suffix` are the cluster's secrets, which keep outsiders from aiming at one partition. Raises ValueError
    for an object without a container.
    """
    if obj is not None and container is None:
        raise ValueError("an object's path needs its container")
    return hash_of(prefix, suffix, "/".join(name for name in ("", account, container, obj) if name is not None))


def hash_of(prefix: bytes, suffix: bytes, path: str) -> bytes:
    """The same of a path that is put together already."""
    return hashlib.md5(prefix + path.encode("utf-8") + suffix, usedforsecurity=False).digest()


def partition_of(hash_: bytes, part_shift: int) -> int:
    """The partition of a path's hash: its first four bytes, big endian, without their lowest `part_shift` bits."""
    return int.from_bytes(hash_[:4], "big") >> part_shift
