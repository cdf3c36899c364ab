"""One number for all that a device holds of a partition, so that replicas compare without listing, and a log that remembers it."""

import logging
import struct
from collections.abc import Iterable
from typing import NamedTuple

from xxhash import xxh3_64_intdigest

from objstore.formats.digestlog import HEADER_BYTES, RECORD_BYTES, DigestRecord, encode_record, header, scan
from objstore.model.lost import Lost
from objstore.object.files import NOTHING, Files, Partition
from objstore.runtime.interface import FileSystem

logger = logging.getLogger("objstore.object")

PATH = "digests.log"
COMPACT_RECORDS_MIN = 4096
SETTLED_NS = 2_000_000_000
"""A directory changed within this time may change again without its modification time telling: it is not remembered yet."""
_ENTRY = struct.Struct("<qqq")
_MASK = (1 << 64) - 1


def entry_digest(hash_: bytes, files: Files) -> int:
    """Of one object's files."""
    return int(xxh3_64_intdigest(hash_ + _ENTRY.pack(files.timestamp, files.deleted, files.meta)))


class Digest(NamedTuple):
    """Of one partition: `value` 0 when it is empty. `oldest_tombstone` is the timestamp of the oldest one that counts (0: none),
    `forgettable` the number of those that do not count any more.
    """

    value: int
    oldest_tombstone: int = 0
    forgettable: int = 0

    def missing(self, lost: Iterable[tuple[bytes, Lost]]) -> "Digest":
        """Of the same files where others were lost, by their objects' hashes: who misses something is in sync with nobody."""
        total = self.value + sum(int(xxh3_64_intdigest(b"lost" + hash_ + _ENTRY.pack(*one))) for hash_, one in lost)
        return self._replace(value=total & _MASK)


def digest_of(partition: Partition, horizon: int) -> Digest:
    """Tombstones below `horizon` are left out: replicas forget them at times of their own. A sum, so order does not matter."""
    total = oldest = forgettable = 0
    for hash_, files in partition.items():
        if files.deleted:
            if files.timestamp < horizon:
                forgettable += 1
                continue
            if not oldest or files.timestamp < oldest:
                oldest = files.timestamp
        if files != NOTHING:
            total += entry_digest(hash_, files)
    return Digest(total & _MASK, oldest, forgettable)


class Summary(NamedTuple):
    """A digest of a partition in memory, and the horizon that it was made for."""

    horizon: int
    digest: Digest

    def holds(self, horizon: int) -> bool:
        """Whether it is the same for a later horizon: no deletion has become forgettable since."""
        return self.horizon <= horizon and not 0 < self.digest.oldest_tombstone < horizon


class DigestLog:
    """The log of one device. Used in disk threads; blocking, and never fails: what cannot be kept is computed again."""

    def __init__(self, fs: FileSystem, boot: bytes) -> None:
        """`boot` tells this start of the machine from others (16 bytes)."""
        self._fs = fs
        self._boot = boot
        self._known: dict[tuple[int, int], DigestRecord] = {}
        self._new: list[DigestRecord] = []
        self._written = 0
        self._begun = False

    def load(self) -> None:
        """What an earlier process of this boot left."""
        try:
            file = self._fs.open(PATH)
        except FileNotFoundError:
            return
        except OSError as error:
            logger.warning("digest log unreadable", extra={"error": str(error)})
            return
        try:
            data = file.pread(file.size(), 0)
        except OSError as error:
            logger.warning("digest log unreadable", extra={"error": str(error)})
            return
        finally:
            file.close()
        self._known = scan(data, self._boot)
        self._written = max(0, len(data) - HEADER_BYTES) // RECORD_BYTES
        self._begun = bool(self._known)

    def get(self, policy: int, partition: int, state: tuple[int, int], horizon: int) -> DigestRecord | None:
        """The record, if the directory is still as it was and no deletion in it has become forgettable."""
        record = self._known.get((policy, partition))
        if record is None or (record.inode, record.mtime_ns) != state or 0 < record.oldest_tombstone < horizon:
            return None
        return record

    def put(self, record: DigestRecord) -> None:
        """Remember; written by the next `flush`."""
        self._known[record.policy, record.partition] = record
        self._new.append(record)

    def forget_all(self) -> None:
        """Every partition is listed again."""
        self._known.clear()
        self._begun = False

    def flush(self) -> None:
        """Append what is new; write the log anew when most of it is superseded. Not synced: see `formats.digestlog`."""
        new, self._new = self._new, []
        if not new and self._begun:
            return
        try:
            if not self._begun or self._written + len(new) > 2 * len(self._known) + COMPACT_RECORDS_MIN:
                self._rewrite()
            else:
                self._append(new)
        except OSError as error:
            self._begun = False
            logger.warning("digest log not written", extra={"error": str(error)})

    def _append(self, records: Iterable[DigestRecord]) -> None:
        file = self._fs.open_append(PATH)
        try:
            data = b"".join(encode_record(record) for record in records)
            file.write(data)
            self._written += len(data) // RECORD_BYTES
        finally:
            file.close()

    def _rewrite(self) -> None:
        records = list(self._known.values())
        file = self._fs.create_temp()
        try:
            file.write(header(self._boot) + b"".join(encode_record(record) for record in records))
            self._fs.publish(file, PATH)
        finally:
            self._fs.discard(file)
        self._written = len(records)
        self._begun = True
