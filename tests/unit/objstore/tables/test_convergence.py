"""Whatever is written to whichever replicas, and whoever replicates when: in the end all hold the merge of everything."""

import asyncio
import tempfile
from functools import reduce
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from objstore.formats.messages import Setting, Settings
from objstore.formats.settings import merge_settings
from objstore.model.rows import ContainerRow, ObjectRow, merge_container_rows, merge_object_rows
from objstore.tables.device import Action, TableDevice
from objstore.tables.place import Place
from tests.unit.objstore.tables.syncrig import ACCOUNT, NAME, SyncRig, sync_rig

NODES = 3
stamps = st.integers(1, 8)
object_rows = st.builds(
    ObjectRow,
    st.sampled_from(["a", "b", "é", "c"]),
    stamps,
    st.booleans(),
    st.integers(0, 3),
    st.sampled_from(["x", "y"]),
    st.sampled_from(["", "t/u"]),
    stamps,
    stamps,
    st.integers(0, 2),
)
container_rows = st.builds(
    ContainerRow, st.sampled_from("abc"), stamps, stamps, st.integers(0, 5), st.integers(0, 5), st.integers(0, 2), stamps
)
some_settings = st.builds(
    Settings,
    st.just(NAME),
    stamps,
    stamps,
    st.integers(0, 1),
    stamps,
    st.dictionaries(st.sampled_from(["user:a", "user:b"]), st.builds(Setting, st.sampled_from(["v", ""]), stamps), max_size=2),
    stamps,
)
nodes = st.sets(st.integers(0, NODES - 1), min_size=1)
a_pass = st.tuples(st.just("pass"), st.integers(0, NODES - 1), nodes)
"""One node's pass, with these nodes reachable."""


def a_merge(rows: Any) -> Any:
    return st.tuples(st.just("rows"), st.lists(rows, min_size=1, max_size=4), nodes)


a_change = st.tuples(st.just("settings"), some_settings, nodes)


async def run(rig: SyncRig, steps: list[tuple[str, Any, Any]], name: str) -> None:
    kind: Any = rig.place(name).kind.kind
    for what, value, on in steps:
        if what == "pass":
            rig.down(*({0, 1, 2} - set(on) - {value}))
            await rig.nodes[value].replicate(kind)
            rig.network.heal()
        elif what == "rows":
            for number in sorted(on):
                await rig.nodes[number].merge(*value, name=name)
        else:
            for number in sorted(on):
                await rig.nodes[number].merge(name=name, settings=value)


async def settle(rig: SyncRig, name: str) -> None:
    """Everyone replicates until nothing has to be exchanged any more; that takes two rounds, and one to see it."""
    kind: Any = rig.place(name).kind.kind
    for _ in range(4):
        figures = [await node.replicate(kind) for node in rig.nodes]
        assert not any(one["failed"] for one in figures)
    assert [(one["databases"], one["in_sync"]) for one in figures] == [(1, 1)] * NODES
    assert not any(one["rows_sent"] + one["rows_received"] for one in figures)


def merged(rows: list[Any], merge: Any) -> list[Any]:
    names = sorted({row.name for row in rows})
    return [reduce(merge, found, found[0]) for found in ([row for row in rows if row.name == name] for name in names)]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.one_of(a_merge(object_rows), a_change, a_pass), max_size=10))
def test_containers_converge(steps: list[tuple[str, Any, Any]]) -> None:
    rows = [row for what, value, _ in steps if what == "rows" for row in value]
    changes = [value for what, value, _ in steps if what == "settings"]

    async def converge() -> None:
        with tempfile.TemporaryDirectory() as directory:
            async with sync_rig(Path(directory), NODES, whole_rows_min=3) as rig:
                await run(rig, steps, NAME)
                if rows or changes:
                    await settle(rig, NAME)
                    assert await rig.equal(0, 1, 2) == merged(rows, merge_object_rows)
                    expected = reduce(merge_settings, changes, Settings(NAME))
                    assert await rig.nodes[0].settings() == expected

    asyncio.run(converge())


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.one_of(a_merge(container_rows), a_pass), max_size=10))
def test_accounts_converge(steps: list[tuple[str, Any, Any]]) -> None:
    rows = [row for what, value, _ in steps if what == "rows" for row in value]

    async def converge() -> None:
        with tempfile.TemporaryDirectory() as directory:
            async with sync_rig(Path(directory), NODES, whole_rows_min=3) as rig:
                await run(rig, steps, ACCOUNT)
                if rows:
                    await settle(rig, ACCOUNT)
                    assert await rig.equal(0, 1, 2, name=ACCOUNT) == merged(rows, merge_container_rows)

    asyncio.run(converge())


class PutBack(Action[None]):
    """An old copy of the file comes back, as from a backup; None: the file is lost."""

    def __init__(self, image: bytes | None) -> None:
        self._image = image

    def act(self, device: TableDevice, place: Place) -> None:
        device.let_go(place)
        device.closed.forget(device.path_of(place))
        path = Path(device.path_of(place))
        path.unlink(missing_ok=True)
        if self._image is not None:
            path.write_bytes(self._image)


async def image(rig: SyncRig, number: int) -> bytes | None:
    device, place = rig.nodes[number].device, rig.place(NAME)
    database = await device.opened(place, "")
    if database is None:
        return None
    assert await device.disk.run(database.flush)
    return await device.disk.run(Path(device.path_of(place)).read_bytes)


parts = st.lists(st.one_of(a_merge(object_rows), a_change, a_pass), max_size=5)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(parts, parts, parts, st.integers(0, NODES - 1), st.booleans())
def test_containers_converge_when_an_old_copy_is_put_back(
    before: list[tuple[str, Any, Any]],
    between: list[tuple[str, Any, Any]],
    after: list[tuple[str, Any, Any]],
    number: int,
    lost: bool,
) -> None:
    """All were equal when one replica went back in time: nothing that was written is missing in the end."""
    steps = [*before, *between, *after]
    rows = [row for what, value, _ in steps if what == "rows" for row in value]
    changes = [value for what, value, _ in steps if what == "settings"]

    async def converge() -> None:
        with tempfile.TemporaryDirectory() as directory:
            async with sync_rig(Path(directory), NODES, whole_rows_min=3) as rig:
                await run(rig, before, NAME)
                kept = await image(rig, number)
                await run(rig, between, NAME)
                if any(what != "pass" for what, _, _ in (*before, *between)):
                    await settle(rig, NAME)
                    await rig.nodes[number].device.act(rig.place(NAME), PutBack(None if lost else kept))
                await run(rig, after, NAME)
                if rows or changes:
                    await settle(rig, NAME)
                    assert await rig.equal(0, 1, 2) == merged(rows, merge_object_rows)
                    assert await rig.nodes[0].settings() == reduce(merge_settings, changes, Settings(NAME))

    asyncio.run(converge())
