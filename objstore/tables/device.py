"""The account and container databases of one device, behind the calls the servers make.

One writer thread opens, changes and closes databases; listings run on connections of their own in the disk's reader threads; what
a database last committed is looked at in memory. A database that SQLite finds corrupt moves to `quarantine/`, and the next
write to it begins an empty one, to be filled by its peers.
"""

import logging
import sqlite3
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple, Protocol, TypeVar

from objstore.formats.quarantinerecord import QuarantineRecord
from objstore.model.errors import Code, NodeError
from objstore.model.listing import Listed
from objstore.runtime.committer import node_error as os_node_error
from objstore.runtime.interface import Clock, CrashPoints, Disk
from objstore.tables import quarantine, schema
from objstore.tables.cache import OPEN_MAX, OpenDatabases
from objstore.tables.committer import QUEUE_MAX, Committer
from objstore.tables.database import Database, Outcome
from objstore.tables.faults import FAULTS, DatabaseFault, is_failed_sync, is_of_one_operation, node_error
from objstore.tables.operations import Open, Operation
from objstore.tables.quarantine import COMPANIONS, set_aside
from objstore.tables.rowkind import RowKind

logger = logging.getLogger("objstore.tables")

CRASH_POINTS = (
    "tables.create.named",
    "tables.create.synced",
    "tables.commit.written",
    *quarantine.CRASH_POINTS,
)

R = TypeVar("R", bound=Listed)
T = TypeVar("T")


class TableDisk(Disk, Protocol):
    """A disk that can be told of a failed sync which it did not see itself."""

    def fail(self, reason: str) -> None:
        """Refuse all writes from now on."""


