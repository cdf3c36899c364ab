"""Damage beside other faults: even numbers of replicas, full devices, ring changes, sloppy policies, a single replica."""

import asyncio
import contextlib
import os
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from objstore.formats.messages import (
    DeleteObject,
    GetObject,
    Message,
    OpenPut,
    PostObject,
    PutObject,
    Query,
    RestoreQuarantine,
)
from objstore.model.errors import Code, ContainerNotFound, InsufficientStorage, NodeError, ObjectNotFound, StoreError, Unavailable
from objstore.model.lost import Lost
from objstore.model.names import ObjectName
from objstore.model.policy import Policies, Policy
from objstore.model.timestamps import from_seconds
from objstore.object.files import Place
from objstore.object.reader import Corrupt
from objstore.proxy.operations import NewObject
from objstore.proxy.store import ClusterStore
from tests.unit.objstore.object.replicas import passes
from tests.unit.objstore.proxy.cleaned import cleaning
from tests.unit.objstore.proxy.cluster import ACCOUNT, OWNER, Cluster, get, named, put, ring_of, running

ATTRIBUTE = "user.objstore.meta"
SLOPPY = Policies([Policy(0, "sloppy", default=True, sloppy=True)])


def refuse(cluster: Cluster, kind: type[Message], *nodes: int) -> None:
    """Until the network heals, `nodes` have no space for such requests."""
    for node in nodes:
        cluster.network.fault(cluster.nodes[node].address).refuse[kind] = Code.NO_SPACE


async def spoil(cluster: Cluster, name: ObjectName, number: int, suffix: str = "data", down: Sequence[int] = ()) -> Lost:
    """Damage one file of a replica and have it found; nodes `down`, or all others, cannot be asked meanwhile. Returns what the
    replica says it lost.
    """
    place, node = cluster.place(name), cluster.nodes[number]
    await asyncio.sleep(0.05)  # superseded files are removed behind the answer
    (file,) = node.root.glob(f"objects*/*/{place.hash.hex()}.*.{suffix}")
    os.setxattr(file, ATTRIBUTE, b"nonsense")
    cluster.down(*(down or {*range(len(cluster.nodes))} - {number}))
    with pytest.raises(NodeError) as error:
        await cluster.ask(number, GetObject(place.replicas[0].target, place.hash, place.name))
    assert error.value.code is Code.CORRUPT
    await cluster.nodes[number].object._replication._repairs.settled()
    cluster.network.heal()
    return error.value.lost


async def views(cluster: Cluster, name: ObjectName) -> list[bytes | None]:
    """What readers hear that ask in different orders; None where it is unavailable, b"" that there is nothing."""
    heard: list[bytes | None] = []
    for turn in range(len(cluster.place(name).replicas)):
        store = cluster.store()
        store._opener._finder._turn = turn
        try:
            heard.append(await get(store, name))
        except Unavailable:
            heard.append(None)
        except ObjectNotFound:
            heard.append(b"")
        await store.nodes.stop()
    return heard


async def fails(change: object) -> None:
    with pytest.raises((InsufficientStorage, Unavailable)):
        await change  # type: ignore[misc]


async def container(cluster: Cluster) -> ClusterStore:
    store = cluster.store()
    await store.put_container(OWNER, ACCOUNT, "c", {})
    return store


def horizon(cluster: Cluster) -> None:
    """The reclaim age goes by."""
    for node in cluster.nodes:
        node.horizon = from_seconds(time.time() + 10)


async def test_a_deleted_object_brings_no_container_back(tmp_path: Path) -> None:
    """Its deletion is lost on one replica, the second has it and is down, the third missed it."""
    async with cleaning(tmp_path) as cluster:
        store = cluster.store()
        await store.put_container(OWNER, ACCOUNT, "c", {})
        name = named(cluster, "o")
        cluster.refuse_rows(0, 1, 2)
        await put(store, name, b"abc")
        await store.delete_container(OWNER, ACCOUNT, "c")
        await store.nodes.stop()
        cluster.network.heal()
        for node in cluster.nodes:
            node.object.updates._down_until = {}
            await node.run("object-updater")
        cleaner = cluster.nodes[0].cleaner
        settings = (await cleaner._contents(ACCOUNT, "c", Query(1))).settings
        cluster.refuse_rows(0, 1, 2)
        refuse(cluster, DeleteObject, 2)
        await cleaner.delete_object(name, 0, settings.delete_timestamp)
        await cleaner.stop()
        cluster.network.heal()
        await spoil(cluster, name, 0, "ts", down=(1,))
        cluster.down(1)
        await cluster.nodes[0].run("container-reviver")
        cluster.network.heal()
        for _ in range(2):
            for node in cluster.nodes:
                node.object.updates._down_until = {}
                for worker in ("object-updater", "object-replicator", "container-reviver"):
                    await node.run(worker)
        with pytest.raises(ContainerNotFound):
            await cluster.store().head_container(OWNER, ACCOUNT, "c")


