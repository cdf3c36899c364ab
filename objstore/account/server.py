"""The account server: which containers an account has, and the sums over them."""

from collections.abc import Mapping

from objstore.account.reports import TakeReports
from objstore.account.store import CONTAINER_ROWS
from objstore.formats.messages import ContainerPage, ContainersMerged, MergeContainerRows, Message
from objstore.model.rows import ContainerRow
from objstore.rpc.interface import CallContext, Caller, Dispatcher
from objstore.runtime.interface import Clock, Worker
from objstore.tables.device import TableDevice
from objstore.tables.service import SKEW_S_MAX, TableService
from objstore.tables.upkeep import Upkeep, UpkeepSettings


class AccountServer:
    """Serves the account databases on `devices`; these are started and stopped by their owner."""

    def __init__(
        self,
        devices: Mapping[str, TableDevice],
        caller: Caller,
        clock: Clock,
        upkeep: UpkeepSettings | None = None,
        *,
        skew_s_max: float = SKEW_S_MAX,
    ) -> None:
        """Without `upkeep` there are no daemons, and no answers to those of others."""
        self.service: TableService[ContainerRow] = TableService(
            CONTAINER_ROWS, ContainerPage, devices, clock, skew_s_max=skew_s_max
        )
        self.upkeep = None if upkeep is None else Upkeep(self.service, caller, clock, upkeep)

    def register(self, dispatcher: Dispatcher) -> None:
        """Answer WriteTable, StatTable, ListTable of accounts, MergeContainerRows, and other nodes' daemons."""
        self.service.register(dispatcher)
        if self.upkeep is not None:
            self.upkeep.register(dispatcher)
        dispatcher.on(MergeContainerRows, self._merge)

    async def start(self) -> None:
        """Nothing runs beside the calls."""

    async def stop(self) -> None:
        """Nothing runs beside the calls."""

    def workers(self) -> list[Worker]:
        """The account-replicator and the account-auditor."""
        return [] if self.upkeep is None else self.upkeep.workers()

    async def _merge(self, request: Message, _context: CallContext) -> ContainersMerged:
        assert isinstance(request, MergeContainerRows)
        take = TakeReports(request.name, request.rows, request.settings)
        return await self.service.merge(request.target, request.hash, take, settings=request.settings is not None)
