"""The replicator of account and container databases: makes replicas equal, hands back what belongs elsewhere, forgets deletions.

One pass tells every other primary, many databases to a call, which databases we hold, and hears what they hold. Equal ones cost
nothing more. What differs is exchanged both ways (`pairsync.py`). A database on a device that is no primary of its partition is
sent to all primaries, and removed when each of them durably holds all of it and nothing came since. Deletions older than a horizon
are forgotten once all primaries know them.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from objstore.formats.messages import Address, Settings, TableQuery, TableState
from objstore.formats.messages.tablesync import TABLES_PER_CALL_MAX
from objstore.model.errors import Code, NodeError
from objstore.model.listing import Listed
from objstore.placement.places import Replica
from objstore.rpc.interface import PeerUnavailable
from objstore.runtime.interface import Clock, Progress
from objstore.runtime.pacing import Yielding
from objstore.tables.comparison import Need, acknowledged, need
from objstore.tables.device import TableDevice
from objstore.tables.draft import State
from objstore.tables.neighbours import Holders, Neighbours
from objstore.tables.operations import ReportTo
from objstore.tables.pairsync import Gone, Pair, PairSync
from objstore.tables.place import Place
from objstore.tables.reclaiming import Reclaimer
from objstore.tables.replacement import Remove
from objstore.tables.scanning import places, readable_state, states_of
from objstore.tables.service import TableService

logger = logging.getLogger("objstore.tables")

DATABASES_AT_ONCE_MAX = 8
DOWN_S = 30.0
"""How long a peer that did not answer is left alone within a pass."""
ERRORS_LOGGED_MAX = 10

R = TypeVar("R", bound=Listed)


Answer = TableState | str | Exception | None
"""What another device said of a database (see TablesCompared), or why it said nothing."""


@dataclass(slots=True)
class _Table:
    """A database of ours in this pass, and what the others say of it: an answer each, or an error."""

    place: Place
    state: State
    holders: Holders
    answers: dict[Replica, Answer] = field(default_factory=dict)


class TableReplicator(Generic[R]):
    """Worker "account-replicator" or "container-replicator". Figures: databases; in_sync (nothing had to be exchanged with any
    other primary); rows_sent, rows_received; transferred (whole databases); failed (databases unreadable here, and pairs that
    could not be brought together); removed (databases handed back, or forgotten); reclaimed (rows forgotten).
    """

    def __init__(
        self,
        service: TableService[R],
        neighbours: Neighbours,
        pairs: PairSync[R],
        clock: Clock,
        horizon: Callable[[], int],
        yielding: Yielding,
    ) -> None:
        """`horizon()` is the timestamp below which deletions may be forgotten, 0 for none."""
        self.progress = Progress()
        """In databases."""
        self._service = service
        self._kind = service.kind
        self._neighbours = neighbours
        self._pairs = pairs
        self._clock = clock
        self._reclaimer = Reclaimer(horizon)
        self._yielding = yielding
        self._down: dict[Address, float] = {}
        self._errors_logged = 0

    @property
    def name(self) -> str:
        return f"{self._kind.kind}-replicator"

    async def run_once(self) -> dict[str, int]:
        """One pass over all devices. A device, database or peer that fails does not hold up the others."""
        names = ("databases", "in_sync", "rows_sent", "rows_received", "transferred", "failed", "removed", "reclaimed")
        figures: Counter[str] = Counter(dict.fromkeys(names, 0))
        self._errors_logged = 0
        self._down = {}
        work: list[tuple[TableDevice, list[Place]]] = []
        for device in self._service.devices.values():
            if not device.disk.gone:
                work.append((device, await self._places(device, figures)))
        self.progress = Progress(0, sum(len(found) for _, found in work))
        for device, found in work:
            for start in range(0, len(found), TABLES_PER_CALL_MAX):
                part = found[start : start + TABLES_PER_CALL_MAX]
                await self._part(device, part, figures)
                self.progress.done += len(part)
        return dict(figures)

    async def _places(self, device: TableDevice, figures: Counter[str]) -> list[Place]:
        try:
            return [place async for place in places(device, self._kind)]
        except NodeError as error:
            self._failed(figures, "scan failed", device, error)
            return []

    async def _part(self, device: TableDevice, part: Sequence[Place], figures: Counter[str]) -> None:
        tables = []
        figures["databases"] += len(part)
        for place, state in zip(part, await states_of(device, part), strict=True):
            table = self._table(device, place, state, figures)
            if table is not None:
                tables.append(table)
        asked: dict[tuple[Address, str], list[tuple[_Table, Replica]]] = {}
        for table in tables:
            for other in table.holders.others:
                asked.setdefault((other.address, other.target.device), []).append((table, other))
        await asyncio.gather(*(self._ask(group) for group in asked.values()))
        slots = asyncio.Semaphore(DATABASES_AT_ONCE_MAX)

        async def settle(table: _Table) -> None:
            async with slots:
                await self._yielding.turn()
                try:
                    await self._settle(device, table, figures)
                except NodeError as error:
                    self._failed(figures, "database not replicated", device, error, table.place)

        await asyncio.gather(*(settle(table) for table in tables))

    def _table(self, device: TableDevice, place: Place, state: State | NodeError | None, figures: Counter[str]) -> _Table | None:
        holders = self._neighbours.holders(place, device.name)
        if isinstance(state, NodeError):
            self._failed(figures, "database unreadable", device, state, place)
            return None
        if holders is None:
            self._failed(figures, "partition is in no ring", device, None, place)
            return None
        # One without a name was made by a write that a crash, or a refusal, kept from happening: nobody holds anything of it.
        return _Table(place, state, holders) if state is not None and state.settings.name else None

    async def _ask(self, group: Sequence[tuple[_Table, Replica]]) -> None:
        """One call for databases that one other device should hold."""
        other = group[0][1]
        queries = [
            TableQuery(table.place.partition, table.place.hash, table.state.settings.name, table.state.id) for table, _ in group
        ]
        answers: Sequence[Answer]
        try:
            self._require_up(other)
            answers = await self._pairs.compare(other, queries)
        except (NodeError, PeerUnavailable) as error:
            self._note_down(other, error)
            answers = [error] * len(group)
        for (table, replica), answer in zip(group, answers, strict=True):
            table.answers[replica] = answer

    # --- one database ------------------------------------------------------------------------------------------

    async def _settle(self, device: TableDevice, table: _Table, figures: Counter[str]) -> None:
        needs = [self._need(table, other) for other in table.holders.others]
        figures["in_sync"] += all(todo is not None and not todo.rows and not todo.settings for todo in needs)
        known = await asyncio.gather(
            *(
                _result(table.state) if todo is not None and todo.nothing else self._sync(device, table, other, figures)
                for other, todo in zip(table.holders.others, needs, strict=True)
            )
        )
        if table.holders.primary:
            parent = self._neighbours.parent(table.place, table.state.settings.name, device.name)
            if parent is not None and table.state.parent != parent:
                await device.apply(table.place, ReportTo(table.state.settings.name, parent))
        held = [state for state in known if state is not None]
        if len(held) < len(known):
            return
        if table.holders.primary:
            await self._reclaim(device, table, held, figures)
        elif held and all(_as_removed(state) == _as_removed(held[0]) for state in held):
            await self._remove(device, table.place, held[0], figures)

    def _need(self, table: _Table, other: Replica) -> Need | None:
        """What has to be exchanged, by what was said already; None where it takes a closer look: at a copy that is to be removed,
        and at marks that may not be true.
        """
        answer = table.answers[other]
        if not table.holders.primary or not isinstance(answer, TableState) or not acknowledged(table.state, answer):
            return None
        return need(self._kind.kind, table.state, table.state, answer)

    async def _sync(self, device: TableDevice, table: _Table, other: Replica, figures: Counter[str]) -> State | None:
        """What of ours the other holds; None when that is not known, or it failed."""
        answer = table.answers[other]
        pair = Pair(device, table.place, table.state.settings.name, other, receives=table.holders.primary)
        try:
            if isinstance(answer, Exception):
                raise answer
            if isinstance(answer, str):
                raise NodeError(Code(answer), "the other database cannot be read")
            if answer is None and await self._reclaimer.is_over(device, table.place, table.state):
                return table.state
            self._require_up(other)
            return await self._pairs.sync(pair, table.state, answer, figures)
        except (NodeError, PeerUnavailable, Gone) as error:
            self._note_down(other, error)
            self._failed(figures, "replica not brought together", device, error, table.place, other)
            return None

    async def _reclaim(self, device: TableDevice, table: _Table, held: Sequence[State], figures: Counter[str]) -> None:
        """All primaries hold what we hold, up to the least of `held`."""
        state = await readable_state(device, table.place)
        if state is None or any(known.id != state.id for known in held):
            return
        seq = min((known.seq for known in held), default=state.seq)
        count = await self._reclaimer.reclaim(device, table.place, state, seq)
        figures["reclaimed"] += count
        if count:
            state = await readable_state(device, table.place)
        if (
            state is not None
            and self._reclaimer.is_spent(state)
            and all(_as_removed(known) == _as_removed(state) for known in held)
        ):
            await self._remove(device, table.place, state, figures)

    async def _remove(self, device: TableDevice, place: Place, state: State, figures: Counter[str]) -> None:
        if await device.act(place, Remove(state)):
            self._reclaimer.forget(device, place)
            figures["removed"] += 1

    # --- trouble -----------------------------------------------------------------------------------------------

    def _require_up(self, other: Replica) -> None:
        if self._clock.monotonic() < self._down.get(other.address, 0.0):
            raise PeerUnavailable(f"{other.address.ip}:{other.address.port} did not answer before")

    def _note_down(self, other: Replica, error: Exception) -> None:
        now = self._clock.monotonic()
        if isinstance(error, PeerUnavailable) and now >= self._down.get(other.address, 0.0):
            self._down[other.address] = now + DOWN_S

    def _failed(
        self,
        figures: Counter[str],
        what: str,
        device: TableDevice,
        error: Exception | None,
        place: Place | None = None,
        other: Replica | None = None,
    ) -> None:
        figures["failed"] += 1
        self._errors_logged += 1
        if self._errors_logged > ERRORS_LOGGED_MAX:
            return
        details = {"device": device.name, "error": str(error or "")}
        if place is not None:
            details["path"] = place.path
        if other is not None:
            details["node"] = f"{other.address.ip}:{other.address.port}/{other.target.device}"
        logger.warning(what, extra=details)


async def _result(state: State) -> State:
    return state


def _as_removed(state: State) -> tuple[bytes, int, Settings]:
    """What must be the same for a database to be removed."""
    return state.id, state.seq, state.settings
