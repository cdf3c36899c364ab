"""What users see of an object whose copies are damaged: a good copy, or that it is unavailable. Never that it is not there."""

import asyncio
import time
from collections.abc import Awaitable

import pytest

from objstore.formats.messages import DeleteObject, GetObject, Message, PostObject, PutObject
from objstore.model.conditions import NO_CONDITIONS, Conditions
from objstore.model.errors import Code, InsufficientStorage, NodeError, ObjectNotFound, Unavailable
from objstore.model.names import ObjectName
from objstore.proxy.bodies import InMemory
from objstore.proxy.operations import NewObject, Upload
from objstore.proxy.store import ClusterStore
from tests.unit.objstore.proxy.cluster import OWNER, Cluster, damage, get, head, named, put


def refuse(cluster: Cluster, kind: type[Message], *nodes: int) -> None:
    """Until the network heals, `nodes` have no space for such requests."""
    for node in nodes:
        cluster.network.fault(cluster.nodes[node].address).refuse[kind] = Code.NO_SPACE


async def test_an_object_whose_every_copy_is_in_quarantine_is_unavailable(cluster: Cluster, store: ClusterStore) -> None:
    name = named(cluster, "o")
    await put(store, name, b"x")
    await damage(cluster, name, 0, 1, 2)
    conditions = Conditions(if_none_match=frozenset({"*"}))
    for one in (store, cluster.store()):
        for _ in range(3):
            with pytest.raises(Unavailable):
                await get(one, name)
            with pytest.raises(Unavailable):
                await head(one, name)
            with pytest.raises(Unavailable):
                await get(one, name, newest=True)
        with pytest.raises(Unavailable):
            await one.post_object(OWNER, name, NewObject("", user={"a": "b"}), None)
        with pytest.raises(Unavailable):
            await one.put_object(OWNER, name, NewObject(""), Upload(InMemory(b"y"), 1), conditions)


@pytest.mark.parametrize("size", [1, 300_000])
async def test_it_can_be_written_anew(cluster: Cluster, store: ClusterStore, size: int) -> None:
    name = named(cluster, "o")
    await put(store, name, b"x" * size)
    await damage(cluster, name, 0, 1, 2)
    await put(store, name, b"y" * size)
    for _ in range(3):
        assert await get(store, name) == b"y" * size


async def test_it_can_be_deleted(cluster: Cluster, store: ClusterStore) -> None:
    name = named(cluster, "o")
    await put(store, name, b"x")
    await damage(cluster, name, 0, 1, 2)
    await store.delete_object(OWNER, name, NO_CONDITIONS)  # it was there
    for _ in range(3):
        with pytest.raises(ObjectNotFound):
            await get(store, name)
    with pytest.raises(ObjectNotFound):
        await store.delete_object(OWNER, name, NO_CONDITIONS)


@pytest.mark.parametrize("good", [0, 1, 2])
async def test_one_good_copy_of_three_is_served_and_completed(cluster: Cluster, store: ClusterStore, good: int) -> None:
    name = named(cluster, "o")
    await put(store, name, b"x")
    await damage(cluster, name, *({0, 1, 2} - {good}))
    assert await get(store, name) == b"x"
    assert sum(body == b"x" for _, body in await cluster.held(name, range(3))) >= 2


async def test_a_replica_fetches_what_it_lost(cluster: Cluster, store: ClusterStore) -> None:
    name = named(cluster, "o")
    await put(store, name, b"x")
    await damage(cluster, name, 0, 1)
    await cluster.nodes[2].run("object-replicator")
    assert [body for _, body in await cluster.held(name, range(3))] == [b"x"] * 3


async def test_a_post_reaches_a_replica_that_lost_the_object(cluster: Cluster, store: ClusterStore) -> None:
    name = named(cluster, "o")
    await put(store, name, b"x")
    await damage(cluster, name, 2)
    await store.post_object(OWNER, name, NewObject("", user={"a": "b"}), None)
    await store.nodes.stop()
    version, body = (await cluster.held(name, range(3)))[2]
    assert version is not None and (body, version.user) == (b"x", {"a": "b"})


async def test_a_deletion_that_one_replica_has_is_believed(cluster: Cluster, store: ClusterStore) -> None:
    name = named(cluster, "o")
    await put(store, name, b"x")
    refuse(cluster, DeleteObject, 1, 2)
    with pytest.raises(InsufficientStorage):
        await store.delete_object(OWNER, name, NO_CONDITIONS)
    await store.nodes.stop()
    cluster.network.heal()
    await damage(cluster, name, 1, 2)
    for _ in range(3):
        with pytest.raises(ObjectNotFound):
            await get(store, name)


