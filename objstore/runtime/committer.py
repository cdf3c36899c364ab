"""What the committer thread does with one group of changes: plain, blocking steps in the one order that is safe.

Contents and attributes are synced before the log record, the log record before any name, the names (directories) before the
acknowledgement. Small changes go through the journal instead, if the device has one: in there all of a change is durable before it
gets its name, and file and directory are synced later (`Disk.settle`). A failed sync is never retried (the kernel may have marked
the lost pages clean): it ends the whole group and the device's writing life.
"""

import errno
from collections.abc import Iterator
from dataclasses import dataclass

from objstore.formats.journal import Entry
from objstore.model.errors import Code, NodeError
from objstore.runtime.filesystem import NO_SPACE_ERRNOS
from objstore.runtime.interface import Change, CrashPoints, FileSystem, LogSink, OpenFile
from objstore.runtime.journal import Journal
from objstore.runtime.knobs import Knobs

NAMING_ATTEMPTS_MAX = 4
CRASH_POINTS = (
    *("disk.contents_synced", "disk.log_synced", "disk.journal_synced", "disk.named", "disk.directories_synced"),
    *("disk.acknowledged", "disk.all_synced", "disk.settled"),
)


class SyncFailed(Exception):
    """A sync failed (or the file system is gone): nothing more may be written to this device."""

    def __init__(self, error: OSError, doing: str) -> None:
        super().__init__(f"{doing}: {error.strerror or error}")


@dataclass(slots=True)
class Outcome:
    """A change on its way; `error` is None as long as nothing went wrong."""

    change: Change
    file: OpenFile | None = None
    error: NodeError | None = None
    entry: Entry | None = None
    """What the journal has of it, when it goes that way."""


def node_error(error: OSError, doing: str) -> NodeError:
    """The refusal for a failed system call: no_space for a full disk or quota, else device_failed."""
    code = Code.NO_SPACE if error.errno in NO_SPACE_ERRNOS else Code.DEVICE_FAILED
    return NodeError(code, f"{doing}: {error.strerror or error}")


def room(fs: FileSystem, knobs: Knobs) -> int:
    """Bytes that may be written before the reserve begins; negative inside the reserve. Raises OSError."""
    total, free = fs.free()
    return free - max(knobs.reserve_bytes_min, int(total * knobs.reserve_percent / 100))


