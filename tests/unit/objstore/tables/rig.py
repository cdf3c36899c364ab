"""A real device with real databases, and rows to put into them."""

import asyncio
import hashlib
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from objstore.container.store import OBJECT_ROWS
from objstore.formats.messages import Query, WriteTable
from objstore.formats.messages.addressing import Target
from objstore.model.rows import ObjectRow
from objstore.model.timestamps import from_seconds
from objstore.runtime.clock import SystemClock
from objstore.runtime.crashpoints import NoCrashPoints
from objstore.runtime.disk import RealDisk
from objstore.runtime.filesystem import RealFileSystem
from objstore.runtime.interface import CrashPoints
from objstore.runtime.knobs import Knobs
from objstore.tables.database import Database
from objstore.tables.device import CRASH_POINTS, TableDevice
from objstore.tables.operations import Merge, Write
from objstore.tables.place import Place
from objstore.tables.reading import PageRead, read_page

NAME = "/acc/con"
HASH = hashlib.md5(NAME.encode()).digest()
PLACE = Place(OBJECT_ROWS, 7, HASH)
TARGET = Target("d1", 7)
KNOBS = Knobs(reserve_bytes_min=1, reserve_percent=0.0)


class ManualClock:
    """Time passes only by `pass_time`, or when somebody sleeps and nobody else can go on."""

    def __init__(self) -> None:
        self.time = 1_700_000_000.0
        self.slept = asyncio.Event()
        """Somebody has begun to sleep."""
        self._sleepers: list[tuple[float, asyncio.Event]] = []

    def now(self) -> float:
        return self.time

    def monotonic(self) -> float:
        return self.time

    async def sleep(self, delay_s: float) -> None:
        event = asyncio.Event()
        self._sleepers.append((self.time + delay_s, event))
        self.slept.set()
        await event.wait()

    async def pass_time(self, seconds: float) -> None:
        self.time += seconds
        for end, event in self._sleepers:
            if end <= self.time:
                event.set()
        self._sleepers = [(end, event) for end, event in self._sleepers if end > self.time]
        await turns()


async def turns(count: int = 20) -> None:
    """Let everything that can go on without waiting for a thread go on."""
    for _ in range(count):
        await asyncio.sleep(0)


@asynccontextmanager
async def device_at(root: Path, crash: CrashPoints | None = None, **options: Any) -> AsyncIterator[TableDevice]:
    """A device in `root`, stopped and closed at the end."""
    disk = RealDisk("d1", RealFileSystem(str(root)), knobs=KNOBS)
    device = TableDevice("d1", str(root), disk, SystemClock(), crash=crash or NoCrashPoints(CRASH_POINTS), **options)
    device.start()
    try:
        yield device
    finally:
        await device.stop()
        await disk.close()


def put(name: str, second: float, size: int = 1, etag: str = "e") -> ObjectRow:
    timestamp = from_seconds(second)
    return ObjectRow(name, timestamp, False, size, etag, "text/plain", timestamp, timestamp)


def gone(name: str, second: float) -> ObjectRow:
    timestamp = from_seconds(second)
    return ObjectRow(name, timestamp, True, type_timestamp=timestamp, meta_timestamp=timestamp)


def merge(*rows: ObjectRow, name: str = NAME) -> Merge[ObjectRow]:
    return Merge(name, rows)


def write(action: Any, second: float, name: str = NAME, **fields: Any) -> Write[ObjectRow]:
    return Write(WriteTable("container", TARGET, HASH, name, from_seconds(second), action, **fields))


def rows_of(database: Database[ObjectRow]) -> list[ObjectRow]:
    """All rows, tombstones included."""

    def read(connection: sqlite3.Connection) -> PageRead[ObjectRow]:
        return read_page(connection, OBJECT_ROWS, Query(1_000_000), raw=True)

    return [row for row in database.read(read).rows if isinstance(row, ObjectRow)]


def place_of(name: str) -> Place:
    return Place(OBJECT_ROWS, 7, hashlib.md5(name.encode()).digest())
