"""Objects against rows: what containers lack comes back, what devices missed is carried out, nothing else is touched."""

import logging
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest

from objstore.formats.messages import DeleteObject, ListTable, MergeObjectRows, ObjectPage, PostObject, PutObject, Query, WriteTable
from objstore.model.conditions import NO_CONDITIONS
from objstore.model.errors import Code, ContainerNotFound, ObjectNotFound
from objstore.model.listed import row_of
from objstore.model.names import ObjectName
from objstore.model.rows import ObjectRow
from objstore.model.timestamps import from_seconds
from objstore.model.version import Version
from objstore.object import rowaudit
from objstore.placement.places import Placement
from objstore.proxy.operations import NewObject
from objstore.proxy.store import ClusterStore
from tests.unit.objstore.object.audited import AUDITOR
from tests.unit.objstore.proxy.cluster import OWNER, Cluster, get, head, named, put, running


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Cluster]:
    async with running(tmp_path, count=4) as cluster:
        await cluster.store().put_container(OWNER, "AUTH_test", "c", {})
        yield cluster


@pytest.fixture
def store(cluster: Cluster) -> ClusterStore:
    return cluster.stores[0]


async def rows(cluster: Cluster, number: int, container: str = "c") -> list[ObjectRow]:
    """All that one container replica knows, deletions too."""
    table = Placement(cluster.rings).container("AUTH_test", container)
    (target,) = [one.target for one in table.replicas if one.address == cluster.nodes[number].address]
    page = await cluster.ask(number, ListTable("container", target, table.hash, table.name, Query(1000), raw_rows=True))
    assert isinstance(page, ObjectPage)
    return page.rows  # type: ignore[return-value]


def forget_rows(cluster: Cluster, *numbers: int) -> None:
    """These container replicas get no rows until the network heals."""
    for number in numbers:
        cluster.network.fault(cluster.nodes[number].address).refuse[MergeObjectRows] = Code.DEVICE_FAILED


async def settled(cluster: Cluster, store: ClusterStore) -> None:
    await store.nodes.stop()
    cluster.network.heal()
    for node in cluster.nodes:
        for device in node.object._devices.values():
            for segment in device.log.segments():
                for id_ in device.log.open_ids(segment):
                    device.log.clear(id_)  # a pending update lost with its disk: nothing else would bring the row


async def test_missing_rows_come_back(cluster: Cluster, store: ClusterStore) -> None:
    """With all that a listing shows, and the second at which the object expires."""
    forget_rows(cluster, 0, 1, 2)
    name = named(cluster, "o")
    await put(store, name, b"four", headers={"x-delete-at": "4000000000"})
    await store.post_object(OWNER, name, NewObject("", {"x-delete-at": "5000000000"}), "text/changed")
    await settled(cluster, store)
    assert [await rows(cluster, number) for number in range(3)] == [[], [], []]
    version = await head(store, name)
    for number in range(3):
        figures = await cluster.nodes[number].run(AUDITOR)
        assert (figures["rows"], figures["rows_missing"], figures["errors"]) == (1, 1, 0)
        assert await rows(cluster, number) == [row_of(version)]
        assert (await rows(cluster, number))[0].delete_at == 5_000_000_000
        assert (await cluster.nodes[number].run(AUDITOR))["rows_missing"] == 0


async def test_each_device_asks_one_container_replica(cluster: Cluster, store: ClusterStore) -> None:
    for number in range(20):
        await put(store, ObjectName("AUTH_test", "c", f"o{number}"), b"x")
    cluster.network.calls.clear()
    for number in range(4):
        await cluster.nodes[number].run(AUDITOR)
    assert [cluster.network.calls[node.address, "CompareRows"] for node in cluster.nodes[:3]] == [1, 1, 1]
    assert cluster.network.count("ListTable") == 0


async def test_deletions_become_known_too(cluster: Cluster, store: ClusterStore) -> None:
    """A tombstone whose row was lost: the listing does not show the object for ever."""
    name = named(cluster, "o")
    await put(store, name, b"x")
    forget_rows(cluster, 0, 1, 2)
    await store.delete_object(OWNER, name, NO_CONDITIONS)
    await settled(cluster, store)
    assert len((await store.list_container(OWNER, "AUTH_test", "c", Query(9))).rows) == 1
    for number in range(3):
        figures = await cluster.nodes[number].run(AUDITOR)
        assert figures["rows_missing"] == 0
    assert (await store.list_container(OWNER, "AUTH_test", "c", Query(9))).rows == []