class Committer:
    """Carries out groups of changes. Used by one thread."""

    def __init__(
        self, fs: FileSystem, log: LogSink | None, knobs: Knobs, crash: CrashPoints, journal: Journal | None = None
    ) -> None:
        self._fs = fs
        self._log = log
        self._journal = journal
        self._knobs = knobs
        self._crash = crash

    def commit_group(self, group: list[Outcome]) -> int:
        """Fills in each change's error; the others are durable. Leaves no temporary file behind. Returns up to which number the
        groups of the journal may be settled once those who wait for these changes know; 0 when the journal was not needed.

        Raises SyncFailed when the device is lost: then no change of the group may be acknowledged.
        """
        try:
            self._write_contents(group)
            direct = [outcome for outcome in _good(group) if outcome.entry is None]
            self._sync_contents(direct)
            self._crash.reach("disk.contents_synced")
            self._append_log(direct)
            self._crash.reach("disk.log_synced")
            number = self._append_journal(group)
            changed: dict[str, None] = {}  # a set in order of arrival
            for outcome in _good(group):
                if outcome.change.note is None:
                    self._give_name(outcome, changed)
            if number:
                number = self._journal_named(group, number)
            self._crash.reach("disk.named")
            for path in changed:
                try:
                    self._fs.sync_directory(path)
                except OSError as error:
                    raise SyncFailed(error, f"sync of directory {path or '.'}") from error
            self._crash.reach("disk.directories_synced")
            return number
        finally:
            for outcome in group:
                if outcome.file is not None:
                    self._fs.discard(outcome.file)

    def _write_contents(self, group: list[Outcome]) -> None:
        if not self._fs.present():
            raise SyncFailed(FileNotFoundError(errno.ENOENT, "it is not there any more"), "device")
        try:
            left = room(self._fs, self._knobs)
        except OSError as error:
            raise SyncFailed(error, "statvfs") from error
        for outcome in group:
            change = outcome.change
            if change.note is not None:
                outcome.entry = Entry(change.path, None, note=change.note)
                continue
            try:
                if isinstance(change.content, bytes | bytearray | memoryview):
                    left -= len(change.content)
                    if left < 0 and not change.urgent:
                        left += len(change.content)
                        outcome.error = NodeError(Code.NO_SPACE, "only the reserve is left")
                        continue
                    outcome.file = self._fs.create_temp(change.path.rpartition("/")[0])
                    outcome.file.write(change.content)
                    if self._journal is not None and len(change.content) <= self._journal.change_bytes_max:
                        outcome.entry = Entry(change.path, bytes(change.content), change.attributes, change.log, along=change.along)
                else:
                    outcome.file = change.content
                for name, value in change.attributes.items():
                    outcome.file.set_attribute(name, value)
                if change.along is not None and outcome.entry is None:
                    raise ValueError("nothing can go along with what the journal does not take")
            except OSError as error:
                outcome.error = node_error(error, "write")
            except (TypeError, ValueError) as error:  # a defect of who asked for it
                outcome.error = NodeError(Code.INTERNAL, f"write: {error}")

    def _sync_contents(self, direct: list[Outcome]) -> None:
        """Of those that do not go through the journal."""
        for outcome in direct:
            assert outcome.file is not None
            outcome.file.start_sync()
        for outcome in direct:
            assert outcome.file is not None
            try:
                outcome.file.sync()
            except OSError as error:
                if error.errno not in NO_SPACE_ERRNOS:
                    raise SyncFailed(error, "sync of a file") from error
                # Space promised by delayed allocation was not there: only this file is lost, and nobody ever saw it.
                outcome.error = node_error(error, "sync")

    def _append_log(self, direct: list[Outcome]) -> None:
        logged = [outcome for outcome in _good(direct) if outcome.change.log is not None]
        if not logged or self._log is None:
            return
        try:
            self._log.append([outcome.change.log for outcome in logged if outcome.change.log is not None])
        except OSError as error:
            if error.errno not in NO_SPACE_ERRNOS:
                raise SyncFailed(error, "sync of the log") from error
            for outcome in logged:
                outcome.error = node_error(error, "log")

    def _append_journal(self, group: list[Outcome]) -> int:
        """Returns the last journal group's number, 0 when the journal was not needed."""
        entries = [outcome.entry for outcome in _good(group) if outcome.entry is not None]
        if not entries or self._journal is None:
            return 0
        try:
            number = self._journal.append(entries)
        except OSError as error:
            raise SyncFailed(error, "write to the journal") from error
        if self._log is not None and (records := [entry.log for entry in entries if entry.log is not None]):
            self._log.hold(records)
        self._crash.reach("disk.journal_synced")
        return number

    def _journal_named(self, group: list[Outcome], number: int) -> int:
        """What could not get its name is refused, and must not appear after a crash."""
        assert self._journal is not None
        void = [Entry(one.entry.path, None) for one in group if one.entry is not None and one.error is not None]
        if void:
            try:
                number = self._journal.append(void)
            except OSError as error:
                raise SyncFailed(error, "write to the journal") from error
        return number

    def _give_name(self, outcome: Outcome, changed: dict[str, None]) -> None:
        path = outcome.change.path
        parent = path.rpartition("/")[0]
        assert outcome.file is not None
        for attempt in range(NAMING_ATTEMPTS_MAX):
            try:
                self._fs.publish(outcome.file, path)
                break
            except FileNotFoundError as error:  # not made yet, or removed just now because it was empty
                if attempt == NAMING_ATTEMPTS_MAX - 1:
                    outcome.error = node_error(error, "naming")
                    return
            except OSError as error:
                outcome.error = node_error(error, "naming")
                return
            try:
                changed.update(dict.fromkeys(self._fs.make_directory(parent)))
            except OSError as error:
                outcome.error = node_error(error, "naming")
                return
        if outcome.entry is None:
            changed[parent] = None


def _good(group: list[Outcome]) -> Iterator[Outcome]:
    return (outcome for outcome in group if outcome.error is None)
