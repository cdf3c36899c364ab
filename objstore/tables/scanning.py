"""Walks over all databases of one kind on a device without opening them for writing, so that a scan evicts nothing."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from typing import Any, TypeVar

from objstore.model.errors import Code, NodeError
from objstore.tables.device import LetGo, TableDevice
from objstore.tables.draft import State, load_state
from objstore.tables.faults import FAULTS, node_error
from objstore.tables.place import Place
from objstore.tables.rowkind import RowKind
from objstore.tables.schema import OldSchema, open_reader

ENDING = ".db"
READS_AT_ONCE_MAX = 64

T = TypeVar("T")


async def places(device: TableDevice, kind: RowKind[Any]) -> AsyncIterator[Place]:
    """Where the device's databases of this kind are, partition by partition. Raises NodeError."""
    for partition in await _names(device, kind.directory):
        if not partition.isdecimal():
            continue
        for name in await _names(device, f"{kind.directory}/{partition}"):
            place = _place(kind, int(partition), name)
            if place is not None:
                yield place


async def state_of(device: TableDevice, place: Place) -> State | None:
    """What the database last committed; None when there is none. Raises NodeError."""
    state = device.state(place)
    if state is not None:
        return state
    changes = device.closed.changes
    state = await read_at(device, place, partial(_load, place))
    if state is not None:
        device.closed.note(device.path_of(place), state, changes)
    return state


async def states_of(device: TableDevice, found: Sequence[Place]) -> list[State | NodeError | None]:
    """As `state_of` for many, with the error instead of raising it. What is remembered of a database counts only if its file is
    there; what turns out corrupt is quarantined, and then is not there.
    """
    known = [device.state(place) for place in found]
    try:
        there = await device.disk.run(lambda: [_is_there(device, place) for place in found])
    except NodeError as error:
        return [error] * len(found)
    slots = asyncio.Semaphore(READS_AT_ONCE_MAX)

    async def one(place: Place, state: State | None, there: bool) -> State | NodeError | None:
        try:
            if not there:
                if state is not None:
                    await device.act(place, LetGo())
                return None
            if state is not None:
                return state
            async with slots:
                return await readable_state(device, place)
        except NodeError as error:
            return error

    return list(await asyncio.gather(*map(one, found, known, there)))


def _is_there(device: TableDevice, place: Place) -> bool:
    try:
        device.disk.fs.size_of(place.path)
    except FileNotFoundError:
        return False
    except OSError:  # whoever reads it says what is wrong
        return True
    return True


def _load(place: Place, connection: sqlite3.Connection) -> State:
    return load_state(connection, place.kind.kind, place.hash)


async def readable_state(device: TableDevice, place: Place) -> State | None:
    """As `state_of`; what turns out corrupt is quarantined, and then is not there."""
    try:
        return await state_of(device, place)
    except NodeError as error:
        if error.code is not Code.CORRUPT:
            raise
    try:
        await device.opened(place, "")  # by the writer, which sets it aside
    except NodeError as error:
        if error.code is not Code.CORRUPT:
            raise
    return await state_of(device, place)


async def read_at(device: TableDevice, place: Place, fn: Callable[[sqlite3.Connection], T]) -> T | None:
    """Run `fn` on a reading connection in a disk thread; None when there is no database. Raises NodeError."""
    database = device.peek(place)
    if database is not None:
        return await device.read(place, database, fn)
    try:
        return await device.disk.run(partial(_read, device, place, fn))
    except OldSchema:
        database = await device.opened(place, "")
        return None if database is None else await device.read(place, database, fn)


def _read(device: TableDevice, place: Place, fn: Callable[[sqlite3.Connection], T]) -> T | None:
    connection: sqlite3.Connection | None = None
    try:
        with device.opening:
            device.disk.fs.size_of(place.path)
            connection = open_reader(device.path_of(place))
        return fn(connection)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise NodeError(Code.DEVICE_FAILED, f"opening a database: {error.strerror or error}") from error
    except OldSchema:
        raise
    except FAULTS as fault:
        raise node_error(fault, "scanning a database") from fault
    finally:
        if connection is not None:
            connection.close()


async def _names(device: TableDevice, directory: str) -> list[str]:
    def names() -> list[str]:
        try:
            return device.disk.fs.list_directory(directory)
        except OSError as error:
            raise NodeError(Code.DEVICE_FAILED, f"listing {directory}: {error.strerror or error}") from error

    return await device.disk.run(names)


def _place(kind: RowKind[Any], partition: int, name: str) -> Place | None:
    """None for a name that is no database's: a write-ahead log, or a stranger's file."""
    if not name.endswith(ENDING):
        return None
    try:
        place = Place(kind, partition, bytes.fromhex(name[: -len(ENDING)]))
    except ValueError:
        return None
    return place if place.path.endswith(f"/{name}") else None
