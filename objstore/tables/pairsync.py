"""Brings one database and another replica of it together: rows and settings, both ways."""

import logging
from collections import Counter
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, TypeVar

import msgspec

from objstore.formats.messages import (
    CompareTables,
    FetchRows,
    Message,
    RowsFetched,
    RowSpan,
    RowsTaken,
    Settings,
    TableQuery,
    TablesCompared,
    TableState,
    TakeRows,
)
from objstore.model.errors import Code, NodeError
from objstore.model.listing import Listed
from objstore.placement.places import Replica
from objstore.rpc.interface import Caller
from objstore.runtime.interface import Clock
from objstore.runtime.pacing import TokenBucket
from objstore.tables.changes import Changes, decode_rows, encode_rows, read_changes
from objstore.tables.comparison import WHOLE_ROWS_MIN, Need, acknowledged, need, same, settings_digest
from objstore.tables.database import Database
from objstore.tables.device import TableDevice
from objstore.tables.draft import State
from objstore.tables.operations import Merge, Take
from objstore.tables.place import Place
from objstore.tables.service import TableService
from objstore.tables.transfer import send_database

logger = logging.getLogger("objstore.tables")

CALL_TIMEOUT_S = 30.0
ROUNDS_MAX = 3
REPETITION_PAUSE_S = 3600.0
KEPT_MAX = 10_000

R = TypeVar("R", bound=Listed)
M = TypeVar("M", bound=Message)


class Gone(Exception):
    """The database was removed, replaced or quarantined on one side meanwhile: the next pass sees what is there then."""


@dataclass(slots=True)
class Pair:
    """Our database, and one other device that holds it or should. `receives`: we want what the other has, too."""

    device: TableDevice
    place: Place
    name: str
    other: Replica
    receives: bool = True


