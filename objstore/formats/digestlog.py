"""The log of partition digests: what a device held of a partition when its directory was last listed.

A hint that saves listings, never believed on its own: a record counts only while the directory's inode number and modification
time are those in it, and a log only within the boot in which it was written (what a crash takes back, it may take back from one
and not from the other). Integers are little endian:

    the file     `OSD1`, 16 bytes that tell the boot, then records
    a record     crc32c of the rest, policy, partition, inode number, modification time (ns), digest, oldest tombstone (0: none)

A later record of a partition replaces an earlier one; what is torn or damaged is passed over.
"""

import struct
from typing import NamedTuple

from crc32c import crc32c

MAGIC = b"OSD1"
BOOT_BYTES = 16
HEADER_BYTES = len(MAGIC) + BOOT_BYTES
_RECORD = struct.Struct("<IIQqQq")
RECORD_BYTES = 4 + _RECORD.size


class DigestRecord(NamedTuple):
    """`oldest_tombstone`: the timestamp from which on forgetting deletions changes the digest."""

    policy: int
    partition: int
    inode: int
    mtime_ns: int
    digest: int
    oldest_tombstone: int


def header(boot: bytes) -> bytes:
    """The beginning of a log. Raises ValueError unless `boot` has BOOT_BYTES."""
    if len(boot) != BOOT_BYTES:
        raise ValueError(f"a boot is told by {BOOT_BYTES} bytes")
    return MAGIC + boot


def encode_record(record: DigestRecord) -> bytes:
    """RECORD_BYTES bytes."""
    body = _RECORD.pack(*record)
    return int(crc32c(body)).to_bytes(4, "little") + body


def scan(data: bytes, boot: bytes) -> dict[tuple[int, int], DigestRecord]:
    """The last sound record of each (policy, partition); none from another boot, or from what is no log. Never raises."""
    found: dict[tuple[int, int], DigestRecord] = {}
    if data[:HEADER_BYTES] != MAGIC + boot:
        return found
    for at in range(HEADER_BYTES, len(data) - RECORD_BYTES + 1, RECORD_BYTES):
        body = data[at + 4 : at + RECORD_BYTES]
        if int(crc32c(body)).to_bytes(4, "little") == data[at : at + 4]:
            record = DigestRecord(*_RECORD.unpack(body))
            found[record.policy, record.partition] = record
    return found
