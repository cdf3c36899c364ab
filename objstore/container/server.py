"""The container server: settings and object rows of containers."""

from collections.abc import Mapping
from functools import partial

from objstore.container.comparing import Compare
from objstore.container.rowaudit import RowAudit
from objstore.container.store import OBJECT_ROWS
from objstore.container.updater import ContainerUpdater
from objstore.formats.messages import CompareRows, IndexTarget, MergeObjectRows, Message, ObjectPage, Ready, RowsCompared
from objstore.model.rows import ObjectRow
from objstore.rpc.interface import CallContext, Caller, Dispatcher
from objstore.runtime.interface import Clock, Worker
from objstore.runtime.pacing import TokenBucket
from objstore.tables.device import TableDevice
from objstore.tables.heldrows import Beside
from objstore.tables.operations import Merge
from objstore.tables.place import Place
from objstore.tables.service import SKEW_S_MAX, TableService
from objstore.tables.upkeep import Upkeep, UpkeepSettings

ROW_AUDIT_BURST = 256


class ContainerServer:
    """Serves the container databases on `devices`; these are started and stopped by their owner."""

    def __init__(
        self,
        devices: Mapping[str, TableDevice],
        caller: Caller,
        clock: Clock,
        upkeep: UpkeepSettings | None = None,
        *,
        skew_s_max: float = SKEW_S_MAX,
    ) -> None:
        """Without `upkeep` there is no daemon but the updater, and no answers to those of others."""
        self.updater = ContainerUpdater(devices, caller, clock)
        self.service: TableService[ObjectRow] = TableService(
            OBJECT_ROWS,
            ObjectPage,
            devices,
            clock,
            written=self.updater.report_now,
            skew_s_max=skew_s_max,
        )
        self.upkeep: Upkeep | None = None
        if upkeep is not None:
            pace = TokenBucket(clock, upkeep.audit_rows_per_s, ROW_AUDIT_BURST)
            self.upkeep = Upkeep(self.service, caller, clock, upkeep, RowAudit(upkeep.placement, caller, clock, pace))

    def register(self, dispatcher: Dispatcher) -> None:
        """Answer WriteTable, StatTable, ListTable of containers, MergeObjectRows, CompareRows, and other nodes' daemons."""
        self.service.register(dispatcher)
        if self.upkeep is not None:
            self.upkeep.register(dispatcher)
        dispatcher.on(MergeObjectRows, self._merge)
        dispatcher.on(CompareRows, self._compare)

    async def start(self) -> None:
        """Nothing runs beside the calls and `workers`."""

    async def stop(self) -> None:
        """Nothing runs beside the calls and `workers`."""

    def workers(self) -> list[Worker]:
        """The container-updater, the container-replicator and the container-auditor."""
        return [self.updater, *([] if self.upkeep is None else self.upkeep.workers())]

    def beside(self, index: IndexTarget, container: str, row: ObjectRow, size: int) -> Beside | None:
        """How a row becomes durable with its object, a file of `size` bytes on the device of the container's database. None where
        it has to come as MergeObjectRows: there is no open database, no journal, or too much waits.
        """
        device = self.service.devices.get(index.device)
        if device is None or device.disk.gone or size > device.disk.note_bytes_max:
            return None
        place = Place(OBJECT_ROWS, index.partition, index.hash)
        note = device.rows.note(place, container, [row], device.peek(place))
        return None if note is None else Beside(note, partial(device.rows.hold, place, container, [row]))

    async def _merge(self, request: Message, _context: CallContext) -> Ready:
        assert isinstance(request, MergeObjectRows)
        merge: Merge[ObjectRow] = Merge(request.name, request.rows, request.settings, request.parent)
        if request.settings is None:
            device, place = self.service.place(request.target, request.hash)
            await device.merge(place, merge)
        else:
            await self.service.merge(request.target, request.hash, merge, settings=True)
        return Ready()

    async def _compare(self, request: Message, _context: CallContext) -> RowsCompared:
        assert isinstance(request, CompareRows)
        compare = Compare(request.name, request.rows, request.parent)
        return await self.service.merge(request.target, request.hash, compare, settings=False)