@pytest.mark.parametrize("deleted", [False, True])
async def test_what_is_older_than_a_damaged_version_is_not_served(cluster: Cluster, store: ClusterStore, deleted: bool) -> None:
    """One replica missed the newest version; both that have it lost it."""
    name = named(cluster, "o")
    await put(store, name, b"old")
    if deleted:
        await store.delete_object(OWNER, name, NO_CONDITIONS)
    refuse(cluster, PutObject, 0)
    await put(store, name, b"new")
    await store.nodes.stop()
    cluster.network.heal()
    await damage(cluster, name, 1, 2)
    for _ in range(4):
        with pytest.raises(Unavailable):
            await get(store, name)


async def test_a_damaged_version_that_was_never_acknowledged_hides_nothing(cluster: Cluster, store: ClusterStore) -> None:
    name = named(cluster, "o")
    await put(store, name, b"old")
    refuse(cluster, PutObject, 1, 2)
    with pytest.raises(InsufficientStorage):
        await put(store, name, b"new")
    await store.nodes.stop()
    cluster.network.heal()
    await damage(cluster, name, 0)
    for _ in range(4):
        assert await get(store, name) == b"old"


async def test_another_object_is_still_not_found(cluster: Cluster, store: ClusterStore) -> None:
    name = named(cluster, "o")
    await put(store, name, b"x")
    await damage(cluster, name, 0, 1, 2)
    with pytest.raises(ObjectNotFound):
        await get(store, named(cluster, "other"))


# --- one copy rots of what another replica has just missed (G5, G14) -----------------------------------------------------------


async def missed_by(cluster: Cluster, kind: type[Message], node: int, work: Awaitable[object]) -> None:
    """Do `work` while `node` takes no such message, and see that it stays without."""
    refuse(cluster, kind, node)
    await work
    await asyncio.sleep(0.05)
    cluster.network.heal()


async def change(cluster: Cluster, store: ClusterStore, name: ObjectName, what: str, missing: int) -> None:
    """Change an object that holds b"old" on all three, on all but one of them."""
    if what == "put":
        await missed_by(cluster, PutObject, missing, put(store, name, b"new"))
    elif what == "delete":
        await missed_by(cluster, DeleteObject, missing, store.delete_object(OWNER, name, NO_CONDITIONS))
    else:
        await missed_by(cluster, PostObject, missing, store.post_object(OWNER, name, NewObject("", user={"a": "new"}), None))
    await store.nodes.stop()


async def seen(store: ClusterStore, name: ObjectName) -> str:
    """What a reader is told."""
    try:
        body, version = await get(store, name), await head(store, name)
    except ObjectNotFound:
        return "deleted"
    except Unavailable:
        return "unavailable"
    return "new" if version.user.get("a") == "new" else body.decode()


SUFFIX = {"put": "data", "delete": "ts", "post": "meta"}
TRUTH = {"put": "new", "delete": "deleted", "post": "new"}


async def rot(cluster: Cluster, name: ObjectName, what: str, node: int) -> None:
    """Damage the newest file of a node, have it found, and wait until the node has done what it can."""
    place = cluster.place(name)
    (file,) = cluster.nodes[node].root.glob(f"objects/*/{place.hash.hex()}.*.{SUFFIX[what]}")
    file.unlink()
    file.mkdir()
    with pytest.raises(NodeError) as caught:
        await cluster.ask(node, GetObject(place.replicas[node].target, place.hash, place.name))
    assert caught.value.code is Code.CORRUPT
    await cluster.nodes[node].object._replication._repairs.settled()


@pytest.mark.parametrize("what", ["put", "delete", "post"])
@pytest.mark.parametrize(("missing", "rotten"), [(m, r) for m in range(3) for r in range(3) if m != r])
@pytest.mark.parametrize("turn", range(3))
async def test_the_newest_is_what_is_read_and_repaired(
    cluster: Cluster, store: ClusterStore, what: str, missing: int, rotten: int, turn: int
) -> None:
    """Whoever is asked first, for a copy or by a reader."""
    name = named(cluster, "o")
    await put(store, name, b"old")
    await change(cluster, store, name, what, missing)
    await rot(cluster, name, what, rotten)
    reader = cluster.store()
    reader._opener._finder._turn = turn
    for _ in range(3):
        assert await seen(reader, name) == TRUTH[what]


