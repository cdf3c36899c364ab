"""The auditor of account and container databases: reads all of each, and compares it with what it says of itself.

A database that SQLite finds corrupt is quarantined at once; its replicas rebuild it. Rows that rotted without breaking the file
show in the digest, which follows every change: where another primary has the digest that ours should have, ours is quarantined too;
where another has what our rows give, or there is no other, the digest was wrong and is corrected. Merging rotten rows would spread
them.
"""

import logging
import sqlite3
from collections import Counter
from functools import partial
from typing import Generic, NamedTuple, Protocol, TypeVar

from objstore.formats.messages import TableQuery, TableState
from objstore.model.errors import Code, NodeError
from objstore.model.listing import Listed
from objstore.rpc.interface import PeerUnavailable
from objstore.runtime.interface import Progress
from objstore.runtime.pacing import TokenBucket, Yielding
from objstore.tables.device import TableDevice
from objstore.tables.digest import Digests, to_bytes
from objstore.tables.draft import State, figures_of, load_state
from objstore.tables.neighbours import Neighbours
from objstore.tables.operations import Correct
from objstore.tables.pairsync import PairSync
from objstore.tables.place import Place
from objstore.tables.recount import Count, count
from objstore.tables.rowkind import added
from objstore.tables.scanning import places, read_at, readable_state
from objstore.tables.schema import VERSION
from objstore.tables.service import TableService

logger = logging.getLogger("objstore.tables")

R = TypeVar("R", bound=Listed)


class Examination(NamedTuple):
    """What one look at a whole database found. `problem`: what SQLite says of a corrupt one, "" of a sound one."""

    problem: str
    state: State
    counted: Count


class Check(Protocol):
    """What else is to be compared with a sound database."""

    figures: tuple[str, ...]

    async def check(self, device: TableDevice, place: Place, state: State, figures: Counter[str]) -> None:
        """Raises NodeError when the database cannot be read."""


class TableAuditor(Generic[R]):
    """Worker "account-auditor" or "container-auditor". Figures: databases; corrected (wrong figures put right); quarantined; failed
    (databases that could not be read, or whose digest is wrong and nobody knows the right one); and those of the check.
    """

    def __init__(
        self,
        service: TableService[R],
        neighbours: Neighbours,
        pairs: PairSync[R],
        pace: TokenBucket,
        yielding: Yielding,
        check: Check | None = None,
    ) -> None:
        """`pace` counts bytes."""
        self.progress = Progress()
        """In databases."""
        self._service = service
        self._kind = service.kind
        self._neighbours = neighbours
        self._pairs = pairs
        self._pace = pace
        self._yielding = yielding
        self._check = check

    @property
    def name(self) -> str:
        return f"{self._kind.kind}-auditor"

    async def run_once(self) -> dict[str, int]:
        """One pass over all devices. A device or database that fails does not hold up the others."""
        names = ("databases", "corrected", "quarantined", "failed", *(self._check.figures if self._check else ()))
        figures: Counter[str] = Counter(dict.fromkeys(names, 0))
        work: list[tuple[TableDevice, Place]] = []
        for device in self._service.devices.values():
            try:
                work += [(device, place) async for place in places(device, self._kind)]
            except NodeError as error:
                figures["failed"] += 1
                logger.warning("scan failed", extra={"device": device.name, "error": str(error)})
        self.progress = Progress(0, len(work))
        for device, place in work:
            quarantined = device.quarantined
            try:
                await self._audit(device, place, figures)
            except NodeError as error:
                if device.quarantined == quarantined:
                    figures["failed"] += 1
                    logger.warning("database not audited", extra=_described(device, place, error=str(error)))
            figures["quarantined"] += device.quarantined - quarantined
            self.progress.done += 1
        return dict(figures)

    async def _audit(self, device: TableDevice, place: Place, figures: Counter[str]) -> None:
        state = await readable_state(device, place)
        if state is None:
            return
        figures["databases"] += 1
        await self._yielding.turn()
        await self._pace.take(await device.disk.run(partial(_size, device, place)))
        try:
            found = await read_at(device, place, partial(examine, place))
        except NodeError as error:
            if error.code is Code.CORRUPT:
                await device.condemn(place, state.id, error.text)
            raise
        if found is None:
            return
        if found.problem:
            await device.condemn(place, found.state.id, found.problem)
            return
        if figures_of(found.state) != found.counted and not await self._put_right(device, place, found, figures):
            return
        if self._check is not None:
            await self._check.check(device, place, found.state, figures)

    async def _put_right(self, device: TableDevice, place: Place, found: Examination, figures: Counter[str]) -> bool:
        """Whether the rows are to be believed: then the figures have been corrected."""
        said, counted = figures_of(found.state), found.counted
        if said.digests != counted.digests:
            rotten = await self._rotten(device, place, found)
            if rotten is None:
                figures["failed"] += 1
                logger.error("digest is wrong, or rows are", extra=_described(device, place, table=found.state.settings.name))
                return False
            if rotten:
                await device.condemn(place, found.state.id, "rows differ from what was written")
                return False
        lacking = added(counted.tally, said.tally, -1)
        await device.apply(place, Correct(found.state.settings.name, lacking, counted.digests - said.digests))
        figures["corrected"] += 1
        details = _described(device, place, table=found.state.settings.name, said=str(said.tally), counted=str(counted.tally))
        logger.error("wrong figures corrected", extra=details)
        return True

    async def _rotten(self, device: TableDevice, place: Place, found: Examination) -> bool | None:
        """Whether our rows are wrong, not our digest: by the other primaries. None when none of them tells."""
        holders = self._neighbours.holders(place, device.name)
        others = holders.others if holders is not None else ()
        if not others:
            return False
        state = found.state
        query = TableQuery(place.partition, place.hash, state.settings.name, state.id)
        for other in others:
            try:
                (answer,) = await self._pairs.compare(other, [query])
            except (NodeError, PeerUnavailable) as error:
                logger.info("no word of a replica", extra=_described(device, place, error=str(error)))
                continue
            if isinstance(answer, TableState) and answer.version == VERSION:
                if _tells(answer, found.counted.digests):
                    return False
                if _tells(answer, state.digests):
                    return True
        return None


def examine(place: Place, connection: sqlite3.Connection) -> Examination:
    """All of one database, in one snapshot. Blocking. Raises sqlite3.Error, ForeignContents."""
    connection.execute("BEGIN")
    try:
        (verdict,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
        state = load_state(connection, place.kind.kind, place.hash)
        if verdict != "ok":
            return Examination(verdict, state, Count({}, Digests()))
        return Examination("", state, count(connection, place.kind))
    finally:
        connection.execute("ROLLBACK")


def _tells(answer: TableState, digests: Digests) -> bool:
    return answer.digest == to_bytes(digests.rows) or answer.live == to_bytes(digests.live)


def _size(device: TableDevice, place: Place) -> int:
    try:
        return device.disk.fs.size_of(place.path)
    except OSError:  # whoever reads it says what is wrong
        return 0


def _described(device: TableDevice, place: Place, **details: str) -> dict[str, str]:
    return {"device": device.name, "path": place.path, **details}
