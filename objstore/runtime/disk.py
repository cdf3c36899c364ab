"""One real device: a committer thread that makes changes durable in groups, and a few reader threads.

There is no timer: a group is what queued while the last one was flushed, so a lone write waits for nobody. A device with a
journal has one thread more, which from time to time syncs what the journal alone made durable.
"""

import asyncio
import logging
import queue
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from objstore.model.errors import Code, NodeError
from objstore.runtime.committer import Committer, Outcome, SyncFailed, room
from objstore.runtime.crashpoints import NoCrashPoints
from objstore.runtime.filesystem import NO_SPACE_ERRNOS, check_path
from objstore.runtime.interface import Change, CrashPoints, FileSystem, LogSink, Note
from objstore.runtime.journal import Journal
from objstore.runtime.knobs import Knobs
from objstore.runtime.readers import ReaderPool

T = TypeVar("T")
logger = logging.getLogger("objstore.disk")

RESOLVED_TIMEOUT_S = 2.0
"""How long closing waits for the event loop to tell of the last group, before it leaves that to the journal."""


@dataclass(slots=True)
class DiskFigures:
    """Counters since the start; written by one thread each, read by anyone."""

    groups: int = 0
    changes: int = 0
    refused: int = 0
    unlinked: int = 0
    checkpoints: int = 0


@dataclass(slots=True)
class _Entry:
    outcome: Outcome
    future: "asyncio.Future[None]"


