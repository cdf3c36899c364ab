"""The container-reviver: a deleted container that holds an object after all exists again.

A write may be acknowledged while no server of its container answers. If the container is deleted before the object's row arrives,
nobody could know of the object; nor would its user find it, were the container not brought back. The row alone is not believed: it
may be of an object that was deleted since. The objects themselves decide, by a majority of their replicas.
"""

import logging
from collections import Counter
from collections.abc import Mapping
from functools import partial
from typing import Protocol

from objstore.container.store import OBJECT_ROWS
from objstore.model.errors import NodeError, StoreError
from objstore.rpc.interface import PeerUnavailable
from objstore.runtime.interface import Clock, Progress
from objstore.tables.device import TableDevice
from objstore.tables.draft import State
from objstore.tables.place import Place
from objstore.tables.scanning import places, state_of

logger = logging.getLogger("objstore.container")

SCAN_INTERVAL_S = 3600.0


class Revival(Protocol):
    """What the reviver needs of the cluster's operations."""

    async def revive(self, account: str, container: str) -> bool:
        """Make a deleted container exist again, durably on a majority, if an object in it does. False when there is nothing to
        revive: the rows were old, or the container was made again. Idempotent. Raises StoreError.
        """


class ContainerReviver:
    """Worker. A pass without changes costs nothing. Figures: revived, stale (containers that hold rows, but no object), failed
    (tried again by the next pass). Several replicas may revive the same container: they do the same.
    """

    name = "container-reviver"

    def __init__(self, devices: Mapping[str, TableDevice], revival: Revival, clock: Clock) -> None:
        self.progress = Progress()
        """In containers."""
        self._devices = devices
        self._revival = revival
        self._clock = clock
        self._next_scan = 0.0
        self._changed: dict[tuple[str, Place], None] = {}  # a set in order of arrival
        for device in devices.values():
            device.changed.append(partial(self._note, device.name))

    async def run_once(self) -> dict[str, int]:
        """All containers that changed since the last pass; on the first one, and then once an hour, all there are."""
        figures: Counter[str] = Counter(revived=0, stale=0, failed=0)
        await self._scan(figures)
        changed, self._changed = self._changed, {}
        self.progress = Progress(0, len(changed))
        for device, place in changed:
            try:
                state = await state_of(self._devices[device], place)
                if state is not None and is_forlorn(state):
                    account, _, container = state.settings.name[1:].partition("/")
                    revived = await self._revival.revive(account, container)
                    figures["revived" if revived else "stale"] += 1
                    if revived:
                        logger.warning("deleted container holds objects: it is back", extra={"container": state.settings.name})
            except (StoreError, NodeError, PeerUnavailable) as error:
                figures["failed"] += 1
                self._note(device, place)
                extra = {"device": device, "path": place.path, "error": str(error) or type(error).__name__}
                logger.warning("deleted container not looked into", extra=extra)
            self.progress.done += 1
        return dict(figures)

    async def _scan(self, figures: Counter[str]) -> None:
        if self._clock.monotonic() < self._next_scan:
            return
        self._next_scan = self._clock.monotonic() + SCAN_INTERVAL_S
        for device in self._devices.values():
            try:
                async for place in places(device, OBJECT_ROWS):
                    self._note(device.name, place)
            except NodeError as error:
                self._next_scan = 0.0
                figures["failed"] += 1
                logger.warning("scan failed", extra={"device": device.name, "error": str(error)})

    def _note(self, device: str, place: Place) -> None:
        if place.kind is OBJECT_ROWS:
            self._changed[device, place] = None


def is_forlorn(state: State) -> bool:
    """Whether the container was deleted and holds rows that live. One that was never made waits for its settings."""
    return bool(state.settings.delete_timestamp and not state.settings.exists and state.stats.object_count)