async def test_rows_beyond_one_call(cluster: Cluster, store: ClusterStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rowaudit, "CALL_ROWS_MAX", 7)
    monkeypatch.setattr(rowaudit, "HELD_ROWS_MAX", 10)
    forget_rows(cluster, 0)
    first, placement = cluster.nodes[0].address, Placement(cluster.rings)
    other = next(one for one in "defgh" if placement.container("AUTH_test", one).replicas[0].address == first)
    await store.put_container(OWNER, "AUTH_test", other, {})
    for number in range(30):
        await put(store, ObjectName("AUTH_test", ("c", other)[number % 2], f"o{number}"), b"x")
    await settled(cluster, store)
    figures = await cluster.nodes[0].run(AUDITOR)
    held = len(list(cluster.nodes[0].root.glob("objects/*/*.data")))
    assert figures["rows"] == figures["rows_missing"] == held > 20
    assert len(await rows(cluster, 0)) + len(await rows(cluster, 0, other)) == held


# --- dark data ---------------------------------------------------------------------------------------------------


async def dark(cluster: Cluster, store: ClusterStore, name: ObjectName) -> int:
    """Node 2 was away while an object was deleted, and the others have forgotten the deletion; returns its timestamp."""
    await put(store, name, b"dark")
    cluster.down(2)
    timestamp = await store.delete_object(OWNER, name, NO_CONDITIONS)
    await settled(cluster, store)
    for node in cluster.nodes:
        for path in node.root.glob("objects/*/*.ts"):
            path.unlink()
            node.object._devices["d1"].index.forget(f"objects/{path.parent.name}")
    row = row_of(Version(str(name), timestamp, deleted=True))
    await merge(cluster, row, 2)
    return timestamp


async def merge(cluster: Cluster, row: ObjectRow, number: int) -> None:
    table = Placement(cluster.rings).container("AUTH_test", "c")
    await cluster.ask(number, MergeObjectRows(table.replicas[number].target, table.hash, table.name, [row]))


async def test_dark_data_is_deleted_at_the_time_of_the_deletion(cluster: Cluster, store: ClusterStore) -> None:
    name = named(cluster, "o")
    timestamp = await dark(cluster, store, name)
    figures = await cluster.nodes[2].run(AUDITOR)
    assert (figures["dark"], figures["rows_missing"], figures["errors"]) == (1, 0, 0)
    ((version, body),) = await cluster.held(name, range(2, 3))
    assert version is not None and (version.deleted, version.timestamp, body) == (True, timestamp, None)
    with pytest.raises(ObjectNotFound):
        await get(store, name, newest=True)
    assert (await cluster.nodes[2].run(AUDITOR))["dark"] == 0


@pytest.mark.parametrize("away", [0, 1])
async def test_a_majority_of_the_container_is_enough(cluster: Cluster, store: ClusterStore, away: int) -> None:
    name = named(cluster, "o")
    await dark(cluster, store, name)
    cluster.down(away)
    assert (await cluster.nodes[2].run(AUDITOR))["dark"] == 1


async def test_a_minority_of_the_container_is_not(cluster: Cluster, store: ClusterStore) -> None:
    name = named(cluster, "o")
    await dark(cluster, store, name)
    cluster.down(0, 1)
    assert (await cluster.nodes[2].run(AUDITOR))["dark"] == 0
    assert (await cluster.held(name, range(2, 3)))[0][1] == b"dark"


@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.parametrize("said", ["live", "nothing"])
async def test_one_replica_of_the_container_that_differs_saves_the_object(
    cluster: Cluster, store: ClusterStore, number: int, said: str
) -> None:
    """It lists the object, or knows nothing of it: then the others may be wrong."""
    name = named(cluster, "o")
    timestamp = await dark(cluster, store, name)
    if said == "live":
        later = from_seconds(cluster.clock.now() + 1)
        await merge(cluster, ObjectRow(name.object, later, False, 4, "", "", later, later), number)
    else:
        (path,) = cluster.nodes[number].root.glob("containers/*/*.db")
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            assert connection.execute("DELETE FROM row").rowcount == 1
    assert (await cluster.nodes[2].run(AUDITOR))["dark"] == 0
    ((version, body),) = await cluster.held(name, range(2, 3))
    assert body == b"dark" and version is not None and version.timestamp < timestamp


