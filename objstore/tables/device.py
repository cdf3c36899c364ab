"""The account and container databases of one device, behind the calls the servers make.

One writer thread opens, changes and closes databases; listings run on connections of their own in the disk's reader threads; what
a database last committed is looked at in memory. A database that SQLite finds corrupt moves to `quarantine/`, and the next
write to it begins an empty one, to be filled by its peers.
"""

import logging
import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import partial
from itertools import count
from threading import Lock
from typing import Any, Generic, Protocol, TypeVar

from objstore.formats.quarantinerecord import QuarantineRecord
from objstore.model.errors import Code, NodeError
from objstore.model.listing import Listed
from objstore.runtime.committer import node_error as os_node_error
from objstore.runtime.interface import Clock, CrashPoints, Disk, Notes
from objstore.tables import quarantine, schema
from objstore.tables.cache import OPEN_MAX, ClosedStates, OpenDatabases
from objstore.tables.committer import QUEUE_MAX, Committer
from objstore.tables.database import Database, Outcome
from objstore.tables.draft import State
from objstore.tables.faults import FAULTS, DatabaseFault, is_failed_sync, is_of_one_operation, node_error
from objstore.tables.heldrows import HeldRows
from objstore.tables.operations import Merge, Open, Operation
from objstore.tables.place import Place
from objstore.tables.quarantine import COMPANIONS, LOG, set_aside

logger = logging.getLogger("objstore.tables")

CRASH_POINTS = (
    "tables.create.named",
    "tables.create.synced",
    "tables.commit.written",
    *quarantine.CRASH_POINTS,
)

R = TypeVar("R", bound=Listed)
T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
LOGGED_MAX = 32
"""After so many rows and transactions together it is looked how long a database's log is."""
TMP = "tmp"  # emptied by the file system when the device is opened


class TableDisk(Disk, Notes, Protocol):
    """A disk that can be told of a failed sync which it did not see itself, and whose journal keeps rows for a moment."""

    def fail(self, reason: str) -> None:
        """Refuse all writes from now on."""


class Action(ABC, Generic[T_co]):
    """What is done to a database as a whole, in the writer thread: nothing else happens to it meanwhile."""

    @abstractmethod
    def act(self, device: "TableDevice", place: Place) -> T_co:
        """Blocking. Raises NodeError, OSError, sqlite3.Error."""


Job = Operation[Any, object] | Action[object]


