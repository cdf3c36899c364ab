"""The devices of a storage process: opened, or refused with a reason that `objstore status` shows."""

import asyncio
import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from objstore.app.metrics import Family, counter, gauge, rpc_families
from objstore.object import crashes
from objstore.object.pending import PendingLog
from objstore.object.server import ObjectServer
from objstore.rpc.counters import RpcCounters
from objstore.runtime import committer
from objstore.runtime.device import Device, DeviceRefused, open_device
from objstore.runtime.disk import RealDisk
from objstore.runtime.interface import Clock, CrashPoints
from objstore.runtime.knobs import Knobs
from objstore.runtime.worker import WorkerLoop
from objstore.tables import device as tabledevice
from objstore.tables.device import TableDevice

CRASH_POINTS = (*committer.CRASH_POINTS, *crashes.CRASH_POINTS, *tabledevice.CRASH_POINTS)
log = logging.getLogger("objstore.device")


@dataclass(slots=True)
class OpenedDevice:
    """One device of the rings. Without `disk` it is refused, and requests for it are answered device_failed."""

    name: str
    path: str
    refused: str = ""
    device: Device | None = None
    disk: RealDisk | None = None
    log: PendingLog | None = None
    tables: TableDevice | None = None

    def state(self) -> str:
        """ "ok", or why it is refused."""
        return self.refused or (self.disk.failed if self.disk is not None else None) or "ok"

    async def close(self) -> None:
        """In the order of use; the lock is given back last."""
        if self.tables is not None:
            await self.tables.stop()
        if self.disk is not None:
            await self.disk.close()
        if self.device is not None:
            self.device.close()


async def open_devices(
    root: str, names: list[str], fingerprint: str, clock: Clock, points: CrashPoints, knobs: Knobs
) -> list[OpenedDevice]:
    """Open each of `names` below `root`; one that cannot be used is refused, and the others serve."""
    return [await asyncio.to_thread(_open, os.path.join(root, name), name, fingerprint, clock, points, knobs) for name in names]


def _open(path: str, name: str, fingerprint: str, clock: Clock, points: CrashPoints, knobs: Knobs) -> OpenedDevice:
    opened = OpenedDevice(name, path)
    try:
        opened.device = open_device(path, fingerprint, name)
        opened.log = PendingLog(opened.device.fs, points=points)
    except (DeviceRefused, OSError) as error:
        opened.refused = str(error)
        log.error("device refused", extra={"device": name, "reason": opened.refused})
        if opened.device is not None:
            opened.device.close()
            opened.device = None
        return opened
    opened.disk = RealDisk(name, opened.device.fs, log_sink=opened.log, knobs=knobs, crash=points)
    opened.tables = TableDevice(name, path, opened.disk, clock, crash=points)
    return opened


def storage_families(
    devices: Sequence[OpenedDevice], objects: ObjectServer, loops: Sequence[WorkerLoop], rpcs: Mapping[str, RpcCounters]
) -> Iterable[Family]:
    """What a storage process counts."""
    for side, counters in rpcs.items():
        yield from rpc_families(counters, side)
    for opened in devices:
        labels = {"device": opened.path}
        yield gauge("objstore_device_usable", "1 when the device serves.", float(opened.state() == "ok"), labels)
        if opened.disk is None:
            continue
        pending, quarantined = objects.report(opened.name)
        tables = opened.tables.quarantined if opened.tables is not None else 0
        total, free = opened.disk.fs.free()
        yield gauge("objstore_device_bytes", "Size of the device's file system.", total, labels)
        yield gauge("objstore_device_free_bytes", "Free space of the device's file system.", free, labels)
        yield gauge("objstore_device_queue", "Changes not durable yet.", opened.disk.queued, labels)
        yield gauge("objstore_pending_updates", "Container rows on their way.", pending, labels)
        yield gauge("objstore_quarantined", "Files and databases set aside.", quarantined + tables, labels)
        figures = opened.disk.figures
        for key, help_ in (("groups", "Group commits."), ("changes", "Changes committed."), ("refused", "Changes refused.")):
            yield counter(f"objstore_device_{key}_total", help_, getattr(figures, key), labels)
    for loop in loops:
        labels = {"daemon": loop.worker.name}
        yield counter("objstore_daemon_passes_total", "Passes of a background job.", loop.figures.passes, labels)
        yield counter("objstore_daemon_failures_total", "Passes that failed.", loop.figures.failures, labels)
        yield counter("objstore_daemon_busy_seconds_total", "Time spent in passes.", loop.figures.busy_s, labels)
