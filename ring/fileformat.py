"""Ring files on disk: Swift's R1NG format, read in versions 1 and 2, written in version 1, which every Swift reads.

The layout is that of Swift's "Ring File Formats" page. A version 1 file is a gzip stream of

    b"R1NG"  >H version  >I length  JSON object  then, per replica, one uint16 device id per partition

where the JSON object has `devs` (null for a device that was removed), `part_shift`, `replica_count` (the number of rows),
`byteorder` of the rows and `version` of the builder. All rows but the last hold 2**part_power ids; a shorter last row is
a fraction of a replica. gzip's CRC-32 covers everything, so a damaged or cut file is noticed.

This is the one module of the package that opens files.
"""

from __future__ import annotations

import fcntl
import gzip
import hashlib
import io
import json
import os
import struct
import sys
import tempfile
import time
import zlib
from array import array
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import ceil

from ring.device import Device, DeviceError, device_from_json, device_to_json

MAGIC = b"R1NG"
HASH_BITS = 32
ROW_TYPECODE = "H"
NO_DEVICE = 0xFFFF
"""In a row of a builder: not assigned yet. Never in a ring file."""
DEVICES_MAX = NO_DEVICE
REPLICAS_MAX = 256
LOCK_WAIT_S_MAX = 15.0
METADATA_BYTES_MAX = 1 << 28
FILE_BYTES_MAX = 1 << 34
_CHUNK_BYTES = 1 << 20
_LOCK_POLL_S = 0.1
_V2_TYPECODES = {2: "H", 4: "I", 8: "Q"}


class RingFileError(Exception):
    """A ring file that cannot be read or written. The message is one plain line that names the file."""


@dataclass(frozen=True, slots=True)
class RingTable:
    """What a ring file holds: devices by id, and per replica a row of device ids by partition (the last may be shorter).

    `format_version` is that of the file it was read from.
    """

    devices: tuple[Device | None, ...]
    rows: tuple[array[int], ...]
    part_shift: int
    version: int | None
    next_part_power: int | None = None
    format_version: int = 1


def read_bytes(path: str) -> bytes:
    """A ring file as it is. Raises RingFileError."""
    try:
        return read_file(path)
    except OSError as error:
        raise RingFileError(f"cannot read ring file {path}: {error.strerror or error}") from error


def read_ring_file(path: str) -> RingTable:
    """As ring_from_bytes."""
    return ring_from_bytes(read_bytes(path), path)


def ring_from_bytes(content: bytes, path: str) -> RingTable:
    """The checked content of a ring file; every id in its rows names a device. `path` is for the message. Raises RingFileError."""
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(content)) as stream:
            return _read_stream(stream)
    except (ValueError, KeyError, TypeError, RecursionError, EOFError, struct.error, zlib.error, gzip.BadGzipFile) as error:
        raise RingFileError(f"{path} is not a usable ring file: {_reason(error)}") from error


def ring_to_bytes(table: RingTable) -> bytes:
    """The content of a version 1 ring file. Equal tables give equal bytes."""
    metadata: dict[str, object] = {
        "byteorder": sys.byteorder,
        "devs": [device and device_to_json(device) for device in table.devices],
        "part_shift": table.part_shift,
        "replica_count": len(table.rows),
    }
    if table.version is not None:
        metadata["version"] = table.version
    if table.next_part_power is not None:
        metadata["next_part_power"] = table.next_part_power
    text = json.dumps(metadata, sort_keys=True, ensure_ascii=True).encode("ascii")
    head = MAGIC + struct.pack(">HI", 1, len(text)) + text
    return gzip.compress(b"".join([head, *(row.tobytes() for row in table.rows)]), mtime=0)


def write_ring_file(path: str, table: RingTable, backup_at_s: float | None = None) -> None:
    """Replaces the file in one step and durably: a reader sees the old ring or the new one.

    With a time, keeps a copy in backups/ too. Raises RingFileError.
    """
    try:
        write_content(path, ring_to_bytes(table), backup_at_s)
    except OSError as error:
        raise RingFileError(f"cannot write ring file {path}: {error.strerror or error}") from error


