"""Groups in a device's journal: small changes made durable by one write and one flush, before their files are.

A segment is a file of fixed size that is written over again and again. A group begins at a multiple of BLOCK_BYTES:

    bytes 0-4    magic, `OSJ1`
    bytes 4-8    length of the payload
    bytes 8-16   number of the group, one more than that of the group before, in whatever segment that was
    bytes 16-24  floor: all groups up to this number are settled, their changes durable elsewhere
    bytes 24-28  crc32c of bytes 0-24 and of the payload, begun with the device's seed
    then         the payload: msgpack of a list of Entry; zeros up to the next multiple

Integers are little endian. What follows the last group of a segment is what the segment held before: groups with other numbers, or
parts of bodies. A user could write a body that looks like a group, but does not know the seed.
"""

import struct
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import msgspec
from crc32c import crc32c

BLOCK_BYTES = 4096
"""What the kernel writes without reading what was there."""

_MAGIC = b"OSJ1"
_HEAD = struct.Struct("<4sIQQ")
_CRC = struct.Struct("<I")
HEAD_BYTES = _HEAD.size + _CRC.size
_ENCODER = msgspec.msgpack.Encoder()


class Entry(msgspec.Struct, array_like=True, frozen=True):
    """One change: the file at `path` has this content and these attributes. `content` None: an earlier entry for this path is void.
    `log`: a record for the device's log, None for none. With a `note` it is no file at all: a record for whoever owns `path`.
    `along`: path and record of such a note that counts if this entry does.
    """

    path: str
    content: bytes | None
    attributes: dict[str, bytes] = {}
    log: bytes | None = None
    note: bytes | None = None
    along: tuple[str, bytes] | None = None


_DECODER = msgspec.msgpack.Decoder(list[Entry])


class Group(NamedTuple):
    """One group as it was found."""

    number: int
    floor: int
    entries: list[Entry]


class Outstanding(NamedTuple):
    """What the journal alone may have: groups not settled, in order, and how many between them are missing; up to which number they
    are settled, and the highest number in use.
    """

    groups: list[Group]
    missing: int
    floor: int
    last: int


def encode_group(seed: int, number: int, floor: int, entries: list[Entry]) -> bytes:
    """A group padded to whole blocks."""
    payload = _ENCODER.encode(entries)
    head = _HEAD.pack(_MAGIC, len(payload), number, floor)
    padding = -(HEAD_BYTES + len(payload)) % BLOCK_BYTES
    return b"".join((head, _CRC.pack(crc32c(payload, crc32c(head, seed))), payload, bytes(padding)))


def scan(data: bytes, seed: int) -> Iterator[tuple[int, Group]]:
    """The groups of one segment as far as each follows on the one before, each with where it ends. Never raises."""
    at, expected = 0, 0
    while at + HEAD_BYTES <= len(data):
        magic, length, number, floor = _HEAD.unpack_from(data, at)
        start = at + HEAD_BYTES
        payload = data[start : start + length]
        (crc,) = _CRC.unpack_from(data, at + _HEAD.size)
        if magic != _MAGIC or expected not in (0, number) or len(payload) != length:
            return
        if crc32c(payload, crc32c(data[at : at + _HEAD.size], seed)) != crc:
            return
        try:
            entries = _DECODER.decode(payload)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            return
        at = start + length
        at += -at % BLOCK_BYTES
        yield at, Group(number, floor, entries)
        expected = number + 1


def outstanding(found: Iterable[Group]) -> Outstanding:
    """What counts of the groups of all segments together."""
    groups = sorted(found, key=lambda group: group.number)
    last = groups[-1].number if groups else 0
    floor = max((group.floor for group in groups), default=0)
    left = [group for group in groups if group.number > floor]
    return Outstanding(left, last - floor - len(left) if left else 0, floor, last)
