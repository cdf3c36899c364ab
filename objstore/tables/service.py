"""What account and container servers share: the requests that name their kind."""

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable, Mapping
from typing import Generic, TypeVar

import msgspec

from objstore.formats.messages import (
    CompareTables,
    ContainerPage,
    FetchRows,
    Kind,
    ListTable,
    Message,
    ObjectPage,
    OpenTable,
    StatTable,
    TableInfo,
    TableWritten,
    TakeRows,
    Target,
    WriteTable,
)
from objstore.model.errors import Code, NodeError
from objstore.model.listing import Listed
from objstore.model.timestamps import from_seconds
from objstore.rpc.interface import CallContext, Dispatcher, Exchange, Handler, StreamHandler
from objstore.runtime.interface import Clock
from objstore.tables.database import Database
from objstore.tables.device import TableDevice
from objstore.tables.digest import to_bytes
from objstore.tables.draft import State, stats_of
from objstore.tables.leases import Leases
from objstore.tables.operations import Operation, Write
from objstore.tables.place import Place
from objstore.tables.plainpage import PlainPage, read_plain_page
from objstore.tables.reading import EMPTY_DIGEST, PageRead, read_page
from objstore.tables.rowkind import RowKind

HASH_BYTES = 16
SKEW_S_MAX = 30.0

R = TypeVar("R", bound=Listed)
T = TypeVar("T")
H = TypeVar("H")
PageType = type[ObjectPage] | type[ContainerPage]


class ByKind:
    """The one handler of a request that both services answer."""

    def __init__(self) -> None:
        self.handlers: dict[Kind, Handler] = {}

    def __call__(self, request: Message, context: CallContext) -> Awaitable[Message]:
        return _of_kind(self.handlers, request)(request, context)


class StreamByKind:
    """The same for a streamed call."""

    def __init__(self) -> None:
        self.handlers: dict[Kind, StreamHandler] = {}

    def __call__(self, request: Message, exchange: Exchange, context: CallContext) -> Awaitable[None]:
        return _of_kind(self.handlers, request)(request, exchange, context)


def _of_kind(handlers: Mapping[Kind, H], request: Message) -> H:
    assert isinstance(request, WriteTable | StatTable | ListTable | CompareTables | TakeRows | FetchRows | OpenTable)
    handler = handlers.get(request.kind)
    if handler is None:
        raise NodeError(Code.BAD_REQUEST, f"this node serves no {request.kind}s")
    return handler


def on_kind(dispatcher: Dispatcher, request: type[Message], kind: Kind, handler: Handler) -> None:
    """Register one kind's handler. Raises ValueError when the kind has one already."""
    by_kind = dispatcher.handlers.get(request)
    if by_kind is None:
        by_kind = ByKind()
        dispatcher.on(request, by_kind)
    if not isinstance(by_kind, ByKind) or kind in by_kind.handlers:
        raise ValueError(f"two handlers for {request.__name__} of {kind}s")
    by_kind.handlers[kind] = handler


def on_stream_of_kind(dispatcher: Dispatcher, request: type[Message], kind: Kind, handler: StreamHandler) -> None:
    """The same for a streamed call."""
    by_kind = dispatcher.stream_handlers.get(request)
    if by_kind is None:
        by_kind = StreamByKind()
        dispatcher.on_stream(request, by_kind)
    if not isinstance(by_kind, StreamByKind) or kind in by_kind.handlers:
        raise ValueError(f"two handlers for {request.__name__} of {kind}s")
    by_kind.handlers[kind] = handler


