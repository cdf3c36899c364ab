"""One device as the object server sees it: its files, its locks, its pending log, its quarantine, and how to read from it."""

import logging
from collections.abc import Callable, Iterable
from functools import partial
from typing import TypeVar

from objstore.formats.filenames import parse_file_name
from objstore.model.errors import Code, NodeError
from objstore.model.lost import NONE, Lost
from objstore.object.files import Files, Leftover, Place
from objstore.object.locks import ObjectLocks
from objstore.object.membership import Membership
from objstore.object.partitionindex import PartitionIndex
from objstore.object.pending import PendingLog
from objstore.object.promises import Promises
from objstore.object.quarantine import Quarantine, lost, lost_of
from objstore.object.reader import Corrupt, is_damaged, sweep
from objstore.runtime.clock import thread_waits
from objstore.runtime.interface import Clock, CrashPoints, Disk

T = TypeVar("T")
logger = logging.getLogger("objstore.object")

READ_ATTEMPTS_MAX = 5


class ObjectDevice:
    """Used in the event loop alone.

    Small reads run in the loop: 15 µs from the page cache, a third of what a thread costs. A read that waited longer than
    `slow_read_s` sends the device's reads to its threads for `slow_hold_s`, so that a cold or ailing disk holds up only itself.
    """

    def __init__(
        self,
        name: str,
        disk: Disk,
        log: PendingLog,
        clock: Clock,
        points: CrashPoints | None = None,
        *,
        index_entries_max: int = 200_000,
        slow_read_s: float = 0.005,
        slow_hold_s: float = 5.0,
        waits: Callable[[], int] = thread_waits,
    ) -> None:
        self.name = name
        self.disk = disk
        self.log = log
        self.index = PartitionIndex(disk, entries_max=index_entries_max)
        self.locks = ObjectLocks()
        self.promises = Promises(disk)
        self.membership = Membership(disk)
        self.quarantine = Quarantine(disk.fs, clock, points)
        self.quarantined = 0
        """How many files are in quarantine; known after `start`."""
        self.set_aside_listeners: list[Callable[[ObjectDevice, Place, Corrupt], None]] = []
        """Called when a damaged file was moved to quarantine."""
        self._lost: dict[Place, tuple[Lost, float]] = {}
        """What is in quarantine of each object, and since when; also where something newer took its place."""
        self._clock = clock
        self._slow_read_s = slow_read_s
        self._slow_hold_s = slow_hold_s
        self._slow_until = 0.0
        self._waits = waits

    async def start(self) -> None:
        """Read what earlier processes left: the pending log, promises, what is in quarantine. Raises NodeError device_failed."""
        try:
            await self.disk.run(self.log.recover)
            await self.disk.run(self.promises.load)
            records = await self.disk.run(self.quarantine.records)
        except OSError as error:
            raise read_failed(error) from error
        self.quarantined = len(records)
        self._lost = lost(records.values())
        await self.membership.load()

    def require_writable(self) -> None:
        """Raises NodeError device_failed. The committer checks again; this is for refusing before work is done."""
        if self.disk.failed is not None:
            raise NodeError(Code.DEVICE_FAILED, self.disk.failed)

    async def files(self, place: Place) -> Files:
        """Which files count of an object. Raises NodeError device_failed, busy."""
        files = self.index.get(place)
        if files is None:
            files = await self.index.find(place)
            if self.index.leftovers:
                await self._sweep()
        return files

    def lost(self, place: Place, files: Files) -> Lost:
        """What went to quarantine of an object and is newer than its `files`; NONE for nothing. Such an object was damaged here:
        whoever asks for it must hear neither that there is none nor what was there before.
        """
        known = self._lost.get(place) if self._lost else None  # asked by disk threads too: looked up once
        return NONE if known is None else known[0].beyond(files.timestamp, files.meta)

    def require_sound(self, place: Place, files: Files) -> None:
        """Raises NodeError corrupt with what was lost, and what there is beside it: all that others must have to make up for it."""
        if self._lost and (known := self._known(place, files)) != NONE:
            raise NodeError(Code.CORRUPT, "what was here is in quarantine", known.newest, known)

    def _known(self, place: Place, files: Files) -> Lost:
        missed = self.lost(place, files)
        return missed if missed == NONE else missed.with_(files.as_lost())

    def with_losses(self) -> list[tuple[Place, float]]:
        """The objects of which anything is in quarantine that was not superseded, and since when (seconds since the epoch)."""
        return [(place, since_s) for place, (_, since_s) in self._lost.items()]

    async def missed(self, directory: str) -> list[tuple[bytes, Lost]]:
        """What is missed of the objects of a partition, by hash. Raises NodeError device_failed, busy."""
        places = [place for place in self._lost if place.directory == directory]
        return [(place.hash, missed) for place in places if (missed := self.lost(place, await self.files(place))) != NONE]

    async def supersede(self, place: Place) -> None:
        """Nothing of an object is missed any more, also after a restart. Raises OSError."""
        if place in self._lost:
            await self.disk.run(lambda: self.quarantine.supersede(place))
            self._lost.pop(place, None)

    async def removing(self, place: Place, files: Files) -> None:
        """Before `files` are removed for good: what they replaced is not missed when they are gone. Raises OSError."""
        if place in self._lost and self.lost(place, files) == NONE:
            await self.supersede(place)

    async def leaving(self, directory: str) -> None:
        """A partition leaves the device: what happens to its objects from now on is not heard here, so nothing of them is missed
        when it comes back. Raises OSError.
        """
        for place in [place for place in self._lost if place.directory == directory]:
            await self.supersede(place)
        await self.promises.forget(lambda place, _: place.directory == directory)

    async def read(self, place: Place, read: Callable[[Files], T], *, in_thread: bool = False, locked: bool = False) -> T:
        """What `read` (blocking, without side effects) makes of the files that count; again when they were replaced meanwhile.

        A corrupt file is moved to quarantine; `locked` says that the caller holds the object's lock.
        Raises NodeError corrupt, device_failed, busy, and what `read` raises.
        """
        files = await self.files(place)
        for _ in range(READ_ATTEMPTS_MAX):
            try:
                if in_thread or self._slow_until:
                    return await self._read_in_thread(read, files)
                return self._read_here(read, files)
            except FileNotFoundError:
                tried, files = files, await self.files(place)
                if files == tried:  # the index is wrong: somebody else was at the device
                    self.index.forget(place.directory)
                    files = await self.files(place)
            except Corrupt as error:
                missed = await (self._set_aside if locked else self.set_aside)(place, error)
                raise NodeError(Code.CORRUPT, f"{error.path}: {error.reason}", missed.newest, missed) from error
            except OSError as error:
                raise read_failed(error) from error
        raise NodeError(Code.BUSY, "the object was replaced again and again while it was read")

    def read_now(self, place: Place, read: Callable[[Files], T]) -> T | None:
        """As `read`, but None where that would have to wait, or to put something right first."""
        files = self.index.get(place)
        if files is None or self._slow_until:
            return None
        try:
            return self._read_here(read, files)
        except (Corrupt, OSError):
            return None

    def _read_here(self, read: Callable[[Files], T], files: Files) -> T:
        waits, started = self._waits(), self._clock.monotonic()
        result = read(files)
        now = self._clock.monotonic()
        # Where it did not wait, the processor was given to others meanwhile: the disk is not to blame.
        if now - started > self._slow_read_s and self._waits() != waits:
            self._slow_until = now + self._slow_hold_s
        return result

    async def _read_in_thread(self, read: Callable[[Files], T], files: Files) -> T:
        if self._slow_until and self._clock.monotonic() > self._slow_until:
            self._slow_until = 0.0
        return await self.disk.run(lambda: read(files))

    async def set_aside(self, place: Place, error: Corrupt) -> Lost:
        """Move a corrupt file to quarantine, unless it no longer counts; returns what `require_sound` would tell. A failure to do
        so is logged: the file is never served anyway, as every read verifies it.
        """
        async with self.locks.of(place):
            return await self._set_aside(place, error)

    async def _set_aside(self, place: Place, error: Corrupt) -> Lost:
        files, known = await self.files(place), self._lost.get(place)
        if error.path not in files.paths(place) or not await self._is_damaged(place, error):
            return self._known(place, files)
        if not error.foreign:  # known before it is moved: nobody may hear in between that there is no such object
            gone = lost_of(parse_file_name(error.path.rpartition("/")[2]))
            self._lost[place] = (known[0].with_(gone) if known else gone, self._clock.now())
        move = partial(self.quarantine.move, error.path, error.reason, error.name, superseded=error.foreign)
        try:
            await self.disk.settle(error.path)
            await self.disk.run(move)
            self.quarantined += 1
        except OSError as failure:
            logger.error("cannot quarantine", extra={"path": error.path, "reason": error.reason, "error": str(failure)})
        self.index.forget(place.directory)  # perhaps an older file counts now
        files = await self.files(place)
        if error.path in files.paths(place):  # it was not moved
            self._know_again(place, known)
        for listener in self.set_aside_listeners:
            listener(self, place, error)
        return self._known(place, files)

    async def _is_damaged(self, place: Place, error: Corrupt) -> bool:
        """Whether the file is still what it was found to be: a good copy may have taken its place while it was being read."""
        if error.foreign:
            return True
        try:
            return await self.disk.run(lambda: is_damaged(self.disk.fs, place, error))
        except FileNotFoundError:
            return False
        except OSError:
            return True  # nor can it be read now

    def _know_again(self, place: Place, known: tuple[Lost, float] | None) -> None:
        if known is None:
            self._lost.pop(place, None)
        else:
            self._lost[place] = known

    async def restore(self, id_: str) -> None:
        """Put a quarantined file back. Raises NodeError not_found, corrupt, newer_exists (the object was repaired since)."""
        try:
            place, name, _ = await self.disk.run(lambda: self.quarantine.find(id_))
            async with self.locks.of(place):
                files = await self.files(place)
                if name.timestamp <= files.timestamp:
                    raise NodeError(Code.NEWER_EXISTS, "the device holds this version or a newer one", files.timestamp)
                await self.disk.settle()
                await self.disk.run(lambda: self.quarantine.restore(id_))
                self.quarantined -= 1
                self.index.forget(place.directory)
        except OSError as error:
            raise read_failed(error) from error

    async def set_directory_aside(self, directory: str, reason: str) -> None:
        """The same for something that is in a partition's place and no directory."""
        try:
            await self.disk.run(lambda: self.quarantine.move(directory, reason, ""))
            self.quarantined += 1
        except FileNotFoundError:
            pass
        except OSError as failure:
            logger.error("cannot quarantine", extra={"path": directory, "reason": reason, "error": str(failure)})
        self.index.forget(directory)

    async def _sweep(self) -> None:
        leftovers, self.index.leftovers = self.index.leftovers, []
        await self.remove_leftovers(leftovers)

    async def remove_leftovers(self, leftovers: Iterable[Leftover]) -> None:
        """Remove files that others superseded. A failure is logged: they are never served."""
        for place, files, obsolete in leftovers:
            try:
                done = await self.disk.run(partial(sweep, self.disk.fs, place, files, obsolete))
            except OSError as error:
                logger.warning("cannot remove superseded files", extra={"directory": place.directory, "error": str(error)})
            else:
                logger.info("superseded files", extra={"directory": place.directory, "count": len(obsolete), "removed": done})


def read_failed(error: OSError) -> NodeError:
    """The refusal for a read that the device could not do."""
    return NodeError(Code.DEVICE_FAILED, f"read: {error.strerror or error}")
