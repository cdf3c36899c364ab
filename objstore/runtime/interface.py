"""The seams: what may touch the outside world, as interfaces. The simulator implements each; one contract suite runs against
the real and the simulated ones.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol, TypeVar

T = TypeVar("T")


class Clock(Protocol):
    """Time. Nothing else in the project reads a clock."""

    def now(self) -> float:
        """Wall clock, seconds since the epoch. May jump."""

    def monotonic(self) -> float:
        """Never goes back; for deadlines and latencies."""

    async def sleep(self, delay_s: float) -> None: ...


class Rng(Protocol):
    """Randomness. `token_bytes` is fit for secrets; `random` is not."""

    def random(self) -> float: ...

    def token_bytes(self, count: int) -> bytes: ...


class OpenFile(Protocol):
    """An open regular file. Blocking: call from a disk thread, or for reads known to be short."""

    def write(self, data: bytes | memoryview) -> None:
        """Append all of `data`. Raises OSError; partial writes are finished inside."""

    def pwrite(self, data: bytes, offset: int) -> None:
        """Write all of `data` at `offset`. Raises OSError."""

    def pread(self, size: int, offset: int) -> bytes:
        """Up to `size` bytes; fewer only at the end of the file."""

    def send_to(self, connection: int, size: int, offset: int) -> int:
        """Send up to `size` bytes to a socket that does not block; returns how many it took, 0 at the end of the file. Raises
        BlockingIOError when it takes none now, and OSError for what is wrong with either.
        """

    def size(self) -> int: ...

    def set_attribute(self, name: str, value: bytes) -> None:
        """`name` without the kernel's `user.` prefix. Raises OSError(ENOSPC) when it does not fit beside the others."""

    def get_attribute(self, name: str) -> bytes | None:
        """None when there is no such attribute."""

    def start_sync(self) -> None:
        """A hint that `sync` follows soon: many files started together are synced cheaper. Promises nothing, never raises."""

    def sync(self) -> None:
        """fdatasync: data, size and attributes are durable when it returns, the name is not."""

    def close(self) -> None: ...


class FileSystem(Protocol):
    """One device's directory: the only place that makes system calls on it. Paths are relative, of plain components; symbolic
    links are never followed. Blocking; raises OSError.
    """

    sync_failed: Callable[[OSError, str | None], None]
    """Called when a sync failed, before its error is raised, with the directory's path or None for a file. The disk sets it: of
    one failed sync only the first who asks hears, and all who write must know.
    """

    def create_temp(self, near: str = "") -> OpenFile:
        """A nameless file, or one in the device's tmp directory. `near`: the directory that it shall be published in; a nameless
        file is made there, if that is there. File systems put a new file close to the directory that it is made in; in one
        directory for all, ext4 without a journal passes over every inode that was freed there in the last minutes.
        """

    def publish(self, file: OpenFile, path: str) -> None:
        """Give a temporary file its name, atomically replacing what is there. Not durable before sync_directory. The file
        stays open. Raises FileNotFoundError when the directory is missing.
        """

    def discard(self, file: OpenFile) -> None:
        """Close a temporary file and leave nothing of it; once published, only close it. Safe to call twice."""

    def open(self, path: str) -> OpenFile:
        """For reading. Raises FileNotFoundError, or OSError for anything that is not a regular file."""

    def size_of(self, path: str) -> int:
        """Of a regular file; raises as `open` does, but opens nothing: a process that closes any descriptor of a file loses all
        POSIX locks that it has on it (fcntl(2)), and SQLite tells by these that a database is in use.
        """

    def open_append(self, path: str) -> OpenFile:
        """For appending, made when missing."""

    def open_write(self, path: str) -> OpenFile:
        """For reading and for writing over what is there. Raises as `open`."""

    def make_directory(self, path: str) -> list[str]:
        """Make it and its parents; returns the directories whose entries changed (to be synced); "" is the device's own. When it
        raises, what it has made is durable.
        """

    def sync_directory(self, path: str) -> None:
        """The names in it are durable when it returns, not its own name. After a failed sync (but of a file, for lack of space)
        this and OpenFile.sync raise for ever: a later success would mean nothing.
        """

    def sync_all(self) -> None:
        """All that was written and named before is durable when it returns: files, directories, SQLite's files too. A failure
        counts as one of `sync_directory`.
        """

    @property
    def can_sync_all(self) -> bool:
        """Whether the system has such a call; without it there is no journal."""

    def list_directory(self, path: str) -> list[str]:
        """Sorted names; [] when the directory is missing."""

    def directory_state(self, path: str) -> tuple[int, int] | None:
        """Inode number and time of the last change of names (ns): equal means that no name came or went, unless within the
        resolution of that time. None when the directory is missing.
        """

    def remove_directory(self, path: str) -> bool:
        """Remove it if it is empty; False when it is not. Missing is no error. Durable with its parent's sync."""

    def present(self) -> bool:
        """Whether the path at which the device was opened still leads to it: it was not unmounted, moved or replaced."""

    def unlink(self, path: str) -> None:
        """Missing is no error."""

    def rename(self, old: str, new: str) -> None: ...

    def allocate(self, file: OpenFile, size: int) -> None:
        """Reserve space; raises OSError(ENOSPC)."""

    def free(self) -> tuple[int, int]:
        """Bytes in total and free to us."""


