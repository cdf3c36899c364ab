"""A whole database on its way to another node: a consistent copy by SQLite's backup, streamed, verified, given an id of its own.

A file copied beside a writer would be torn, and one without its write-ahead log would lack what was committed last; the backup is
neither. What arrives is believed only after SQLite has checked it and all rows were counted again.
"""

import asyncio
import sqlite3
from functools import partial
from typing import Any

import msgspec

from objstore.formats.messages import CommitTable, IndexTarget, OpenTable, Ready, RowsTaken, TableState
from objstore.model.errors import Code, NodeError
from objstore.placement.places import Replica
from objstore.rpc.interface import CHUNK_BYTES_MAX, Caller, Chunk, Exchange
from objstore.runtime.interface import Clock, OpenFile
from objstore.runtime.pacing import TokenBucket
from objstore.tables.comparison import table_state
from objstore.tables.database import Database
from objstore.tables.device import TableDevice
from objstore.tables.draft import figures_of, load_state
from objstore.tables.place import Place
from objstore.tables.quarantine import COMPANIONS
from objstore.tables.recount import count
from objstore.tables.replacement import adopt, guarded
from objstore.tables.schema import open_writer

PROGRESS_TIMEOUT_S = 30.0
SIGN_OF_LIFE_S = 5.0


async def send_database(
    device: TableDevice, place: Place, database: Database[Any], to: Replica, caller: Caller, pace: TokenBucket
) -> RowsTaken:
    """Bring the whole database to another device; durable there when this returns. Raises NodeError (no_space also when there is
    no room for the copy here), PeerUnavailable.
    """
    temp = device.temp()
    try:
        await _copy(device, place, database, temp)
        file = await device.disk.run(partial(device.disk.fs.open, temp))
        try:
            return await _stream(device, place, database.state.settings.name, file, to, caller, pace)
        finally:
            file.close()
    except OSError as error:
        raise NodeError(Code.DEVICE_FAILED, f"copying a database: {error.strerror or error}") from error
    finally:
        await device.disk.run(partial(_discard, device, temp))


async def _copy(device: TableDevice, place: Place, database: Database[Any], temp: str) -> None:
    device.disk.require_space(await device.disk.run(partial(device.disk.fs.size_of, place.path)))

    def backup(source: sqlite3.Connection) -> None:
        target = sqlite3.connect(device.path_of_temp(temp), isolation_level=None)
        try:
            target.execute("PRAGMA synchronous=OFF")  # nothing of it outlives this process
            source.backup(target)
        finally:
            target.close()

    await device.read(place, database, backup)


async def _stream(
    device: TableDevice, place: Place, name: str, file: OpenFile, to: Replica, caller: Caller, pace: TokenBucket
) -> RowsTaken:
    size = file.size()
    opening = OpenTable(place.kind.kind, to.target, place.hash, name, size)
    exchange = await caller.open(to.address, opening, timeout_s=PROGRESS_TIMEOUT_S)
    try:
        if not isinstance(await exchange.receive(), Ready):
            raise NodeError(Code.INTERNAL, "unexpected reply")
        for start in range(0, size, CHUNK_BYTES_MAX):
            data = await device.disk.run(partial(file.pread, CHUNK_BYTES_MAX, start))
            await pace.take(len(data))
            await exchange.send_chunk(data)
        await exchange.send(CommitTable())
        while isinstance(reply := await exchange.receive(), Ready):
            pass
        if not isinstance(reply, RowsTaken):
            raise NodeError(Code.INTERNAL, "unexpected reply")
        await exchange.finish()
        return reply
    finally:
        exchange.abort()


class Receiver:
    """Answers OpenTable on one place."""

    def __init__(self, device: TableDevice, place: Place, request: OpenTable, parent: IndexTarget | None, clock: Clock) -> None:
        """`parent`: where this replica reports its row, by the rings."""
        self._device = device
        self._place = place
        self._request = request
        self._parent = parent
        self._clock = clock
        self._temp = device.temp()

    async def receive(self, exchange: Exchange) -> None:
        """Raises NodeError, PeerUnavailable; then nothing has changed here."""
        device = self._device
        if self._request.size < 0:
            raise NodeError(Code.BAD_REQUEST, "no such size")
        device.disk.require_space(self._request.size)
        try:
            await self._receive_file(exchange)
            taking = asyncio.ensure_future(self._take())
            try:
                while not (await asyncio.wait({taking}, timeout=SIGN_OF_LIFE_S))[0]:
                    await exchange.send(Ready())
                await exchange.send(RowsTaken(await taking))
            finally:
                await _ended(taking)
        except OSError as error:
            raise NodeError(Code.DEVICE_FAILED, f"writing a received database: {error.strerror or error}") from error
        finally:
            await device.disk.run(partial(_discard, device, self._temp))

    async def _receive_file(self, exchange: Exchange) -> None:
        disk = self._device.disk
        file = await disk.run(partial(disk.fs.open_append, self._temp))
        try:
            await exchange.send(Ready())
            size = 0
            while isinstance(item := await exchange.receive(), Chunk):
                size += len(item.data)
                if size > self._request.size:
                    raise NodeError(Code.BAD_REQUEST, "more bytes than were announced")
                await disk.run(partial(file.write, item.data))
            if not isinstance(item, CommitTable) or size != self._request.size:
                raise NodeError(Code.BAD_REQUEST, f"{size} bytes came of {self._request.size}")
        finally:
            file.close()

    async def _take(self) -> TableState:
        device, place = self._device, self._place
        sender, prepared = await device.disk.run(partial(guarded, device, self._prepare))
        try:
            await adopt(device, place, self._temp, prepared, self._clock.sleep)
        finally:
            await device.disk.run(partial(guarded, device, prepared.close))
        database = await device.opened(place, self._request.name)
        if database is None:
            raise NodeError(Code.BUSY, "the received database was removed at once")
        return table_state(place.kind.kind, database.state, sender)

    def _prepare(self) -> tuple[bytes, Database[Any]]:
        """The sender's id, and the verified database with one of its own."""
        path, place = self._device.path_of_temp(self._temp), self._place
        connection = open_writer(path, place.kind)
        try:
            (verdict,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
            state = load_state(connection, place.kind.kind, place.hash)
            if verdict != "ok" or figures_of(state) != count(connection, place.kind):
                raise NodeError(Code.CORRUPT, "the database came damaged")
            if state.settings.name != self._request.name:
                raise NodeError(Code.CORRUPT, "the database that came is of another name")
            connection.execute("BEGIN IMMEDIATE")
            connection.execute(
                "UPDATE info SET id = randomblob(16), reported = 'null', parent = ?",
                (msgspec.json.encode(self._parent).decode(),),
            )
            connection.execute(
                "INSERT OR REPLACE INTO mark (id, seq, used) VALUES (?, ?, (SELECT coalesce(max(used), 0) + 1 FROM mark))",
                (state.id, state.seq),
            )
            connection.execute("COMMIT")
            return state.id, Database(path, place.kind, place.hash)
        finally:
            connection.close()  # not the last one: that would move the log, and say nothing of a failed sync


async def _ended(taking: "asyncio.Future[TableState]") -> None:
    """Its threads use the temporary file to the end, whether anybody waits or not."""
    await asyncio.wait({taking})
    if not taking.cancelled():
        taking.exception()


def _discard(device: TableDevice, temp: str) -> None:
    for ending in ("", *COMPANIONS):
        device.disk.fs.unlink(temp + ending)