def write_file_durably(path: str, content: bytes) -> None:
    """Write beside the file, fsync, rename over it, fsync the directory. On an error the old file is untouched. Raises OSError."""
    directory = os.path.dirname(path) or "."
    descriptor, temporary = tempfile.mkstemp(dir=directory, prefix=f".{os.path.basename(path)}.", suffix=".tmp")
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fchmod(stream.fileno(), 0o644)
            os.fsync(stream.fileno())
        os.rename(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
    directory_descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory_descriptor)
    finally:
        os.close(directory_descriptor)


def read_file(path: str) -> bytes:
    """The whole file. Raises OSError."""
    with open(path, "rb") as stream:
        return stream.read(FILE_BYTES_MAX)


def write_content(path: str, content: bytes, backup_at_s: float | None) -> None:
    """`write_file_durably`; with a time, first a copy as backups/<Unix time>.<name>, as Swift's tools keep. Raises OSError."""
    if backup_at_s is not None:
        backups = os.path.join(os.path.dirname(path), "backups")
        os.makedirs(backups, exist_ok=True)
        write_file_durably(os.path.join(backups, f"{int(backup_at_s)}.{os.path.basename(path)}"), content)
    write_file_durably(path, content)


@contextmanager
def locked_directory(path: str) -> Iterator[None]:
    """Keeps other ring tools away from the directory of this file. Raises TimeoutError after LOCK_WAIT_S_MAX, or OSError."""
    descriptor = os.open(os.path.dirname(path) or ".", os.O_RDONLY | os.O_DIRECTORY)
    deadline_s = time.monotonic() + LOCK_WAIT_S_MAX
    try:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline_s:
                    raise TimeoutError(f"another ring tool has been at work on {path} for too long") from None
                time.sleep(_LOCK_POLL_S)
        yield
    finally:
        os.close(descriptor)


def _reason(error: Exception) -> str:
    """One line for an exception that a damaged file may cause anywhere inside the parsers."""
    if isinstance(error, (DeviceError, _DamageError)):
        return str(error)
    if isinstance(error, gzip.BadGzipFile | zlib.error):
        return "it is not gzip data, or it is damaged"
    if isinstance(error, EOFError):
        return "it is cut short"
    return "its description is damaged"


class _DamageError(ValueError):
    """Damage that has a reason of its own to tell."""


def _read_stream(stream: gzip.GzipFile) -> RingTable:
    if stream.read(len(MAGIC)) != MAGIC:
        raise _DamageError("it does not start with R1NG")
    (version,) = struct.unpack(">H", _read_exactly(stream, 2))
    if version == 1:
        return _read_version_1(stream)
    if version == 2:
        return _read_version_2(_read_rest(stream, FILE_BYTES_MAX))
    raise _DamageError(f"its format version is {version}, and only 1 and 2 are known")


def _read_version_1(stream: gzip.GzipFile) -> RingTable:
    (length,) = struct.unpack(">I", _read_exactly(stream, 4))
    if length > METADATA_BYTES_MAX:
        raise _DamageError("its description is too long")
    metadata = _json_object(_read_exactly(stream, length))
    partition_count = 1 << (HASH_BITS - _part_shift(metadata))
    row_count = metadata["replica_count"]
    if isinstance(row_count, float):
        row_count = ceil(row_count)
    if not isinstance(row_count, int) or not 1 <= row_count <= REPLICAS_MAX:
        raise _DamageError(f"replica_count is not a number from 1 to {REPLICAS_MAX}")
    size = row_count * partition_count * 2
    body = _read_rest(stream, size)
    if len(body) <= size - partition_count * 2:
        raise _DamageError("it is cut short")
    byteorder = metadata.get("byteorder", sys.byteorder)
    if byteorder not in ("little", "big"):
        raise _DamageError("byteorder is neither little nor big")
    return _table(metadata, metadata["devs"], _rows(body, partition_count, ROW_TYPECODE, byteorder), 1)


