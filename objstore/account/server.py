"""The account server: which containers an account has, and the sums over them."""

from collections.abc import Mapping

from objstore.account.store import CONTAINER_ROWS
from objstore.formats.messages import ContainerPage, MergeContainerRows, Message, Ready
from objstore.model.rows import ContainerRow
from objstore.rpc.interface import CallContext, Dispatcher
from objstore.runtime.interface import Clock, Worker
from objstore.tables.device import TableDevice
from objstore.tables.operations import Merge
from objstore.tables.service import SKEW_S_MAX, TableService


class AccountServer:
    """Serves the account databases on `devices`; these are started and stopped by their owner."""

    def __init__(self, devices: Mapping[str, TableDevice], clock: Clock, *, skew_s_max: float = SKEW_S_MAX) -> None:
        self.service: TableService[ContainerRow] = TableService(
            CONTAINER_ROWS, ContainerPage, devices, clock, skew_s_max=skew_s_max
        )

    def register(self, dispatcher: Dispatcher) -> None:
        """Answer WriteTable, StatTable, ListTable of accounts, and MergeContainerRows."""
        self.service.register(dispatcher)
        dispatcher.on(MergeContainerRows, self._merge)

    async def start(self) -> None:
        """Nothing runs beside the calls."""

    async def stop(self) -> None:
        """Nothing runs beside the calls."""

    def workers(self) -> list[Worker]:
        """None yet."""
        return []

    async def _merge(self, request: Message, _context: CallContext) -> Ready:
        assert isinstance(request, MergeContainerRows)
        merge: Merge[ContainerRow] = Merge(request.name, request.rows, request.settings)
        await self.service.merge(request.target, request.hash, merge, settings=request.settings is not None)
        return Ready()
