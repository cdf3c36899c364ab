"""Quarantine: a damaged file is moved aside with the reason, never deleted, and can be put back once it verifies.

`quarantine/<id>/` holds the file under its own name and `record`, written first: a crash between the two leaves the file where
it was. All methods block and raise OSError; the caller sees to it that two calls never work on one object.
"""

import logging
from collections.abc import Iterable

import msgspec

from objstore.formats.filenames import FileKind, FileName, parse_file_name, partition_directory
from objstore.formats.messages import QuarantineEntry
from objstore.formats.quarantinerecord import QuarantineRecord, decode_record, encode_record
from objstore.model.errors import Code, NodeError
from objstore.model.lost import NONE, Lost
from objstore.object.crashes import QUARANTINE_MOVED, QUARANTINE_RECORD
from objstore.object.files import Place
from objstore.object.reader import Corrupt, open_object, verify_body
from objstore.runtime.interface import Clock, CrashPoints, FileSystem

logger = logging.getLogger("objstore.object")

DIRECTORY = "quarantine"
RECORD = "record"
SAME_NAME_MAX = 1000


class Quarantine:
    """The quarantine of one device."""

    def __init__(self, fs: FileSystem, clock: Clock, points: CrashPoints | None = None) -> None:
        self._fs = fs
        self._clock = clock
        self._points = points

    def move(self, path: str, reason: str, name: str, *, superseded: bool = False) -> str:
        """Move a file (or whatever is in its place) aside; returns its id. `superseded`: it is not missed. Raises FileNotFoundError
        when it is gone.
        """
        source, _, base = path.rpartition("/")
        id_, directory, changed = self._new_directory(base)
        self._write_record(directory, QuarantineRecord(path, reason, name, self._clock.now(), superseded=superseded))
        for parent in (*changed, directory):
            self._fs.sync_directory(parent)
        self._reach(QUARANTINE_RECORD)
        self._fs.rename(path, f"{directory}/{base}")
        self._fs.sync_directory(directory)  # the new name first: at no moment is the file without a durable one
        self._fs.sync_directory(source)
        self._reach(QUARANTINE_MOVED)
        logger.error("file quarantined", extra={"path": path, "reason": reason, "object": name, "id": id_})
        return id_

    def _new_directory(self, base: str) -> tuple[str, str, list[str]]:
        for count in range(SAME_NAME_MAX):
            id_ = f"{base}-{count}" if count else base
            directory = f"{DIRECTORY}/{id_}"
            changed = self._fs.make_directory(directory)
            if base not in self._fs.list_directory(directory):
                return id_, directory, changed
        raise NodeError(Code.INTERNAL, f"too many quarantined files of one name: {base}")

    def _write_record(self, directory: str, record: QuarantineRecord) -> None:
        file = self._fs.create_temp()
        try:
            file.write(encode_record(record))
            file.sync()
            self._fs.publish(file, f"{directory}/{RECORD}")
        finally:
            self._fs.discard(file)

    def records(self, prefix: str = "") -> dict[str, QuarantineRecord]:
        """All that is in quarantine by id, in order; of those that begin with `prefix`."""
        ids = [id_ for id_ in self._fs.list_directory(DIRECTORY) if id_.startswith(prefix)]
        return {id_: record for id_ in ids if (record := self._record(id_)) is not None}

    def entries(self) -> list[QuarantineEntry]:
        """The same as a node tells it."""
        return [
            QuarantineEntry(id_, one.path, one.reason, one.name, one.time_s, one.superseded) for id_, one in self.records().items()
        ]

    def supersede(self, place: Place) -> None:
        """Note durably that nothing of an object is missed any more."""
        for id_, record in self.records(place.hash.hex()).items():
            origin = origin_of(record)
            if origin is not None and origin[0] == place and not record.superseded:
                self._write_record(f"{DIRECTORY}/{id_}", msgspec.structs.replace(record, superseded=True))
                self._fs.sync_directory(f"{DIRECTORY}/{id_}")

    def _record(self, id_: str) -> QuarantineRecord | None:
        """None when there is no such entry, or its file was never moved here."""
        directory = f"{DIRECTORY}/{id_}"
        if "/" in id_ or id_ in ("", ".", ".."):
            return None
        names = self._fs.list_directory(directory)
        if RECORD not in names:
            return None
        file = self._fs.open(f"{directory}/{RECORD}")
        try:
            record = decode_record(file.pread(file.size(), 0))
        except ValueError:
            logger.exception("quarantine record unreadable", extra={"id": id_})
            return None
        finally:
            file.close()
        return record if record.path.rpartition("/")[2] in names else None

    def find(self, id_: str) -> tuple[Place, FileName, QuarantineRecord]:
        """Whose file an entry is, and which. Raises NodeError not_found."""
        record = self._record(id_)
        if record is None:
            raise NodeError(Code.NOT_FOUND, f"nothing in quarantine under {id_!r}")
        origin = origin_of(record)
        if origin is None:
            raise NodeError(Code.NOT_FOUND, f"quarantined from a place that holds no objects: {record.path}")
        return *origin, record

    def restore(self, id_: str) -> None:
        """Put a file back after reading all of it. Raises NodeError not_found, corrupt (it still is), newer_exists."""
        place, name, record = self.find(id_)
        if record.superseded:
            raise NodeError(Code.NEWER_EXISTS, "superseded: the object was repaired, written or deleted since", name.timestamp)
        directory, _, base = record.path.rpartition("/")
        here = f"{DIRECTORY}/{id_}"
        try:
            found = open_object(self._fs, Place(here, place.hash), name.timestamp, name.kind, record.name)
            try:
                verify_body(found)
            finally:
                found.file.close()
        except Corrupt as error:
            raise NodeError(Code.CORRUPT, error.reason) from error
        for changed in self._fs.make_directory(directory):
            self._fs.sync_directory(changed)
        self._fs.rename(f"{here}/{base}", record.path)
        self._fs.sync_directory(directory)
        self._fs.unlink(f"{here}/{RECORD}")
        self._fs.sync_directory(here)
        logger.warning("file restored from quarantine", extra={"path": record.path, "object": record.name, "id": id_})

    def _reach(self, point: str) -> None:
        if self._points is not None:
            self._points.reach(point)


