"""The devices of a storage process: opened, or refused with a reason that `objstore status` shows."""

import asyncio
import logging
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from crc32c import crc32c

from objstore.app.metrics import Family, counter, gauge, rpc_families
from objstore.object import crashes
from objstore.object.pending import PendingLog
from objstore.rpc.counters import RpcCounters
from objstore.runtime import committer
from objstore.runtime.device import Device, DeviceInUse, DeviceRefused, open_device
from objstore.runtime.disk import RealDisk
from objstore.runtime.interface import Clock, CrashPoints, FileSystem
from objstore.runtime.journal import open_journal
from objstore.runtime.knobs import Knobs
from objstore.runtime.worker import WorkerLoop
from objstore.tables import device as tabledevice
from objstore.tables import replacement
from objstore.tables.device import TableDevice

CRASH_POINTS = (*committer.CRASH_POINTS, *crashes.CRASH_POINTS, *tabledevice.CRASH_POINTS, *replacement.CRASH_POINTS)
TAKEOVER_POLL_S = 0.01
FAULTS_VARIABLE = "OBJSTORE_FAULTS_FILE"
"""Set by the testing harness alone: disk faults stand in the file that it names."""
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

    def refuse(self, reason: str) -> None:
        """It is not used, and everybody may know why."""
        self.refused = reason
        log.error("device refused", extra={"device": self.name, "reason": reason})

    def give_up(self, reason: str) -> None:
        """Stop using a device that served."""
        self.refuse(reason)
        if self.disk is not None:
            self.disk.lose(reason)

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


@dataclass(frozen=True, slots=True)
class Opening:
    """How devices are opened: below which directory, of which cluster, and how long to wait for a process that still has one."""

    root: str
    fingerprint: str
    takeover_s: float = 0.0


async def open_devices(opening: Opening, names: list[str], clock: Clock, points: CrashPoints, knobs: Knobs) -> list[OpenedDevice]:
    """Open each of `names`; one that cannot be used is refused, and the others serve."""
    deadline = clock.monotonic() + opening.takeover_s
    opened = []
    for name in names:
        device = OpenedDevice(name, os.path.join(opening.root, name))
        while not _lock(device, opening.fingerprint, final=clock.monotonic() >= deadline):
            await clock.sleep(TAKEOVER_POLL_S)
        if device.device is not None:
            await asyncio.to_thread(_open, device, clock, points, knobs)
        opened.append(device)
    return opened


def _lock(opened: OpenedDevice, fingerprint: str, *, final: bool) -> bool:
    """False when another process has the device and this attempt is not the final one."""
    try:
        opened.device = open_device(opened.path, fingerprint, opened.name)
    except DeviceInUse as error:
        if not final:
            return False
        opened.refuse(str(error))
    except DeviceRefused as error:
        opened.refuse(str(error))
    return True


def _open(opened: OpenedDevice, clock: Clock, points: CrashPoints, knobs: Knobs) -> None:
    assert opened.device is not None
    opened.device.fs = with_faults(os.environ, opened.device.fs, opened.name)
    try:
        opened.log = PendingLog(opened.device.fs, points=points)
        seed = crc32c(opened.device.identity.id.encode())
        journal = open_journal(opened.device.fs, knobs, opened.log, seed=seed)
    except OSError as error:
        opened.refuse(f"{opened.path}: pending log or journal: {error.strerror or error}")
        opened.device.close()
        opened.device = None
        return
    opened.disk = RealDisk(opened.name, opened.device.fs, log_sink=opened.log, journal=journal, knobs=knobs, crash=points)
    opened.tables = TableDevice(opened.name, opened.path, opened.disk, clock, crash=points)


def with_faults(environment: Mapping[str, str], fs: FileSystem, device: str) -> FileSystem:
    """The file system itself, or under test one that fails as the test says."""
    path = environment.get(FAULTS_VARIABLE, "")
    if not path:
        return fs
    from objstore.testing.faultyfs import FollowingFileSystem

    return FollowingFileSystem(fs, path, device)


def storage_families(
    devices: Sequence[OpenedDevice],
    counts: Callable[[str], tuple[int, int]],
    loops: Sequence[WorkerLoop],
    rpcs: Mapping[str, RpcCounters],
) -> Iterable[Family]:
    """What a storage process counts. `counts(device)`: pending updates, files and databases in quarantine."""
    for side, counters in rpcs.items():
        yield from rpc_families(counters, side)
    for opened in devices:
        labels = {"device": opened.path}
        yield gauge("objstore_device_usable", "1 when the device serves.", float(opened.state() == "ok"), labels)
        if opened.disk is None:
            continue
        pending, quarantined = counts(opened.name)
        total, free = opened.disk.fs.free()
        yield gauge("objstore_device_bytes", "Size of the device's file system.", total, labels)
        yield gauge("objstore_device_free_bytes", "Free space of the device's file system.", free, labels)
        yield gauge("objstore_device_queue", "Changes not durable yet.", opened.disk.queued, labels)
        yield gauge("objstore_pending_updates", "Container rows on their way.", pending, labels)
        yield gauge("objstore_quarantined", "Files and databases set aside.", quarantined, labels)
        figures = opened.disk.figures
        for key, help_ in (("groups", "Group commits."), ("changes", "Changes committed."), ("refused", "Changes refused.")):
            yield counter(f"objstore_device_{key}_total", help_, getattr(figures, key), labels)
    for loop in loops:
        labels = {"daemon": loop.worker.name}
        yield counter("objstore_daemon_passes_total", "Passes of a background job.", loop.figures.passes, labels)
        yield counter("objstore_daemon_failures_total", "Passes that failed.", loop.figures.failures, labels)
        yield counter("objstore_daemon_busy_seconds_total", "Time spent in passes.", loop.figures.busy_s, labels)
