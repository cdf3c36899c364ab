"""Records of the pending log: container rows that are durable on a device but not yet acknowledged by the container's server.

A segment is a run of frames, integers little endian:

    bytes 0-4    magic, `OSP1`
    bytes 4-8    length of the payload
    bytes 8-12   crc32c of bytes 4-8, of the id and of the payload
    bytes 12-20  id of the record, unique within the device, below 2^63; the highest bit says that a group begins here
    then         the payload: msgpack of PendingUpdate

A group is appended by one write, and synced before the next one. So a power cut can tear the last group alone, and nobody was told
that its records are durable: its end is missing, or some of its sectors are, which read as zeros. All else that cannot be read is
damage; the scan reports it and goes on at the next good frame. Segments of earlier releases have no groups, and torn ends only.
"""

import struct
from collections.abc import Container, Iterable, Iterator, Sequence
from typing import NamedTuple

import msgspec
from crc32c import crc32c

from objstore.formats.messages import IndexTarget, Target
from objstore.model.rows import ObjectRow

PAYLOAD_BYTES_MAX = 1 << 16
SECTOR_BYTES = 512
"""What a disk writes whole or not at all."""

_BEGINS = 1 << 63
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
    """What a segment holds: its records by id, damaged bytes between good records, and bytes that are missing of a torn group."""

    records: dict[int, PendingUpdate]
    damaged_bytes: int
    torn_bytes: int


def frame(id_: int, update: PendingUpdate) -> bytes:
    """One record as `group` takes it.

    Raises ValueError when the payload is larger than PAYLOAD_BYTES_MAX.
    """
    payload = _ENCODER.encode(update)
    if len(payload) > PAYLOAD_BYTES_MAX:
        raise ValueError("pending update too large")
    return _frame(id_, payload)


def group(records: Sequence[bytes]) -> bytes:
    """Records made by `frame`, at least one, as they are appended to a segment together."""
    first = records[0]
    return b"".join([_frame(frame_id(first) | _BEGINS, first[_HEAD.size :]), *records[1:]])


def renumbered(record: bytes, id_: int) -> bytes:
    """The record under another id."""
    return _frame(id_, record[_HEAD.size :])


def _frame(id_: int, payload: bytes) -> bytes:
    return _HEAD.pack(_MAGIC, len(payload), _crc(len(payload), id_, payload), id_) + payload


def frame_id(record: bytes) -> int:
    """The id in a record made by `frame`."""
    return int.from_bytes(record[12:20], "little")


def scan(data: bytes, wanted: Container[int] | None = None) -> Scan:
    """Read a segment. Never raises: what cannot be read is counted. `wanted`: the ids of the records to return; by default all."""
    records: dict[int, PendingUpdate] = {}
    good_end = damaged = 0
    gaps: list[tuple[int, int]] = []  # behind which no group was seen to begin
    grouped = False
    for start, end, id_, update in _frames(data, wanted):
        if start > good_end:
            gaps.append((good_end, start))
            grouped |= good_end == 0
        if id_ & _BEGINS:  # what is before it was synced
            damaged += _bytes(gaps)
            gaps, grouped = [], True
        good_end = end
        if update is not None:
            records[id_ & ~_BEGINS] = update
    if good_end < len(data):
        gaps.append((good_end, len(data)))
    torn = _bytes(gap for gap in gaps if (grouped or gap[1] == len(data)) and _is_torn(data, *gap))
    return Scan(records, damaged + _bytes(gaps) - torn, torn)


def _bytes(gaps: Iterable[tuple[int, int]]) -> int:
    return sum(stop - start for start, stop in gaps)


def _is_torn(data: bytes, start: int, stop: int) -> bool:
    """Whether an append that was cut short, or of which sectors were never written, explains what cannot be read from where a frame
    began.
    """
    at_end = stop == len(data)
    if at_end and (stop - start < _HEAD.size or start + _HEAD.size + _HEAD.unpack_from(data, start)[1] > stop):
        return True
    sectors = range(start - start % SECTOR_BYTES, stop if at_end else stop - SECTOR_BYTES + 1, SECTOR_BYTES)
    return any(not any(data[max(start, at) : min(stop, at + SECTOR_BYTES)]) for at in sectors)


def _frames(data: bytes, wanted: Container[int] | None) -> Iterator[tuple[int, int, int, PendingUpdate | None]]:
    """Where each begins and ends, its id, and its record if that is wanted."""
    at = data.find(_MAGIC)
    while 0 <= at <= len(data) - _HEAD.size:
        _, length, crc, id_ = _HEAD.unpack_from(data, at)
        end = at + _HEAD.size + length
        payload = data[at + _HEAD.size : end]
        good = length <= PAYLOAD_BYTES_MAX and len(payload) == length and _crc(length, id_, payload) == crc
        update = None
        if good and (wanted is None or id_ & ~_BEGINS in wanted):
            update = _decode(payload)
            good = update is not None
        if good:
            yield at, end, id_, update
            at = data.find(_MAGIC, end)
        else:
            at = data.find(_MAGIC, at + 1)


def _decode(payload: bytes) -> PendingUpdate | None:
    try:
        return _DECODER.decode(payload)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None


def _crc(length: int, id_: int, payload: bytes) -> int:
    return int(crc32c(payload, crc32c(struct.pack("<IQ", length, id_))))
