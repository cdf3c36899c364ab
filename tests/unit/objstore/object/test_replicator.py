"""Replicas become equal: each promise of the object-replicator on real servers."""

import asyncio
import random
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from objstore.formats.messages import PostObject
from objstore.model.conditions import NO_CONDITIONS
from objstore.model.errors import ObjectNotFound
from objstore.model.names import ObjectName
from objstore.model.timestamps import from_seconds
from objstore.object.digests import digest_of
from objstore.object.files import Files
from objstore.proxy.operations import NewObject
from objstore.proxy.store import ClusterStore
from tests.unit.objstore.object.replicas import REPLICATOR, equal, passes, tree
from tests.unit.objstore.proxy.cluster import OWNER, Cluster, damage, get, head, named, put, running

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


@pytest.mark.parametrize("change", ["put", "delete"])
async def test_an_empty_replica_gets_nothing_old(cluster: Cluster, store: ClusterStore, change: str) -> None:
    """Else two would hold the old version, and be believed."""
    name = named(cluster, "o")
    await put(store, name, b"old")
    cluster.down(0)
    await (put(store, name, b"new") if change == "put" else store.delete_object(OWNER, name, NO_CONDITIONS))
    await store.nodes.stop()
    cluster.network.heal()
    shutil.rmtree(cluster.nodes[1].root / "objects")
    await cluster.nodes[1].run(REPLICATOR)
    await passes(cluster, 0)
    assert tree(cluster.nodes[1]) == {}
    await passes(cluster, 2)
    (path,) = await equal(cluster, 0, 1, 2)
    assert path.endswith(".ts" if change == "delete" else ".data")


async def test_a_replica_that_lost_the_newest_passes_nothing_old_on(cluster: Cluster, store: ClusterStore) -> None:
    name = named(cluster, "o")
    await put(store, name, b"old")
    cluster.down(0)
    await put(store, name, b"new")
    await store.nodes.stop()
    cluster.network.heal()
    cluster.down(2)
    await damage(cluster, name, 1)
    await passes(cluster, 0)
    assert len(tree(cluster.nodes[1])) == 1, "it takes in what there is"
    shutil.rmtree(cluster.nodes[0].root / "objects")
    await cluster.nodes[0].run(REPLICATOR)
    await passes(cluster, 1)
    assert tree(cluster.nodes[0]) == {}


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
    first = named(cluster, "o")
    partition = cluster.place(first).replicas[0].target.partition
    others = [ObjectName("AUTH_test", "c", f"p{number}") for number in range(200)]
    second = next(name for name in others if cluster.place(name).replicas[0].target.partition == partition)
    await put(store, first, b"x")
    node = cluster.nodes[0]
    device, holdings = node.object._devices["d1"], node.object._replication._holdings["d1"]
    await asyncio.sleep(2.1)  # until then a change might hide within the resolution of the directory's time
    digests = []
    for _ in range(2):
        device.index.forget(f"objects/{partition}")
        digests += await holdings.digests(0, [partition])
        assert holdings.listings == 1
    await put(store, second, b"y")
    device.index.forget(f"objects/{partition}")
    digests += await holdings.digests(0, [partition])
    assert digests[0] == digests[1] != digests[2]
    assert holdings.listings == 2, "a changed directory is listed again"
    assert digests[2] == digest_of(await holdings.partition(0, partition), 0)


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
