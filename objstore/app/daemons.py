"""What a storage process says about itself and does on request: the messages NodeStatus and RunDaemon."""

import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from objstore.formats.messages import DaemonReport, DaemonState, DeviceReport, NodeReport, NodeStatus, RunDaemon
from objstore.model.errors import Code, NodeError
from objstore.rpc.interface import CallContext, Dispatcher
from objstore.runtime.interface import Disk
from objstore.runtime.worker import WorkerLoop

log = logging.getLogger("objstore.node")

DAEMONS = (
    *("object-replicator", "object-updater", "object-auditor", "object-expirer"),
    *("container-replicator", "container-reviver", "container-updater", "container-auditor"),
    *("account-replicator", "account-auditor", "account-reaper", "multipart-collector"),
)
"""All names that `objstore daemon` takes. Which of them this release runs, the node says."""


class DeviceView(Protocol):
    """One device as this process sees it, usable or not."""

    @property
    def name(self) -> str: ...

    @property
    def path(self) -> str: ...

    @property
    def disk(self) -> Disk | None:
        """None when it is refused."""

    def state(self) -> str:
        """ "ok", or why it is refused."""


class NodeService:
    """Answers for one process."""

    def __init__(
        self,
        about: tuple[str, str, int, float],
        rings: Callable[[], dict[str, str]],
        devices: Sequence[DeviceView],
        counts: Callable[[str], tuple[int, int]],
        loops: Iterable[WorkerLoop],
    ) -> None:
        """`about`: the process's name, version, pid and start (wall clock). `rings()`: names and digests of those in use.
        `counts(device)`: pending updates, quarantined files.
        """
        self._about = about
        self._rings = rings
        self._devices = devices
        self._counts = counts
        self.loops = {loop.worker.name: loop for loop in loops}

    def register(self, dispatcher: Dispatcher) -> None:
        dispatcher.on(NodeStatus, self.status)
        dispatcher.on(RunDaemon, self.run_daemon)

    async def status(self, _request: NodeStatus, _context: CallContext) -> NodeReport:
        """As NodeStatus says."""
        name, version, pid, started_s = self._about
        devices = [await self._report(one) for one in self._devices]
        return NodeReport(name, version, pid, started_s, devices, self._rings(), [state_of(loop) for loop in self.loops.values()])

    async def run_daemon(self, request: RunDaemon, _context: CallContext) -> DaemonReport:
        """As RunDaemon says. Refused: bad_request for a job that this node does not have."""
        loop = self.loops.get(request.name)
        if loop is None:
            raise NodeError(Code.BAD_REQUEST, no_such_daemon(request.name, self.loops))
        log.info("pass on request", extra={"worker": request.name})
        return DaemonReport(await loop.run_once())

    async def _report(self, device: DeviceView) -> DeviceReport:
        if device.disk is None or device.disk.gone:
            return DeviceReport(device.name, device.state(), 0, 0, 0, 0, device.path)
        try:
            total, free = await device.disk.run(device.disk.fs.free)
        except OSError as error:
            return DeviceReport(device.name, f"cannot be read: {error.strerror}", 0, 0, 0, 0, device.path)
        pending, quarantined = self._counts(device.name)
        return DeviceReport(device.name, device.state(), total, free, pending, quarantined, device.path)


def state_of(loop: WorkerLoop) -> DaemonState:
    """What `status` shows of a background job."""
    figures, progress = loop.figures, loop.worker.progress
    return DaemonState(
        loop.worker.name,
        figures.busy,
        progress.done,
        progress.total,
        figures.passes,
        figures.failures,
        figures.last_pass_s,
        figures.last_end,
        figures.last,
    )


def no_such_daemon(name: str, known: Iterable[str]) -> str:
    """One plain line."""
    if name in DAEMONS:
        return f"{name} is not part of this release; there are: {', '.join(sorted(known))}"
    return f"there is no daemon {name}; there are: {', '.join(sorted(known))}"
