"""Copies that belong elsewhere go home, and what nobody needs is removed: nothing before everybody has said so."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from objstore.formats.messages import DeleteObject, GetObject, ListPartition, PartitionList, PutObject, Query, Target
from objstore.model.conditions import NO_CONDITIONS
from objstore.model.errors import Code, NodeError
from objstore.model.names import ObjectName
from objstore.model.timestamps import from_seconds
from objstore.model.version import Version
from objstore.object.files import place_of
from objstore.proxy.store import ClusterStore
from tests.unit.objstore.object.replicas import equal, passes, tree
from tests.unit.objstore.proxy.cluster import OWNER, Cluster, get, named, put, ring_of, running


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Cluster]:
    async with running(tmp_path, count=5) as cluster:
        yield cluster


@pytest.fixture
async def store(cluster: Cluster) -> ClusterStore:
    store = cluster.store()
    await store.put_container(OWNER, "AUTH_test", "c", {})
    return store


def away(cluster: Cluster) -> int:
    """The one handoff that holds something."""
    (number,) = [number for number in (3, 4) if tree(cluster.nodes[number])]
    return number


async def test_a_handoff_is_handed_back_and_removed(cluster: Cluster, store: ClusterStore) -> None:
    cluster.down(0)
    name = named(cluster, "o")
    await put(store, name, b"v1")
    await store.nodes.stop()
    handoff = away(cluster)
    (figures,) = await passes(cluster, handoff)
    assert (figures["handoffs"], figures["removed"]) == (1, 0) and figures["failed"] > 0
    assert tree(cluster.nodes[handoff]), "nothing is removed while a primary has not confirmed"
    cluster.network.heal()
    (figures,) = await passes(cluster, handoff)
    assert (figures["handoffs"], figures["removed"], figures["failed"]) == (1, 1, 0)
    assert tree(cluster.nodes[handoff]) == {} and not list(cluster.nodes[handoff].root.glob("objects/*"))
    await equal(cluster, 0, 1, 2)


async def test_a_primary_that_refuses_keeps_the_handoff(cluster: Cluster, store: ClusterStore) -> None:
    cluster.down(0)
    name = named(cluster, "o")
    await put(store, name, b"v1")
    await store.nodes.stop()
    cluster.network.heal()
    cluster.network.fault(cluster.nodes[0].address).refuse[PutObject] = Code.NO_SPACE
    handoff = away(cluster)
    (figures,) = await passes(cluster, handoff)
    assert figures["removed"] == 0 and figures["failed"] == 1
    assert tree(cluster.nodes[handoff])


async def test_a_change_during_the_hand_back_is_not_removed(cluster: Cluster, store: ClusterStore) -> None:
    """Between the confirmation and the removal the handoff gets a newer version: that one stays."""
    cluster.down(0)
    name = named(cluster, "o")
    await put(store, name, b"v1")
    await store.nodes.stop()
    cluster.network.heal()
    handoff = away(cluster)
    node, place = cluster.nodes[handoff], cluster.place(name)
    removal = node.object._replication.replicator._removal
    later = from_seconds(cluster.clock.now() + 1)

    class Late:
        async def remove(self, *arguments: object) -> int:
            await cluster.ask(handoff, DeleteObject(place.replicas[0].target, place.hash, place.name, later, None))
            return await removal.remove(*arguments)  # type: ignore[arg-type]

    node.object._replication.replicator._removal = Late()  # type: ignore[assignment]
    (figures,) = await passes(cluster, handoff)
    assert figures["removed"] == 0
    await asyncio.sleep(0.05)
    assert [path[-3:] for path in tree(node)] == [".ts"]


async def test_a_change_that_waits_before_the_removal_is_not_removed(cluster: Cluster, store: ClusterStore) -> None:
    """The removal found the object unchanged, and had to wait for its lock behind a change."""
    cluster.down(0)
    name = named(cluster, "o")
    await put(store, name, b"v1")
    await store.nodes.stop()
    cluster.network.heal()
    handoff = away(cluster)
    node, target = cluster.nodes[handoff], cluster.place(name).replicas[0].target
    device, place = node.object._devices["d1"], place_of(0, target.partition, cluster.place(name).hash)
    confirmed = {place.hash: await device.files(place)}
    later = from_seconds(cluster.clock.now() + 1)
    await device.locks.acquire(place)
    change = asyncio.create_task(cluster.ask(handoff, DeleteObject(target, place.hash, str(name), later, None)))
    await asyncio.sleep(0.01)
    removal = node.object._replication.replicator._removal
    removing = asyncio.create_task(removal.remove(device, 0, target.partition, confirmed, 0))
    await asyncio.sleep(0.05)
    device.locks.release(place)
    await change
    assert await removing == 0
    await asyncio.sleep(0.05)
    assert [path[-3:] for path in tree(node)] == [".ts"]


async def test_a_ring_change_moves_the_data(cluster: Cluster, store: ClusterStore) -> None:
    names = [named(cluster, f"o{number}-") for number in range(10)]
    for name in names:
        await put(store, name, name.object.encode())
    cluster.rings.objects[0] = ring_of(5, [0, 1, 4])
    reader = asyncio.create_task(_read_on(store, names))
    (figures,) = await passes(cluster, 2)
    assert figures["handoffs"] > 0 and figures["removed"] == 10
    reader.cancel()
    assert tree(cluster.nodes[2]) == {}
    files = await equal(cluster, 0, 1, 4)
    assert len(files) == 10
    for name in names:
        assert await get(store, name) == name.object.encode()


async def _read_on(store: ClusterStore, names: list[ObjectName]) -> None:
    """Everything can be read at every moment of the move."""
    while True:
        for name in names:
            assert await get(store, name) == name.object.encode()
            await asyncio.sleep(0)


async def test_all_primaries_replaced(cluster: Cluster, store: ClusterStore) -> None:
    """F74: every holder is a handoff now."""
    name = named(cluster, "o")
    await put(store, name, b"x")
    cluster.rings.objects[0] = ring_of(5, [3, 4, 2])
    await passes(cluster)
    assert tree(cluster.nodes[0]) == tree(cluster.nodes[1]) == {}
    await equal(cluster, 2, 3, 4)
    assert await get(store, name) == b"x"


async def test_old_deletions_are_forgotten_once_all_agree(cluster: Cluster, store: ClusterStore) -> None:
    name = named(cluster, "o")
    await put(store, name, b"x")
    await store.delete_object(OWNER, name, NO_CONDITIONS)
    cluster.down(2)
    other = named(cluster, "p")
    await put(store, other, b"x")
    await store.nodes.stop()
    for node in cluster.nodes:
        node.horizon = from_seconds(cluster.clock.now() + 10)
    (figures,) = await passes(cluster, 0)
    assert figures["reclaimed"] == 0, "one primary is not there to agree"
    cluster.network.heal()
    await passes(cluster)
    await passes(cluster)
    files = await equal(cluster, 0, 1, 2)
    assert [path[-5:] for path in files] == [".data"]


async def test_a_superseded_file_goes_before_the_deletion_that_hides_it(cluster: Cluster, store: ClusterStore) -> None:
    name = named(cluster, "o")
    await put(store, name, b"old")
    await asyncio.sleep(0.05)
    leftovers = [(path, path.read_bytes(), node) for node in cluster.nodes[:3] for path in node.data_files()]
    await store.delete_object(OWNER, name, NO_CONDITIONS)
    await asyncio.sleep(0.05)
    for path, body, _ in leftovers:
        path.write_bytes(body)  # as after a crash that undid the removal
    for node in cluster.nodes:
        node.horizon = from_seconds(cluster.clock.now() + 10)
    await passes(cluster)
    assert await equal(cluster, 0, 1, 2) == {}


async def test_a_page_ends_and_goes_on(cluster: Cluster, store: ClusterStore) -> None:
    names = [named(cluster, f"o{number}-") for number in range(9)]
    for name in names:
        await put(store, name, b"x")
    holdings = cluster.nodes[0].object._replication._holdings["d1"]
    target = cluster.place(names[0]).replicas[0].target
    found, after = [], b""
    while True:
        page, complete = await holdings.list(0, target.partition, after, 2, durable=False)
        found += page
        assert len(page) <= 2
        if complete:
            break
        after = page[-1].hash
    whole = await cluster.ask(0, ListPartition(target))
    assert isinstance(whole, PartitionList) and found == whole.entries and len({one.hash for one in found}) == len(found)
    with pytest.raises(NodeError, match="no device"):
        await cluster.ask(0, ListPartition(Target("d9", 1)))


async def test_rows_follow_objects(cluster: Cluster, store: ClusterStore) -> None:
    """The receiver of a copy informs its container replica: an intent does not stay behind on a device that gives its copy away."""
    name = named(cluster, "o")
    place = cluster.place(name)
    version = (await _lonely(cluster, name))[0]
    cluster.rings.objects[0] = ring_of(5, [2, 3, 4])
    await passes(cluster, 0)
    assert tree(cluster.nodes[0]) == {}
    for number in (2, 3, 4):
        held = await cluster.ask(number, GetObject(place.replicas[0].target, place.hash, place.name))
        assert held.version == version  # type: ignore[attr-defined]
    rows = await store.list_container(OWNER, "AUTH_test", "c", Query(100))
    assert [row.name for row in rows.rows] == [name.object]


async def _lonely(cluster: Cluster, name: ObjectName) -> tuple[object, ...]:
    """An object on node 0 alone, of which no container ever heard."""

    place, timestamp = cluster.place(name), from_seconds(cluster.clock.now())
    version = Version(
        str(name), timestamp, size=1, etag="e" * 32, content_type="t/t", meta_timestamp=timestamp, type_timestamp=timestamp
    )
    await cluster.ask(0, PutObject(place.replicas[0].target, place.hash, version, b"x", None))
    return (version,)
