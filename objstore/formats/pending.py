"""Records of the pending log: container rows that are durable on a device but not yet acknowledged by the container's server.

A segment is a run of frames, integers little endian:

    bytes 0-4    magic, `OSP1`
    bytes 4-8    length of the payload
    bytes 8-12   crc32c of bytes 4-8, of the id and of the payload
    bytes 12-20  id of the record, unique within the device
    then         the payload: msgpack of PendingUpdate

A crash can tear the last frames: nobody was told that they are durable. A bad frame before a good one is damage; the scan reports
it and goes on at the next good frame.
"""

import struct
from collections.abc import Iterator
from typing import NamedTuple

import msgspec
from crc32c import crc32c

from objstore.formats.messages import IndexTarget, Target
from objstore.model.rows import ObjectRow

PAYLOAD_BYTES_MAX = 1 << 16

_MAGIC = b"OSP1"
_HEAD = struct.Struct("<4sIIQ")
_ENCODER = msgspec.msgpack.Encoder()


class PendingUpdate(msgspec.Struct, array_like=True, frozen=True):
    """One row to deliver, and the object it speaks of (so that a row whose object was never published can be dropped)."""

    target: Target
    hash: bytes
    index: IndexTarget
    container: str  # "/account/container"
    row: ObjectRow


_DECODER = msgspec.msgpack.Decoder(PendingUpdate)


class Scan(NamedTuple):
    """What a segment holds: its records by id, damaged bytes between good records, and bytes of a torn end."""

    records: dict[int, PendingUpdate]
    damaged_bytes: int
    torn_bytes: int


def frame(id_: int, update: PendingUpdate) -> bytes:
    """One record as it is appended to a segment.

    Raises ValueError when the payload is larger than PAYLOAD_BYTES_MAX.
    """
    payload = _ENCODER.encode(update)
    if len(payload) > PAYLOAD_BYTES_MAX:
        raise ValueError("pending update too large")
    return _HEAD.pack(_MAGIC, len(payload), _crc(len(payload), id_, payload), id_) + payload


def frame_id(record: bytes) -> int:
    """The id in a record made by `frame`."""
    return int.from_bytes(record[12:20], "little")


def scan(data: bytes) -> Scan:
    """Read a segment. Never raises: what cannot be read is counted."""
    records: dict[int, PendingUpdate] = {}
    good_end = damaged = 0
    for start, end, id_, update in _frames(data):
        damaged += start - good_end
        good_end = end
        records[id_] = update
    return Scan(records, damaged, len(data) - good_end)


def _frames(data: bytes) -> Iterator[tuple[int, int, int, PendingUpdate]]:
    at = data.find(_MAGIC)
    while 0 <= at <= len(data) - _HEAD.size:
        _, length, crc, id_ = _HEAD.unpack_from(data, at)
        end = at + _HEAD.size + length
        payload = data[at + _HEAD.size : end]
        update = None
        if length <= PAYLOAD_BYTES_MAX and len(payload) == length and _crc(length, id_, payload) == crc:
            update = _decode(payload)
        if update is None:
            at = data.find(_MAGIC, at + 1)
        else:
            yield at, end, id_, update
            at = data.find(_MAGIC, end)


def _decode(payload: bytes) -> PendingUpdate | None:
    try:
        return _DECODER.decode(payload)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None


def _crc(length: int, id_: int, payload: bytes) -> int:
    return int(crc32c(payload, crc32c(struct.pack("<IQ", length, id_))))
