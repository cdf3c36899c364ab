"""A device's journal: small changes are durable as soon as one group of them is written here and flushed.

Their files have names by then, but nobody synced them. A checkpoint (`Disk.settle`) syncs the whole file system once and then
declares these groups settled; after a crash those that are not are carried out again when the device is opened. Segments are
written over in turn, so that a flush has only data to save.

`append` is the committer thread's; `settle` the checkpoint's. What both touch is kept by one lock.
"""

import logging
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from objstore.formats.journal import BLOCK_BYTES, Entry, Group, Outstanding, encode_group, outstanding, scan
from objstore.runtime.filesystem import NO_SPACE_ERRNOS
from objstore.runtime.interface import FileSystem, LogSink, Note, OpenFile
from objstore.runtime.knobs import Knobs

logger = logging.getLogger("objstore.disk")

DIRECTORY = "journal"
SEGMENTS_MIN = 2
GROUPS_PER_SEGMENT_MIN = 4
CHANGES_PER_SEGMENT_MIN = 16
FULL_WAIT_S = 0.2


@dataclass(slots=True)
class _Segment:
    file: OpenFile
    size: int
    last: int = 0
    """Number of the last group in it; 0 for none."""


def open_journal(fs: FileSystem, knobs: Knobs, log: LogSink | None, *, seed: int = 0) -> "Journal | None":
    """A device's journal, with what an earlier process left in it carried out, before anything else uses the device. None where the
    system, or for lack of space the device, cannot have one. `seed`: a number that users cannot know. Blocking. Raises OSError.
    """
    if not fs.can_sync_all and not fs.list_directory(DIRECTORY):
        return None
    journal = Journal(fs, knobs, seed)
    journal.recover(log)
    try:
        journal.prepare()
    except OSError as error:
        if error.errno not in NO_SPACE_ERRNOS:
            raise
        logger.warning("no room for a journal", extra={"error": str(error)})
        return None
    return journal


