"""Putting a database in the place of another, and removing one that is held elsewhere: whole, durably, and against whatever else
wants to write.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from objstore.formats.messages import Settings
from objstore.formats.settings import merge_settings
from objstore.model.errors import Code, NodeError
from objstore.tables.changes import Changes, decode_rows, read_changes
from objstore.tables.database import Database
from objstore.tables.device import Action, TableDevice
from objstore.tables.draft import Draft, State
from objstore.tables.faults import FAULTS, is_failed_sync, node_error
from objstore.tables.place import Place
from objstore.tables.quarantine import COMPANIONS

ROWS_AT_ADOPTION_MAX = 1000
ATTEMPTS_MAX = 50
ATTEMPT_PAUSE_S = 0.1
CRASH_POINTS = ("tables.adopt.ready", "tables.adopt.cleared", "tables.adopt.named", "tables.remove.unlinked")

T = TypeVar("T")


class Remove(Action[bool]):
    """Remove the database if it is exactly as it was in `state`; returns whether it is gone. What came since keeps it."""

    def __init__(self, state: State) -> None:
        self._state = state

    def act(self, device: TableDevice, place: Place) -> bool:
        database = device.require(place, create=False)
        if database is None:
            return True
        now, then, fs = database.state, self._state, device.disk.fs
        if (now.id, now.seq, now.settings) != (then.id, then.seq, then.settings):
            return False
        with device.opening:
            device.let_go(place)
            device.closed.forget(device.path_of(place))
            fs.unlink(place.path)
            device.crash.reach("tables.remove.unlinked")
            device.unlink_companions(place)
        device.sync(partial(fs.sync_directory, place.directory))
        if fs.remove_directory(place.directory):
            device.sync(partial(fs.sync_directory, place.kind.directory))
        return True


class Adopt(Action[bool]):
    """Make a prepared database the one of this place. False when what is here has changed by too much since it was merged into
    the prepared one, or is being read: merge more, and try again.
    """

    def __init__(self, prepared: Database[Any], temp: str, merged: "Merged") -> None:
        self._prepared = prepared
        self._temp = temp
        self._merged = merged

    def act(self, device: TableDevice, place: Place) -> bool:
        fs, here = device.disk.fs, device.require(place, create=False)
        if here is not None and not self._take_rest(device, here):
            return False
        guarded(device, self._prepared.close)
        self._require_closed(device)
        file = fs.open(self._temp)
        try:
            device.sync(file.sync)
        finally:
            file.close()
        changed = [*fs.make_directory(place.directory), place.directory]
        device.crash.reach("tables.adopt.ready")
        with device.opening:  # nobody opens the old database's log beside the new one
            device.let_go(place)
            device.unlink_companions(place)
            device.crash.reach("tables.adopt.cleared")
            fs.rename(self._temp, place.path)
            device.closed.forget(device.path_of(place))
        device.crash.reach("tables.adopt.named")
        for directory in changed:
            device.sync(partial(fs.sync_directory, directory))
        return True

    def _take_rest(self, device: TableDevice, here: Database[Any]) -> bool:
        merged = self._merged
        if here.state.id != merged.id or here.state.seq - merged.seq > ROWS_AT_ADOPTION_MAX:
            return False
        changes = here.read(lambda connection: read_changes(connection, here.kind, merged.seq))
        if changes.more:
            return False
        guarded(device, partial(absorb, self._prepared, here.state, changes))
        return here.flush()  # then its log may go before it: a crash in between leaves it whole

    def _require_closed(self, device: TableDevice) -> None:
        for ending in COMPANIONS:
            try:
                device.disk.fs.open(self._temp + ending).close()
            except FileNotFoundError:
                continue
            raise NodeError(Code.DEVICE_FAILED, "a received database kept its log")


@dataclass(frozen=True, slots=True)
class Merged:
    """The database that was in the place, and its number up to which the prepared one holds its changes."""

    id: bytes = b""
    seq: int = 0


async def adopt(device: TableDevice, place: Place, temp: str, prepared: Database[Any], pause: Callable[[float], Any]) -> None:
    """Make the prepared database at `temp` the one of this place; what the place holds already is merged into it. It is closed
    when this returns. Raises NodeError.
    """
    merged = Merged()
    for _ in range(ATTEMPTS_MAX):
        here = await device.opened(place, prepared.state.settings.name)
        if here is not None:
            if here.state.id != merged.id:
                merged = Merged(here.state.id)
            more = True
            while more:
                read = partial(read_changes, kind=place.kind, since=merged.seq)
                changes: Changes = await device.read(place, here, read)
                await device.disk.run(partial(guarded, device, partial(absorb, prepared, here.state, changes)))
                merged, more = Merged(merged.id, changes.until), changes.more
        if await device.act(place, Adopt(prepared, temp, merged)):
            return
        await pause(ATTEMPT_PAUSE_S)
    raise NodeError(Code.BUSY, "the database in this place changes too fast to be replaced")


def absorb(database: Database[Any], state: State, changes: Changes) -> None:
    """Merge another database's settings and changes into this one, and its marks: what it received is in here then."""
    rows = decode_rows(database.kind, changes.rows)
    (outcome,) = database.transact([_Absorb(database.state.settings.name, rows, state)])
    if isinstance(outcome, NodeError):
        raise outcome
    database.move_log()


def guarded(device: TableDevice, fn: Callable[[], T]) -> T:
    """Work on a database that is in no place yet: its faults are not those of the one that is. Raises NodeError."""
    try:
        return fn()
    except FAULTS as fault:
        if is_failed_sync(fault):
            device.disk.fail(f"writing a received database: {fault}")
        raise node_error(fault, "writing a received database") from fault


@dataclass(frozen=True, slots=True)
class _Absorb:
    name: str
    rows: list[Any]
    state: State
    creates: bool = False

    def run(self, draft: Draft[Any]) -> None:
        draft.settings = merge_settings(draft.settings, _named(self.state.settings, self.name))
        if draft.parent is None:
            draft.parent = self.state.parent
        draft.merge_rows(self.rows)
        for id_, seq in self.state.marks.items():
            if seq > draft.marks.get(id_, 0):
                draft.set_mark(id_, seq)


def _named(settings: Settings, name: str) -> Settings:
    """A database just made has no name yet."""
    return settings if settings.name else Settings(name)