class TableDevice:
    """Used from one event loop, which `start`s it. `root` is the device's directory: SQLite opens files by path."""

    def __init__(
        self,
        name: str,
        root: str,
        disk: TableDisk,
        clock: Clock,
        *,
        crash: CrashPoints,
        open_max: int = OPEN_MAX,
        queue_max: int = QUEUE_MAX,
    ) -> None:
        self.name = name
        self.disk = disk
        self.quarantined = 0
        self.changed: list[Callable[[Place], None]] = []
        """Called on the event loop for each database that a group of operations was run on."""
        self.crash = crash
        self.opening = Lock()
        """Held while a connection is opened by path, and while what is at that path changes: SQLite must not take one database's
        log for another's."""
        self.closed: ClosedStates[str] = ClosedStates()
        """By the path of the database."""
        self._root = root
        self._clock = clock
        self._temps = count()
        self._open: OpenDatabases[Place] = OpenDatabases(open_max)
        self.committer: Committer[Place, Job] = Committer(
            name, self._run_group, self._close_all, self._settled, queue_max=queue_max
        )
        self.rows = HeldRows(name, disk, self.committer.enqueue)

    def start(self) -> None:
        """From the event loop that will use it."""
        self.committer.start()
        self.rows.start()

    async def stop(self) -> None:
        """Finish what is queued, then close all databases."""
        await self.rows.stop()
        await self.committer.stop()

    # --- from the event loop -----------------------------------------------------------------------------------

    def path_of(self, place: Place) -> str:
        """The file's path, for SQLite."""
        return f"{self._root}/{place.path}"

    def temp(self) -> str:
        """A path in the device's directory for temporary files that is not in use."""
        return f"{TMP}/table-{next(self._temps)}.db"

    def path_of_temp(self, temp: str) -> str:
        """The same, for SQLite."""
        return f"{self._root}/{temp}"

    def peek(self, place: Place) -> Database[Any] | None:
        """The database if it is open."""
        return self._open.get(place)

    def state(self, place: Place) -> State | None:
        """What the database last committed, if that is known without reading it."""
        database = self._open.get(place)
        return self.closed.get(self.path_of(place)) if database is None else database.state

    async def opened(self, place: Place, name: str) -> Database[Any] | None:
        """The database, None when there is none; a `name` of "" fits any. Rows held for it are in it, unless it is locked (see
        HeldRows.tried). Raises NodeError.
        """
        await self.rows.tried(place)
        database = self._open.get(place)
        if database is None:
            try:
                await self.committer.submit(place, Open(name))
            except NodeError as error:
                if error.code is not Code.NOT_FOUND:
                    raise
            database = self._open.get(place)  # after the wait: it may have been made meanwhile
        if database is not None and name and database.state.settings.name not in (name, ""):
            raise NodeError(Code.CORRUPT, "the database in this place is of another name")
        return database

    async def apply(self, place: Place, operation: Operation[Any, T]) -> T:
        """Run one operation; what it changed is durable when this returns. Raises NodeError."""
        return await self._submit(place, operation)

    async def merge(self, place: Place, merge: Merge[Any]) -> None:
        """As `apply`, but rows alone may wait for being written with others: they are durable, and seen by all who ask here."""
        if not await self.rows.take(place, merge, self._open.get(place)):
            await self.apply(place, merge)

    async def act(self, place: Place, action: Action[T]) -> T:
        """Do something to the database as a whole. Raises NodeError."""
        return await self._submit(place, action)

    async def _submit(self, place: Place, job: Operation[Any, T] | Action[T]) -> T:
        if self.disk.failed is not None:
            raise NodeError(Code.DEVICE_FAILED, self.disk.failed)
        self.rows.write(place)
        result: T = await self.committer.submit(place, job)
        return result

    async def read(self, place: Place, database: Database[R], fn: Callable[[sqlite3.Connection], T]) -> T:
        """Run `fn` on a reading connection in a reader thread, after all rows held for it were written. Raises NodeError; a corrupt
        database is quarantined first.
        """
        await self.rows.written(place)
        return await self.read_as_it_is(place, database, fn)

    async def read_as_it_is(self, place: Place, database: Database[R], fn: Callable[[sqlite3.Connection], T]) -> T:
        """The same without the rows that are held for it."""

        def run() -> T:
            try:
                return database.read(fn)
            except FAULTS as fault:
                raise _ReadFailed(fault) from fault

        try:
            return await self.disk.run(run)
        except _ReadFailed as failed:
            error = node_error(failed.fault, "reading a database")
            if error.code is Code.CORRUPT:
                await self.condemn(place, database.state.id, error.text)
            raise error from failed.fault

    async def condemn(self, place: Place, id_: bytes, reason: str) -> None:
        """Somebody found the database of this id corrupt: it is quarantined, unless another has taken its place since."""
        try:
            await self.committer.submit(place, _Condemn(id_, reason))
        except NodeError as outcome:  # whatever it is, who found the corruption says so
            logger.debug("condemned", extra={"device": self.name, "path": place.path, "outcome": str(outcome)})

    def _settled(self, place: Place) -> None:
        for listener in self.changed:
            listener(place)

    # --- in the writer thread ----------------------------------------------------------------------------------

    def _run_group(self, place: Place, jobs: Sequence[Job]) -> list[Outcome]:
        if len(jobs) > 1 and any(isinstance(job, Action) for job in jobs):
            return self._one_by_one(place, jobs)
        if self.disk.failed is None and not self.disk.fs.present():  # SQLite goes by paths: it must not find another disk there
            self.disk.fail("device: it is not there any more")
        if self.disk.failed is not None and not all(isinstance(job, Open) for job in jobs):
            # They came before the failure was known; a sync that succeeds now says nothing about what was lost.
            if len(jobs) > 1:
                return self._one_by_one(place, jobs)
            return [NodeError(Code.DEVICE_FAILED, self.disk.failed)]
        try:
            if isinstance(jobs[0], Action):
                return [jobs[0].act(self, place)]
            outcomes = self._transact(place, [job for job in jobs if not isinstance(job, Action)])
        except NodeError as refusal:
            return [refusal] * len(jobs)
        except FAULTS as fault:
            judged = self._judge(place, fault)
            if is_of_one_operation(judged) and len(jobs) > 1:
                return self._one_by_one(place, jobs)
            return [judged] * len(jobs)
        except OSError as error:
            return [os_node_error(error, "opening a database")] * len(jobs)
        self.crash.reach("tables.commit.written")
        return outcomes

    def _one_by_one(self, place: Place, jobs: Sequence[Job]) -> list[Outcome]:
        return [self._run_group(place, [job])[0] for job in jobs]

    def _transact(self, place: Place, operations: Sequence[Operation[Any, object]]) -> list[Outcome]:
        database = self.require(place, create=any(operation.creates for operation in operations))
        if database is None:
            raise NodeError(Code.NOT_FOUND, "no such account or container here")
        if all(isinstance(operation, Open) for operation in operations):
            return [None] * len(operations)
        outcomes = database.transact(operations)
        if database.logged >= LOGGED_MAX:  # to ask for the size costs the interpreter lock
            database.logged = 0
            if self._log_size(place) > schema.WAL_BYTES_MAX:
                database.move_log()
        return outcomes

    def _log_size(self, place: Place) -> int:
        try:
            return self.disk.fs.size_of(place.path + LOG)
        except FileNotFoundError:  # removed under us with its database, as will be found out
            return 0

    def require(self, place: Place, *, create: bool) -> Database[Any] | None:
        """Open it; None when there is none and none is to be made. Raises sqlite3.Error, OSError, and what `Database` raises."""
        database = self._open.get(place)
        if database is not None:
            return database
        if not self._exists(place):
            if not create:
                return None
            self._create(place)
        self.closed.forget(self.path_of(place))
        with self.opening:
            database = Database(self.path_of(place), place.kind, place.hash, self.opening)
        for surplus in self._open.add(place, database):
            self._close(surplus)
        return database

    def _exists(self, place: Place) -> bool:
        """Also refuses, with OSError, what is not a regular file: SQLite itself would follow a link."""
        try:
            self.disk.fs.size_of(place.path)
        except FileNotFoundError:
            return False
        return True

    def _create(self, place: Place) -> None:
        """An empty database appears whole or not at all."""
        fs = self.disk.fs
        changed = [*fs.make_directory(place.directory), place.directory]
        self.unlink_companions(place)  # a quarantined one's: SQLite would replay them into the new database
        file = fs.create_temp()
        try:
            file.write(schema.empty_database(place.kind, place.hash))
            self.sync(file.sync)
            fs.publish(file, place.path)
            self.crash.reach("tables.create.named")
            for directory in changed:
                self.sync(partial(fs.sync_directory, directory))
        finally:
            fs.discard(file)
        self.crash.reach("tables.create.synced")

    def unlink_companions(self, place: Place) -> None:
        """Remove the files that SQLite keeps beside a database, durably: of two changes of one directory a crash may keep the
        later alone, and SQLite would replay the old log into the new database. Raises OSError.
        """
        names = set(self.disk.fs.list_directory(place.directory))
        found = [ending for ending in COMPANIONS if f"{place.hash.hex()}.db{ending}" in names]
        for ending in found:
            self.disk.fs.unlink(place.path + ending)
        if found:
            self.sync(partial(self.disk.fs.sync_directory, place.directory))

    def sync(self, sync: Callable[[], None]) -> None:
        """A failed sync ends the device's writing life: what the kernel says after it means nothing."""
        try:
            sync()
        except OSError as error:
            self.disk.fail(f"sync of a new database: {error.strerror or error}")
            raise

    def _close_all(self) -> None:
        for database in self._open.clear():
            self._close(database)

    def _close(self, database: Database[Any]) -> None:
        try:
            database.close(move_log=self.disk.failed is None)
            self.closed.note(database.path, database.state)
        except sqlite3.Error as error:  # what was acknowledged is in the write-ahead log, and read again at the next opening
            if is_failed_sync(error):
                self.disk.fail(f"closing a database: {error}")
            logger.warning("closing a database failed", extra={"path": database.path, "error": str(error)})

    def _judge(self, place: Place, fault: DatabaseFault) -> NodeError:
        error = node_error(fault, "writing a database")
        logger.error("database fault", extra={"device": self.name, "path": place.path, "error": error.text})
        if is_failed_sync(fault):
            self.disk.fail(error.text)
        if error.code is Code.CORRUPT:
            self._quarantine(place, error.text)
        elif error.code not in (Code.BAD_REQUEST, Code.BUSY):  # what another process keeps locked can be read all the same
            self.let_go(place)
        return error

    def let_go(self, place: Place) -> None:
        """Close it, if it is open."""
        database = self._open.remove(place)
        if database is not None:
            self._close(database)

    def _quarantine(self, place: Place, reason: str) -> None:
        database = self._open.remove(place)
        name = "" if database is None else database.state.settings.name
        if database is not None:
            self._close(database)
        self.closed.forget(self.path_of(place))
        record = QuarantineRecord(place.path, reason, name, self._clock.now())
        try:
            id_ = set_aside(self.disk.fs, self.crash, record)
        except OSError as error:
            logger.error("quarantine failed", extra={"device": self.name, "path": place.path, "error": str(error)})
            return
        self.quarantined += 1
        logger.error("database quarantined", extra={"device": self.name, "path": place.path, "reason": reason, "id": id_})


class LetGo(Action[None]):
    """Close the database if its file is not there any more: what it still takes in would be lost with it."""

    def act(self, device: TableDevice, place: Place) -> None:
        if not device._exists(place):
            device.let_go(place)
            device.closed.forget(device.path_of(place))


class _ReadFailed(Exception):
    def __init__(self, fault: DatabaseFault) -> None:
        super().__init__(str(fault))
        self.fault = fault


class _Condemn(Action[None]):
    def __init__(self, id_: bytes, reason: str) -> None:
        self._id = id_
        self._reason = reason

    def act(self, device: TableDevice, place: Place) -> None:
        database = device.require(place, create=False)
        if database is not None and database.state.id == self._id:
            device._quarantine(place, self._reason)
            raise NodeError(Code.CORRUPT, self._reason)