class Journal:
    """Blocking; methods raise OSError. See `open_journal`."""

    def __init__(self, fs: FileSystem, knobs: Knobs, seed: int) -> None:
        self._fs = fs
        self._knobs = knobs
        self._seed = seed
        self._lock = threading.Condition()
        self._segments: list[_Segment] = []
        self._active: _Segment | None = None
        self._at = 0
        for changed in fs.make_directory(DIRECTORY):
            fs.sync_directory(changed)
        self._found = self._scan()
        self._number = self._found.last + 1
        self._floor = self._sealed = self._found.floor
        self.named = self._found.last
        """All files of the groups up to this number have their names, and who waited for them knows."""
        self.full: Callable[[], None] = lambda: None
        """Called when a segment is full: it wants settling. Set by the disk."""
        self.change_bytes_max = knobs.journal_segment_bytes_min // CHANGES_PER_SEGMENT_MIN
        """The largest content that goes through the journal: writing more twice costs more than a flush."""
        self._paths: dict[str, int] = {}
        """Files that nobody has synced yet -> the group that has them."""
        self.notes: list[Note] = []
        """What an earlier process noted, after `recover`."""
        self.ended = False
        """Set when nothing will ever be settled any more: nobody may wait for that."""

    def _scan(self) -> Outstanding:
        groups: list[Group] = []
        last = 0
        for name in self._fs.list_directory(DIRECTORY):
            segment = self._opened(f"{DIRECTORY}/{name}")
            for end, group in scan(segment.file.pread(segment.size, 0), self._seed):
                groups.append(group)
                segment.last = group.number
                if group.number > last:
                    last, self._at, self._active = group.number, end, segment
        return outstanding(groups)

    def prepare(self) -> None:
        """Make the first segments where they are missing."""
        while len(self._segments) < SEGMENTS_MIN:
            self._make()
        self._active = self._active or self._segments[0]

    def _opened(self, path: str) -> _Segment:
        file = self._fs.open_write(path)
        segment = _Segment(file, file.size())
        self._segments.append(segment)
        return segment

    def _make(self) -> _Segment:
        """One more segment, twice as large as the largest: little is reserved on a device that has little to do."""
        largest = max((segment.size for segment in self._segments), default=0)
        size = min(max(2 * largest, self._knobs.journal_segment_bytes_min), self._knobs.journal_segment_bytes_max)
        size -= size % BLOCK_BYTES
        file = self._fs.create_temp()
        try:
            for at in range(0, size, 1 << 20):
                file.write(bytes(min(1 << 20, size - at)))
            file.sync()
            path = f"{DIRECTORY}/{len(self._segments)}.segment"
            self._fs.publish(file, path)
        finally:
            self._fs.discard(file)
        self._fs.sync_directory(DIRECTORY)
        return self._opened(path)

    # --- after a crash -----------------------------------------------------------------------------------------

    def recover(self, log: LogSink | None) -> int:
        """Carry out what was not settled; returns how many files had to be made again. Raises OSError."""
        found, self._found = self._found, Outstanding([], 0, 0, 0)
        if found.missing:
            logger.error("journal damaged", extra={"groups": found.missing})
        every = [entry for group in found.groups for entry in group.entries]
        self.notes = [Note(entry.path, entry.note) for entry in every if entry.note is not None]
        entries = {entry.path: entry for entry in every if entry.note is None}
        wanted = [entry for entry in entries.values() if entry.content is not None]
        self.notes += [Note(*entry.along) for entry in wanted if entry.along is not None]
        made = sum(self._restore(entry) for entry in wanted)
        records = [entry.log for entry in wanted if entry.log is not None]
        if records and log is not None:
            log.adopt(records)
        if wanted:
            self._fs.sync_all()
        if every:
            logger.info("journal replayed", extra={"changes": len(every), "files": made})
        if wanted and not self.notes:
            self.settle(found.last)
        if not self.notes:  # else they are settled by the first checkpoint
            self._floor = self._sealed = found.last
        return made

    def _restore(self, entry: Entry) -> bool:
        """False when the file is as it should be."""
        assert entry.content is not None
        if self._is_there(entry, entry.content):
            return False
        file = self._fs.create_temp(entry.path.rpartition("/")[0])
        try:
            file.write(entry.content)
            for name, value in entry.attributes.items():
                file.set_attribute(name, value)
            for changed in self._fs.make_directory(entry.path.rpartition("/")[0]):
                self._fs.sync_directory(changed)
            self._fs.publish(file, entry.path)
        finally:
            self._fs.discard(file)
        return True

    def _is_there(self, entry: Entry, content: bytes) -> bool:
        try:
            file = self._fs.open(entry.path)
        except (FileNotFoundError, NotADirectoryError):
            return False
        try:
            if file.size() != len(content) or file.pread(len(content), 0) != content:
                return False
            return all(file.get_attribute(name) == value for name, value in entry.attributes.items())
        finally:
            file.close()

    # --- the committer thread ----------------------------------------------------------------------------------

    def append(self, entries: list[Entry]) -> int:
        """Durable when it returns; the number of the last group. Raises OSError: then nothing is known, and the device is lost,
        unless it is for lack of space.
        """
        with self._lock:
            for batch in self._batches(entries):
                self._write(batch)
            self._current().file.sync()
            return self._number - 1

    def _batches(self, entries: list[Entry]) -> Iterator[list[Entry]]:
        batch: list[Entry] = []
        size = 0
        for entry in entries:
            batch.append(entry)
            size += len(entry.content or entry.note or b"")
            if size >= self._knobs.journal_segment_bytes_min // GROUPS_PER_SEGMENT_MIN:
                yield batch
                batch, size = [], 0
        if batch:
            yield batch

    def _write(self, batch: list[Entry]) -> None:
        data = encode_group(self._seed, self._number, self._floor, batch)
        if self._at + len(data) + BLOCK_BYTES > self._current().size:  # one block is kept for `settle`
            self._current().file.sync()  # what follows must not outlive what is in here
            self._active, self._at = self._free(len(data) + BLOCK_BYTES), 0
            data = encode_group(self._seed, self._number, self._floor, batch)  # settling took a number meanwhile
        active = self._current()
        active.file.pwrite(data, self._at)
        active.last = self._number
        for entry in batch:
            if entry.content is not None:
                self._paths[entry.path] = self._number
        self._number += 1
        self._at += len(data)

    def _current(self) -> _Segment:
        assert self._active is not None
        return self._active

    def _free(self, size: int) -> _Segment:
        """A segment that nobody needs any more: made if there are not many yet, else waited for."""
        self.full()
        while True:
            for segment in self._segments:
                if segment is not self._active and segment.last <= self._sealed and segment.size >= size:
                    return segment
            if len(self._segments) < self._knobs.journal_segments_max:
                try:
                    return self._make()
                except OSError as error:
                    if error.errno not in NO_SPACE_ERRNOS:
                        raise
            if self.ended:
                raise OSError(5, "the journal is full")
            self._lock.wait(FULL_WAIT_S)

    def has(self, path: str) -> bool:
        """Whether a crash would make this file again."""
        return path in self._paths

    # --- checkpoints -------------------------------------------------------------------------------------------

    @property
    def unsettled(self) -> int:
        """Groups whose changes are durable here alone."""
        return self.named - self._floor

    def settle(self, number: int) -> None:
        """The changes of all groups up to `number` are durable elsewhere; that is durable when it returns. Raises OSError."""
        with self._lock:
            if number <= self._sealed:
                return
            self._floor = number
            active = self._current()
            if self._at + BLOCK_BYTES > active.size:  # it ends in such a note already, which can be written over
                self._at -= BLOCK_BYTES
                self._number -= 1
            active.file.pwrite(encode_group(self._seed, self._number, number, []), self._at)
            active.last = self._number
            self._number += 1
            self._at += BLOCK_BYTES
            active.file.sync()
            self._sealed = number
            self._paths = {path: group for path, group in self._paths.items() if group > number}
            self._lock.notify_all()
