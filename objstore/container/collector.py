"""The multipart-collector: ends uploads that nobody goes on with, and removes parts that no upload and no object needs.

A part belongs to the upload's record until that is completed or aborted, then to the object that was made of it. No request removes
any: this does, by what the records and objects say at that time.
"""

import logging
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from objstore.container.store import OBJECT_ROWS
from objstore.model.errors import NodeError, StoreError
from objstore.model.parts import holder_of
from objstore.placement.places import Placement
from objstore.rpc.interface import PeerUnavailable
from objstore.runtime.interface import Progress
from objstore.tables.device import TableDevice
from objstore.tables.scanning import places, state_of
from objstore.tables.turns import Turns

logger = logging.getLogger("objstore.container")


class Collection(Protocol):
    """What the collector needs of the cluster's operations."""

    async def collect(self, account: str, bucket: str, abandoned_s: float, grace_s: float) -> Counter[str]:
        """As PartCollector.collect."""


@dataclass(frozen=True, slots=True)
class CollectorSettings:
    """An upload ends so long after it began; a part stays for so long after it is not needed any more."""

    abandoned_s: float = 604_800.0
    grace_s: float = 3600.0


class MultipartCollector:
    """Worker. Figures: ended (uploads), removed (parts), failed (uploads or buckets that could not be looked into, which the next
    pass does), left (buckets whose turn is another replica's).
    """

    name = "multipart-collector"

    def __init__(
        self,
        devices: Mapping[str, TableDevice],
        placement: Placement,
        turns: Turns,
        collection: Collection,
        settings: CollectorSettings,
    ) -> None:
        self.progress = Progress()
        """In buckets."""
        self._devices = devices
        self._placement = placement
        self._turns = turns
        self._collection = collection
        self._settings = settings

    async def run_once(self) -> dict[str, int]:
        """All buckets that have, or had, multipart uploads."""
        figures: Counter[str] = Counter(ended=0, removed=0, failed=0, left=0)
        found = [name for device in self._devices.values() for name in await self._found(device, figures)]
        self.progress = Progress(0, len(found))
        for hidden, bucket in found:
            try:
                if await self._turns.ours(self._placement.container(hidden, bucket)):
                    settings = self._settings
                    done = await self._collection.collect(holder_of(hidden), bucket, settings.abandoned_s, settings.grace_s)
                    figures.update(done)
                else:
                    figures["left"] += 1
            except (StoreError, NodeError, PeerUnavailable) as error:
                figures["failed"] += 1
                extra = {"account": holder_of(hidden), "bucket": bucket, "error": str(error) or type(error).__name__}
                logger.warning("uploads not looked into", extra=extra)
            self.progress.done += 1
        return dict(figures)

    async def _found(self, device: TableDevice, figures: Counter[str]) -> list[tuple[str, str]]:
        """The hidden accounts and their containers of which a device has a replica."""
        found = []
        try:
            async for place in places(device, OBJECT_ROWS):
                state = await state_of(device, place)
                if state is not None and state.settings.exists:
                    account, _, container = state.settings.name[1:].partition("/")
                    if holder_of(account):
                        found.append((account, container))
        except NodeError as error:
            figures["failed"] += 1
            logger.warning("scan failed", extra={"device": device.name, "error": str(error)})
        return found