class PairSync(Generic[R]):
    """One per process and kind."""

    def __init__(
        self,
        service: TableService[R],
        caller: Caller,
        clock: Clock,
        pace: TokenBucket,
        *,
        whole_rows_min: int = WHOLE_ROWS_MIN,
        call_timeout_s: float = CALL_TIMEOUT_S,
    ) -> None:
        """`pace` counts bytes. A database of more changes than `whole_rows_min` goes as a whole where it is missing."""
        self._service = service
        self._kind = service.kind
        self._caller = caller
        self._clock = clock
        self._pace = pace
        self._whole_rows_min = whole_rows_min
        self._call_timeout_s = call_timeout_s
        self._repetitions: dict[tuple[bytes, bytes], float] = {}
        self._handed: dict[tuple[bytes, bytes], int] = {}
        """(our id, theirs) -> what this process has sent in full. A copy that is to be removed is not trusted to a mark that may
        stem from before it was put back."""

    async def compare(self, other: Replica, tables: list[TableQuery]) -> list[TableState | str | None]:
        """What another device holds of these databases; see TablesCompared. Raises NodeError, PeerUnavailable."""
        reply = await self._call(other, CompareTables(self._kind.kind, other.target.device, tables), TablesCompared)
        if len(reply.tables) != len(tables):
            raise NodeError(Code.INTERNAL, "an answer for other databases")
        return reply.tables

    async def sync(self, pair: Pair, before: State, theirs: TableState | None, figures: Counter[str]) -> State | None:
        """`before` is our state when the other was asked, `theirs` its answer. Returns what of ours the other now holds durably
        and completely, None when that cannot be said. Raises NodeError, PeerUnavailable, Gone.
        """
        known: State | None = None
        for _ in range(ROUNDS_MAX):
            database = await self._opened(pair, before)
            now = database.state
            if not pair.receives and theirs is not None:
                theirs = msgspec.structs.replace(theirs, received=self._handed.get((now.id, theirs.id), 0))
            todo = need(self._kind.kind, before, now, theirs, whole_rows_min=self._whole_rows_min)
            if not pair.receives:
                todo = todo._replace(fetch=None, note_here=False)
            if todo.repeated and not self._may_repeat(pair, now, theirs):
                return None
            if theirs is not None and not todo.settings and acknowledged(now, theirs):
                known = now
            if todo.nothing:
                return known
            taken = await self._send(pair, database, now, theirs, todo, figures)
            if taken is not None and (taken.received >= now.seq or same(now, taken)):
                known = now
            if theirs is not None and (taken is None or taken.id == theirs.id):
                await self._receive(pair, theirs, todo, figures)
            if not todo.rows or not pair.receives:
                return known
            before = (await self._opened(pair, before)).state
            theirs = await self._ask(pair, before)
        return known

    # --- there -------------------------------------------------------------------------------------------------

    async def _send(
        self, pair: Pair, database: Database[R], now: State, theirs: TableState | None, todo: Need, figures: Counter[str]
    ) -> TableState | None:
        """The other's state after it took what we have; None when nothing had to go there."""
        if todo.whole:
            try:
                reply = await send_database(pair.device, pair.place, database, pair.other, self._caller, self._pace)
            except NodeError as error:
                if error.code is not Code.NO_SPACE:
                    raise
                logger.info("no room for a copy, rows go instead", extra=_described(pair))
            else:
                figures["transferred"] += 1
                self._note_handed(pair, now.id, reply.state)
                if pair.receives:  # it kept our numbers, and goes on from there
                    await self._take_here(pair, RowSpan(reply.state.id, 0, reply.state.received), [])
                return reply.state
        settings = now.settings if todo.settings else None
        if todo.send is not None:
            return await self._send_rows(pair, database, now, todo.send, settings, figures)
        if todo.note_there:
            return await self._take_there(pair, RowSpan(now.id, 0, now.seq), encode_rows([]), settings)
        if settings is not None:
            at = 0 if theirs is None else theirs.received
            return await self._take_there(pair, RowSpan(now.id, at, at), encode_rows([]), settings)
        return None

    async def _send_rows(
        self, pair: Pair, database: Database[R], now: State, since: int, settings: Settings | None, figures: Counter[str]
    ) -> TableState:
        """All changes up to `now`; what comes later is the next pass's."""
        while True:
            changes: Changes = await pair.device.read(pair.place, database, partial(read_changes, kind=self._kind, since=since))
            span = RowSpan(now.id, since, changes.until)
            state = await self._take_there(pair, span, changes.rows, settings)
            self._note_handed(pair, now.id, state)
            figures["rows_sent"] += changes.row_count
            since, settings = changes.until, None
            if since >= now.seq or not changes.more:
                return state

    async def _take_there(self, pair: Pair, span: RowSpan, rows: bytes, settings: Settings | None) -> TableState:
        await self._pace.take(len(rows))
        request = TakeRows(self._kind.kind, pair.other.target, pair.place.hash, pair.name, span, rows, settings)
        reply = await self._call(pair.other, request, RowsTaken)
        if reply.settings is not None and pair.receives:
            await self._merge_settings(pair, reply.settings)
        return reply.state

    def _note_handed(self, pair: Pair, ours: bytes, theirs: TableState) -> None:
        if pair.receives:
            return
        if len(self._handed) >= KEPT_MAX:
            self._handed.clear()
        self._handed[ours, theirs.id] = theirs.received

    # --- here --------------------------------------------------------------------------------------------------

    async def _receive(self, pair: Pair, theirs: TableState, todo: Need, figures: Counter[str]) -> None:
        if todo.note_here:
            await self._take_here(pair, RowSpan(theirs.id, 0, theirs.seq), [])
        if todo.fetch is None:
            return
        since = todo.fetch
        while True:
            request = FetchRows(self._kind.kind, pair.other.target, pair.place.hash, pair.name, since)
            reply = await self._call(pair.other, request, RowsFetched)
            if reply.span.id != theirs.id:
                raise Gone("the other database was replaced")
            await self._pace.take(len(reply.rows))
            rows = decode_rows(self._kind, reply.rows)
            await self._take_here(pair, reply.span, rows)
            figures["rows_received"] += len(rows)
            since = reply.span.until
            if since >= theirs.seq or not reply.more:
                return

    async def _take_here(self, pair: Pair, span: RowSpan, rows: list[R]) -> None:
        await pair.device.apply(pair.place, Take(pair.name, span, rows, creates=False))

    async def _merge_settings(self, pair: Pair, settings: Settings) -> None:
        database = pair.device.peek(pair.place)
        if database is None or settings_digest(database.state.settings) != settings_digest(settings):
            merge: Merge[Any] = Merge(settings.name, [], settings, creates=False)
            await pair.device.apply(pair.place, merge)
            await self._service.leases.revoke(self._kind.kind, settings.name)

    # --- steps -------------------------------------------------------------------------------------------------

    async def _opened(self, pair: Pair, before: State) -> Database[R]:
        database: Database[R] | None = await pair.device.opened(pair.place, pair.name)
        if database is None or database.state.id != before.id:
            raise Gone("the database was replaced")
        return database

    async def _ask(self, pair: Pair, ours: State) -> TableState:
        query = TableQuery(pair.other.target.partition, pair.place.hash, pair.name, ours.id)
        (state,) = await self.compare(pair.other, [query])
        if not isinstance(state, TableState):
            raise Gone(f"the other database: {state or 'missing'}")
        return state

    def _may_repeat(self, pair: Pair, ours: State, theirs: TableState | None) -> bool:
        """Wrong digests would make every pass send everything: two databases start over once in a while only."""
        assert theirs is not None
        key, now = (ours.id, theirs.id), self._clock.monotonic()
        if now < self._repetitions.get(key, 0.0):
            return False
        if len(self._repetitions) >= KEPT_MAX:
            self._repetitions.clear()
        self._repetitions[key] = now + REPETITION_PAUSE_S
        logger.warning("replicas differ though all was exchanged: starting over", extra=_described(pair))
        return True

    async def _call(self, other: Replica, request: Message, kind: type[M]) -> M:
        reply = await self._caller.call(other.address, request, timeout_s=self._call_timeout_s)
        if not isinstance(reply, kind):
            raise NodeError(Code.INTERNAL, f"unexpected reply {type(reply).__name__}")
        return reply


def _described(pair: Pair) -> dict[str, str]:
    address = pair.other.address
    return {
        "table": pair.name,
        "path": f"{pair.device.name}/{pair.place.path}",
        "node": f"{address.ip}:{address.port}/{pair.other.target.device}",
    }
