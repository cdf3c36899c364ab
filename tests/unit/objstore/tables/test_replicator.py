"""Replicas of a database become equal, whatever each of them missed."""

import asyncio
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from objstore.formats.messages import CompareTables, Message, Setting
from objstore.formats.messages.tablesync import TABLES_PER_CALL_MAX
from objstore.model.errors import Code, NodeError
from objstore.model.rows import ContainerRow
from objstore.model.timestamps import from_seconds
from objstore.rpc.interface import CallContext
from objstore.tables import replacement
from objstore.tables.scanning import state_of
from tests.unit.objstore.container.rig import Nobody
from tests.unit.objstore.tables.rig import gone, put
from tests.unit.objstore.tables.syncrig import ACCOUNT, NAME, SyncRig, sync_rig


async def on_all(rig: SyncRig, *rows: object, name: str = NAME) -> None:
    for node in rig.nodes[:3]:
        await node.merge(*rows, name=name)


async def test_rows_that_one_missed_while_down_are_brought_by_either_side(tmp_path: Path) -> None:
    for one in (0, 2):
        (tmp_path / str(one)).mkdir()
        async with sync_rig(tmp_path / str(one)) as rig:
            await on_all(rig, put("both", 1))
            await rig.nodes[0].merge(put("a", 2), gone("both", 3))
            await rig.nodes[1].merge(put("b", 2))
            await rig.replicate(one)
            await rig.replicate(0, 1, 2)
            assert await rig.equal(0, 1, 2) == [put("a", 2), put("b", 2), gone("both", 3)]


async def test_equal_replicas_cost_one_call_and_no_rows(tmp_path: Path) -> None:
    async with sync_rig(tmp_path) as rig:
        for number in range(20):
            await on_all(rig, put("a", 1), name=f"/acc/c{number}")
        (figures,) = await rig.replicate(0)
        assert (figures["databases"], figures["in_sync"], figures["failed"]) == (20, 20, 0)
        assert (figures["rows_sent"], figures["rows_received"]) == (0, 0)
        calls = rig.network.calls
        assert {name: count for (_, name), count in calls.items()} == {"CompareTables": 1}
        assert sum(calls.values()) == 2


async def test_only_what_changed_since_goes_over(tmp_path: Path) -> None:
    async with sync_rig(tmp_path, 2, (0, 1)) as rig:
        first, second = rig.nodes
        await first.merge(*(put(f"o{i:03d}", 1) for i in range(300)))
        figures = (await rig.replicate(0))[0]
        assert figures["rows_sent"] == 300
        await first.merge(put("new", 2))
        figures = (await rig.replicate(0))[0]
        assert figures["rows_sent"] == 1
        await second.merge(put("newer", 3))
        figures = (await rig.replicate(0))[0]
        assert figures["rows_sent"] == 0
        assert figures["rows_received"] < 5
        await rig.equal(0, 1)


async def test_settings_that_one_missed_are_merged_both_ways(tmp_path: Path) -> None:
    async with sync_rig(tmp_path, 2, (0, 1)) as rig:
        first, second = rig.nodes
        for node in rig.nodes:
            await node.write("create", 1, values={"user:a": "old", "user:b": "old"})
        await first.write("update", 2, values={"user:a": "first"})
        await second.write("update", 3, values={"user:b": "second"})
        await rig.replicate(0)
        await rig.equal(0, 1)
        assert (await first.settings()).values == {
            "user:a": Setting("first", from_seconds(2)),
            "user:b": Setting("second", from_seconds(3)),
        }
        assert (await rig.replicate(1))[0]["in_sync"] == 1


async def test_what_was_deleted_and_made_again_while_one_was_down(tmp_path: Path) -> None:
    async with sync_rig(tmp_path) as rig:
        for node in rig.nodes:
            await node.write("create", 1, values={"user:k": "v"}, policy=1)
            await node.merge(put("a", 2))
        for node in rig.nodes[:2]:
            await node.merge(gone("a", 3))
            await node.write("delete", 4)
            await node.write("create", 5, policy=2)
            await node.merge(put("b", 6))
        await rig.replicate(2)
        assert await rig.equal(0, 1, 2) == [gone("a", 3), put("b", 6)]
        settings = await rig.nodes[2].settings()
        assert (settings.policy, settings.values, settings.exists) == (2, {}, True)


