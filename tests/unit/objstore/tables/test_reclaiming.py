"""Old deletions are forgotten when all primaries know them, and nothing comes back."""

from pathlib import Path

import pytest

from objstore.model.rows import ContainerRow
from objstore.model.timestamps import from_seconds
from tests.unit.objstore.tables.rig import gone, put
from tests.unit.objstore.tables.syncrig import ACCOUNT, NAME, sync_rig


async def test_tombstones_below_the_horizon_go_when_all_know_them(tmp_path: Path) -> None:
    async with sync_rig(tmp_path) as rig:
        for node in rig.nodes:
            await node.write("create", 1)
            await node.merge(put("kept", 1), gone("old", 2), gone("young", 9))
        assert sum(figures["reclaimed"] for figures in await rig.replicate()) == 0
        rig.horizon = from_seconds(5)
        assert [figures["reclaimed"] for figures in await rig.replicate()] == [1, 1, 1]
        assert await rig.equal(0, 1, 2) == [put("kept", 1), gone("young", 9)]
        assert [figures["reclaimed"] for figures in await rig.replicate()] == [0, 0, 0]
        assert [figures["in_sync"] for figures in await rig.replicate()] == [1, 1, 1]


async def test_nothing_is_forgotten_while_a_primary_does_not_answer(tmp_path: Path) -> None:
    async with sync_rig(tmp_path) as rig:
        rig.horizon = from_seconds(5)
        for node in rig.nodes[:2]:
            await node.merge(gone("a", 2))
        await rig.nodes[2].merge(put("a", 1))
        rig.down(2)
        assert [figures["reclaimed"] for figures in await rig.replicate(0, 1)] == [0, 0]
        rig.network.heal()
        assert [figures["reclaimed"] for figures in await rig.replicate(0, 1, 2)] == [1, 1, 1]
        for node in rig.nodes:
            assert await node.rows() == []


async def test_what_one_has_forgotten_is_not_brought_back_by_another(tmp_path: Path) -> None:
    async with sync_rig(tmp_path) as rig:
        for node in rig.nodes:
            await node.merge(put("kept", 3), gone("a", 2))
        rig.horizon = from_seconds(5)
        assert (await rig.replicate(0))[0]["reclaimed"] == 1
        rig.horizon = 0  # the others do not get to it
        await rig.nodes[1].merge(put("new", 6))
        for _ in range(2):
            assert sum(figures["reclaimed"] + figures["failed"] for figures in await rig.replicate(1, 2, 0)) == 0
        assert await rig.nodes[0].rows() == [put("kept", 3), put("new", 6)]
        assert gone("a", 2) in await rig.nodes[2].rows()
        figures = (await rig.replicate(1))[0]
        assert (figures["in_sync"], figures["rows_sent"], figures["rows_received"]) == (1, 0, 0)


async def test_a_deletion_that_came_after_the_comparison_stays(tmp_path: Path) -> None:
    async with sync_rig(tmp_path) as rig:
        rig.horizon = from_seconds(5)
        for node in rig.nodes:
            await node.merge(put("a", 1), gone("b", 2))
        state = await rig.nodes[0].state()
        await rig.nodes[0].merge(gone("a", 2))
        upkeep = rig.nodes[0].container.upkeep
        assert upkeep is not None
        reclaimer, place = upkeep.replicator._reclaimer, rig.place(NAME)
        now = await rig.nodes[0].state()
        assert await reclaimer.reclaim(rig.nodes[0].device, place, now, state.seq) == 1
        assert await rig.nodes[0].rows() == [gone("a", 2)]


@pytest.mark.parametrize("rows", [True, False])
async def test_a_deleted_container_is_removed_everywhere_and_stays_away(tmp_path: Path, rows: bool) -> None:
    async with sync_rig(tmp_path) as rig:
        for node in rig.nodes:
            await node.write("create", 1)
            if rows:
                await node.merge(put("a", 2), gone("a", 3))
            await node.write("delete", 4)
        rig.horizon = from_seconds(5)
        (figures,) = await rig.replicate(0)
        assert (figures["removed"], figures["reclaimed"], figures["failed"]) == (1, int(rows), 0)
        assert await rig.databases() == [0, 1, 1]
        (figures,) = await rig.replicate(1)
        assert (figures["removed"], figures["failed"]) == (1, 0)
        await rig.replicate(2, 0, 1)
        assert await rig.databases() == [0, 0, 0]


async def test_a_deleted_container_with_young_deletions_in_it_stays(tmp_path: Path) -> None:
    async with sync_rig(tmp_path) as rig:
        for node in rig.nodes[:2]:
            await node.write("create", 1)
            await node.write("delete", 4)
            await node.merge(gone("late", 8))
        rig.horizon = from_seconds(5)
        assert sum(figures["removed"] for figures in await rig.replicate()) == 0
        assert await rig.equal(0, 1, 2) == [gone("late", 8)]
        rig.horizon = from_seconds(9)
        await rig.replicate()
        assert await rig.databases() == [0, 0, 0]


async def test_a_container_made_again_elsewhere_is_not_removed(tmp_path: Path) -> None:
    async with sync_rig(tmp_path) as rig:
        for node in rig.nodes:
            await node.write("create", 1)
            await node.write("delete", 4)
        await rig.nodes[2].write("create", 6)
        rig.horizon = from_seconds(5)
        await rig.replicate()
        assert await rig.databases() == [1, 1, 1]
        await rig.equal(0, 1, 2)


async def test_an_account_forgets_deleted_containers_and_goes_itself(tmp_path: Path) -> None:
    async with sync_rig(tmp_path) as rig:
        for node in rig.nodes:
            await node.write("create", 1, ACCOUNT)
            await node.merge(ContainerRow("gone", 1, 2), ContainerRow("late", 1, 8), name=ACCOUNT)
        rig.horizon = from_seconds(5)
        rows = [ContainerRow("gone", from_seconds(1), from_seconds(2)), ContainerRow("late", from_seconds(1), from_seconds(8))]
        for node in rig.nodes:
            await node.merge(*rows, name=ACCOUNT)
        assert [figures["reclaimed"] for figures in await rig.replicate(kind="account")] == [1, 1, 1]
        assert await rig.equal(0, 1, 2, name=ACCOUNT) == rows[1:]
        for node in rig.nodes:
            await node.write("delete", 9, ACCOUNT)
        rig.horizon = from_seconds(20)
        figures = await rig.replicate(kind="account")
        assert sum(one["removed"] for one in figures) == 3


async def test_many_deletions_go_in_several_transactions(tmp_path: Path) -> None:
    async with sync_rig(tmp_path, 1, (0,)) as rig:
        await rig.nodes[0].merge(put("kept", 1), *(gone(f"o{i:05d}", 2) for i in range(2500)))
        rig.horizon = from_seconds(5)
        assert (await rig.replicate(0))[0]["reclaimed"] == 2500
        assert await rig.nodes[0].rows() == [put("kept", 1)]
