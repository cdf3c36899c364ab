"""One open account or container database: a connection that writes, a few that read, and what it last committed."""

import logging
import sqlite3
import threading
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

from objstore.model.errors import Code, NodeError
from objstore.model.listing import Listed
from objstore.tables.draft import Draft, load_state
from objstore.tables.faults import is_failed_sync
from objstore.tables.operations import Operation
from objstore.tables.rowkind import RowKind
from objstore.tables.schema import leave_log, open_reader, open_writer

logger = logging.getLogger("objstore.tables")

READERS_KEPT_MAX = 2

R = TypeVar("R", bound=Listed)
T = TypeVar("T")

Outcome = Any
"""What an operation returned, or the NodeError that refused it."""


class Database(Generic[R]):
    """`transact` and `close` belong to the device's writer thread, `read` to any thread, `state` may be looked at anywhere."""

    def __init__(self, path: str, kind: RowKind[R], hash_: bytes, opening: "threading.Lock | None" = None) -> None:
        """Blocking. `opening` is held whenever a reading connection is opened, and by the caller of this.

        Raises sqlite3.Error, WrongSchema, ForeignContents.
        """
        self.path = path
        self.kind = kind
        self.used = 0
        """Grows with each use, for the choice of what to close."""
        self.logged = 0
        """Rows and transactions that went into the write-ahead log since somebody set this to 0."""
        self._writer = open_writer(path, kind)
        try:
            self.state = load_state(self._writer, kind.kind, hash_)
        except BaseException:
            self._writer.close()
            raise
        self._readers: list[sqlite3.Connection] = []
        self._readers_lock = threading.Lock()
        self._closed = False
        self._opening = opening or threading.Lock()

    def transact(self, operations: Sequence[Operation[R, object]]) -> list[Outcome]:
        """Run all in one transaction, durable when it returns. Raises sqlite3.Error; then none of them happened.

        An operation that refuses does not keep the others from happening.
        """
        draft = Draft(self._writer, self.kind, self.state)
        self._writer.execute("BEGIN IMMEDIATE")
        try:
            outcomes = [self._run(operation, draft) for operation in operations]
            state = draft.write()
            self._writer.execute("COMMIT")
        except BaseException:
            if self._writer.in_transaction:
                self._writer.execute("ROLLBACK")
            raise
        self.logged += 1 + state.seq - self.state.seq
        self.state = state
        return outcomes

    def move_log(self) -> bool:
        """Move what is committed from the write-ahead log into the database, as far as no reader needs it there. Raises
        sqlite3.Error for a failed sync. False after any other failure: it may be tried again, and until then the log grows.
        """
        try:
            self._writer.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        except sqlite3.Error as error:
            if is_failed_sync(error):
                raise
            logger.warning("checkpoint failed", extra={"path": self.path, "error": str(error)})
            return False
        return True

    def _run(self, operation: Operation[R, object], draft: Draft[R]) -> Outcome:
        name = draft.settings.name
        if operation.name and name != operation.name:
            if name:
                return NodeError(Code.CORRUPT, "the database in this place is of another name")
            draft.give_name(operation.name)
        try:
            return operation.run(draft)
        except NodeError as error:
            return error

    def read(self, fn: Callable[[sqlite3.Connection], T]) -> T:
        """Run `fn` on a connection that reads. Blocking. Raises sqlite3.Error and what `fn` raises."""
        connection = self._take_reader()
        try:
            return fn(connection)
        finally:
            self._give_reader_back(connection)

    def flush(self) -> bool:
        """Move all that is in the write-ahead log into the database; False when a reader of an older state kept it from that.
        Raises sqlite3.Error.
        """
        busy, logged, moved = self._writer.execute("PRAGMA wal_checkpoint(FULL)").fetchone()
        return not busy and bool(logged == moved)

    def close(self, *, move_log: bool = True) -> None:
        """Move what is in the write-ahead log into the database, and close all connections. A reader at work closes its own when
        it is done. Idempotent. Raises sqlite3.Error; all are closed then too.

        Not `move_log`: after a failed sync, what is read of the log may not be on the disk; the next process finds out.
        """
        with self._readers_lock:
            if self._closed:
                return
            self._closed = True
            readers, self._readers = self._readers, []
        for connection in readers:
            connection.close()
        try:
            if move_log:
                # The closing itself would do it, and do it again, and say nothing of a failed sync.
                self.move_log() or self.move_log()
            else:
                leave_log(self._writer)
        finally:
            self._writer.close()

    def _take_reader(self) -> sqlite3.Connection:
        with self._readers_lock:
            if self._readers:
                return self._readers.pop()
        with self._opening:
            return open_reader(self.path)

    def _give_reader_back(self, connection: sqlite3.Connection) -> None:
        with self._readers_lock:
            if not self._closed and len(self._readers) < READERS_KEPT_MAX:
                self._readers.append(connection)
                return
        connection.close()