@pytest.mark.parametrize("what", ["put", "delete", "post"])
@pytest.mark.parametrize(("missing", "rotten"), [(m, r) for m in range(3) for r in range(3) if m != r])
async def test_without_the_one_good_copy_nothing_older_is_served(
    cluster: Cluster, store: ClusterStore, what: str, missing: int, rotten: int
) -> None:
    """It is down when the other rots: what the third has is taken in, and still not believed. Then it comes back."""
    name = named(cluster, "o")
    await put(store, name, b"old")
    await change(cluster, store, name, what, missing)
    (good,) = {0, 1, 2} - {missing, rotten}
    cluster.down(good)
    await rot(cluster, name, what, rotten)
    await cluster.nodes[missing].run("object-replicator")
    figures = await cluster.nodes[rotten].run("object-replicator")
    assert figures["missed"] == 1
    for _ in range(4):
        assert await seen(cluster.store(), name) == "unavailable"
    cluster.network.heal()
    assert (await cluster.nodes[rotten].run("object-replicator"))["missed"] == 0
    cluster.down(good)
    for _ in range(4):
        assert await seen(cluster.store(), name) == TRUTH[what]


@pytest.mark.parametrize("turn", range(3))
async def test_a_post_applies_to_data_that_its_replica_missed(cluster: Cluster, store: ClusterStore, turn: int) -> None:
    """The only replica that has both is down: of the others one has the newest data, the other the newest metadata."""
    name = named(cluster, "o")
    await put(store, name, b"old")
    await missed_by(cluster, PutObject, 0, put(store, name, b"new"))
    await store.nodes.stop()
    await missed_by(cluster, PostObject, 1, store.post_object(OWNER, name, NewObject("", user={"a": "b"}), None))
    await store.nodes.stop()
    cluster.down(2)
    reader = cluster.store()
    reader._opener._finder._turn = turn
    assert (await head(reader, name)).user == {"a": "b"}
    assert await get(reader, name) == b"new"


@pytest.mark.parametrize("turn", range(3))
async def test_a_content_type_that_one_replica_missed_is_not_lost_there_with_the_next_post(
    cluster: Cluster, store: ClusterStore, turn: int
) -> None:
    """Both posts have one file each; replicas whose files are of the same times are taken to be equal."""
    name = named(cluster, "o")
    await put(store, name, b"x")
    await missed_by(cluster, PostObject, 2, store.post_object(OWNER, name, NewObject("", user={"a": "1"}), "text/new"))
    await store.nodes.stop()
    writer = cluster.store()
    writer._opener._finder._turn = turn
    await writer.post_object(OWNER, name, NewObject("", user={"a": "2"}), None)
    await writer.nodes.stop()
    for number in (0, 1, 2):
        await cluster.nodes[number].run("object-replicator")
    for version, _ in await cluster.held(name, range(3)):
        assert version is not None and (version.content_type, version.user) == ("text/new", {"a": "2"})


async def test_a_post_finds_an_object_that_one_replica_missed_and_another_cannot_change(
    cluster: Cluster, store: ClusterStore
) -> None:
    name = named(cluster, "o")
    await missed_by(cluster, PutObject, 0, put(store, name, b"x"))
    await store.nodes.stop()
    refuse(cluster, PostObject, 1)
    await store.post_object(OWNER, name, NewObject("", user={"a": "b"}), None)
    assert (await head(store, name)).user == {"a": "b"}


@pytest.mark.parametrize("what", ["put", "delete", "post"])
async def test_what_was_never_acknowledged_is_not_missed_for_ever(
    cluster: Cluster, store: ClusterStore, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once it cannot be on its way any more; and reads need not wait for that."""
    name = named(cluster, "o")
    await put(store, name, b"old")
    kind = {"put": PutObject, "delete": DeleteObject, "post": PostObject}[what]
    refuse(cluster, kind, 1, 2)
    with pytest.raises(InsufficientStorage):
        await change(cluster, store, name, what, 1)
    await store.nodes.stop()
    cluster.network.heal()
    await rot(cluster, name, what, 0)
    for _ in range(4):
        assert await seen(cluster.store(), name) == "old"
    assert (await cluster.nodes[0].run("object-replicator"))["missed"] == 1
    monkeypatch.setattr(cluster.clock, "now", lambda: time.time() + 61)
    assert (await cluster.nodes[0].run("object-replicator"))["missed"] == 0
    place = cluster.place(name)
    reply = await cluster.ask(0, GetObject(place.replicas[0].target, place.hash, place.name, 100))
    assert reply.body == b"old"
