"""Objects against rows: does the container know what this device holds?

Each object replica asks the container replica that it keeps informed, so each of these is asked by one device, and takes in what it
lacks with the question. A deletion that a container knows and a device does not is carried out there if all replicas of the
container agree on it ("dark data": a device was away while its object was deleted). Objects whose container does not exist are
counted and left alone.
"""

import asyncio
import logging
from collections import Counter
from typing import NamedTuple

from objstore.formats.messages import (
    Address,
    CompareRows,
    DeleteObject,
    IndexTarget,
    ListTable,
    ObjectPage,
    Query,
    RowsCompared,
    StatTable,
    TableInfo,
    Target,
)
from objstore.formats.messages import Message as Request
from objstore.model.errors import Code, NodeError
from objstore.model.listed import row_of
from objstore.model.quorum import majority
from objstore.model.rows import ObjectRow
from objstore.model.version import Version
from objstore.placement.places import Placement, Replica, TablePlace
from objstore.rpc.interface import Caller, PeerUnavailable
from objstore.runtime.pacing import TokenBucket

logger = logging.getLogger("objstore.object")

FIGURES = ("rows", "rows_missing", "dark", "orphans")
CALL_TIMEOUT_S = 10.0
CALL_ROWS_MAX = 500
HELD_ROWS_MAX = 20_000
"""Of all containers together, waiting for company."""
ERRORS_LOGGED_MAX = 3


class _Held(NamedTuple):
    """An object on this device."""

    replica: Replica
    hash: bytes
    name: str
    row: ObjectRow


class RowAudit:
    """Of one device in one pass. Figures: rows (compared), rows_missing (of them, now known), dark (deletions carried out), orphans
    (objects whose container does not exist), errors.
    """

    def __init__(self, caller: Caller, placement: Placement, bucket: TokenBucket, figures: Counter[str]) -> None:
        self._caller = caller
        self._placement = placement
        self._bucket = bucket
        self._figures = figures
        self._held: dict[tuple[str, IndexTarget], list[_Held]] = {}
        self._count = 0
        self._orphaned: set[str] = set()
        self._errors_logged = 0

    async def add(self, replica: Replica, index: IndexTarget, hash_: bytes, container: str, version: Version) -> None:
        """An object, or its tombstone, that `replica` holds. Compared with others of its container, now or later."""
        batch = self._held.setdefault((container, index), [])
        batch.append(_Held(replica, hash_, version.name, row_of(version)))
        self._count += 1
        if len(batch) >= CALL_ROWS_MAX:
            await self._send(container, index)
        elif self._count >= HELD_ROWS_MAX:
            await self.flush()

    async def flush(self) -> None:
        """Compare all that waits."""
        for container, index in list(self._held):
            await self._send(container, index)

    async def _send(self, container: str, index: IndexTarget) -> None:
        batch = self._held.pop((container, index))
        self._count -= len(batch)
        await self._bucket.take(len(batch))
        table = self._placement.table(container)
        try:
            if not await self._exists(table, index):
                self._orphans(container, len(batch))
                return
            rows = [held.row for held in batch]
            request = CompareRows(_target(index), index.hash, container, rows, _parent(table, index))
            reply = await self._call(_address(index), request)
        except (NodeError, PeerUnavailable) as error:
            self._complain(container, error)
            return
        assert isinstance(reply, RowsCompared)
        self._figures["rows"] += len(batch)
        for held, compared in zip(batch, reply.rows, strict=True):
            if compared.state == "missing" and not held.row.deleted:
                self._figures["rows_missing"] += 1
            elif compared.state == "deleted" and _older(held.row, compared.timestamp):
                await self._darken(table, index, held)

    async def _exists(self, table: TablePlace, index: IndexTarget) -> bool:
        """Whether any replica says so, the one that the rows are for first. Raises NodeError busy when too few answer."""
        ours = [replica for replica in table.replicas if _is(replica, index)]
        others = [replica for replica in table.replicas if replica not in ours]
        answered = 0
        for replica in ours + others:
            try:
                reply = await self._call(replica.address, StatTable("container", replica.target, table.hash, table.name))
            except (NodeError, PeerUnavailable):
                continue
            assert isinstance(reply, TableInfo)
            if reply.settings is not None and reply.settings.exists:
                return True
            answered += 1
        if answered < majority(len(table.replicas)):
            raise NodeError(Code.BUSY, "too few replicas of the container answered")
        return False

    # --- deletions that this device missed ---------------------------------------------------------------------

    async def _darken(self, table: TablePlace, index: IndexTarget, held: _Held) -> None:
        """Carry out a deletion, if every replica of the container that answers knows it, and a majority does answer."""
        answers = await asyncio.gather(*(self._deletion(table, replica, held) for replica in table.replicas))
        known = [timestamp for timestamp in answers if timestamp is not None]
        if len(known) < majority(len(table.replicas)) or not all(known):
            return
        address, target = held.replica
        request = DeleteObject(target, held.hash, held.name, max(known), index, pushed=True)
        try:
            await self._call(address, request)
        except (NodeError, PeerUnavailable) as error:
            self._complain(table.name, error)
            return
        self._figures["dark"] += 1
        extra = {"object": held.name, "device": target.device}
        logger.warning("object deleted that its container knows as deleted", extra=extra)

    async def _deletion(self, table: TablePlace, replica: Replica, held: _Held) -> int | None:
        """When the object was deleted, by one replica of its container: 0 when it was not, None without an answer."""
        query = Query(1, prefix=held.row.name)  # of all names with this prefix, it is the first
        request = ListTable("container", replica.target, table.hash, table.name, query, raw_rows=True)
        try:
            reply = await self._call(replica.address, request)
        except (NodeError, PeerUnavailable):
            return None
        assert isinstance(reply, ObjectPage)
        for row in reply.rows:
            if isinstance(row, ObjectRow) and row.name == held.row.name and row.deleted and _older(held.row, row.timestamp):
                return row.timestamp
        return 0

    # --- around it ---------------------------------------------------------------------------------------------

    async def _call(self, address: Address, request: Request) -> Request:
        return await self._caller.call(address, request, timeout_s=CALL_TIMEOUT_S)

    def _orphans(self, container: str, count: int) -> None:
        self._figures["orphans"] += count
        if container not in self._orphaned:
            self._orphaned.add(container)
            logger.warning("objects of a container that does not exist; they are left alone", extra={"container": container})

    def _complain(self, container: str, error: Exception) -> None:
        self._figures["errors"] += 1
        if self._errors_logged < ERRORS_LOGGED_MAX:
            self._errors_logged += 1
            logger.warning("rows not compared", extra={"container": container, "error": str(error)})


def _older(row: ObjectRow, deletion: int) -> bool:
    """Whether all that is known of a live object came before a deletion."""
    return not row.deleted and max(row.timestamp, row.meta_timestamp) < deletion


def _is(replica: Replica, index: IndexTarget) -> bool:
    return replica.address == _address(index) and replica.target.device == index.device


def _parent(table: TablePlace, index: IndexTarget) -> IndexTarget | None:
    return next((parent for replica, parent in zip(table.replicas, table.parents, strict=True) if _is(replica, index)), None)


def _address(index: IndexTarget) -> Address:
    return Address(index.ip, index.port)


def _target(index: IndexTarget) -> Target:
    return Target(index.device, index.partition)
