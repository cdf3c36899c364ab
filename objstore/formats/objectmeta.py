"""An object file's metadata: the attribute `user.objstore.meta` and, for what does not fit there, a trailer after the body.

The attribute, all integers little endian:

    bytes 0-4    crc32c of all that follows
    byte  4      format, 1
    byte  5      flags: 1 = the version is in the trailer, 2 = the table is in the trailer
    bytes 6-14   size of the body
    bytes 14-30  size and crc32c of the version, size and crc32c of the table
    then         the version, then the table, unless flagged away

The version is a `model.Version` as msgpack; the table holds the crc32c of each 64 KiB chunk of the body, 4 bytes each. The file is
the body, then the version and the table as far as they are flagged: its size follows from the attribute, so a file that lost
its data, or grew, is told from a good one before a byte of it is read. One format for all three kinds of file; tombstones and
metadata files have an empty body.

ext4 gives all attributes of a file one block together (4,028 bytes for a single value, measured), hence the budget.
"""

import struct
from typing import NamedTuple

import msgspec
from crc32c import crc32c

from objstore.formats.joinedcrc import Joiner
from objstore.model.version import Version

ATTRIBUTE = "objstore.meta"  # the kernel shows it as user.objstore.meta
ATTRIBUTE_BYTES_MAX = 2800
CHUNK_BYTES = 1 << 16

_FORMAT = 1
_VERSION_IN_TRAILER = 1
_TABLE_IN_TRAILER = 2
_HEAD = struct.Struct("<IBBQIIII")
_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(Version)
_JOINER = Joiner(CHUNK_BYTES)


class Damaged(ValueError):
    """The bytes are not what was written: a checksum, a size or the structure is wrong."""


class UnknownFormat(ValueError):
    """The bytes are sound but of a format this release does not know: never a reason to quarantine."""


class Encoded(NamedTuple):
    """What to write: the attribute, and the bytes that follow the body."""

    attribute: bytes
    trailer: bytes


class Header(NamedTuple):
    """A decoded attribute. `version` and `table` are None when they are in the trailer, at `*_offset` in the file."""

    body_size: int
    version: Version | None
    table: bytes | None
    version_size: int
    version_crc: int
    table_size: int
    table_crc: int

    @property
    def version_offset(self) -> int:
        return self.body_size

    @property
    def table_offset(self) -> int:
        return self.body_size + (self.version_size if self.version is None else 0)

    @property
    def file_size(self) -> int:
        """What the file must measure."""
        return self.table_offset + (self.table_size if self.table is None else 0)


def encode(version: Version, table: bytes, body_size: int, budget: int = ATTRIBUTE_BYTES_MAX) -> Encoded:
    """Metadata of a body of `body_size` bytes with the given checksum table, the attribute at most `budget` bytes long.

    The version stays in the attribute as long as it fits: readers of metadata alone then never touch the trailer.
    """
    packed = _ENCODER.encode(version)
    room = budget - _HEAD.size
    flags = 0
    if len(packed) > room:
        flags = _VERSION_IN_TRAILER
    else:
        room -= len(packed)
    if len(table) > room:
        flags |= _TABLE_IN_TRAILER
    rest = _HEAD.pack(0, _FORMAT, flags, body_size, len(packed), crc32c(packed), len(table), crc32c(table))[4:]
    trailer = b""
    if flags & _VERSION_IN_TRAILER:
        trailer = packed
    else:
        rest += packed
    if flags & _TABLE_IN_TRAILER:
        trailer += table
    else:
        rest += table
    return Encoded(crc32c(rest).to_bytes(4, "little") + rest, trailer)