class Place(NamedTuple):
    """Where one database is on its device."""

    kind: RowKind[Any]
    partition: int
    hash: bytes

    @property
    def directory(self) -> str:
        return f"{self.kind.directory}/{self.partition}"

    @property
    def path(self) -> str:
        return f"{self.kind.directory}/{self.partition}/{self.hash.hex()}.db"


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
        self._root = root
        self._clock = clock
        self._crash = crash
        self._open: OpenDatabases[Place] = OpenDatabases(open_max)
        self.committer: Committer[Place, Operation[Any, object]] = Committer(
            name, self._run_group, self._close_all, self._settled, queue_max=queue_max
        )

    def start(self) -> None:
        """From the event loop that will use it."""
        self.committer.start()

    async def stop(self) -> None:
        """Finish what is queued, then close all databases."""
        await self.committer.stop()

    # --- from the event loop -----------------------------------------------------------------------------------

    def path_of(self, place: Place) -> str:
        """The file's path, for SQLite."""
        return f"{self._root}/{place.path}"

    def peek(self, place: Place) -> Database[Any] | None:
        """The database if it is open."""
        return self._open.get(place)

    async def opened(self, place: Place, name: str) -> Database[Any] | None:
        """The database, None when there is none; a `name` of "" fits any. Raises NodeError."""
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
        if self.disk.failed is not None:
            raise NodeError(Code.DEVICE_FAILED, self.disk.failed)
        result: T = await self.committer.submit(place, operation)
        return result

    async def read(self, place: Place, database: Database[R], fn: Callable[[sqlite3.Connection], T]) -> T:
        """Run `fn` on a reading connection in a reader thread. Raises NodeError; a corrupt database is quarantined first."""

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
                try:
                    await self.committer.submit(place, _Condemn(database, error.text))
                except NodeError as outcome:  # whatever it is, the caller hears of the corruption itself
                    logger.debug("condemned", extra={"device": self.name, "path": place.path, "outcome": str(outcome)})
            raise error from failed.fault

    def _settled(self, place: Place) -> None:
        for listener in self.changed:
            listener(place)

    # --- in the writer thread ----------------------------------------------------------------------------------

    def _run_group(self, place: Place, operations: Sequence[Operation[Any, object]]) -> list[Outcome]:
        if self.disk.failed is not None and not all(isinstance(operation, Open) for operation in operations):
            # They came before the failure was known; a sync that succeeds now says nothing about what was lost.
            if len(operations) > 1:
                return [self._run_group(place, [operation])[0] for operation in operations]
            return [NodeError(Code.DEVICE_FAILED, self.disk.failed)]
        try:
            database = self._require(place, any(operation.creates for operation in operations))
            if database is None:
                return [NodeError(Code.NOT_FOUND, "no such account or container here")] * len(operations)
            for operation in operations:
                if isinstance(operation, _Condemn) and operation.database is database:
                    self._quarantine(place, operation.reason)
                    return [NodeError(Code.CORRUPT, operation.reason)] * len(operations)
            outcomes = database.transact(operations)
        except FAULTS as fault:
            error = self._judge(place, fault)
            if is_of_one_operation(error) and len(operations) > 1:
                return [self._run_group(place, [operation])[0] for operation in operations]
            return [error] * len(operations)
        except OSError as error:
            return [os_node_error(error, "opening a database")] * len(operations)
        self._crash.reach("tables.commit.written")
        return outcomes

    def _require(self, place: Place, create: bool) -> Database[Any] | None:
        database = self._open.get(place)
        if database is not None:
            return database
        if not self._exists(place):
            if not create:
                return None
            self._create(place)
        database = Database(self.path_of(place), place.kind, place.hash)
        for surplus in self._open.add(place, database):
            self._close(surplus)
        return database

    def _exists(self, place: Place) -> bool:
        """Also refuses, with OSError, what is not a regular file: SQLite itself would follow a link."""
        try:
            self.disk.fs.open(place.path).close()
        except FileNotFoundError:
            return False
        return True

    def _create(self, place: Place) -> None:
        """An empty database appears whole or not at all."""
        fs = self.disk.fs
        changed = [*fs.make_directory(place.directory), place.directory]
        for leftover in COMPANIONS:  # of a quarantined one: SQLite would replay it into the new database
            fs.unlink(place.path + leftover)
        file = fs.create_temp()
        try:
            file.write(schema.empty_database(place.kind, place.hash))
            self._sync(file.sync)
            fs.publish(file, place.path)
            self._crash.reach("tables.create.named")
            for directory in changed:
                self._sync(partial(fs.sync_directory, directory))
        finally:
            fs.discard(file)
        self._crash.reach("tables.create.synced")

    def _sync(self, sync: Callable[[], None]) -> None:
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
            database.close()
        except sqlite3.Error as error:  # what was acknowledged is in the write-ahead log, and read again at the next opening
            logger.warning("closing a database failed", extra={"path": database.path, "error": str(error)})

    def _judge(self, place: Place, fault: DatabaseFault) -> NodeError:
        error = node_error(fault, "writing a database")
        logger.error("database fault", extra={"device": self.name, "path": place.path, "error": error.text})
        if is_failed_sync(fault):
            self.disk.fail(error.text)
        if error.code is Code.CORRUPT:
            self._quarantine(place, error.text)
        elif error.code is not Code.BAD_REQUEST:
            self._reopen_next_time(place)
        return error

    def _reopen_next_time(self, place: Place) -> None:
        database = self._open.remove(place)
        if database is not None:
            self._close(database)

    def _quarantine(self, place: Place, reason: str) -> None:
        database = self._open.remove(place)
        name = "" if database is None else database.state.settings.name
        if database is not None:
            self._close(database)
        record = QuarantineRecord(place.path, reason, name, self._clock.now())
        try:
            id_ = set_aside(self.disk.fs, self._crash, record)
        except OSError as error:
            logger.error("quarantine failed", extra={"device": self.name, "path": place.path, "error": str(error)})
            return
        self.quarantined += 1
        logger.error("database quarantined", extra={"device": self.name, "path": place.path, "reason": reason, "id": id_})


class _ReadFailed(Exception):
    def __init__(self, fault: DatabaseFault) -> None:
        super().__init__(str(fault))
        self.fault = fault


class _Condemn:
    """A reader found this very database corrupt."""

    creates = False

    def __init__(self, database: Database[Any], reason: str) -> None:
        self.database = database
        self.reason = reason
        self.name = database.state.settings.name

    def run(self, draft: object) -> None:
        """It was quarantined already, or replaced: nothing to do."""