def lost(records: Iterable[QuarantineRecord]) -> dict[Place, tuple[Lost, float]]:
    """What is in quarantine of each object and not superseded, and since when (seconds since the epoch)."""
    found: dict[Place, tuple[Lost, float]] = {}
    for record in records:
        origin = origin_of(record)
        if origin is not None and not record.superseded:
            place, name = origin
            known, since_s = found.get(place, (NONE, 0.0))
            found[place] = known.with_(lost_of(name)), max(since_s, record.time_s)
    return found


def lost_of(name: FileName) -> Lost:
    """What is lost with a file. Its name alone counts: whatever else it said may be wrong."""
    if name.kind is FileKind.META:
        return Lost(meta=name.timestamp)
    return Lost(deletion=name.timestamp) if name.kind is FileKind.TOMBSTONE else Lost(name.timestamp)


def origin_of(record: QuarantineRecord) -> tuple[Place, FileName] | None:
    """Whose file it is and which; None for what came from a place that holds no objects."""
    directory, _, base = record.path.rpartition("/")
    try:
        name = parse_file_name(base)
    except ValueError:
        return None
    return (Place(directory, name.hash), name) if _is_partition(directory) else None


def _is_partition(directory: str) -> bool:
    top, _, partition = directory.partition("/")
    policy = top.removeprefix("objects").removeprefix("-") or "0"
    return (
        top.startswith("objects")
        and policy.isdecimal()
        and partition.isdecimal()
        and directory == partition_directory(int(policy), int(partition))
    )
