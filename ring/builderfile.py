"""Builder files: a RingBuilder on disk, in this project's own format.

    ring-builder 1 <sha256 of the rest, hexadecimal> \\n <one JSON object>

The object holds what the builder's attributes say, devices as in ring files. `rows` and `moved_at_s` are little-endian uint16
and uint32 arrays, compressed with zlib, in base64. Nothing in a file is executed.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import sys
import zlib
from array import array
from dataclasses import dataclass

from ring.builder import TIME_TYPECODE, BuilderError, RingBuilder
from ring.device import DeviceError, device_from_json, device_to_json
from ring.fileformat import (
    DEVICES_MAX,
    HASH_BITS,
    REPLICAS_MAX,
    ROW_TYPECODE,
    read_file,
    write_content,
)

MAGIC = b"ring-builder"
FORMAT_VERSION = b"1"
PICKLE_START = b"\x80"


@dataclass(frozen=True, slots=True)
class Files:
    """A builder file, the ring file it makes, and the time of this run of a tool, in seconds of Unix time."""

    builder: str
    ring: str
    now_s: float

    @classmethod
    def named(cls, path: str, now_s: float) -> Files:
        """Either file may be given: x.builder and x.ring.gz belong together."""
        if path.endswith(".ring.gz"):
            return cls(path.removesuffix(".ring.gz") + ".builder", path, now_s)
        return cls(path, path.removesuffix(".builder") + ".ring.gz", now_s)

    def load(self) -> RingBuilder:
        """Raises BuilderFileError."""
        return load_builder(self.builder)

    def save(self, builder: RingBuilder) -> None:
        """With a backup. Raises BuilderFileError."""
        save_builder(self.builder, builder, self.now_s)


class BuilderFileError(Exception):
    """A builder file that cannot be read or written. The message is one plain line that names the file."""


def builder_to_bytes(builder: RingBuilder) -> bytes:
    """The content of a builder file."""
    state = {
        "part_power": builder.part_power,
        "replicas": builder.replicas,
        "min_part_hours": builder.min_part_hours,
        "overload": builder.overload,
        "version": builder.version,
        "devices": [device and device_to_json(device) for device in builder.devices],
        "removed": sorted(builder.removed),
        "changed": builder.changed,
        "rows": [_pack(row) for row in builder.rows],
        "moved_at_s": _pack(builder.moved_at_s),
        "rebalanced_at_s": builder.rebalanced_at_s,
    }
    text = json.dumps(state, sort_keys=True).encode("ascii") + b"\n"
    digest = hashlib.sha256(text).hexdigest().encode("ascii")
    return b" ".join((MAGIC, FORMAT_VERSION, digest)) + b"\n" + text


def builder_from_bytes(content: bytes) -> RingBuilder:
    """The builder that `builder_to_bytes` wrote. Raises ValueError with the reason."""
    head, _, text = content.partition(b"\n")
    words = head.split(b" ")
    if words[0] != MAGIC or len(words) != 3:
        if content.startswith(PICKLE_START):
            raise ValueError("it is in Swift's format; make one of it with: ring-builder <new file> import <this file>")
        raise ValueError("it is no builder file")
    if words[1] != FORMAT_VERSION:
        raise ValueError("its format version is not known; it may come from a newer release")
    if hashlib.sha256(text).hexdigest().encode("ascii") != words[2]:
        raise ValueError("its checksum is wrong")
    try:
        return _restore(json.loads(text))
    except (KeyError, TypeError, AttributeError, OverflowError, RecursionError, zlib.error, binascii.Error) as error:
        raise ValueError("its content is damaged") from error
    except (BuilderError, DeviceError) as error:
        raise ValueError(str(error)) from error


def load_builder(path: str) -> RingBuilder:
    """Raises BuilderFileError, one plain line, for a file that is missing, damaged or not a builder's."""
    try:
        return builder_from_bytes(read_file(path))
    except FileNotFoundError as error:
        raise BuilderFileError(f"Ring Builder file does not exist: {path}") from error
    except OSError as error:
        raise BuilderFileError(f"cannot read {path}: {error.strerror or error}") from error
    except ValueError as error:
        raise BuilderFileError(f"Ring Builder file is invalid: {path}: {error}") from error


