"""The account-reaper: removes what deleted accounts still contain: objects first, then their containers.

The account itself stays, deleted. If it was made again meanwhile, only what is older than the deletion goes.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple, Protocol

from objstore.account.store import CONTAINER_ROWS
from objstore.formats.messages import Settings
from objstore.model.errors import Conflict, NodeError, StoreError
from objstore.model.names import ObjectName
from objstore.model.rows import ContainerRow, ObjectRow
from objstore.model.timestamps import from_seconds, seconds_of
from objstore.placement.places import Placement
from objstore.rpc.interface import PeerUnavailable
from objstore.runtime.interface import Clock, Progress
from objstore.runtime.jumps import JumpWatch
from objstore.runtime.pacing import TokenBucket
from objstore.tables.device import TableDevice
from objstore.tables.place import Place
from objstore.tables.scanning import places, state_of
from objstore.tables.turns import Turns

logger = logging.getLogger("objstore.account")

CONTAINERS_AT_ONCE_MAX = 4
OBJECTS_AT_ONCE_MAX = 16
"""Of all containers together."""
DELETIONS_PER_S = 1000.0
SCAN_INTERVAL_S = 3600.0
SKEW_S = 60.0
"""By how much the clock of a proxy may be behind."""
ERRORS_LOGGED_MAX = 3


class Cleaning(Protocol):
    """What the reaper needs of the cluster's operations. All raise StoreError. A deletion is durable on a majority, and does not
    touch what is newer than timestamp `at`: then it raises Conflict.
    """

    async def account(self, account: str) -> Settings:
        """As a majority of its replicas know it."""

    async def containers(self, account: str, marker: str) -> list[ContainerRow]:
        """A page of those that an account has, behind `marker`; none at the end."""

    async def objects(self, account: str, container: str, marker: str) -> tuple[int, list[ObjectRow]]:
        """The storage policy of a container, and a page of its objects behind `marker`; none at the end."""

    async def delete_object(self, name: ObjectName, policy: int, at: int) -> None: ...

    async def delete_container(self, account: str, container: str, at: int) -> bool:
        """False when it is not empty; then it stays."""


@dataclass(slots=True)
class _Account:
    """One deleted account in one pass. Everything in it is deleted as of timestamp `at`, which is not later than it must be: what
    clients write once it is made again is newer. `remaining`: what is to go, but could not.
    """

    name: str
    at: int
    made_again: bool
    touched: int = 0
    remaining: int = 0

    def spare(self, count: int = 1) -> None:
        """Something is not older than `at`: it belongs to the new account; if there is none, it is for a later pass."""
        if not self.made_again:
            self.remaining += count


class _Known(NamedTuple):
    """An account that was found to hold nothing of before this deletion."""

    deleted_at: int
    until: float  # monotonic; then it is looked at again


class AccountReaper:
    """Worker. Figures: accounts (that had something to be deleted), objects and containers (deleted), failed (tried again by the
    next pass), waiting (accounts whose time has not come), left (accounts whose turn is another replica's), refused (passes that
    were not made, as the clock cannot be trusted).
    """

    name = "account-reaper"

    def __init__(
        self,
        devices: Mapping[str, TableDevice],
        placement: Placement,
        turns: Turns,
        cleaning: Cleaning,
        clock: Clock,
        clock_trusted: Callable[[], bool],
        delay_s: float,
    ) -> None:
        """`delay_s`: for how long after its deletion an account's contents stay."""
        self.progress = Progress()
        """In accounts."""
        self._devices = devices
        self._placement = placement
        self._turns = turns
        self._cleaning = cleaning
        self._clock = clock
        self._clock_trusted = clock_trusted
        self._delay_s = delay_s
        self._jumps = JumpWatch(clock)
        self._bucket = TokenBucket(clock, DELETIONS_PER_S, OBJECTS_AT_ONCE_MAX)
        self._slots = asyncio.Semaphore(OBJECTS_AT_ONCE_MAX)
        self._next_scan = 0.0
        self._changed: dict[tuple[str, Place], None] = {}  # a set in order of arrival
        self._deleted: dict[tuple[str, Place], None] = {}
        self._known: dict[tuple[str, Place], _Known] = {}
        self._errors_logged = 0
        for device in devices.values():
            device.changed.append(partial(self._note, device.name))

    async def run_once(self) -> dict[str, int]:
        """All deleted accounts that this process knows of, one after another."""
        names = ("accounts", "objects", "containers", "failed", "waiting", "left", "refused")
        figures: Counter[str] = Counter(dict.fromkeys(names, 0))
        self.progress = Progress()
        self._errors_logged = 0
        if not (self._jumps.steady() and self._clock_trusted()):
            figures["refused"] = 1
            return dict(figures)
        await self._scan(figures)
        changed, self._changed = self._changed, {}
        self._deleted.update(changed)
        self.progress.total = len(self._deleted)
        for key in list(self._deleted):
            try:
                await self._account(key, figures)
            except (StoreError, NodeError, PeerUnavailable) as error:
                self._complain(figures, str(key[1].hash.hex()), error)
            self.progress.done += 1
        return dict(figures)

    async def _scan(self, figures: Counter[str]) -> None:
        """On the first pass, and then once an hour: a change is heard of, but not one of an earlier process."""
        if self._clock.monotonic() < self._next_scan:
            return
        self._next_scan = self._clock.monotonic() + SCAN_INTERVAL_S
        for device in self._devices.values():
            try:
                async for place in places(device, CONTAINER_ROWS):
                    self._note(device.name, place)
            except NodeError as error:
                self._next_scan = 0.0
                self._complain(figures, device.name, error)

    def _note(self, device: str, place: Place) -> None:
        if place.kind is CONTAINER_ROWS:
            self._changed[device, place] = None

    async def _account(self, key: tuple[str, Place], figures: Counter[str]) -> None:
        """Reap one account if it is deleted, if its time has come, and if it is this process's turn."""
        device, place = key
        state = await state_of(self._devices[device], place)
        if state is None or not state.settings.delete_timestamp or not (state.settings.exists or state.stats.container_count):
            self._deleted.pop(key)  # a change will bring it back
            return
        settings = state.settings
        known = self._known.get(key)
        if known is not None and known.deleted_at == settings.delete_timestamp and self._clock.monotonic() < known.until:
            self._deleted.pop(key)
            return
        waiting_s = self._clock.now() - seconds_of(settings.delete_timestamp) - self._delay_s
        if waiting_s < 0:
            figures["waiting"] += 1
            return
        table = self._placement.table(settings.name)
        if not (await self._turns.ours(table) or self._turns.overdue(table, waiting_s)):
            figures["left"] += 1
            return
        account = await self._reap(await self._cleaning.account(settings.name[1:]), figures)
        figures["accounts"] += account.touched > 0
        if not account.touched and not account.remaining:
            self._known[key] = _Known(settings.delete_timestamp, self._clock.monotonic() + SCAN_INTERVAL_S)
            self._deleted.pop(key)

    async def _reap(self, settings: Settings, figures: Counter[str]) -> _Account:
        at = settings.delete_timestamp
        if not settings.exists:
            at = max(at, from_seconds(self._clock.now() - SKEW_S))
        account = _Account(settings.name[1:], at, settings.exists)
        marker = ""
        while page := await self._cleaning.containers(account.name, marker):
            for start in range(0, len(page), CONTAINERS_AT_ONCE_MAX):
                part = page[start : start + CONTAINERS_AT_ONCE_MAX]
                await asyncio.gather(*(self._container(account, row, figures) for row in part))
            marker = page[-1].name
        if account.touched:
            logger.info("deleted account reaped", extra={"account": account.name, "remaining": account.remaining})
        return account

    async def _container(self, account: _Account, row: ContainerRow, figures: Counter[str]) -> None:
        try:
            if not await self._objects(account, row.name, figures):
                return
            if row.put_timestamp >= account.at:
                account.spare()
                return
            account.touched += 1
            await self._bucket.take()
            if await self._cleaning.delete_container(account.name, row.name, account.at):
                figures["containers"] += 1
            else:
                account.remaining += 1
        except Conflict:
            account.spare()
        except (StoreError, NodeError, PeerUnavailable) as error:
            account.remaining += 1
            self._complain(figures, f"/{account.name}/{row.name}", error)

    async def _objects(self, account: _Account, container: str, figures: Counter[str]) -> bool:
        """Delete the objects of a container that go with the account; whether the container is empty then."""
        is_empty, marker = True, ""
        while True:
            policy, rows = await self._cleaning.objects(account.name, container, marker)
            if not rows:
                return is_empty
            old = [row for row in rows if max(row.timestamp, row.meta_timestamp) < account.at]
            account.spare(len(rows) - len(old))
            names = (ObjectName(account.name, container, row.name) for row in old)
            done = await asyncio.gather(*(self._object(account, name, policy, figures) for name in names))
            is_empty = is_empty and len(old) == len(rows) and all(done)
            marker = rows[-1].name

    async def _object(self, account: _Account, name: ObjectName, policy: int, figures: Counter[str]) -> bool:
        account.touched += 1
        async with self._slots:
            await self._bucket.take()
            try:
                await self._cleaning.delete_object(name, policy, account.at)
            except Conflict:
                account.spare()
                return False
            except (StoreError, NodeError, PeerUnavailable) as error:
                account.remaining += 1
                self._complain(figures, str(name), error)
                return False
        figures["objects"] += 1
        return True

    def _complain(self, figures: Counter[str], what: str, error: Exception) -> None:
        figures["failed"] += 1
        if self._errors_logged < ERRORS_LOGGED_MAX:
            self._errors_logged += 1
            logger.warning("not reaped", extra={"what": what, "error": str(error) or type(error).__name__})