async def test_a_deletion_in_halves_is_decided_by_time(tmp_path: Path) -> None:
    async with sync_rig(tmp_path) as rig:
        for node in rig.nodes:
            await node.write("create", 1)
        await rig.nodes[0].write("delete", 4)
        await rig.nodes[1].merge(put("late", 5))
        await rig.replicate()
        assert await rig.equal(0, 1, 2) == [put("late", 5)]
        assert not (await rig.nodes[0].settings()).exists


@pytest.mark.parametrize("rows", [1, 1200])
async def test_a_missing_database_is_rebuilt(tmp_path: Path, rows: int) -> None:
    async with sync_rig(tmp_path) as rig:
        expected = [put(f"o{i:04d}", 1, size=i) for i in range(rows)]
        for node in rig.nodes[:2]:
            await node.write("create", 1, values={"user:k": "v"})
            await node.merge(*expected)
        figures = (await rig.replicate(0))[0]
        assert figures["transferred"] == (rows > 1000)
        assert figures["rows_sent"] == (0 if rows > 1000 else rows)
        assert await rig.equal(0, 1, 2) == expected
        assert [figures["in_sync"] for figures in await rig.replicate()] == [1, 1, 1]


async def test_one_that_is_far_behind_gets_the_whole_and_keeps_what_it_has(tmp_path: Path) -> None:
    async with sync_rig(tmp_path, 2, (0, 1)) as rig:
        first, second = rig.nodes
        await first.write("create", 1)
        await first.merge(*(put(f"o{i:04d}", 1) for i in range(1500)), put("x", 1))
        await second.write("create", 2, values={"user:k": "v"})
        await second.merge(put("mine", 3), put("x", 4))
        before = (await second.state()).id
        figures = (await rig.replicate(0))[0]
        assert (figures["transferred"], figures["rows_sent"]) == (1, 0)
        assert 2 <= figures["rows_received"] < 10  # not what it was just given
        rows = await rig.equal(0, 1)
        assert len(rows) == 1502
        assert {put("mine", 3), put("x", 4)} <= set(rows)  # type: ignore[arg-type]
        assert (await second.state()).id != before
        assert (await first.settings()).values == {"user:k": Setting("v", from_seconds(2))}


async def test_writes_during_a_transfer_are_kept(tmp_path: Path) -> None:
    async with sync_rig(tmp_path, 2, (0, 1)) as rig:
        first, second = rig.nodes
        await first.merge(*(put(f"o{i:05d}", 1) for i in range(12_000)))
        await second.merge(put("w-", 1))
        stop = asyncio.Event()

        async def write() -> int:
            number = 0
            while not stop.is_set():
                await second.merge(put(f"w{number:05d}", 2))
                number += 1
            return number

        writing = asyncio.create_task(write())
        figures = (await rig.replicate(0))[0]
        stop.set()
        written = await writing
        assert (figures["transferred"], figures["failed"]) == (1, 0)
        assert written > 1
        names = {row.name for row in await second.rows()}
        assert names >= {f"w{number:05d}" for number in range(written)}
        await rig.replicate(0, 1)
        assert len(await rig.equal(0, 1)) == 12_001 + written


async def test_a_large_database_goes_over_in_several_messages(tmp_path: Path) -> None:
    async with sync_rig(tmp_path, 2, (0, 1), whole_rows_min=1 << 60) as rig:
        names = [f"o{i:05d}{'x' * 100}" for i in range(12_000)]
        await rig.nodes[0].merge(*(put(name, 1) for name in names))
        figures = (await rig.replicate(1))[0]
        assert figures["databases"] == 0
        figures = (await rig.replicate(0))[0]
        assert figures["rows_sent"] == 12_000
        assert rig.network.count("TakeRows") >= 2
        assert len(await rig.equal(0, 1)) == 12_000


async def test_accounts_are_replicated_too(tmp_path: Path) -> None:
    async with sync_rig(tmp_path) as rig:
        for node in rig.nodes[:2]:
            await node.write("create", 1, ACCOUNT)
        await rig.nodes[0].merge(ContainerRow("c", 1, 0, 2, 20, 0, 5), name=ACCOUNT)
        await rig.nodes[1].merge(ContainerRow("c", 1, 0, 3, 30, 0, 6), ContainerRow("d", 1, 2), name=ACCOUNT)
        await rig.replicate(0, 1, kind="account")
        expected = [ContainerRow("c", 1, 0, 3, 30, 0, 6), ContainerRow("d", 1, 2)]
        assert await rig.equal(0, 1, 2, name=ACCOUNT) == expected
        assert await rig.replicate(kind="container") == await rig.replicate(kind="container")


