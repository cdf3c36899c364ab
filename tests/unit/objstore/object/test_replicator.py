"""Replicas become equal, copies go home, deletions are forgotten: each promise of the object-replicator on real servers."""

import asyncio
import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from objstore.formats.messages import DeleteObject, GetObject, ListPartition, PartitionList, PostObject, PutObject, Query, Target
from objstore.model.conditions import NO_CONDITIONS
from objstore.model.errors import Code, NodeError, ObjectNotFound
from objstore.model.names import ObjectName
from objstore.model.timestamps import from_seconds
from objstore.model.version import Version
from objstore.object.files import Files
from objstore.proxy.operations import NewObject
from objstore.proxy.store import ClusterStore
from tests.unit.objstore.proxy.cluster import OWNER, Cluster, Node, get, head, named, put, ring_of, running

REPLICATOR = "object-replicator"
LARGE = random.Random(1).randbytes(3 << 20)


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Cluster]:
    async with running(tmp_path, count=5) as cluster:
        yield cluster


@pytest.fixture
async def store(cluster: Cluster) -> ClusterStore:
    store = cluster.store()
    await store.put_container(OWNER, "AUTH_test", "c", {})
    return store


def tree(node: Node) -> dict[str, bytes]:
    """Every object file of a node by its path, with its bytes."""
    return {str(path.relative_to(node.root)): path.read_bytes() for path in node.root.glob("objects/*/*")}


async def passes(cluster: Cluster, *numbers: int) -> list[dict[str, int]]:
    return [await cluster.nodes[number].run(REPLICATOR) for number in numbers or range(len(cluster.nodes))]


def away(cluster: Cluster) -> int:
    """The one handoff that holds something."""
    (number,) = [number for number in (3, 4) if tree(cluster.nodes[number])]
    return number


async def equal(cluster: Cluster, *numbers: int) -> dict[str, bytes]:
    """The files that all of these nodes hold alike."""
    await asyncio.sleep(0.05)  # superseded files are removed behind the answer
    trees = [tree(cluster.nodes[number]) for number in numbers]
    assert all(one == trees[0] for one in trees), [sorted(one) for one in trees]
    return trees[0]


@pytest.mark.parametrize("body", [b"", b"small", LARGE], ids=["empty", "small", "large"])
async def test_a_missed_object_is_pushed(cluster: Cluster, store: ClusterStore, body: bytes) -> None:
    cluster.down(2)
    name = named(cluster, "o")
    await put(store, name, body, user={"colour": "red"})
    await store.post_object(OWNER, name, NewObject("", user={"colour": "blue"}), "text/other")
    await store.nodes.stop()
    cluster.network.heal()
    (figures,) = await passes(cluster, 0)
    assert (figures["differing"], figures["pushed"], figures["failed"]) == (1, 1, 0)
    files = await equal(cluster, 0, 1, 2)
    assert sorted(path[-4:] for path in files) == ["data", "meta"]
    assert await get(store, name) == body
    assert (await head(store, name)).user == {"colour": "blue"}
    assert [one["pushed"] for one in await passes(cluster, 0, 1, 2)] == [0, 0, 0]


async def test_a_missed_deletion_is_pushed_and_wins(cluster: Cluster, store: ClusterStore) -> None:
    name = named(cluster, "o")
    await put(store, name, b"to be deleted")
    cluster.down(1)
    await store.delete_object(OWNER, name, NO_CONDITIONS)
    await store.nodes.stop()
    cluster.network.heal()
    await passes(cluster, 1)
    assert sum("data" in path for node in cluster.nodes for path in tree(node)) == 1, "an old copy is never pushed over a deletion"
    await passes(cluster, 0)
    assert [path[-3:] for path in await equal(cluster, 0, 1, 2)] == [".ts"]
    with pytest.raises(ObjectNotFound):
        await get(store, name)


async def test_metadata_alone_is_pushed_without_the_data(cluster: Cluster, store: ClusterStore) -> None:
    name = named(cluster, "o")
    await put(store, name, LARGE)
    cluster.down(0)
    await store.post_object(OWNER, name, NewObject("", user={"a": "b"}), None)
    await store.nodes.stop()
    cluster.network.heal()
    cluster.network.calls.clear()
    await passes(cluster, 1, 2)
    await equal(cluster, 0, 1, 2)
    assert cluster.network.count("OpenPut") == 0


async def test_the_newest_of_each_wins_everywhere(cluster: Cluster, store: ClusterStore) -> None:
    names = [named(cluster, f"o{number}-") for number in range(12)]
    rng = random.Random(7)
    for _ in range(3):
        for name in names:
            cluster.network.heal()
            cluster.down(rng.randrange(3))
            if rng.random() < 0.3:
                try:
                    await store.delete_object(OWNER, name, NO_CONDITIONS)
                except ObjectNotFound:
                    pass
            else:
                await put(store, name, rng.randbytes(rng.randrange(100)))
    cluster.network.heal()
    expected = {}
    for name in names:
        try:
            expected[name] = await get(store, name, newest=True)
        except ObjectNotFound:
            expected[name] = None
    await store.nodes.stop()
    for _ in range(2):
        await passes(cluster)
    await equal(cluster, 0, 1, 2)
    assert tree(cluster.nodes[3]) == tree(cluster.nodes[4]) == {}, "copies on handoffs went home"
    for name in names:
        held = await cluster.held(name, range(3))
        assert {body for _, body in held} == {expected[name]}