def _read_version_2(body: bytes) -> RingTable:
    """`body` starts after the version number; the offsets of the index count from the start of the stream."""
    start = len(MAGIC) + 2
    (index_at,) = struct.unpack(">Q", body[-16:-8])
    index = _json_object(_blob(body, index_at - start))
    metadata = _json_object(_section(body, index, "swift/ring/metadata", start))
    devices = json.loads(_section(body, index, "swift/ring/devices", start))
    assignments = _section(body, index, "swift/ring/assignments", start)
    partition_count = 1 << (HASH_BITS - _part_shift(metadata))
    dev_id_bytes = metadata["dev_id_bytes"]
    if not isinstance(dev_id_bytes, int) or dev_id_bytes not in _V2_TYPECODES:
        raise _DamageError("dev_id_bytes is not 2, 4 or 8")
    if len(assignments) > REPLICAS_MAX * partition_count * dev_id_bytes:
        raise _DamageError(f"it has more than {REPLICAS_MAX} replicas")
    wide = _rows(assignments, partition_count, _V2_TYPECODES[dev_id_bytes], "big")
    try:
        rows = [array(ROW_TYPECODE, row) for row in wide]
    except OverflowError:
        raise _DamageError(f"it has more than {DEVICES_MAX} devices") from None
    return _table(metadata, devices, rows, 2)


def _section(body: bytes, index: Mapping[str, object], name: str, start: int) -> bytes:
    """A named blob of a version 2 file, checked against its digest (of length and content) when there is one of a known kind."""
    entry = index[name]
    if not isinstance(entry, list) or len(entry) != 6 or not isinstance(entry[1], int):
        raise _DamageError(f"section {name} has no start")
    _, at, _, _, method, digest = entry
    content = _blob(body, at - start)
    if method in ("md5", "sha1", "sha256", "sha512") and digest is not None:
        covered = body[at - start : at - start + 8 + len(content)]
        if hashlib.new(str(method), covered).hexdigest() != digest:
            raise _DamageError(f"the checksum of section {name} is wrong")
    return content


def _blob(body: bytes, at: int) -> bytes:
    if not 0 <= at <= len(body) - 8:
        raise _DamageError("a section lies outside the file")
    (length,) = struct.unpack_from(">Q", body, at)
    if length > len(body) - at - 8:
        raise _DamageError("a section lies outside the file")
    return body[at + 8 : at + 8 + length]


def _rows(body: bytes, partition_count: int, typecode: str, byteorder: str) -> list[array[int]]:
    ids: array[int] = array(typecode)
    if len(body) % ids.itemsize:
        raise _DamageError("it is cut short")
    ids.frombytes(body)
    if byteorder != sys.byteorder:
        ids.byteswap()
    return [ids[at : at + partition_count] for at in range(0, len(ids), partition_count)]


def _table(metadata: Mapping[str, object], entries: object, rows: Sequence[array[int]], version: int) -> RingTable:
    if not isinstance(entries, list) or len(entries) > DEVICES_MAX:
        raise _DamageError(f"devs is not a list of at most {DEVICES_MAX} devices")
    devices = tuple(None if entry is None else device_from_json(entry) for entry in entries)
    for index, device in enumerate(devices):
        if device is not None and device.id != index:
            raise _DamageError(f"device {device.id} stands at place {index}")
    if not rows:
        raise _DamageError("it has no replica")
    for device_id in set().union(*rows):
        if device_id >= len(devices) or devices[device_id] is None:
            raise _DamageError(f"a partition is assigned to device {device_id}, which does not exist")
    build_version, next_part_power = (_optional_int(metadata, name) for name in ("version", "next_part_power"))
    return RingTable(devices, tuple(rows), _part_shift(metadata), build_version, next_part_power, version)


def _part_shift(metadata: Mapping[str, object]) -> int:
    part_shift = metadata["part_shift"]
    if not isinstance(part_shift, int) or not 0 <= part_shift <= HASH_BITS:
        raise _DamageError(f"part_shift is not a number from 0 to {HASH_BITS}")
    return part_shift


def _optional_int(metadata: Mapping[str, object], name: str) -> int | None:
    value = metadata.get(name)
    return value if isinstance(value, int) else None


def _json_object(text: bytes) -> dict[str, object]:
    value = json.loads(text)
    if not isinstance(value, dict):
        raise _DamageError("its description is not a JSON object")
    return value


def _read_exactly(stream: gzip.GzipFile, size: int) -> bytes:
    content = stream.read(size)
    if len(content) != size:
        raise EOFError
    return content


def _read_rest(stream: gzip.GzipFile, size_max: int) -> bytes:
    """Everything up to the end of the stream, where gzip checks its CRC; never more than `size_max` bytes in memory."""
    chunks: list[bytes] = []
    size = 0
    while chunk := stream.read(_CHUNK_BYTES):
        size += len(chunk)
        if size > size_max:
            raise _DamageError("it is longer than its description says")
        chunks.append(chunk)
    return b"".join(chunks)