class RealDisk:
    """Disk over a FileSystem. Used from one event loop; the threads start at once."""

    def __init__(
        self,
        name: str,
        fs: FileSystem,
        *,
        log_sink: LogSink | None = None,
        journal: Journal | None = None,
        knobs: Knobs | None = None,
        crash: CrashPoints | None = None,
    ) -> None:
        self.name = name
        self.figures = DiskFigures()
        self.gone = False
        self._fs = fs
        fs.sync_failed = self._sync_failed
        self._knobs = knobs or Knobs()
        self._crash = crash or NoCrashPoints()
        self._committer = Committer(fs, log_sink, self._knobs, self._crash, journal)
        self._log = log_sink
        self._journal = journal
        self.before_settling: list[Callable[[], None]] = []
        self._settling = threading.Lock()
        self._drained = False  # the committer thread has ended
        self._settle_now = threading.Event()
        if journal is not None:
            journal.full = self._settle_now.set
        self._failed: str | None = None
        self._closing = False
        self._queue: queue.SimpleQueue[_Entry | None] = queue.SimpleQueue()
        self._queued = 0  # counted on the event loop only
        self._unlinks: deque[str] = deque()  # the committer thread's own
        self._closed: asyncio.Future[None] | None = None
        self._start()

    def _start(self) -> None:
        """The threads. A simulation starts none and calls the committer's steps itself."""
        self._readers = ReaderPool(f"read-{self.name}", self._knobs.reader_threads, self._knobs.reader_queue_calls_max)
        threading.Thread(target=self._run, name=f"commit-{self.name}", daemon=True).start()
        if self._journal is not None:
            threading.Thread(target=self._run_settling, name=f"settle-{self.name}", daemon=True).start()

    @property
    def fs(self) -> FileSystem:
        return self._fs

    @property
    def failed(self) -> str | None:
        return self._failed

    @property
    def queued(self) -> int:
        """Changes not acknowledged yet."""
        return self._queued

    async def commit(self, change: Change) -> None:
        """As Disk.commit. Raises ValueError for a path that is not made of plain components."""
        check_path(change.path)
        error = self._refusal()
        if error is not None:
            self._discard(change)
            raise error
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queued += 1
        self._queue.put(_Entry(Outcome(change), future))
        await future

    def _refusal(self) -> NodeError | None:
        if self._failed is not None:
            return NodeError(Code.DEVICE_FAILED, self._failed)
        if self._closing:
            return NodeError(Code.DEVICE_FAILED, "the device is closed")
        if self._queued >= self._knobs.commit_queue_changes_max:
            return NodeError(Code.BUSY, "too many changes wait for the device")
        return None

    def _discard(self, change: Change) -> None:
        self.figures.refused += 1
        if not isinstance(change.content, bytes | bytearray | memoryview):
            self._fs.discard(change.content)

    @property
    def note_bytes_max(self) -> int:
        """As Notes.note_bytes_max."""
        return 0 if self._journal is None else self._journal.change_bytes_max

    def take_notes(self) -> list[Note]:
        """As Notes.take_notes."""
        if self._journal is None:
            return []
        notes, self._journal.notes = self._journal.notes, []
        return notes

    async def settle(self, path: str = "") -> None:
        """As Disk.settle."""
        if self._journal is None or not self._journal.unsettled or (path and not self._journal.has(path)):
            return
        try:
            await self.run(self.checkpoint)
        except OSError as error:
            raise NodeError(Code.DEVICE_FAILED, f"sync: {error.strerror or error}") from error

    def checkpoint(self) -> None:
        """Sync all that the journal alone made durable, and let the journal forget it. In any thread but the committer's while it
        takes changes. Raises OSError: the device has failed then.
        """
        journal = self._journal
        # What nobody has taken yet must not be forgotten, nor anything of a device that takes no more changes: rows, for one, never
        # get to their databases there.
        if journal is None or journal.notes or self._failed is not None:
            return
        with self._settling:
            number = journal.named
            if not journal.unsettled:
                return
            try:
                for settled_elsewhere in self.before_settling:
                    settled_elsewhere()
            except NodeError as error:
                logger.warning("journal not settled", extra={"device": self.name, "error": error.text})
                return
            try:
                self._fs.sync_all()
                self._crash.reach("disk.all_synced")
                if self._log is not None:
                    self._log.spill()
                journal.settle(number)
            except OSError as error:
                self.fail(f"sync of the file system: {error.strerror or error}")
                raise
            self.figures.checkpoints += 1
        self._crash.reach("disk.settled")

    def _run_settling(self) -> None:
        while not self._drained and self._failed is None:
            self._settle_now.wait(self._knobs.settle_s)
            self._settle_now.clear()
            try:
                self.checkpoint()
            except OSError as error:
                logger.error("checkpoint failed", extra={"device": self.name, "error": str(error)})

    def require_space(self, size: int) -> None:
        """As Disk.require_space."""
        try:
            left = room(self._fs, self._knobs)
        except OSError as error:
            raise NodeError(Code.DEVICE_FAILED, f"statvfs: {error.strerror}") from error
        if size > left:
            raise NodeError(Code.NO_SPACE, "only the reserve is left")

    async def run(self, fn: Callable[[], T]) -> T:
        """As Disk.run."""
        if self.gone:
            raise NodeError(Code.DEVICE_FAILED, self._failed or "")
        return await self._readers.run(fn)

    def fail(self, reason: str) -> None:
        """Refuse all writes from now on. The first reason stays."""
        if self._journal is not None:
            self._journal.ended = True
        if self._failed is None:
            self._failed = reason
            logger.critical("device failed", extra={"device": self.name, "reason": reason})

    def lose(self, reason: str) -> None:
        """From now on the device must not be used at all."""
        self.gone = True
        self.fail(reason)

    def _sync_failed(self, error: OSError, directory: str | None) -> None:
        """Whoever asked for the sync: the committer's own next sync of that directory would succeed, with its names lost."""
        if directory is not None:
            self.fail(f"sync of directory {directory or '.'}: {error.strerror or error}")
        elif error.errno not in NO_SPACE_ERRNOS:
            self.fail(f"sync of a file: {error.strerror or error}")

    async def close(self) -> None:
        """As Disk.close. Returns when the committer has ended."""
        if self._closed is None:
            self._closing = True
            self._closed = asyncio.get_running_loop().create_future()
            self._readers.close()
            self._queue.put(None)
        await asyncio.shield(self._closed)

    # --- the committer thread ----------------------------------------------------------------------------------

    def _run(self) -> None:
        more = True
        while more:
            entries, more = self._next_group()
            if entries:
                self._flush(entries)
        while self._unlinks:
            self._unlink_one()
        self._drained = True
        self._settle_now.set()
        closed = self._closed
        assert closed is not None
        if self._failed is None:
            resolved = threading.Event()
            _tell(closed.get_loop(), lambda _: resolved.set(), None)
            resolved.wait(RESOLVED_TIMEOUT_S)
            try:
                self.checkpoint()  # nothing is left for the next start
            except OSError as error:
                logger.error("checkpoint failed", extra={"device": self.name, "error": str(error)})
        _tell(closed.get_loop(), closed.set_result, None)

    def _next_group(self) -> tuple[list[_Entry], bool]:
        """Waits for at least one entry, unlinking what is left over meanwhile; False with it once the disk is closing."""
        group: list[_Entry] = []
        size = 0
        while len(group) < self._knobs.group_changes_max and size < self._knobs.group_bytes_max:
            try:
                entry = self._queue.get(block=not group and not self._unlinks)
            except queue.Empty:
                if group:
                    break
                self._unlink_one()
                continue
            if entry is None:
                return group, False
            group.append(entry)
            content = entry.outcome.change.content
            size += len(content) if isinstance(content, bytes | bytearray | memoryview) else 0
        return group, True

    def _flush(self, entries: list[_Entry]) -> None:
        outcomes = [entry.outcome for entry in entries]
        number = 0
        try:
            if self._failed is None:
                number = self._committer.commit_group(outcomes)
            else:
                self._refuse(outcomes)
        except SyncFailed as error:
            self.fail(str(error))
            self._refuse(outcomes)
        except Exception as error:
            # The thread must outlive a defect, and a defect here may have left anything: nothing is acknowledged any more.
            logger.exception("committer failed", extra={"device": self.name})
            self.fail(f"defect in the committer: {error!r}")
            self._refuse(outcomes)
        self.figures.groups += 1
        self.figures.changes += len(entries)
        _tell(entries[0].future.get_loop(), partial(self._resolve, number), entries)
        self._crash.reach("disk.acknowledged")
        for outcome in outcomes:
            if outcome.error is None:
                self._unlinks.extend(outcome.change.unlink)
        while len(self._unlinks) > self._knobs.unlink_backlog_max:
            self._unlink_one()

    def _refuse(self, outcomes: list[Outcome]) -> None:
        for outcome in outcomes:
            outcome.error = NodeError(Code.DEVICE_FAILED, self._failed or "")
            if outcome.file is None and not isinstance(outcome.change.content, bytes | bytearray | memoryview):
                self._fs.discard(outcome.change.content)

    def _resolve(self, number: int, entries: list[_Entry]) -> None:
        """On the event loop: tell those who wait. The journal may settle what `number` stands for between `done` and that: later
        somebody could wait for it in vain, earlier what goes along could be forgotten.
        """
        self._queued -= len(entries)
        for entry in entries:
            if entry.outcome.change.done is not None and entry.outcome.error is None:
                entry.outcome.change.done()
        if number and self._journal is not None:
            self._journal.named = number
        for entry in entries:
            error = entry.outcome.error
            if entry.future.done():
                continue
            if error is None:
                entry.future.set_result(None)
            else:
                self.figures.refused += 1
                entry.future.set_exception(error)

    def _unlink_one(self) -> None:
        path = self._unlinks.popleft()
        try:
            self._fs.unlink(path)
        except OSError as error:  # harmless: what it leaves is superseded, and removed by the next who sees it
            logger.warning("unlink failed", extra={"device": self.name, "path": path, "error": str(error)})
        else:
            self.figures.unlinked += 1


def _tell(loop: asyncio.AbstractEventLoop, callback: Callable[..., object], argument: object) -> None:
    try:
        loop.call_soon_threadsafe(callback, argument)
    except RuntimeError:  # the loop is closed: nobody waits any more
        logger.debug("event loop closed before the disk")
