"""What a proxy knows of accounts and containers, coherent by lease.

A read asks R = n - W + 1 replicas and keeps the merged answer until the shortest of their leases ends. A server tells every
holder of a lease before it acknowledges a change (RevokeLease), and as a change needs W replicas, at least one of the R asked
takes part in it: no proxy believes old settings once a newer change was acknowledged.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from objstore.formats.messages import (
    Address,
    MergeContainerRows,
    MergeObjectRows,
    Message,
    Ready,
    RevokeLease,
    Settings,
    Stats,
    StatTable,
    TableInfo,
)
from objstore.formats.settings import merge_settings
from objstore.model.acl import AccountAcl, ContainerAcl, parse_account_acl, parse_container_acl
from objstore.model.errors import Unavailable
from objstore.model.quorum import read_count
from objstore.placement.places import Replica, TablePlace
from objstore.proxy.nodes import FanOut, Nodes
from objstore.rpc.interface import CallContext, Dispatcher


@dataclass(slots=True)
class Info:
    """Settings and figures of one account or container. A name nobody ever made has empty settings."""

    settings: Settings
    stats: Stats
    expires: float = 0.0
    """Monotonic; not to be believed from then on."""
    refresh_at: float = 0.0
    _read_acl: ContainerAcl | None = field(default=None, repr=False)
    _write_acl: ContainerAcl | None = field(default=None, repr=False)
    _account_acl: AccountAcl | None = field(default=None, repr=False)

    @property
    def exists(self) -> bool:
        return self.settings.exists

    @property
    def deleted(self) -> bool:
        """It existed, and was not made again since."""
        return self.settings.delete_timestamp > 0 and not self.settings.exists

    def value(self, key: str) -> str:
        """A setting, "" when it is not set."""
        setting = self.settings.values.get(key)
        return setting.value if setting is not None else ""

    @property
    def read_acl(self) -> ContainerAcl:
        if self._read_acl is None:
            self._read_acl = parse_container_acl(self.value("acl:read"))
        return self._read_acl

    @property
    def write_acl(self) -> ContainerAcl:
        if self._write_acl is None:
            self._write_acl = parse_container_acl(self.value("acl:write"))
        return self._write_acl

    @property
    def account_acl(self) -> AccountAcl:
        if self._account_acl is None:
            self._account_acl = parse_account_acl(self.value("acl:account"))
        return self._account_acl

    @property
    def newest(self) -> int:
        """The newest timestamp in the settings: a change must come after it."""
        settings = self.settings
        registers = max((setting.timestamp for setting in settings.values.values()), default=0)
        return max(settings.put_timestamp, settings.delete_timestamp, registers)


def merge_answers(name: str, answers: Sequence[TableInfo]) -> Settings:
    """The settings that all replicas together know. A database that is just being made has no name yet, and knows nothing."""
    merged = Settings(name)
    for answer in answers:
        if answer.settings is not None and answer.settings.name:
            merged = merge_settings(merged, answer.settings)
    return merged


def choose_stats(answers: Sequence[TableInfo]) -> Stats:
    """The figures most replicas agree on; of several, the ones that saw most."""
    figures = [answer.stats for answer in answers]
    return max(figures, key=lambda stats: (figures.count(stats), stats.object_count, stats.container_count, stats.bytes_used))


class InfoCache:
    """Not thread-safe; one per proxy process."""

    def __init__(self, nodes: Nodes, dispatcher: Dispatcher) -> None:
        self.nodes = nodes
        self._known: dict[str, Info] = {}
        self._asking: dict[str, asyncio.Task[Info]] = {}
        self._turn = 0
        dispatcher.on(RevokeLease, self._revoke)

    async def _revoke(self, request: Message, context: CallContext) -> Message:  # noqa: ARG002 - Handler's signature
        assert isinstance(request, RevokeLease)
        self.forget(request.name)
        return Ready()

    def forget(self, name: str) -> None:
        """What is known, or being asked, may be old. Whoever began to ask before may still use the answer, nobody later."""
        self._known.pop(name, None)
        self._asking.pop(name, None)

    def known(self, place: TablePlace) -> Info | None:
        """What `get` gives, where that needs no question to anybody."""
        info = self._known.get(place.name)
        return info if info is not None and self.nodes.clock.monotonic() < info.refresh_at else None

    async def get(self, place: TablePlace) -> Info:
        """From memory as long as the leases last; refreshed ahead of their end while in use. Raises Unavailable."""
        info = self._known.get(place.name)
        if info is not None:
            now = self.nodes.clock.monotonic()
            if now < info.expires:
                if now >= info.refresh_at and place.name not in self._asking:
                    info.refresh_at = info.expires
                    self._ask(place)
                return info
        task = self._asking.get(place.name) or self._ask(place)
        # Shared by all who wait: one of them being cancelled must not end it for the others.
        return await asyncio.shield(task)

    def _ask(self, place: TablePlace) -> "asyncio.Task[Info]":
        task = asyncio.get_running_loop().create_task(self._fetch(place))
        self._asking[place.name] = task
        task.add_done_callback(lambda ended: self._fetched(place.name, ended))
        return task

    def _fetched(self, name: str, task: "asyncio.Task[Info]") -> None:
        valid = self._asking.get(name) is task
        if valid:
            del self._asking[name]
        if task.cancelled() or task.exception() is not None:
            return
        info = task.result()
        if valid and info.expires > self.nodes.clock.monotonic():
            if len(self._known) >= self.nodes.knobs.cache_entries_max:
                del self._known[next(iter(self._known))]
            self._known[name] = info

    async def _fetch(self, place: TablePlace) -> Info:
        started = self.nodes.clock.monotonic()
        answers = await self.ask(place, lease=True)
        info = Info(merge_answers(place.name, list(answers.values())), choose_stats(list(answers.values())))
        lease_s = min(answer.lease_s for answer in answers.values())
        info.expires = started + lease_s
        info.refresh_at = started + lease_s * self.nodes.knobs.refresh_share
        self.repair(place, info.settings, answers)
        return info

    async def fresh(self, place: TablePlace) -> Info:
        """Asked now, without a lease; all replicas when the first ones differ in their figures. Raises Unavailable."""
        answers = await self.ask(place)
        figures = [answer.stats for answer in answers.values()]
        if any(stats != figures[0] for stats in figures) and len(answers) < len(place.replicas):
            answers = await self.ask(place, everywhere=True)
        settings = merge_answers(place.name, list(answers.values()))
        self.repair(place, settings, answers)
        return Info(settings, choose_stats(list(answers.values())))

    async def ask(self, place: TablePlace, lease: bool = False, everywhere: bool = False, txn: str = "") -> dict[int, TableInfo]:
        """What the replicas say, by index; at least R of them. Raises Unavailable."""
        needed = read_count(len(place.replicas))
        self._turn += 1
        order = self.nodes.failures.order(place.replicas, self._turn)
        count = len(order) if everywhere else needed
        fan, answers = FanOut(self.nodes, txn), dict[int, TableInfo]()
        asked = 0
        try:
            while len(answers) < count:
                while asked < len(order) and len(answers) + fan.outstanding < count:
                    fan.call(order[asked], *self._question(place, place.replicas[order[asked]], lease))
                    asked += 1
                if not fan.outstanding:
                    break
                ended = await fan.next(self.nodes.knobs.hedge_s if asked < len(order) or len(answers) >= needed else None)
                if ended is not None and isinstance(ended[1], TableInfo):
                    answers[ended[0]] = ended[1]
                elif ended is None:
                    for address in fan.pending:
                        self.nodes.failures.slow(address)
                    if len(answers) >= needed:
                        break
                    fan.call(order[asked], *self._question(place, place.replicas[order[asked]], lease))
                    asked += 1
        finally:
            fan.cancel()
        if len(answers) < needed:
            raise Unavailable(f"too few replicas of {place.name} answered")
        return answers

    def _question(self, place: TablePlace, replica: Replica, lease: bool) -> tuple[Address, StatTable]:
        return replica.address, StatTable(place.kind, replica.target, place.hash, place.name, lease)

    def repair(self, place: TablePlace, settings: Settings, answers: dict[int, TableInfo]) -> None:
        """Give the settings, in the background, to replicas that lack some of them."""
        if settings.put_timestamp == 0 or self.nodes.crowded:
            return
        for index, answer in answers.items():
            if answer.settings != settings:
                self.nodes.spawn(self._repair(place, index, settings))

    async def heal(self, place: TablePlace) -> bool:
        """Bring the settings of all replicas that answer up to date, now. False when it does not exist. Raises Unavailable."""
        answers = await self.ask(place, everywhere=True)
        settings = merge_answers(place.name, list(answers.values()))
        fan = FanOut(self.nodes, "")
        for index, answer in answers.items():
            if answer.settings != settings and settings.put_timestamp:
                fan.call(index, place.replicas[index].address, repair_request(place, index, settings))
        try:
            while fan.outstanding:
                await fan.next()
        finally:
            fan.cancel()
        return settings.exists

    async def _repair(self, place: TablePlace, index: int, settings: Settings) -> None:
        await self.nodes.call(place.replicas[index].address, repair_request(place, index, settings))


def repair_request(place: TablePlace, index: int, settings: Settings | None, rows: Sequence[Any] = ()) -> Message:
    """Tells replica `index` settings and rows that it may lack; the rows are of the table's kind."""
    target = place.replicas[index].target
    if place.kind == "account":
        return MergeContainerRows(target, place.hash, place.name, list(rows), settings)
    return MergeObjectRows(target, place.hash, place.name, list(rows), settings, place.parents[index])