class Note(NamedTuple):
    """A record for whoever owns `path`, durable in the journal alone. See `Notes`."""

    path: str
    record: bytes


@dataclass(slots=True)
class Change:
    """One durable change of a device: files that get names, names that vanish afterwards, a record for the device's log.

    Order inside the group: contents synced → log record synced → names given → directories synced → acknowledged → `unlink`ed
    (not synced: leftovers are harmless). Of a small change, on a device with a journal: written to the journal with its log record
    and synced → names given → acknowledged → `unlink`ed; the files are synced later, see `Disk.settle`.
    """

    path: str
    content: "bytes | OpenFile"
    """A whole small file, or a temporary file already written."""
    attributes: dict[str, bytes] = field(default_factory=dict)
    log: bytes | None = None
    note: bytes | None = None
    """Instead of a file: as `Note`."""
    along: Note | None = None
    """A record for somebody else that counts if the file does; only with a file that the journal takes (see `Notes`)."""
    done: Callable[[], None] | None = None
    """Called on the event loop when the change is durable, before the journal may forget `along`. Must not raise."""
    unlink: list[str] = field(default_factory=list)
    urgent: bool = False
    """May use the space kept in reserve: tombstones, metadata, all that lets an operator free space."""


class Notes(Protocol):
    """The side of a disk for whoever keeps records in its journal until they are elsewhere."""

    @property
    def note_bytes_max(self) -> int:
        """How large a record may be, and a file that a record goes along with; 0 where there is no journal."""

    before_settling: list[Callable[[], None]]
    """Called in a disk thread before the journal forgets: when they return, what was noted up to then is elsewhere, written if not
    synced. Each may raise NodeError: then the journal forgets nothing.
    """

    def take_notes(self) -> list[Note]:
        """What an earlier process left, once, in order. It is not forgotten before `before_settling` has been called."""


class LogSink(Protocol):
    """Where the records of `Change.log` go; supplied by their owner, called in the committer thread only."""

    def append(self, records: list[bytes]) -> None:
        """Append all records and sync. Raises OSError: none of them counts then, and the next call begins on a clean tail."""

    def hold(self, records: list[bytes]) -> None:
        """These records are durable in the journal, until `spill`."""

    def spill(self) -> None:
        """Append and sync what is held and still needed: the journal will forget it. Raises OSError: it is still held then."""

    def adopt(self, records: list[bytes]) -> None:
        """Append and sync records that an earlier process left in the journal. Raises OSError."""


class Disk(Protocol):
    """One device: bounded threads, group commit. Its one committer thread serves all changes in order of arrival."""

    @property
    def fs(self) -> FileSystem: ...

    @property
    def failed(self) -> str | None:
        """Why the device refuses writes (after a failed sync, or a wrong identity), or None."""

    async def commit(self, change: Change) -> None:
        """Durable when it returns; all or nothing. Cancel-safe: the change then happens or not. A temporary file given as
        content belongs to the disk from here on: it is closed, or discarded on failure.

        Raises NodeError no_space, device_failed, or busy when too many changes wait. After a failed sync the device refuses
        all further writes, and every change of the same group fails: what the kernel says after a failed sync means nothing.
        """

    async def settle(self, path: str = "") -> None:
        """What was committed, or the one file `path`, is durable in its own files when it returns, and will not be made again from
        a journal: to be awaited before files that may just have been committed are removed or moved. Free when there is nothing to
        do. Raises NodeError.
        """

    def require_space(self, size: int) -> None:
        """Raises NodeError no_space when `size` more bytes would eat into the reserve. One short system call."""

    async def run(self, fn: Callable[[], T]) -> T:
        """Run blocking calls in one of the device's threads (reads; writes to a temporary file). Passes on what `fn` raises;
        raises NodeError busy when too many wait, device_failed when the device is gone. Cancelled: `fn` still runs to its end, its
        result is dropped.
        """

    @property
    def gone(self) -> bool:
        """The device must not be used at all, not even for reading: it is not there any more, or what it holds is not to be
        believed. `failed` says why.
        """

    def fail(self, reason: str) -> None:
        """Refuse all writes from now on: somebody saw a failed sync. The first reason stays. From any thread."""

    async def close(self) -> None:
        """Finish what is queued, then stop the threads. Later calls raise NodeError device_failed."""


@dataclass(slots=True)
class Progress:
    """How far a worker's pass is, in its own units (partitions, databases ...); `total` 0 when it does not know."""

    done: int = 0
    total: int = 0


class Worker(Protocol):
    """A background job of which one pass can be called: daemons and tests use the same method."""

    @property
    def name(self) -> str: ...

    @property
    def progress(self) -> Progress:
        """Of the pass under way, else of the last one."""

    async def run_once(self) -> dict[str, int]:
        """One whole pass. Returns its figures (for status and metrics)."""


class CrashPoints(Protocol):
    """Named places where a test may end the process. A no-op in production; the names are enumerable."""

    def reach(self, name: str) -> None:
        """Ends the process here when the test asked for it. Cheap otherwise."""

    def names(self) -> Iterator[str]: ...
