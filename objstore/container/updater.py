"""The container-updater: tells each container's account what the container holds.

Whether there is something to tell follows from the database alone (its figures differ from the row its account last
acknowledged), so no crash loses a report. This process is the only writer of its databases, so one scan at the start finds what
was left over, and each later change is heard of from the device that committed it.
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from functools import partial
from typing import NamedTuple

import msgspec

from objstore.container.store import OBJECT_ROWS
from objstore.formats.messages import Address, ContainersMerged, IndexTarget, MergeContainerRows, Target
from objstore.model.errors import NodeError
from objstore.model.rows import ContainerRow, ObjectRow
from objstore.model.timestamps import from_seconds
from objstore.rpc.interface import Caller, PeerUnavailable
from objstore.runtime.interface import Clock, Progress
from objstore.tables.device import TableDevice
from objstore.tables.draft import State
from objstore.tables.operations import MarkReported
from objstore.tables.place import Place
from objstore.tables.scanning import places, state_of

logger = logging.getLogger("objstore.container")

CALL_TIMEOUT_S = 5.0
AT_ONCE_TIMEOUT_S = 1.0
ROWS_PER_CALL_MAX = 256
CALLS_AT_ONCE_MAX = 8
SCAN_INTERVAL_S = 3600.0
UNKNOWN = -1
"""Of how many objects the account thinks, where its report is not ours."""


class Report(NamedTuple):
    """One container's row, on its way to its account's replica."""

    device: TableDevice
    place: Place
    name: str
    parent: IndexTarget
    row: ContainerRow


class ContainerUpdater:
    """Worker "container-updater". Run a pass every second or so: a pass without changes costs nothing."""

    def __init__(self, devices: Mapping[str, TableDevice], caller: Caller, clock: Clock) -> None:
        self._devices = devices
        self._caller = caller
        self._clock = clock
        self._touched: dict[tuple[TableDevice, Place], None] = {}  # a set in order of arrival
        self._next_scan = 0.0
        self.progress = Progress()
        """In containers."""
        for device in devices.values():
            device.changed.append(partial(self._changed, device))

    @property
    def name(self) -> str:
        return "container-updater"

    @property
    def waiting(self) -> int:
        """Containers whose account may not know their newest figures."""
        return len(self._touched)

    async def run_once(self) -> dict[str, int]:
        """Report all that changed; on the first pass, and then once an hour, after a scan of all databases."""
        figures = {"scanned": 0, "reported": 0, "failed": 0}
        for device in self._devices.values():
            try:
                await device.rows.written_everywhere()  # so that a pass leaves nothing behind
            except NodeError as error:
                logger.warning("rows not written yet", extra={"device": device.name, "error": error.text})
        if self._clock.monotonic() >= self._next_scan:
            self._next_scan = self._clock.monotonic() + SCAN_INTERVAL_S
            for device in self._devices.values():
                await self._scan(device, figures)
        touched, self._touched = self._touched, {}
        reports = []
        self.progress = Progress(0, len(touched))
        for device, place in touched:
            report = await self._report_of(device, place, figures)
            if report is not None:
                reports.append(report)
        calls = _grouped(reports)
        slots = asyncio.Semaphore(CALLS_AT_ONCE_MAX)

        async def send(call: Sequence[Report]) -> None:
            async with slots:
                done = await self._send(call, CALL_TIMEOUT_S)
            figures["reported" if done else "failed"] += len(call)
            self.progress.done += len(call)

        await asyncio.gather(*(send(call) for call in calls))
        return figures

    async def report_now(self, device: TableDevice, place: Place) -> None:
        """Report one container; for at most AT_ONCE_TIMEOUT_S, then the next pass does it."""
        report = await self._report_of(device, place, {"failed": 0})
        if report is not None:
            await self._send([report], AT_ONCE_TIMEOUT_S)

    def _changed(self, device: TableDevice, place: Place) -> None:
        if place.kind is OBJECT_ROWS:
            self._touch(device, place)

    def _touch(self, device: TableDevice, place: Place) -> None:
        self._touched[device, place] = None

    # --- steps -------------------------------------------------------------------------------------------------

    async def _scan(self, device: TableDevice, figures: dict[str, int]) -> None:
        try:
            async for place in places(device, OBJECT_ROWS):
                figures["scanned"] += 1
                self._touch(device, place)
        except NodeError as error:
            self._next_scan = 0.0
            logger.warning("scan failed", extra={"device": device.name, "error": str(error)})

    async def _report_of(self, device: TableDevice, place: Place, figures: dict[str, int]) -> Report | None:
        """What is to be told, if anything. A database that cannot be read has nothing to tell: whoever uses it next deals
        with it.
        """
        try:
            state = await state_of(device, place)
        except NodeError as error:
            figures["failed"] += 1
            logger.warning("container unreadable", extra={"device": device.name, "path": place.path, "error": str(error)})
            return None
        if state is None or state.parent is None:
            return None
        row = row_to_report(state, from_seconds(self._clock.now()))
        return None if row is None else Report(device, place, state.settings.name, state.parent, row)

    async def _send(self, reports: Sequence[Report], timeout_s: float) -> bool:
        """One call for reports to one account replica. On failure they stay touched."""
        parent, (account, _) = reports[0].parent, split_name(reports[0].name)
        request = MergeContainerRows(
            Target(parent.device, parent.partition), parent.hash, account, [report.row for report in reports]
        )
        try:
            reply = await self._caller.call(Address(parent.ip, parent.port), request, timeout_s=timeout_s)
            kept = reply.kept if isinstance(reply, ContainersMerged) else []
            for number, report in enumerate(reports):
                await self._mark(report, kept[number] if number < len(kept) else 0)
        except (NodeError, PeerUnavailable) as error:
            logger.info("report failed", extra={"account": account, "node": f"{parent.ip}:{parent.port}", "error": str(error)})
            for report in reports:
                self._touch(report.device, report.place)
            return False
        return True

    async def _mark(self, report: Report, kept: int) -> None:
        """The account holds the report; or one that a replica with a clock ahead of ours made at `kept`. That one would win over
        all of ours until its time has come, so ours is made once more, behind it.
        """
        row = report.row
        if kept > from_seconds(self._clock.now()):
            row = msgspec.structs.replace(row, object_count=UNKNOWN, reported=kept)
            self._touch(report.device, report.place)
        mark: MarkReported[ObjectRow] = MarkReported(report.name, row)
        await report.device.apply(report.place, mark)


def row_to_report(state: State, timestamp: int) -> ContainerRow | None:
    """The container's row for its account, None when the account holds it already or the container was never created."""
    settings, stats, last = state.settings, state.stats, state.reported
    if not settings.put_timestamp:
        return None
    row = ContainerRow(
        split_name(settings.name)[1],
        settings.put_timestamp,
        settings.delete_timestamp,
        stats.object_count,
        stats.bytes_used,
        settings.policy,
        timestamp if last is None else last.reported,
    )
    if last is None:
        return row
    if row == last:
        return None
    return ContainerRow(*_fields(row), max(timestamp, last.reported + 1))


def _fields(row: ContainerRow) -> tuple[str, int, int, int, int, int]:
    return (row.name, row.put_timestamp, row.delete_timestamp, row.object_count, row.bytes_used, row.policy)


def split_name(name: str) -> tuple[str, str]:
    """ "/account/container" -> "/account", "container"."""
    _, account, container = name.split("/", 2)
    return f"/{account}", container


def _grouped(reports: Sequence[Report]) -> list[list[Report]]:
    """By account replica, at most ROWS_PER_CALL_MAX each."""
    by_account: dict[tuple[str, int, str, int, bytes], list[Report]] = {}
    for report in reports:
        parent = report.parent
        key = (parent.ip, parent.port, parent.device, parent.partition, parent.hash)
        by_account.setdefault(key, []).append(report)
    return [
        group[start : start + ROWS_PER_CALL_MAX]
        for group in by_account.values()
        for start in range(0, len(group), ROWS_PER_CALL_MAX)
    ]
