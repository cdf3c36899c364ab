"""The answering side of replication: what a replica tells of itself, takes in and hands out."""

from functools import partial
from typing import Generic, TypeVar

from objstore.formats.messages import (
    CompareTables,
    FetchRows,
    Message,
    OpenTable,
    RowsFetched,
    RowSpan,
    RowsTaken,
    TableQuery,
    TablesCompared,
    TableState,
    TakeRows,
)
from objstore.formats.messages.tablesync import TABLES_PER_CALL_MAX
from objstore.model.errors import Code, NodeError
from objstore.model.listing import Listed
from objstore.rpc.interface import CallContext, Dispatcher, Exchange
from objstore.runtime.interface import Clock
from objstore.tables.changes import Changes, decode_rows, read_changes
from objstore.tables.comparison import table_state
from objstore.tables.draft import State
from objstore.tables.neighbours import Neighbours
from objstore.tables.operations import Take
from objstore.tables.place import Place
from objstore.tables.scanning import state_of, states_of
from objstore.tables.service import TableService, on_kind, on_stream_of_kind
from objstore.tables.transfer import Receiver

R = TypeVar("R", bound=Listed)


class SyncService(Generic[R]):
    """For the databases of one kind on this process's devices."""

    def __init__(self, service: TableService[R], neighbours: Neighbours, clock: Clock) -> None:
        self._service = service
        self._kind = service.kind
        self._neighbours = neighbours
        self._clock = clock

    def register(self, dispatcher: Dispatcher) -> None:
        """Answer CompareTables, TakeRows, FetchRows and OpenTable of this kind."""
        kind = self._kind.kind
        on_kind(dispatcher, CompareTables, kind, self._compare)
        on_kind(dispatcher, TakeRows, kind, self._take)
        on_kind(dispatcher, FetchRows, kind, self._fetch)
        on_stream_of_kind(dispatcher, OpenTable, kind, self._receive)

    async def _compare(self, request: Message, _context: CallContext) -> TablesCompared:
        assert isinstance(request, CompareTables)
        device = self._service.device(request.device)
        if len(request.tables) > TABLES_PER_CALL_MAX:
            raise NodeError(Code.BAD_REQUEST, f"more than {TABLES_PER_CALL_MAX} databases in one call")
        places = [Place(self._kind, query.partition, query.hash) for query in request.tables]
        states = await states_of(device, places)
        return TablesCompared([self._told(query, state) for query, state in zip(request.tables, states, strict=True)])

    def _told(self, query: TableQuery, state: State | NodeError | None) -> TableState | str | None:
        if isinstance(state, NodeError):
            return state.code.value
        if state is None:
            return None
        if state.settings.name not in (query.name, ""):
            return Code.CORRUPT.value
        return table_state(self._kind.kind, state, query.id)

    async def _take(self, request: Message, _context: CallContext) -> RowsTaken:
        assert isinstance(request, TakeRows)
        device, place = self._service.place(request.target, request.hash)
        parent = self._neighbours.parent(place, request.name, device.name)
        rows = decode_rows(self._kind, request.rows)
        take = Take(request.name, request.span, rows, request.settings, parent)
        if await device.apply(place, take):
            await self._service.leases.revoke(self._kind.kind, request.name)
        state = await state_of(device, place)
        if state is None:
            raise NodeError(Code.BUSY, "the database was removed at once")
        settings = None if request.settings is None else state.settings
        return RowsTaken(table_state(self._kind.kind, state, request.span.id), settings)

    async def _fetch(self, request: Message, _context: CallContext) -> RowsFetched:
        assert isinstance(request, FetchRows)
        device, place = self._service.place(request.target, request.hash)
        database = await device.opened(place, request.name)
        if database is None:
            raise NodeError(Code.NOT_FOUND, "no such account or container here")
        changes: Changes = await device.read(place, database, partial(read_changes, kind=self._kind, since=request.since))
        return RowsFetched(RowSpan(database.state.id, request.since, changes.until), changes.rows, changes.more)

    async def _receive(self, request: Message, exchange: Exchange, _context: CallContext) -> None:
        assert isinstance(request, OpenTable)
        device, place = self._service.place(request.target, request.hash)
        parent = self._neighbours.parent(place, request.name, device.name)
        await Receiver(device, place, request, parent, self._clock).receive(exchange)
        await self._service.leases.revoke(self._kind.kind, request.name)
