"""The object-updater: sends again what container servers have not confirmed."""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import partial

from objstore.formats.messages import IndexTarget
from objstore.formats.pending import PendingUpdate
from objstore.model.errors import NodeError
from objstore.model.rows import ObjectRow
from objstore.object.device import ObjectDevice, read_failed
from objstore.object.files import place_of
from objstore.object.updates import Updates
from objstore.runtime.interface import Clock, Progress
from objstore.runtime.pacing import TokenBucket

logger = logging.getLogger("objstore.object")

CurrentIndex = Callable[[str, IndexTarget], IndexTarget]
"""Container and the target a row was written for -> the target it belongs to by the rings of today."""


class ObjectUpdater:
    """Worker. One pass goes once through the pending log of each device, one segment in memory at a time.

    Records whose change is under way, or whose first delivery is, are left to it. A record of an earlier process whose object
    is not on the device was written just before a crash, and its change never happened: it is dropped.
    """

    name = "object-updater"

    def __init__(
        self,
        devices: Iterable[ObjectDevice],
        updates: Updates,
        clock: Clock,
        *,
        rows_per_s: float = 5_000.0,
        call_rows_max: int = 500,
        calls_at_once_max: int = 4,
        current_index: CurrentIndex | None = None,
    ) -> None:
        self._devices = list(devices)
        self._updates = updates
        self._bucket = TokenBucket(clock, rows_per_s, call_rows_max)
        self._call_rows_max = call_rows_max
        self._current_index = current_index or (lambda _, index: index)
        self._calls = asyncio.Semaphore(calls_at_once_max)
        self.progress = Progress()
        """In segments."""

    async def run_once(self) -> dict[str, int]:
        """One pass. Figures: sent, failed, dropped (rows of this pass), pending (what is left), damaged_bytes (of all logs)."""
        figures: Counter[str] = Counter(sent=0, failed=0, dropped=0)
        self.progress = Progress(0, sum(len(device.log.segments()) for device in self._devices))
        for device in self._devices:
            try:
                await device.disk.run(partial(device.log.spill, idle=True))
                for segment in device.log.segments():
                    await self._segment(device, segment, figures)
                    self.progress.done += 1
                await device.disk.run(device.log.tidy)
            except (OSError, NodeError) as error:  # the other devices' rows must not wait for this one
                logger.warning("pending log not worked through", extra={"device": device.name, "error": str(error)})
        figures["pending"] = sum(device.log.pending for device in self._devices)
        figures["damaged_bytes"] = sum(device.log.damaged_bytes for device in self._devices)
        return dict(figures)

    async def _segment(self, device: ObjectDevice, segment: int, figures: Counter[str]) -> None:
        known_ids = device.log.open_ids(segment)  # what is appended from here on may be missing in what is read
        if not known_ids:
            return
        try:
            found = await device.disk.run(lambda: device.log.read(segment, known_ids))
        except OSError as error:
            raise read_failed(error) from error
        open_ids = known_ids & device.log.open_ids(segment)
        todo: dict[tuple[IndexTarget, str], list[tuple[int, ObjectRow]]] = {}
        for id_, update in found.records.items():
            if id_ not in open_ids:
                continue
            if id_ in device.log.doubtful and not await self._happened(device, update):
                device.log.clear(id_)
                figures["dropped"] += 1
                continue
            index = self._current_index(update.container, update.index)
            todo.setdefault((index, update.container), []).append((id_, update.row))
        for id_ in open_ids.difference(found.records):  # damaged: nobody can send it
            device.log.clear(id_)
            figures["dropped"] += 1
        calls = (
            self._send(device, index, container, batch, figures)
            for (index, container), records in todo.items()
            for batch in _batches(records, self._call_rows_max)
        )
        await asyncio.gather(*calls)

    async def _happened(self, device: ObjectDevice, update: PendingUpdate) -> bool:
        """Whether the device holds the change that a record speaks of, or a later one."""
        if device.disk.failed is not None:
            return True  # who knows what the next start will find
        files = await device.files(place_of(update.target.policy, update.target.partition, update.hash))
        row = update.row
        # Both: data pushed below a newer POST has a row with that POST's time, which alone says nothing of the data.
        return files.timestamp >= row.timestamp and files.newest >= row.meta_timestamp

    async def _send(
        self,
        device: ObjectDevice,
        index: IndexTarget,
        container: str,
        records: list[tuple[int, ObjectRow]],
        figures: Counter[str],
    ) -> None:
        async with self._calls:
            if self._updates.is_down(index):
                figures["failed"] += len(records)
                return
            await self._bucket.take(len(records))
            if await self._updates.call(index, container, [row for _, row in records]):
                for id_, _ in records:
                    device.log.clear(id_)
                figures["sent"] += len(records)
            else:
                figures["failed"] += len(records)


def _batches(records: list[tuple[int, ObjectRow]], size: int) -> Iterator[list[tuple[int, ObjectRow]]]:
    return (records[at : at + size] for at in range(0, len(records), size))