class TableService(Generic[R]):
    """Serves the databases of one kind on this process's devices."""

    def __init__(
        self,
        kind: RowKind[R],
        page: PageType,
        devices: Mapping[str, TableDevice],
        clock: Clock,
        *,
        written: Callable[[TableDevice, Place], Awaitable[None]] | None = None,
        skew_s_max: float = SKEW_S_MAX,
    ) -> None:
        """`written` is awaited after a creation or deletion was committed, together with the revocation of leases."""
        self.kind = kind
        self.leases = Leases(clock)
        self.devices = devices
        self._page = page
        self._clock = clock
        self._written = written
        self._skew_s_max = skew_s_max

    def register(self, dispatcher: Dispatcher) -> None:
        """Answer WriteTable, StatTable and ListTable of this kind."""
        on_kind(dispatcher, WriteTable, self.kind.kind, self._write)
        on_kind(dispatcher, StatTable, self.kind.kind, self._stat)
        on_kind(dispatcher, ListTable, self.kind.kind, self._list)

    def place(self, target: Target, hash_: bytes) -> tuple[TableDevice, Place]:
        """Where a request goes. Raises NodeError device_failed for a device we do not have, bad_request."""
        device = self.device(target.device)
        if len(hash_) != HASH_BYTES or target.partition < 0:
            raise NodeError(Code.BAD_REQUEST, "no such place")
        return device, Place(self.kind, target.partition, hash_)

    def device(self, name: str) -> TableDevice:
        """Raises NodeError device_failed for one that we do not have, or that is not there any more."""
        device = self.devices.get(name)
        if device is None:
            raise NodeError(Code.DEVICE_FAILED, f"no device {name!r} here")
        if device.disk.gone:
            raise NodeError(Code.DEVICE_FAILED, device.disk.failed or "the device is gone")
        return device

    async def merge(self, target: Target, hash_: bytes, operation: Operation[R, T], *, settings: bool) -> T:
        """Run an operation that merges; `settings` says whether it may change them, so that leases must be revoked."""
        device, place = self.place(target, hash_)
        result = await device.apply(place, operation)
        if settings:
            await self.leases.revoke(self.kind.kind, operation.name)
        return result

    # --- handlers ----------------------------------------------------------------------------------------------

    async def _write(self, request: Message, _context: CallContext) -> TableWritten:
        assert isinstance(request, WriteTable)
        device, place = self.place(request.target, request.hash)
        if request.timestamp > from_seconds(self._clock.now() + self._skew_s_max):
            raise NodeError(Code.TOO_FAR_AHEAD, "the timestamp is too far in the future", request.timestamp)
        write: Write[R] = Write(request)
        reply = await device.apply(place, write)
        revoked = self.leases.revoke(self.kind.kind, request.name)
        if self._written is None or request.action == "update":
            await revoked
        else:
            await asyncio.gather(self._written(device, place), revoked)
        return reply

    async def _stat(self, request: Message, context: CallContext) -> TableInfo:
        assert isinstance(request, StatTable)
        device, place = self.place(request.target, request.hash)
        await device.rows.tried(place)
        database = device.peek(place)
        if database is None or database.state.settings.name != request.name:
            database = await self._opened(device, place, request.name)
        # From here to the answer there is no wait: a lease must not be granted on settings that have changed since.
        lease_s = self.leases.grant(self.kind.kind, request.name, context.peer) if request.lease else 0.0
        return self._info(database, lease_s)

    async def _list(self, request: Message, _context: CallContext) -> ObjectPage | ContainerPage:
        assert isinstance(request, ListTable)
        device, place = self.place(request.target, request.hash)
        database = await self._opened(device, place, request.name)
        if database is None:
            return self._page(self._info(None, 0.0), [], EMPTY_DIGEST, "")
        info = self._info(database, 0.0)
        query, raw = request.query, request.raw_rows
        held = device.rows.waiting(place)  # of a database that somebody keeps locked: it can be read all the same
        if (request.table_only or request.known) and not held:
            table = to_bytes(database.state.digests.rows)
            if request.table_only or table == request.known:
                return self._page(info, [], b"", "", table=table)

        def read(connection: sqlite3.Connection) -> PageRead[R] | PlainPage:
            plain = None if raw or held else read_plain_page(connection, self.kind, query)
            return plain or read_page(connection, self.kind, query, raw=raw, held=held)

        page = await device.read_as_it_is(place, database, read)
        if isinstance(page, PageRead):
            rows = [] if request.digest_only else page.rows
            return self._page(info, rows, page.digest, page.until, table=page.table)  # type: ignore[arg-type]
        packed = b"" if request.digest_only else page.packed
        answer = ObjectPage(info, [], page.digest, page.until, packed, page.dead, page.table)
        return answer if request.packed else msgspec.structs.replace(answer, rows=answer.all_rows(), packed=b"")

    async def _opened(self, device: TableDevice, place: Place, name: str) -> Database[R] | None:
        """None also for one without a name: a crash came between its making and the first change, which names it."""
        database: Database[R] | None = await device.opened(place, name)
        return database if database is not None and database.state.settings.name else None

    def _info(self, database: Database[R] | None, lease_s: float) -> TableInfo:
        if database is None:
            return TableInfo(None, stats_of(self.kind.kind, {}), lease_s)
        state: State = database.state
        return TableInfo(state.settings, state.stats, lease_s)