def save_builder(path: str, builder: RingBuilder, backup_at_s: float | None = None) -> None:
    """Replaces the file in one step and durably; with a time, keeps a copy in backups/ too. Raises BuilderFileError."""
    try:
        write_content(path, builder_to_bytes(builder), backup_at_s)
    except OSError as error:
        raise BuilderFileError(f"cannot write {path}: {error.strerror or error}") from error


def _restore(state: dict[str, object]) -> RingBuilder:
    part_power, version, hours = (_int(state[name]) for name in ("part_power", "version", "min_part_hours"))
    builder = RingBuilder(part_power, _float(state["replicas"]), hours)
    builder.set_overload(_float(state["overload"]))
    builder.version = version
    builder.rebalanced_at_s = _int(state["rebalanced_at_s"])
    entries, removed, rows = state["devices"], state["removed"], state["rows"]
    if not (isinstance(entries, list) and isinstance(removed, list) and isinstance(rows, list)):
        raise TypeError("devices, removed and rows are lists")
    if len(entries) > DEVICES_MAX or len(rows) > REPLICAS_MAX:
        raise ValueError("it has too many devices or replicas")
    builder.devices = [None if entry is None else device_from_json(entry) for entry in entries]
    builder.removed = {_int(id_) for id_ in removed}
    builder.changed = state["changed"] is True
    builder.rows = [_unpack(row, ROW_TYPECODE, part_power) for row in rows]
    builder.moved_at_s = _unpack(state["moved_at_s"], TIME_TYPECODE, part_power)
    check_shape(builder)
    return builder


def check_shape(builder: RingBuilder) -> None:
    """Raises ValueError when rows, times and devices of a builder from outside do not fit together."""
    for id_, device in enumerate(builder.devices):
        if device is not None and device.id != id_:
            raise ValueError(f"device {device.id} stands at place {id_}")
    present = {device.id for device in builder.present_devices()}
    if not builder.removed <= present:
        raise ValueError("a device that does not exist is marked for removal")
    lengths = [len(row) for row in builder.rows]
    full = builder.partition_count
    if any(length != full for length in lengths[:-1]) or (lengths and not 0 < lengths[-1] <= full):
        raise ValueError("its rows have the wrong length")
    if lengths and len(builder.moved_at_s) != full:
        raise ValueError("its times have the wrong length")
    if not set().union(*builder.rows) <= present:
        raise ValueError("a partition is assigned to a device that does not exist")


def _int(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError("not a whole number")
    return value


def _float(value: object) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise TypeError("not a number")
    return float(value)


def _pack(numbers: array[int]) -> str:
    return base64.b64encode(zlib.compress(_little_endian(numbers).tobytes())).decode("ascii")


def _unpack(text: object, typecode: str, part_power: int) -> array[int]:
    """At most one number per partition, so that a small file cannot ask for endless memory."""
    if not isinstance(text, str) or not 0 <= part_power <= HASH_BITS:
        raise TypeError("not a packed array")
    numbers: array[int] = array(typecode)
    size_max = (1 << part_power) * numbers.itemsize
    stream = zlib.decompressobj()
    numbers.frombytes(stream.decompress(base64.b64decode(text, validate=True), size_max))
    if not stream.eof and stream.decompress(stream.unconsumed_tail, 1):
        raise ValueError("its rows have the wrong length")
    return _little_endian(numbers)


def _little_endian(numbers: array[int]) -> array[int]:
    if sys.byteorder == "little":
        return numbers
    swapped = array(numbers.typecode, numbers)
    swapped.byteswap()
    return swapped