async def test_equal_partitions_cost_no_reads(cluster: Cluster, store: ClusterStore) -> None:
    for number in range(30):
        await put(store, ObjectName("AUTH_test", "c", f"o{number}"), b"x")
    await passes(cluster)
    node = cluster.nodes[0]
    holdings = node.object._replication._holdings["d1"]
    for partition in range(8):
        node.object._devices["d1"].index.forget(f"objects/{partition}")
    listings, opened = holdings.listings, []
    node.disk.fs.open = lambda path: opened.append(path)  # type: ignore[method-assign]
    cluster.network.calls.clear()
    figures = await node.run(REPLICATOR)
    assert figures["in_sync"] == figures["partitions"] > 0
    assert holdings.listings > listings and opened == []
    assert cluster.network.count("DigestPartitions") <= 4 and cluster.network.count("ListPartition") == 0


async def test_settled_directories_are_not_even_listed(cluster: Cluster, store: ClusterStore) -> None:
    await put(store, named(cluster, "o"), b"x")
    node = cluster.nodes[0]
    device, holdings = node.object._devices["d1"], node.object._replication._holdings["d1"]
    await asyncio.sleep(2.1)  # until then a change might hide within the resolution of the directory's time
    for expected in (1, 1):
        device.index.forget("objects/0"), [device.index.forget(f"objects/{partition}") for partition in range(8)]
        await node.run(REPLICATOR)
        assert holdings.listings == expected
    await put(store, named(cluster, "p"), b"y")
    for partition in range(8):
        device.index.forget(f"objects/{partition}")
    await node.run(REPLICATOR)
    assert holdings.listings > 1, "a changed directory is listed again"


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


async def test_a_damaged_copy_is_replaced_at_once(cluster: Cluster, store: ClusterStore) -> None:
    name = named(cluster, "o")
    await put(store, name, LARGE)
    (path,) = cluster.nodes[1].data_files()
    damaged = bytearray(path.read_bytes())
    damaged[-1000] ^= 1
    path.write_bytes(damaged)
    for _ in range(3):
        assert await get(store, name) == LARGE
    for _ in range(100):
        if len(cluster.nodes[1].data_files()) == 1 and cluster.nodes[1].object.report("d1")[1] == 1:
            break
        await asyncio.sleep(0.02)
    await equal(cluster, 0, 1, 2)


async def test_a_file_in_the_wrong_place_is_set_aside(cluster: Cluster, store: ClusterStore) -> None:
    """F36: the file of one object under the name of another is never pushed."""
    name = named(cluster, "o")
    await put(store, name, b"x")
    (path,) = cluster.nodes[0].data_files()
    stray = path.with_name("0" * 32 + path.name[32:])
    path.rename(stray)
    cluster.nodes[0].object._devices["d1"].index.forget(f"objects/{path.parent.name}")
    (figures,) = await passes(cluster, 0)
    assert figures["pushed"] == 0 and figures["failed"] > 0
    assert cluster.nodes[0].object.report("d1")[1] == 1
    assert not any(stray.name in path for node in cluster.nodes for path in tree(node))


async def test_only_one_device_completes_a_partition_at_a_time(cluster: Cluster, store: ClusterStore) -> None:
    cluster.down(2)
    for number in range(10):
        await put(store, named(cluster, f"o{number}-"), b"x" * 1000)
    await store.nodes.stop()
    cluster.network.heal()
    cluster.network.calls.clear()
    await asyncio.gather(*(cluster.nodes[number].run(REPLICATOR) for number in (0, 1)))
    assert 10 <= cluster.network.calls[cluster.nodes[2].address, "PutObject"] <= 12
    await passes(cluster)
    await equal(cluster, 0, 1, 2)


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


@pytest.mark.parametrize(
    ("ours", "theirs", "covers"),
    [
        (Files(5), Files(5), True),
        (Files(5), Files(6), False),
        (Files(5), Files(4), True),
        (Files(5), Files(5, True), False),
        (Files(5, True), Files(5), True),
        (Files(5), Files(5, meta=7), False),
        (Files(5, meta=7), Files(5, meta=6), True),
        (Files(9), Files(5, meta=7), True),
        (Files(6), Files(5, meta=7), False),
        (Files(6, True), Files(5, meta=7), True),
        (Files(), Files(0, meta=7), False),
        (Files(), Files(), True),
    ],
)
def test_what_covers_what(ours: Files, theirs: Files, covers: bool) -> None:
    assert ours.covers(theirs) is covers


async def test_posts_to_missing_data_wait_for_it(cluster: Cluster, store: ClusterStore) -> None:
    """Metadata whose data is in quarantine is pushed only where data is."""
    name = named(cluster, "o")
    await put(store, name, b"x")
    place, later = cluster.place(name), from_seconds(cluster.clock.now() + 1)
    post = PostObject(place.replicas[0].target, place.hash, place.name, later, {}, {"a": "b"}, None, None)
    await cluster.ask(0, post)
    (path,) = cluster.nodes[0].data_files()
    path.unlink()
    (there,) = cluster.nodes[1].data_files()
    there.unlink()
    for number in (0, 1):
        cluster.nodes[number].object._devices["d1"].index.forget(f"objects/{path.parent.name}")
    (figures,) = await passes(cluster, 0)
    assert figures["failed"] == 0
    await passes(cluster, 2, 0, 1, 2)
    files = await equal(cluster, 0, 1, 2)
    assert sorted(name[-4:] for name in files) == ["data", "meta"]