def decode(attribute: bytes) -> Header:
    """The inverse of `encode`, as far as the attribute goes.

    Raises Damaged, UnknownFormat.
    """
    if len(attribute) < _HEAD.size:
        raise Damaged("metadata too short")
    crc, format_, flags, body_size, version_size, version_crc, table_size, table_crc = _HEAD.unpack_from(attribute)
    if crc32c(memoryview(attribute)[4:]) != crc:
        raise Damaged("metadata checksum mismatch")
    if format_ != _FORMAT:
        raise UnknownFormat(f"metadata format {format_}")
    if table_size != table_bytes(body_size) or flags > _VERSION_IN_TRAILER | _TABLE_IN_TRAILER:
        raise Damaged("metadata contradicts itself")
    at = _HEAD.size
    version = table = None
    if not flags & _VERSION_IN_TRAILER:
        version = _version(attribute[at : at + version_size], body_size)
        at += version_size
    if not flags & _TABLE_IN_TRAILER:
        table = attribute[at : at + table_size]
        at += table_size
    if at != len(attribute):
        raise Damaged("metadata sizes do not add up")
    return Header(body_size, version, table, version_size, version_crc, table_size, table_crc)


def decode_version(header: Header, data: bytes) -> Version:
    """The version read from the trailer. Raises Damaged."""
    if len(data) != header.version_size or crc32c(data) != header.version_crc:
        raise Damaged("metadata checksum mismatch in the trailer")
    return _version(data, header.body_size)


def check_table(header: Header, data: bytes) -> bytes:
    """The table read from the trailer. Raises Damaged."""
    if len(data) != header.table_size or crc32c(data) != header.table_crc:
        raise Damaged("checksum table damaged")
    return data


def _version(data: bytes, body_size: int) -> Version:
    try:
        version = _DECODER.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError) as e:
        raise Damaged("metadata unreadable") from e
    if version.size != body_size:
        raise Damaged("metadata and body disagree on the size")
    return version


def table_bytes(body_size: int) -> int:
    """How long the checksum table of a body is."""
    return (body_size + CHUNK_BYTES - 1) // CHUNK_BYTES * 4


def checksum_table(body: bytes | memoryview) -> bytes:
    """The crc32c of each 64 KiB chunk of a whole body."""
    if len(body) <= CHUNK_BYTES:
        return crc32c(body).to_bytes(4, "little") if body else b""
    view = memoryview(body)
    return b"".join(crc32c(view[at : at + CHUNK_BYTES]).to_bytes(4, "little") for at in range(0, len(view), CHUNK_BYTES))


class TableBuilder:
    """The checksum table of a body that arrives in pieces of any size."""

    def __init__(self) -> None:
        self.size = 0
        self._crcs = bytearray()
        self._crc = 0
        self._filled = 0  # bytes of the chunk under way

    def add(self, data: bytes | memoryview) -> None:
        """The next bytes of the body."""
        view = memoryview(data)
        self.size += len(view)
        at = 0
        while at < len(view):
            piece = view[at : at + CHUNK_BYTES - self._filled]
            self._crc = crc32c(piece, self._crc)
            self._filled += len(piece)
            at += len(piece)
            if self._filled == CHUNK_BYTES:
                self._crcs += self._crc.to_bytes(4, "little")
                self._crc = self._filled = 0

    def table(self) -> bytes:
        """The table of all that was added."""
        if self._filled:
            return bytes(self._crcs) + self._crc.to_bytes(4, "little")
        return bytes(self._crcs)


def verify_chunks(data: bytes, offset: int, table: bytes) -> int:
    """Check bytes of a body that begin at `offset`, a multiple of CHUNK_BYTES, and end at a chunk's end or at the body's.

    Returns their crc32c. Raises Damaged, naming the first chunk that is wrong.
    """
    first = offset // CHUNK_BYTES
    if len(data) <= CHUNK_BYTES:
        crc = crc32c(data)
        if data and crc.to_bytes(4, "little") != table[4 * first : 4 * first + 4]:
            raise Damaged(f"checksum mismatch in chunk {first}")
        return crc
    found = checksum_table(data)
    expected = table[4 * first : 4 * first + len(found)]
    if found != expected:
        bad = next(n for n in range(0, len(found), 4) if found[n : n + 4] != expected[n : n + 4]) // 4
        raise Damaged(f"checksum mismatch in chunk {first + bad}")
    whole = len(data) // CHUNK_BYTES
    return crc32c(memoryview(data)[whole * CHUNK_BYTES :], crc_of_chunks(found, 0, whole))


def crc_of_chunks(table: bytes, first: int, count: int) -> int:
    """The crc32c that `count` whole chunks of a body must have together, without a look at them."""
    return _JOINER.join(struct.unpack_from(f"<{count}I", table, 4 * first))