async def test_two_lost_overwrites_hide_an_object_no_longer_than_the_reclaim_age(
    cluster: Cluster, store: ClusterStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither was acknowledged, and each replica that lost one would have to vouch for the other."""
    monkeypatch.setattr("objstore.object.repairs.IN_FLIGHT_S", 0.0)
    name = named(cluster, "o")
    await put(store, name, b"acknowledged")
    for alone in (0, 1):
        refuse(cluster, PutObject, *({0, 1, 2} - {alone}))
        await fails(put(store, name, b"never %d" % alone))
        await store.nodes.stop()
        cluster.network.heal()
        await spoil(cluster, name, alone)
    await passes(cluster, 0, 1, 2)
    assert set(await views(cluster, name)) <= {b"acknowledged", None}
    horizon(cluster)
    for _ in range(2):
        figures = await passes(cluster, 0, 1, 2)
    assert [one["missed"] for one in figures] == [0, 0, 0]
    assert await views(cluster, name) == [b"acknowledged"] * 3


@pytest.mark.parametrize("replicas", [2, 4])
async def test_what_half_of_the_replicas_said_is_never_taken_back(tmp_path: Path, replicas: int) -> None:
    async with running(tmp_path, count=replicas + 1, replicas=replicas) as cluster:
        store, name = await container(cluster), named(cluster, "o")
        await put(store, name, b"old")
        rest = range(1, replicas)
        refuse(cluster, PutObject, *rest)
        await fails(put(store, name, b"new"))
        await store.nodes.stop()
        cluster.network.heal()
        cluster.down(*rest[replicas // 2 - 1 :])
        assert await views(cluster, name) == [b"new"] * replicas
        cluster.network.heal()
        await spoil(cluster, name, 0)
        assert set(await views(cluster, name)) <= {b"new", None}


async def test_a_failed_post_on_a_full_device_hides_nothing(cluster: Cluster, store: ClusterStore) -> None:
    """It missed the newest data and has no space for it."""
    name = named(cluster, "o")
    await put(store, name, b"one")
    refuse(cluster, PutObject, 2)
    refuse(cluster, OpenPut, 2)
    await put(store, name, b"two")
    await store.nodes.stop()
    refuse(cluster, PostObject, 0, 1)
    await fails(store.post_object(OWNER, name, NewObject("", user={"a": "b"}), None))
    await store.nodes.stop()
    for node in (0, 1):
        cluster.network.fault(cluster.nodes[node].address).refuse.clear()
    assert await views(cluster, name) == [b"two"] * 3


async def test_the_only_replica_is_missed_for_ever(tmp_path: Path) -> None:
    async with running(tmp_path, count=2, replicas=1) as cluster:
        store, name = await container(cluster), named(cluster, "o")
        await put(store, name, b"precious")
        await spoil(cluster, name, 0)
        horizon(cluster)
        assert (await cluster.nodes[0].run("object-replicator"))["missed"] == 1
        assert await views(cluster, name) == [None]
        (entry,) = cluster.nodes[0].object._devices["d1"].quarantine.entries()
        assert not entry.superseded
        with pytest.raises(NodeError) as error:  # it is still damaged; but nobody calls it superseded
            await cluster.ask(0, RestoreQuarantine("d1", entry.id))
        assert error.value.code is Code.CORRUPT


async def test_a_good_copy_is_not_set_aside_for_what_was_there_before(cluster: Cluster, store: ClusterStore) -> None:
    """Readers of a damaged file may find the damage long after a good one took its place."""
    name = named(cluster, "o")
    await put(store, name, b"x" * 1000)
    device = cluster.nodes[0].object._devices["d1"]
    place = cluster.place(name)
    await spoil(cluster, name, 0)
    (entry,) = device.quarantine.entries()
    await passes(cluster, 0, 1, 2)
    (good,) = cluster.nodes[0].data_files()
    await device.set_aside(Place(entry.path.rpartition("/")[0], place.hash), Corrupt(entry.path, "late", place.name))
    assert good.exists()
    assert len(device.quarantine.entries()) == 1
    assert await views(cluster, name) == [b"x" * 1000] * 3


async def test_after_a_ring_change_no_old_version_gets_a_second_copy(tmp_path: Path) -> None:
    """The newest is lost on one replica and sound on one that left; one of the present ones missed it, one is empty."""
    async with running(tmp_path, count=5) as cluster:
        present = cluster.rings.objects[0]
        cluster.rings.objects[0] = ring_of(5, (0, 1, 3))
        store, name = await container(cluster), named(cluster, "o")
        await put(store, name, b"old")
        await store.nodes.stop()
        refuse(cluster, PutObject, 1)
        await put(store, name, b"new")
        await store.nodes.stop()
        cluster.network.heal()
        cluster.rings.objects[0] = present
        await spoil(cluster, name, 0)
        await passes(cluster, 1, 0, 1)
        assert set(await views(cluster, name)) <= {b"new", None}
        await passes(cluster, 3, 0, 1, 2)
        assert await views(cluster, name) == [b"new"] * 3


async def test_a_sloppy_policy_finds_on_handoffs_what_a_primary_lost(tmp_path: Path) -> None:
    async with running(tmp_path, count=6, table_replicas=6, policies=SLOPPY) as cluster:
        store, name = await container(cluster), named(cluster, "o")
        cluster.down(1, 2)
        await put(store, name, b"two")
        await store.nodes.stop()
        cluster.network.heal()
        await spoil(cluster, name, 0)
        for down in ((), (1,), (2,)):
            cluster.down(*down)
            assert await views(cluster, name) == [b"two"] * 3, down
            cluster.network.heal()


async def test_one_partition_that_cannot_be_listed_does_not_hide_what_others_miss(
    cluster: Cluster, store: ClusterStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [named(cluster, text) for text in "abcdef"]
    for name in names:
        await put(store, name, b"x")
    await store.nodes.stop()
    for name in names:
        await spoil(cluster, name, 0)
    cluster.down(1, 2, 3)
    node = cluster.nodes[0]
    device = node.object._devices["d1"]
    index, unlistable = device.index, device.with_losses()[0][0].directory
    listed = index.find

    async def find(place: object) -> object:
        if place.directory == unlistable:  # type: ignore[attr-defined]
            raise NodeError(Code.DEVICE_FAILED, "cannot list")
        return await listed(place)  # type: ignore[arg-type]

    index.forget(unlistable)
    monkeypatch.setattr(index, "find", find)
    with contextlib.suppress(StoreError):
        assert await node.object._replication._repairs.run(device) == len(names)
