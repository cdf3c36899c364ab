"""Accounts come to know what their containers hold."""

from pathlib import Path

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from objstore.formats.messages import MergeContainerRows, Stats
from objstore.model.rows import ContainerRow
from objstore.model.timestamps import from_seconds
from tests.unit.objstore.container.rig import ACCOUNT, Rig, hash_of, rig_at
from tests.unit.objstore.tables.rig import gone, put


async def totals(rig: Rig, number: int = 0) -> Stats:
    return (await rig.nodes[number].stat(ACCOUNT)).stats


async def test_creation_and_deletion_are_told_at_once(rig: Rig) -> None:
    first, second = rig.nodes
    await first.write("create", 1, parent=second, policy=1)
    assert await totals(rig, 1) == Stats(1, 0, 0, {1: (1, 0, 0)})
    await first.write("delete", 2)
    assert (await totals(rig, 1)).container_count == 0
    (row,) = (await second.page(ACCOUNT, raw_rows=True)).rows
    assert (row.name, row.deleted) == ("con", True)  # type: ignore[union-attr]


async def test_contents_are_told_by_the_next_pass_in_one_call(rig: Rig) -> None:
    first, second = rig.nodes
    for i in range(5):
        await first.write("create", 1, f"/acc/c{i}", parent=second)
        await first.merge(put("a", 2, size=i), put("b", 2), name=f"/acc/c{i}")
        await first.merge(gone("b", 3), name=f"/acc/c{i}")
    await first.container.updater.run_once()
    before = len(rig.wire.calls)
    assert (await first.container.updater.run_once())["reported"] == 0
    assert len(rig.wire.calls) == before
    assert await totals(rig, 1) == Stats(5, 5, 10, {0: (5, 5, 10)})
    reports = [call for call in rig.wire.calls if isinstance(call, MergeContainerRows)]
    assert len(reports) == 5 + 1


async def test_a_report_that_failed_is_made_later(rig: Rig) -> None:
    first, second = rig.nodes
    rig.wire.down.add(second.address)
    await first.write("create", 1, parent=second)
    await first.merge(put("a", 2, size=9))
    assert (await first.container.updater.run_once())["failed"] == 1
    assert first.container.updater.waiting == 1
    rig.wire.down.clear()
    assert (await first.container.updater.run_once())["reported"] == 1
    assert await totals(rig, 1) == Stats(1, 1, 9, {0: (1, 1, 9)})


async def test_what_a_crash_left_unreported_is_found_by_the_first_pass(tmp_path: Path) -> None:
    async with rig_at(tmp_path) as rig:
        first, second = rig.nodes
        rig.wire.down.add(second.address)
        await first.write("create", 1, parent=second)
        await first.merge(put("a", 2, size=9))
    async with rig_at(tmp_path) as rig:
        figures = await rig.nodes[0].container.updater.run_once()
        assert (figures["scanned"], figures["reported"]) == (1, 1)
        assert await totals(rig, 1) == Stats(1, 1, 9, {0: (1, 1, 9)})
    async with rig_at(tmp_path) as rig:
        figures = await rig.nodes[0].container.updater.run_once()
        assert (figures["scanned"], figures["reported"]) == (1, 0)


async def test_a_container_nobody_made_has_nothing_to_tell(rig: Rig) -> None:
    first, second = rig.nodes
    await first.merge(put("a", 1), parent=second.index(ACCOUNT))
    assert (await first.container.updater.run_once())["reported"] == 0
    assert (await second.stat(ACCOUNT)).settings is None


async def test_reports_of_several_replicas_do_not_fight(rig: Rig) -> None:
    """Two container replicas told the same account replica (a ring in transition): the later report counts."""
    first, second = rig.nodes
    for node in (first, second):
        await node.write("create", 1, parent=second)
    await first.merge(put("a", 2, size=3))
    await rig.clock.pass_time(1)
    await first.container.updater.run_once()
    await second.merge(put("a", 2, size=3), put("b", 2, size=4))
    await rig.clock.pass_time(1)
    await second.container.updater.run_once()
    assert await totals(rig, 1) == Stats(1, 2, 7, {0: (1, 2, 7)})


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(0, 2), st.sampled_from("abc"), st.integers(0, 9), st.booleans()), max_size=20), st.data())
async def test_account_totals_converge(
    tmp_path_factory: object, steps: list[tuple[int, str, int, bool]], data: st.DataObject
) -> None:
    directory = tmp_path_factory.mktemp("converge")  # type: ignore[attr-defined]
    async with rig_at(directory) as rig:
        first, second = rig.nodes
        for i in range(3):
            await first.write("create", 1, f"/acc/c{i}", parent=second, policy=i % 2)
        for second_, (container, name, size, dead) in enumerate(steps, 10):
            row = gone(name, second_) if dead else put(name, second_, size=size)
            await first.merge(row, name=f"/acc/c{container}")
            if data.draw(st.booleans()):
                rig.wire.down = {second.address} if data.draw(st.booleans()) else set()
                await first.container.updater.run_once()
        rig.wire.down = set()
        await first.container.updater.run_once()
        live: dict[int, dict[str, int]] = {i: {} for i in range(3)}
        for container, name, size, dead in steps:
            live[container].pop(name, None)
            if not dead:
                live[container][name] = size
        sums = [sum(live[i].values()) for i in range(3)]
        counts = [len(live[i]) for i in range(3)]
        assert await totals(rig, 1) == Stats(
            3, sum(counts), sum(sums), {0: (2, counts[0] + counts[2], sums[0] + sums[2]), 1: (1, counts[1], sums[1])}
        )


async def test_a_report_from_the_future_does_not_stay_for_ever(rig: Rig) -> None:
    """A replica whose clock was ahead reported, and nobody remembers that it did."""
    first, second = rig.nodes
    await first.write("create", 1, parent=second)
    await first.merge(put("a", 2, size=9))
    await first.container.updater.run_once()
    (row,) = (await second.page(ACCOUNT)).rows
    assert isinstance(row, ContainerRow)
    ahead = from_seconds(first.container.updater._clock.now() + 3600)
    wrong = msgspec.structs.replace(row, object_count=7, bytes_used=77, reported=ahead)
    await second.ask(MergeContainerRows(second.target, hash_of(ACCOUNT), ACCOUNT, [wrong]))
    assert (await totals(rig, 1)).object_count == 7
    await first.merge(put("b", 3, size=1))
    for _ in range(3):
        await first.container.updater.run_once()
    assert await totals(rig, 1) == Stats(1, 2, 10, {0: (1, 2, 10)})
    assert first.container.updater.waiting == 0
    await first.merge(gone("b", 4))
    await first.container.updater.run_once()
    assert (await totals(rig, 1)).object_count == 1