async def test_a_peer_that_is_down_does_not_hold_up_the_others(tmp_path: Path) -> None:
    async with sync_rig(tmp_path) as rig:
        await rig.nodes[0].merge(put("a", 1))
        await rig.nodes[0].merge(put("a", 1), name="/acc/other")
        rig.down(1)
        figures = (await rig.replicate(0))[0]
        assert (figures["failed"], figures["in_sync"]) == (2, 0)
        assert rig.network.calls[rig.nodes[1].address, "CompareTables"] == 1
        await rig.equal(0, 2)
        rig.network.heal()
        await rig.replicate(2)
        await rig.equal(0, 1, 2)


async def test_a_peer_that_is_down_is_asked_once_in_a_while(tmp_path: Path) -> None:
    async with sync_rig(tmp_path, 2, (0, 1)) as rig:
        for number in range(2 * TABLES_PER_CALL_MAX + 1):
            await rig.nodes[0].merge(put("a", 1), name=f"/acc/c{number}")
        rig.down(1)
        figures = (await rig.replicate(0))[0]
        assert figures["failed"] == 2 * TABLES_PER_CALL_MAX + 1
        assert sum(rig.network.calls.values()) == 1


async def test_a_mark_that_moves_while_the_other_is_asked_is_believed(tmp_path: Path) -> None:
    async with sync_rig(tmp_path, 2, (0, 1)) as rig:
        first, second = rig.nodes
        await first.merge(*(put(f"o{i:03d}", 1) for i in range(300)))
        await rig.replicate(0)
        await first.merge(put("new", 2))
        answer = second.dispatcher.handlers[CompareTables]

        async def fetch_first(request: Message, context: CallContext) -> Message:
            second.dispatcher.handlers[CompareTables] = answer
            await first.merge(put("newer", 3))
            await rig.replicate(1)  # now the other has received more than we had when we asked
            await first.merge(put("newest", 4))
            return await answer(request, context)

        second.dispatcher.handlers[CompareTables] = fetch_first
        figures = (await rig.replicate(0))[0]
        assert figures["rows_sent"] == 1
        await rig.equal(0, 1)


async def test_leases_on_settings_that_replication_changes_are_revoked(tmp_path: Path) -> None:
    async with sync_rig(tmp_path, 2, (0, 1)) as rig:
        holders = []
        for node, value in zip(rig.nodes, "xy", strict=True):
            await node.write("create", 1)
            await node.write("update", 2, values={f"user:{value}": "v"})
            holders.append(Nobody())
            node.container.service.leases.grant("container", NAME, holders[-1])
        await rig.replicate(0)
        await rig.equal(0, 1)
        assert [holder.revoked for holder in holders] == [1, 1]


async def test_leases_are_revoked_when_a_whole_database_comes(tmp_path: Path) -> None:
    async with sync_rig(tmp_path, 2, (0, 1)) as rig:
        first, second = rig.nodes
        await first.write("create", 2, values={"acl:read": ".r:*"})
        await first.merge(*(put(f"o{i:04d}", 1) for i in range(1500)))
        await second.merge(put("a", 1))
        holder = Nobody()
        second.container.service.leases.grant("container", NAME, holder)
        assert (await rig.replicate(0))[0]["transferred"] == 1
        assert holder.revoked == 1


async def test_a_reader_of_an_older_state_delays_a_whole_database(tmp_path: Path) -> None:
    """Its log must be in the database before it may go: a crash in between would lose what was acknowledged."""
    async with sync_rig(tmp_path, 2, (0, 1)) as rig:
        first, second = rig.nodes
        await first.merge(*(put(f"o{i:04d}", 1) for i in range(1500)))
        await second.merge(put("mine", 1))
        before = (await second.state()).id
        reader = sqlite3.connect(second.file(), isolation_level=None)
        reader.execute("BEGIN")
        assert reader.execute("SELECT name FROM row").fetchall() == [("mine",)]
        await second.merge(put("mine too", 1))
        replicating = asyncio.create_task(rig.replicate(0))
        await asyncio.wait_for(rig.clock.slept.wait(), 10)
        assert (await second.state()).id == before
        reader.execute("ROLLBACK")
        reader.close()
        await rig.clock.pass_time(1)
        assert (await replicating)[0]["transferred"] == 1
        assert {put("mine", 1), put("mine too", 1)} <= set(await rig.equal(0, 1))  # type: ignore[arg-type]


