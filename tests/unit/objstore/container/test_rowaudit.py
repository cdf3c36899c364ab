"""What a container lists is compared with the objects that real servers hold."""

import logging
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from objstore.container.rowaudit import ROWS_AT_ONCE_MAX, RowAudit
from objstore.container.store import OBJECT_ROWS
from objstore.formats.messages import DeleteObject
from objstore.model.names import ObjectName
from objstore.model.rows import ObjectRow
from objstore.model.timestamps import from_seconds
from objstore.placement.places import Placement
from objstore.rpc.interface import Dispatcher
from objstore.runtime.pacing import TokenBucket
from objstore.tables.operations import Merge
from objstore.tables.place import Place
from objstore.tables.scanning import state_of
from tests.unit.objstore.proxy.cluster import ACCOUNT, OWNER, Cluster, named, put, running


class Rig:
    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.device = cluster.nodes[0].tables
        found = Placement(cluster.rings).container(ACCOUNT, "c")
        self.place = Place(OBJECT_ROWS, found.replicas[0].target.partition, found.hash)
        self.bucket = TokenBucket(cluster.clock, 0, 1)
        caller = cluster.network.client("auditor", Dispatcher())
        self.audit = RowAudit(Placement(cluster.rings), caller, cluster.clock, self.bucket)

    async def check(self) -> dict[str, int]:
        figures: Counter[str] = Counter(dict.fromkeys(self.audit.figures, 0))
        state = await state_of(self.device, self.place)
        assert state is not None
        await self.audit.check(self.device, self.place, state, figures)
        return dict(figures)

    async def row(self, name: str, second: float) -> None:
        """A row without an object."""
        at = from_seconds(second)
        row = ObjectRow(name, at, False, 1, "e", "t/t", at, at)
        await self.device.apply(self.place, Merge(f"/{ACCOUNT}/c", [row]))

    async def delete(self, name: ObjectName, second: float, nodes: list[int]) -> None:
        """A deletion that no container hears of."""
        place = self.cluster.place(name)
        for number in nodes:
            request = DeleteObject(place.replicas[number].target, place.hash, place.name, from_seconds(second), None, True)
            await self.cluster.ask(number, request)

    async def held(self) -> dict[str, ObjectRow]:
        database = await self.device.opened(self.place, "")
        assert database is not None
        rows = database.read(lambda c: c.execute(f"SELECT {', '.join(OBJECT_ROWS.column_names)} FROM row").fetchall())
        return {row.name: row for row in OBJECT_ROWS.unpack(rows)}


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    async with running(tmp_path) as cluster:
        await cluster.store().put_container(OWNER, ACCOUNT, "c", {})
        yield Rig(cluster)


async def test_rows_of_objects_that_are_there_are_left_alone(rig: Rig) -> None:
    store = rig.cluster.stores[0]
    names = [named(rig.cluster, f"o{number}") for number in range(3 * ROWS_AT_ONCE_MAX + 1)]
    for name in names:
        await put(store, name, b"x")
    before = await rig.held()
    assert await rig.check() == {"rows": len(names), "rows_deleted": 0, "ghost_rows": 0}
    assert await rig.held() == before


async def test_a_row_of_a_deleted_object_gets_its_deletion(rig: Rig) -> None:
    name = named(rig.cluster, "gone")
    await put(rig.cluster.stores[0], name, b"x")
    at = rig.cluster.clock.now() + 1
    await rig.delete(name, at, [0, 1, 2])
    assert await rig.check() == {"rows": 1, "rows_deleted": 1, "ghost_rows": 0}
    row = (await rig.held())[name.object]
    assert (row.deleted, row.timestamp) == (True, from_seconds(at))
    assert await rig.check() == {"rows": 0, "rows_deleted": 0, "ghost_rows": 0}


async def test_an_object_that_one_primary_still_has_is_no_ghost_and_not_deleted(rig: Rig) -> None:
    name = named(rig.cluster, "half")
    await put(rig.cluster.stores[0], name, b"x")
    await rig.delete(name, rig.cluster.clock.now() + 1, [0, 1])
    assert await rig.check() == {"rows": 1, "rows_deleted": 0, "ghost_rows": 0}
    assert not (await rig.held())[name.object].deleted


async def test_nothing_is_concluded_while_a_primary_does_not_answer(rig: Rig) -> None:
    name = named(rig.cluster, "gone")
    await put(rig.cluster.stores[0], name, b"x")
    await rig.delete(name, rig.cluster.clock.now() + 1, [0, 1, 2])
    await rig.row(named(rig.cluster, "ghost").object, rig.cluster.clock.now() - 7200)
    rig.cluster.down(2)
    assert await rig.check() == {"rows": 0, "rows_deleted": 0, "ghost_rows": 0}
    rig.cluster.network.heal()
    assert await rig.check() == {"rows": 2, "rows_deleted": 1, "ghost_rows": 1}


async def test_a_ghost_is_named_and_kept_once_it_is_old(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    now = rig.cluster.clock.now()
    await rig.row("old ghost", now - 3700)
    await rig.row("young", now - 60)
    with caplog.at_level(logging.ERROR, "objstore.container"):
        assert await rig.check() == {"rows": 2, "rows_deleted": 0, "ghost_rows": 1}
    (record,) = [record for record in caplog.records if record.message == "listed object is nowhere"]
    assert record.object == f"/{ACCOUNT}/c/old ghost"  # type: ignore[attr-defined]
    assert not (await rig.held())["old ghost"].deleted


async def test_a_deletion_older_than_the_row_does_not_delete_it(rig: Rig) -> None:
    name = named(rig.cluster, "again")
    now = rig.cluster.clock.now()
    await rig.delete(name, now - 7300, [0, 1, 2])
    await rig.row(name.object, now - 7200)
    assert await rig.check() == {"rows": 1, "rows_deleted": 0, "ghost_rows": 1}
    assert not (await rig.held())[name.object].deleted


async def test_rows_are_paced(rig: Rig) -> None:
    for number in range(20):
        await rig.row(f"o{number:02d}", 1)
    taken: list[float] = []

    async def take(tokens: float = 1.0) -> None:
        taken.append(tokens)

    rig.bucket.take = take  # type: ignore[method-assign]
    await rig.check()
    assert sum(taken) == 20
