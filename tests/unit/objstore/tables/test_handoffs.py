"""After a ring change a database goes to all its new primaries, and only then leaves the old one."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from objstore.formats.messages import Message, TakeRows
from objstore.model.errors import Code, NodeError
from objstore.rpc.interface import CallContext
from tests.unit.objstore.tables.rig import put
from tests.unit.objstore.tables.syncrig import ACCOUNT, NAME, SyncRig, sync_rig


async def moved(rig: SyncRig, rows: int = 1) -> None:
    """Node 3 has all of the container; its partitions then go to the nodes 0, 1 and 2."""
    rig.move(3)
    await rig.nodes[3].write("create", 1, values={"user:k": "v"})
    await rig.nodes[3].merge(*(put(f"o{i:04d}", 2) for i in range(rows)))
    rig.move(0, 1, 2)


@pytest.mark.parametrize("rows", [0, 3, 1500])
async def test_a_database_is_handed_over_and_removed(tmp_path: Path, rows: int) -> None:
    async with sync_rig(tmp_path, 4) as rig:
        await moved(rig, rows)
        (figures,) = await rig.replicate(3)
        assert (figures["removed"], figures["failed"]) == (1, 0)
        assert len(await rig.equal(0, 1, 2)) == rows
        assert await rig.databases() == [1, 1, 1, 0]
        assert not rig.nodes[3].file().parent.exists()
        parents = [(await node.state()).parent for node in rig.nodes[:3]]
        assert [parent.port for parent in parents if parent is not None] == [6000, 6001, 6002]


async def test_it_stays_until_all_primaries_have_it(tmp_path: Path) -> None:
    async with sync_rig(tmp_path, 4) as rig:
        await moved(rig)
        rig.down(1)
        (figures,) = await rig.replicate(3)
        assert (figures["removed"], figures["failed"]) == (0, 1)
        assert await rig.databases() == [1, 0, 1, 1]
        rig.network.heal()
        (figures,) = await rig.replicate(3)
        assert figures["removed"] == 1
        await rig.equal(0, 1, 2)


async def test_it_stays_when_an_acknowledgement_is_lost(tmp_path: Path) -> None:
    async with sync_rig(tmp_path, 4) as rig:
        await moved(rig)
        node = rig.nodes[2]
        answer = node.dispatcher.handlers[TakeRows]

        async def lost(request: Message, context: CallContext) -> Message:
            await answer(request, context)
            raise NodeError(Code.BUSY, "nobody hears this")

        node.dispatcher.handlers[TakeRows] = lost
        (figures,) = await rig.replicate(3)
        assert (figures["removed"], figures["failed"]) == (0, 1)
        assert await rig.databases() == [1, 1, 1, 1]
        node.dispatcher.handlers[TakeRows] = answer
        assert (await rig.replicate(3))[0]["removed"] == 1


async def test_what_is_written_during_the_handover_keeps_it_for_another_pass(tmp_path: Path) -> None:
    async with sync_rig(tmp_path, 4) as rig:
        await moved(rig)
        node = rig.nodes[0]
        answer = node.dispatcher.handlers[TakeRows]

        async def write_first(request: Message, context: CallContext) -> Message:
            await rig.nodes[3].merge(put("late", 3))
            return await answer(request, context)

        node.dispatcher.handlers[TakeRows] = write_first
        (figures,) = await rig.replicate(3)
        assert figures["removed"] == 0
        node.dispatcher.handlers[TakeRows] = answer
        (figures,) = await rig.replicate(3)
        assert figures["removed"] == 1
        assert put("late", 3) in await rig.equal(0, 1, 2)


async def test_settings_changed_during_the_handover_keep_it_too(tmp_path: Path) -> None:
    async with sync_rig(tmp_path, 4) as rig:
        await moved(rig)
        node = rig.nodes[0]
        answer = node.dispatcher.handlers[TakeRows]

        async def write_after(request: Message, context: CallContext) -> Message:
            reply = await answer(request, context)
            await rig.nodes[3].write("update", 5, values={"user:k": "late"})
            return reply

        node.dispatcher.handlers[TakeRows] = write_after
        (figures,) = await rig.replicate(3)
        assert figures["removed"] == 0
        node.dispatcher.handlers[TakeRows] = answer
        await rig.replicate(3)
        await rig.equal(0, 1, 2)
        assert (await node.settings()).values["user:k"].value == "late"


async def test_primaries_that_hold_more_keep_it(tmp_path: Path) -> None:
    async with sync_rig(tmp_path, 4) as rig:
        await moved(rig, 3)
        for node in rig.nodes[:3]:
            await node.write("create", 4)
            await node.merge(put("o0001", 5), put("more", 5))
        (figures,) = await rig.replicate(3)
        assert (figures["removed"], figures["rows_received"]) == (1, 0)
        assert await rig.equal(0, 1, 2) == [put("more", 5), put("o0000", 2), put("o0001", 5), put("o0002", 2)]


async def test_a_mark_from_before_is_no_acknowledgement(tmp_path: Path) -> None:
    """A copy put back as it once was numbers its changes anew: a primary's mark for it speaks of others."""
    async with sync_rig(tmp_path, 4) as rig:
        await moved(rig)
        rig.down(2)
        for number in range(9):
            await rig.nodes[3].merge(put(f"seen{number}", 3))
        await rig.replicate(3)  # 0 and 1 have received all ten changes
        rig.network.heal()
    async with sync_rig(tmp_path, 4) as rig:
        rig.move(0, 1, 2)
        state = await rig.nodes[3].state()
        place = rig.place(NAME)
        await rig.nodes[3].device.apply(place, _Pretend(state.seq - 1))  # type: ignore[arg-type]
        await rig.nodes[3].merge(put("unseen", 4))
        assert (await rig.nodes[3].state()).seq == state.seq
        (figures,) = await rig.replicate(3)
        assert figures["removed"] == 1
        assert put("unseen", 4) in await rig.equal(0, 1, 2)


