"""Accounts and containers: settings, limits, quotas, policies."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from objstore.formats.messages import Query
from objstore.model.conditions import NO_CONDITIONS
from objstore.model.errors import Conflict, ContainerNotFound, InvalidInput, TooLarge
from objstore.model.policy import Policies, Policy
from objstore.placement.places import Placement
from objstore.proxy.bodies import InMemory
from objstore.proxy.operations import NewObject, Upload
from objstore.proxy.store import ClusterStore
from tests.unit.objstore.proxy.cluster import ACCOUNT, OWNER, RESELLER, Cluster, get, named, put, running


async def values(store: ClusterStore, container: str = "c") -> dict[str, str]:
    view = await store.head_container(OWNER, ACCOUNT, container)
    return {key: setting.value for key, setting in view.settings.values.items()}


async def test_containers_come_and_go(cluster: Cluster, store: ClusterStore) -> None:
    assert await store.put_container(OWNER, ACCOUNT, "d", {"user:a": "1", "user:b": "2"})
    assert not await store.put_container(OWNER, ACCOUNT, "d", {"user:a": ""})
    assert await values(store, "d") == {"user:b": "2"}
    await store.post_container(OWNER, ACCOUNT, "d", {"user:c": "3"})
    assert await values(store, "d") == {"user:b": "2", "user:c": "3"}
    name = named(cluster, "o", "d")
    await put(store, name, b"x")
    with pytest.raises(Conflict):
        await store.delete_container(OWNER, ACCOUNT, "d")
    await store.delete_object(OWNER, name, NO_CONDITIONS)
    await store.delete_container(OWNER, ACCOUNT, "d")
    for work in (store.head_container(OWNER, ACCOUNT, "d"), store.delete_container(OWNER, ACCOUNT, "d")):
        with pytest.raises(ContainerNotFound):
            await work
    with pytest.raises(ContainerNotFound):
        await store.post_container(OWNER, ACCOUNT, "d", {"user:c": "3"})
    assert await store.put_container(OWNER, ACCOUNT, "d", {})
    assert await values(store, "d") == {}


async def test_the_account_lists_its_containers_at_once(store: ClusterStore) -> None:
    for container in ("b", "a"):
        await store.put_container(OWNER, ACCOUNT, container, {})
    await store.delete_container(OWNER, ACCOUNT, "b")
    listing = await store.list_account(OWNER, ACCOUNT, Query(9))
    assert [row.name for row in listing.rows] == ["a", "c"]
    assert (await store.head_account(OWNER, ACCOUNT)).stats.container_count == 2


@pytest.mark.parametrize(
    "bad",
    [
        {"user:" + "n" * 129: "v"},
        {"user:n": "v" * 257},
        {f"user:{i}": "v" for i in range(91)},
        {f"user:{i}": "v" * 256 for i in range(16)},
        {"user:a": "\uef80"},
        {"acl:read": ".r:"},
        {"acl:write": ".r:*"},
        {"user:quota-bytes": "many"},
    ],
)
async def test_bad_settings_change_nothing(store: ClusterStore, bad: dict[str, str]) -> None:
    with pytest.raises(InvalidInput):
        await store.put_container(OWNER, ACCOUNT, "bad", bad)
    with pytest.raises(ContainerNotFound):
        await store.head_container(OWNER, ACCOUNT, "bad")
    with pytest.raises(InvalidInput):
        await store.post_container(OWNER, ACCOUNT, "c", {"user:good": "1"} | bad)
    assert await values(store) == {}


async def test_limits_count_what_is_stored_already(store: ClusterStore) -> None:
    for _ in range(2):
        for i in range(15):
            await store.post_container(OWNER, ACCOUNT, "c", {f"user:{i}": "v" * 256})
    with pytest.raises(InvalidInput):
        await store.post_container(OWNER, ACCOUNT, "c", {"user:x": "v" * 256})
    await store.post_container(OWNER, ACCOUNT, "c", {"user:0": "", "user:x": "v" * 256})


async def test_container_quotas(cluster: Cluster, store: ClusterStore) -> None:
    await store.post_container(OWNER, ACCOUNT, "c", {"user:quota-bytes": "10", "user:quota-count": "2"})
    with pytest.raises(TooLarge):
        await put(store, named(cluster, "a"), bytes(11))
    await put(store, named(cluster, "a"), bytes(6))
    with pytest.raises(TooLarge):
        await put(store, named(cluster, "b"), bytes(5))
    with pytest.raises(TooLarge):  # of unknown length
        upload = Upload(InMemory(bytes(5)), None)
        await store.put_object(OWNER, named(cluster, "b"), NewObject(""), upload, NO_CONDITIONS)
    await put(store, named(cluster, "b"), bytes(4))
    with pytest.raises(TooLarge):
        await put(store, named(cluster, "c"), b"")


async def test_account_quotas(cluster: Cluster, store: ClusterStore) -> None:
    await store.post_account(RESELLER, ACCOUNT, {"sys:quota-bytes": "3"})
    with pytest.raises(TooLarge):
        await put(store, named(cluster, "a"), bytes(4))
    await put(store, named(cluster, "a"), bytes(4), RESELLER)
    await store.post_account(RESELLER, ACCOUNT, {"sys:quota-bytes": "", "sys:quota-bytes-policy-policy-0": "2"})
    with pytest.raises(TooLarge):
        await put(store, named(cluster, "a"), bytes(3))
    await store.post_account(RESELLER, ACCOUNT, {"sys:quota-bytes-policy-policy-0": ""})
    await put(store, named(cluster, "a"), bytes(3))


@pytest.fixture
async def two_policies(tmp_path: Path) -> AsyncIterator[Cluster]:
    gold = Policy(1, "gold", aliases=("au",))
    old = Policy(2, "old", deprecated=True)
    async with running(tmp_path, 3, policies=Policies([Policy(0, "plain", default=True), gold, old])) as cluster:
        yield cluster


async def test_storage_policies(two_policies: Cluster) -> None:
    store = two_policies.store()
    await store.put_container(OWNER, ACCOUNT, "p", {})
    await store.put_container(OWNER, ACCOUNT, "g", {}, "AU")
    assert not await store.put_container(OWNER, ACCOUNT, "g", {}, "gold")
    assert not await store.put_container(OWNER, ACCOUNT, "g", {})
    with pytest.raises(Conflict):
        await store.put_container(OWNER, ACCOUNT, "g", {}, "plain")
    for bad in ("silver", "old"):
        with pytest.raises(InvalidInput):
            await store.put_container(OWNER, ACCOUNT, "x", {}, bad)
    name = named(two_policies, "o", "g")
    await put(store, name, b"x")
    assert await get(store, name) == b"x"
    assert [len(list(node.root.glob("objects-1/*/*.data"))) for node in two_policies.nodes] == [1, 1, 1]
    assert not any(node.data_files() for node in two_policies.nodes)


@pytest.mark.parametrize("replicas", [1, 2, 4, 5])
async def test_any_number_of_replicas(tmp_path: Path, replicas: int) -> None:
    async with running(tmp_path, replicas, replicas) as cluster:
        store = cluster.store()
        await store.put_container(OWNER, ACCOUNT, "c", {})
        for body in (b"small", bytes(200_000)):
            name = named(cluster, f"o{len(body)}-")
            assert (await put(store, name, body)).listed
            assert await get(store, name) == body
        assert len((await store.list_container(OWNER, ACCOUNT, "c", Query(9))).rows) == 2


async def test_a_refused_deletion_is_undone_where_it_happens_late(cluster: Cluster, store: ClusterStore) -> None:
    """A write came in after the container was found empty, and its row is not on all replicas yet."""
    container = next(f"d{i}" for i in range(100) if container_nodes(cluster, f"d{i}") == [0, 1, 2])
    name = named(cluster, "o", container)
    await store.put_container(OWNER, ACCOUNT, container, {"user:a": "1"})
    cluster.down(2)
    lister, late = store._tables._lister, cluster.network.fault(cluster.nodes[2].address)
    page = lister.page

    async def page_then_write(*arguments: object) -> object:
        found = await page(*arguments)
        await put(store, name, b"x")
        late.down, late.delay_s = False, 0.3
        return found

    lister.page = page_then_write  # type: ignore[method-assign, assignment]
    with pytest.raises(Conflict):
        await store.delete_container(OWNER, ACCOUNT, container)
    lister.page = page  # type: ignore[method-assign]
    await asyncio.sleep(0.5)
    cluster.network.heal()
    for _ in range(3):
        assert await get(cluster.store(), name) == b"x"
    assert await values(store, container) == {"user:a": "1"}


def container_nodes(cluster: Cluster, container: str) -> list[int]:
    addresses = [node.address for node in cluster.nodes]
    return [addresses.index(replica.address) for replica in Placement(cluster.rings).container(ACCOUNT, container).replicas]