async def test_nobody_opens_a_database_while_it_is_replaced_or_removed(tmp_path: Path) -> None:
    """A connection opened between two databases of one path would join the log of one to the pages of the other."""

    class Probe:
        def __init__(self) -> None:
            self.locked: dict[str, bool] = {}

        def reach(self, name: str) -> None:
            if name in replacement.CRASH_POINTS:
                self.locked[name] = any(node.device.opening.locked() for node in rig.nodes)

        def names(self) -> Iterator[str]:
            return iter(())

    probe = Probe()
    async with sync_rig(tmp_path, 2, (0,), crash=probe) as rig:
        await rig.nodes[0].merge(*(put(f"o{i:04d}", 1) for i in range(1500)))
        rig.move(1)
        assert (await rig.replicate(0))[0]["removed"] == 1
        assert probe.locked == {
            "tables.adopt.ready": False,
            "tables.adopt.cleared": True,
            "tables.adopt.named": False,
            "tables.remove.unlinked": True,
        }
        device, place = rig.nodes[1].device, rig.place(NAME)
        device.opening.acquire()
        reading = asyncio.create_task(state_of(device, rig.place("/acc/other")))
        await asyncio.sleep(0.05)
        assert not reading.done()
        device.opening.release()
        assert await reading is None
        assert await state_of(device, place) is not None


async def test_a_full_device_is_said_and_the_others_go_on(tmp_path: Path) -> None:
    async with sync_rig(tmp_path) as rig:
        rows = [put(f"o{i:04d}", 1) for i in range(1500)]
        await rig.nodes[0].merge(*rows)
        await rig.nodes[0].merge(put("a", 1), name="/acc/small")

        def full(size: int) -> None:
            raise NodeError(Code.NO_SPACE, "full")

        real = rig.nodes[0].device.disk.require_space
        rig.nodes[0].device.disk.require_space = full  # type: ignore[method-assign]
        figures = (await rig.replicate(0))[0]
        assert (figures["transferred"], figures["failed"], figures["rows_sent"]) == (0, 0, 3002)  # no room for a copy: rows
        await rig.equal(0, 1, 2)
        rig.nodes[0].device.disk.require_space = real  # type: ignore[method-assign]


async def test_a_replica_never_takes_over_anothers_id_or_report(tmp_path: Path) -> None:
    async with sync_rig(tmp_path) as rig:
        first = rig.nodes[0]
        await first.write("create", 1)
        await first.merge(*(put(f"o{i:04d}", 1) for i in range(1100)))
        rig.down(1, 2)
        await rig.replicate(0)
        await first.container.updater.run_once()
        assert (await first.state()).reported is not None
        rig.network.heal()
        assert (await rig.replicate(0))[0]["transferred"] == 2
        await rig.equal(0, 1, 2)
        parents = [(await node.state()).parent for node in rig.nodes]
        assert [parent.port for parent in parents if parent is not None] == [6000, 6001, 6002]
        for node in rig.nodes:
            await node.container.updater.run_once()
        for node in rig.nodes:
            (row,) = await node.rows(ACCOUNT)
            assert (row.name, row.object_count) == ("con", 1100)  # type: ignore[union-attr]


async def test_a_pass_over_many_databases_asks_in_few_calls(tmp_path: Path) -> None:
    async with sync_rig(tmp_path, 2, (0, 1), open_max=8) as rig:
        for number in range(300):
            await rig.nodes[0].merge(put("a", 1), name=f"/acc/c{number}")
        figures = (await rig.replicate(0))[0]
        assert (figures["databases"], figures["rows_sent"], figures["failed"]) == (300, 300, 0)
        rig.network.calls.clear()
        figures = (await rig.replicate(0))[0]
        assert (figures["databases"], figures["in_sync"]) == (300, 300)
        assert rig.network.count("CompareTables") == 3
        assert sum(rig.network.calls.values()) == 3
        assert await rig.databases() == [300, 300]