class _Pretend:
    """Sets the counter back, as an old copy of the file would."""

    name = NAME
    creates = False

    def __init__(self, seq: int) -> None:
        self._seq = seq

    def run(self, draft: Any) -> None:
        draft._seq = self._seq


async def test_one_of_three_primaries_is_replaced(tmp_path: Path) -> None:
    async with sync_rig(tmp_path, 4) as rig:
        for node in rig.nodes[:3]:
            await node.write("create", 1)
            await node.merge(put("a", 2))
        rig.move(0, 1, 3)
        (figures,) = await rig.replicate(2)
        assert figures["removed"] == 1
        await rig.equal(0, 1, 3)
        assert await rig.databases() == [1, 1, 0, 1]


async def test_replicas_report_to_the_accounts_of_todays_rings(tmp_path: Path) -> None:
    async with sync_rig(tmp_path, 4) as rig:
        for node in rig.nodes[:3]:
            await node.write("create", 1)
            await node.merge(put("a", 2, size=7))
        await rig.replicate()
        for node in rig.nodes[:3]:
            await node.container.updater.run_once()
        assert [len(await node.rows(ACCOUNT)) for node in rig.nodes] == [1, 1, 1, 0]
        before = rig.rings.container
        rig.move(3, 0, 1)
        rig.rings.container = before
        await rig.replicate()
        for node in rig.nodes[:3]:
            await node.container.updater.run_once()
        assert [parent.port for node in rig.nodes[:3] if (parent := (await node.state()).parent)] == [6003, 6000, 6001]
        (row,) = await rig.nodes[3].rows(ACCOUNT)
        assert (row.name, row.bytes_used) == ("con", 7)  # type: ignore[union-attr]


async def test_a_database_of_a_partition_that_is_in_no_ring_is_left_alone(tmp_path: Path) -> None:
    async with sync_rig(tmp_path, 1, (0,)) as rig:
        await rig.nodes[0].merge(put("a", 1))
        rig.nodes[0].file().parent.rename(tmp_path / "n0/containers/77")
    async with sync_rig(tmp_path, 1, (0,)) as rig:
        (figures,) = await rig.replicate(0)
        assert (figures["failed"], figures["removed"]) == (1, 0)
        assert (tmp_path / "n0/containers/77" / rig.nodes[0].file().name).exists()


async def test_a_reader_at_work_is_not_disturbed_by_the_removal(tmp_path: Path) -> None:
    async with sync_rig(tmp_path, 4) as rig:
        await moved(rig, 50)
        database = await rig.nodes[3].database()
        assert database is not None

        async def replicate() -> dict[str, int]:
            return (await rig.replicate(3))[0]

        loop, done = asyncio.get_running_loop(), asyncio.Event()

        def read(connection: Any) -> int:
            cursor = connection.execute("SELECT name FROM row ORDER BY name")
            seen = len(cursor.fetchmany(10))
            asyncio.run_coroutine_threadsafe(done.wait(), loop).result(10)
            return seen + len(cursor.fetchall())

        reading = asyncio.create_task(rig.nodes[3].device.read(rig.place(NAME), database, read))
        await asyncio.sleep(0.05)
        assert (await replicate())["removed"] == 1
        done.set()
        assert await reading == 50