@pytest.mark.parametrize("change", ["PUT", "POST"])
async def test_what_is_newer_than_the_deletion_is_not_dark(cluster: Cluster, store: ClusterStore, change: str) -> None:
    """The container replicas do not know it yet."""
    name = named(cluster, "o")
    await dark(cluster, store, name)
    place, later = cluster.place(name), from_seconds(cluster.clock.now() + 1)
    target = place.replicas[2].target
    if change == "PUT":
        await cluster.ask(2, PutObject(target, place.hash, Version(str(name), later, size=3), b"new", None))
    else:
        await cluster.ask(2, PostObject(target, place.hash, str(name), later, {}, {"a": "b"}, None, None))
    assert (await cluster.nodes[2].run(AUDITOR))["dark"] == 0
    assert (await cluster.held(name, range(2, 3)))[0][1] == (b"new" if change == "PUT" else b"dark")


async def test_a_deletion_on_its_way_is_the_same_one(cluster: Cluster, store: ClusterStore) -> None:
    """The container replicas know it before one of the object's does: carried out twice, it is one deletion."""
    name = named(cluster, "o")
    await put(store, name, b"x")
    cluster.network.fault(cluster.nodes[2].address).refuse[DeleteObject] = Code.BUSY
    timestamp = await store.delete_object(OWNER, name, NO_CONDITIONS)
    await settled(cluster, store)
    await merge(cluster, row_of(Version(str(name), timestamp, deleted=True)), 2)
    assert (await cluster.nodes[2].run(AUDITOR))["dark"] == 1
    await cluster.nodes[0].run("object-replicator")
    assert {version.timestamp for version, _ in await cluster.held(name, range(3)) if version} == {timestamp}


# --- orphans -----------------------------------------------------------------------------------------------------


async def test_objects_without_a_container_are_counted_and_left_alone(
    cluster: Cluster, store: ClusterStore, caplog: pytest.LogCaptureFixture
) -> None:
    name, never = named(cluster, "o"), named(cluster, "o", "never")
    await put(store, name, b"x")
    await store.delete_object(OWNER, name, NO_CONDITIONS)
    await store.delete_container(OWNER, "AUTH_test", "c")
    for orphan in (name, never, never._replace(object=named(cluster, "p", "never").object)):
        place, now = cluster.place(orphan), from_seconds(cluster.clock.now())
        version = Version(str(orphan), now, size=1)
        await cluster.ask(0, PutObject(place.replicas[0].target, place.hash, version, b"x", None))
    with caplog.at_level(logging.WARNING, "objstore.object"):
        figures = await cluster.nodes[0].run(AUDITOR)
    assert (figures["orphans"], figures["rows"], figures["errors"]) == (3, 0, 0)
    assert len([one for one in caplog.records if "does not exist" in one.msg]) == 2
    assert len(cluster.nodes[0].data_files()) == 3
    assert await rows(cluster, 0, "never") == [] and all(row.deleted for row in await rows(cluster, 0))
    assert len(list(cluster.nodes[0].root.glob("containers/*/*.db"))) == 1
    with pytest.raises(ContainerNotFound):
        await store.head_container(OWNER, "AUTH_test", "c")


async def test_a_container_that_one_replica_does_not_know_is_no_orphans(cluster: Cluster, store: ClusterStore) -> None:
    """The disk of the paired container replica is new: the rows go there, the rest is its replicator's."""
    table = Placement(cluster.rings).container("AUTH_test", "new")
    request = (table.hash, table.name, from_seconds(cluster.clock.now()), "create")
    for number in (1, 2):
        await cluster.ask(number, WriteTable("container", table.replicas[number].target, *request))
    name = named(cluster, "o", "new")
    place = cluster.place(name)
    version = Version(str(name), from_seconds(cluster.clock.now()), size=1)
    await cluster.ask(0, PutObject(place.replicas[0].target, place.hash, version, b"x", None))
    figures = await cluster.nodes[0].run(AUDITOR)
    assert (figures["orphans"], figures["rows_missing"]) == (0, 1)
    assert [row.name for row in await rows(cluster, 0, "new")] == [name.object]


async def test_without_an_answer_nothing_is_called_an_orphan(cluster: Cluster, store: ClusterStore) -> None:
    await put(store, named(cluster, "o"), b"x")
    await store.nodes.stop()
    await cluster.nodes[0].tables.stop()
    for path in cluster.nodes[0].root.glob("containers/*/*"):
        path.unlink()
    cluster.down(1, 2)
    figures = await cluster.nodes[0].run(AUDITOR)
    assert (figures["orphans"], figures["errors"]) == (0, 1)
