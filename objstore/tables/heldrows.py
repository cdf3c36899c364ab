"""Rows that the device's journal has made durable, and that go into their databases many at a time.

A transaction costs the same for one row as for thirty. So a row is acknowledged once the journal has it, and waits here for a
moment; whoever reads or changes a database first has what waits for it written. The journal forgets a row only after its database
has it.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, Protocol

import msgspec

from objstore.model.errors import Code, NodeError
from objstore.runtime.interface import Change, Disk, Note, Notes
from objstore.tables.database import Database
from objstore.tables.operations import Merge
from objstore.tables.place import Place
from objstore.tables.putdown import PATH, clear, pick_up, put_down
from objstore.tables.rowkind import RowKind

logger = logging.getLogger("objstore.tables")

HOLD_S = 0.25
RETRY_S = 5.0
WRITTEN_TIMEOUT_S = 2.0
ROWS_PER_DATABASE_MAX = 512
ROWS_MAX = 8192
"""Rows that wait on one device; beyond that each waits for its own transaction."""

Enqueue = Callable[[Place, Merge[Any]], "asyncio.Future[Any]"]
_ENCODER = msgspec.msgpack.Encoder()


class Beside(NamedTuple):
    """A row that becomes durable with something else: `note` goes along, and as soon as that is durable, `hold` it."""

    note: Note
    hold: Callable[[], None]


class NotingDisk(Disk, Notes, Protocol):
    """What is needed of a disk."""


class _Held:
    __slots__ = ("name", "rows")

    def __init__(self, name: str) -> None:
        self.name = name
        self.rows: list[Any] = []


class HeldRows:
    """Used in the event loop that `start`s it."""

    def __init__(self, name: str, disk: NotingDisk, enqueue: Enqueue) -> None:
        """`enqueue` hands a merge to the device's writer, in order of the calls for each place."""
        self._name = name
        self._disk = disk
        self._enqueue = enqueue
        self._held: dict[Place, _Held] = {}
        self._writing: dict[Place, dict[asyncio.Future[Any], _Held]] = {}
        self._count = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._stopped = False
        self._down = False
        """Whether rows are put down in a file."""
        disk.before_settling.append(self._before_settling)

    def start(self) -> None:
        """From the event loop that will use it."""
        self._loop = asyncio.get_running_loop()

    async def take_notes(self, kinds: Sequence[RowKind[Any]]) -> None:
        """Hold the rows that an earlier process left: put down, and in the journal. Nothing of a device that cannot be used."""
        try:
            down = await self._disk.run(lambda: pick_up(self._disk.fs))
        except (OSError, ValueError) as error:
            logger.error("rows that were put down cannot be read", extra={"device": self._name, "path": PATH, "error": str(error)})
            down = None
        except NodeError as error:
            logger.warning("rows are left where they are", extra={"device": self._name, "error": error.text})
            return
        self._down = down is not None
        for note in [*(down or ()), *self._disk.take_notes()]:
            found = rows_of(note, kinds)
            if found is None:
                logger.error("unknown note in the journal", extra={"device": self._name, "path": note.path})
            else:
                self.hold(*found)

    async def take(self, place: Place, merge: Merge[Any], database: Database[Any] | None) -> bool:
        """Have the journal make rows durable, and hold them. False, and nothing was done, unless they are rows alone, for a
        `database` that is open and of this name, and not too many. Raises NodeError.
        """
        if merge.settings is not None or (merge.parent is not None and database is not None and database.state.parent is None):
            return False
        note = self.note(place, merge.name, merge.rows, database)
        if note is None:
            return False
        self.hold(place, merge.name, merge.rows)  # first: being written early harms nobody, being forgotten would
        await self._disk.commit(Change(note.path, b"", note=note.record))
        return True

    def note(self, place: Place, name: str, rows: Sequence[Any], database: Database[Any] | None) -> Note | None:
        """What makes rows durable that are held from then on; None unless it is for a `database` that is open and of this name, and
        not too much.
        """
        if database is None or database.state.settings.name != name or self._count >= ROWS_MAX or self._stopped:
            return None
        note = note_of(place, name, rows)
        return note if len(note.record) <= self._disk.note_bytes_max else None

    def _before_settling(self) -> None:
        """As Notes.before_settling. A database that is locked, or busy for long, must not keep the journal from going on."""
        if self._loop is None:
            return
        try:
            lacking = asyncio.run_coroutine_threadsafe(self._lacking(), self._loop).result(2 * WRITTEN_TIMEOUT_S)
        except (TimeoutError, RuntimeError):  # the event loop is busy for very long, or ended
            raise NodeError(Code.BUSY, "rows are not in their databases yet") from None
        try:
            if lacking:
                put_down(self._disk.fs, lacking)
                self._down = True
                logger.warning("rows put down", extra={"device": self._name, "databases": len(lacking)})
            elif self._down:
                clear(self._disk.fs)
                self._down = False
        except OSError as error:
            raise NodeError(Code.DEVICE_FAILED, f"rows cannot be put down: {error.strerror or error}") from error

    async def _lacking(self) -> list[Note]:
        """Have everything written that is held now; what is not, after a while, as notes."""
        try:
            async with asyncio.timeout(WRITTEN_TIMEOUT_S):
                await self.written_everywhere()
                return []  # what was taken in meanwhile is in groups that are not settled yet
        except (TimeoutError, NodeError):
            pass
        places = {*self._held, *self._writing}
        return [note_of(place, self._name_of(place), rows) for place in places if (rows := self.waiting(place))]

    def _name_of(self, place: Place) -> str:
        held = self._held.get(place) or next(iter(self._writing[place].values()))
        return held.name

    def hold(self, place: Place, name: str, rows: Sequence[Any]) -> None:
        """Write these rows soon, with others."""
        held = self._held.get(place)
        if held is None:
            held = self._held[place] = _Held(name)
            self._later(HOLD_S)
        held.rows += rows
        self._count += len(rows)
        if len(held.rows) >= ROWS_PER_DATABASE_MAX and not self._stopped:
            self.write(place)

    def write(self, place: Place) -> None:
        """Hand what waits for a database to the writer: before whatever is handed over next. Raises NodeError when that takes no
        more; then it is still held.
        """
        held = self._held.get(place)
        if held is None:
            return
        future = self._enqueue(place, Merge(held.name, held.rows))
        del self._held[place]
        self._count -= len(held.rows)
        self._writing.setdefault(place, {})[future] = held
        future.add_done_callback(lambda done: self._written(place, held, done))

    def _written(self, place: Place, held: _Held, done: "asyncio.Future[Any]") -> None:
        left = self._writing[place]
        del left[done]
        if not left:
            del self._writing[place]
        error = None if done.cancelled() else done.exception()
        if error is not None:
            logger.error("rows not written yet", extra={"path": place.path, "rows": len(held.rows), "error": str(error)})
            self._later(RETRY_S)
            self.hold(place, held.name, held.rows)  # merging again, after newer ones too, changes nothing

    def _later(self, delay_s: float) -> None:
        if self._timer is None and not self._stopped:
            self._timer = asyncio.get_running_loop().call_later(delay_s, self._write_all)

    def _write_all(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for place in list(self._held):
            self.write(place)

    def waiting(self, place: Place) -> list[Any]:
        """The rows that a database lacks at this moment, each name once."""
        held = self._held.get(place)
        all_held = [*self._writing.get(place, {}).values(), *([held] if held is not None else [])]
        rows: dict[str, Any] = {}
        for row in (row for one in all_held for row in one.rows):
            known = rows.get(row.name)
            rows[row.name] = row if known is None else place.kind.merge(known, row)
        return list(rows.values())

    async def tried(self, place: Place) -> None:
        """As `written`, but no error when another process keeps the database locked: then `waiting` tells what it lacks."""
        try:
            await self.written(place)
        except NodeError as error:
            if error.code is not Code.BUSY:
                raise

    async def written(self, place: Place) -> None:
        """What was held for a database is in it when this returns. Raises NodeError."""
        self.write(place)
        for future in list(self._writing.get(place, ())):
            await asyncio.shield(future)

    async def written_everywhere(self) -> None:
        """The same for all databases. Raises NodeError."""
        self._write_all()
        for futures in list(self._writing.values()):
            for future in list(futures):
                await asyncio.shield(future)  # whoever stops waiting must not keep the rows from being written

    async def stop(self) -> None:
        """Write what is held, as far as that is possible: the journal has the rest. Nothing is written by itself after that."""
        try:
            await self.written_everywhere()
        except NodeError as error:
            logger.warning("rows are left to the journal", extra={"error": error.text})
        self._stopped = True
        if self._timer is not None:
            self._timer.cancel()


def note_of(place: Place, name: str, rows: Sequence[Any]) -> Note:
    """What the journal keeps of rows for a database."""
    return Note(place.path, _ENCODER.encode((name, rows)))


def rows_of(note: Note, kinds: Iterable[RowKind[Any]]) -> tuple[Place, str, list[Any]] | None:
    """What a note says; None for one of another purpose. Raises NodeError for what cannot be read."""
    directory, _, file = note.path.rpartition("/")
    for kind in kinds:
        if directory.startswith(kind.directory + "/"):
            place = Place(kind, int(directory.rpartition("/")[2]), bytes.fromhex(file.removesuffix(".db")))
            name, rows = msgspec.msgpack.decode(note.record, type=tuple[str, list[kind.row]])  # type: ignore[name-defined]
            return place, name, rows
    return None
