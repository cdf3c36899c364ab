"""File names of objects: `<hash>.<timestamp>.<kind>` in a flat directory per partition.

`<hash>` is 32 lower-case hex digits, `<timestamp>` as `model.timestamps.to_text` writes it, `<kind>` one of `data` (a body and
all its metadata), `meta` (what a POST set) and `ts` (a tombstone). Exactly one text stands for each triple.
"""

from enum import StrEnum
from typing import NamedTuple

from objstore.model.timestamps import from_text, to_text

HASH_BYTES = 16


class FileKind(StrEnum):
    """What a file holds; the value is its extension."""

    DATA = "data"
    META = "meta"
    TOMBSTONE = "ts"


class FileName(NamedTuple):
    """The parts of one file name; `hash` has 16 bytes."""

    hash: bytes
    timestamp: int
    kind: FileKind


_KINDS = {kind.value: kind for kind in FileKind}


def file_name(hash_: bytes, timestamp: int, kind: FileKind) -> str:
    """The name of the file that holds `kind` of the object `hash_` at `timestamp`."""
    return f"{hash_.hex()}.{to_text(timestamp)}.{kind.value}"


def parse_file_name(name: str) -> FileName:
    """The inverse of `file_name`.

    Raises ValueError for any name that `file_name` could not have written.
    """
    hex_hash, _, rest = name.partition(".")
    text, _, extension = rest.rpartition(".")
    kind = _KINDS.get(extension)
    if kind is None or len(hex_hash) != 2 * HASH_BYTES:
        raise ValueError(f"not an object file: {name!r}")
    hash_ = bytes.fromhex(hex_hash)
    if hash_.hex() != hex_hash:
        raise ValueError(f"not an object file: {name!r}")
    return FileName(hash_, from_text(text), kind)


def policy_directory(policy: int) -> str:
    """Where a storage policy's partitions are, relative to the device: `objects`, `objects-1` ..."""
    return f"objects-{policy}" if policy else "objects"


def policy_of_directory(name: str) -> int | None:
    """The inverse of `policy_directory`; None for any other name."""
    text = name.removeprefix("objects-") if name.startswith("objects-") else "0"
    policy = int(text) if text.isascii() and text.isdecimal() else -1
    return policy if policy >= 0 and name == policy_directory(policy) else None


def partition_directory(policy: int, partition: int) -> str:
    """A partition's directory, relative to the device."""
    return f"objects-{policy}/{partition}" if policy else f"objects/{partition}"
