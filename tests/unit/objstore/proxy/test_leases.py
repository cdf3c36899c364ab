"""What several proxies know of accounts and containers is coherent."""

import asyncio
import time
from dataclasses import replace

import pytest

from objstore.model.conditions import NO_CONDITIONS
from objstore.model.errors import AccessDenied, ContainerNotFound
from objstore.proxy.operations import ReadRequest
from objstore.proxy.store import ClusterStore
from tests.unit.objstore.proxy.cluster import ACCOUNT, OTHER, OWNER, QUICK, Cluster, get, named, put


async def test_a_change_acts_at_once_in_every_proxy(cluster: Cluster, store: ClusterStore) -> None:
    name, second = named(cluster, "o"), cluster.store()
    await put(store, name, b"x")
    for proxy in (store, second):
        with pytest.raises(AccessDenied):
            await get(proxy, name, OTHER)
    await store.post_container(OWNER, ACCOUNT, "c", {"acl:read": "test2:tester2"})
    for proxy in (store, second):
        assert await get(proxy, name, OTHER) == b"x"
    await second.post_container(OWNER, ACCOUNT, "c", {"acl:read": ""})
    for proxy in (store, second):
        with pytest.raises(AccessDenied):
            await get(proxy, name, OTHER)


async def test_a_container_missed_before_is_found_once_made(cluster: Cluster, store: ClusterStore) -> None:
    name, second = named(cluster, "o", "late"), cluster.store()
    for proxy in (store, second):
        with pytest.raises(ContainerNotFound):
            await get(proxy, name)
    await store.put_container(OWNER, ACCOUNT, "late", {})
    await put(second, name, b"x")
    await second.delete_object(OWNER, name, NO_CONDITIONS)
    await second.delete_container(OWNER, ACCOUNT, "late")
    with pytest.raises(ContainerNotFound):
        await put(store, name, b"x")


async def test_account_rights_too(cluster: Cluster, store: ClusterStore) -> None:
    name, second = named(cluster, "o"), cluster.store()
    await put(store, name, b"x")
    with pytest.raises(AccessDenied):
        await get(second, name, OTHER)
    await store.post_account(OWNER, ACCOUNT, {"acl:account": '{"read-only": ["test2:tester2"]}'})
    assert await get(second, name, OTHER) == b"x"
    await store.post_account(OWNER, ACCOUNT, {"acl:account": "{}"})
    with pytest.raises(AccessDenied):
        await get(second, name, OTHER)


async def test_a_proxy_that_cannot_be_told_delays_the_change(cluster: Cluster, store: ClusterStore) -> None:
    """The acknowledgement waits for the end of its lease, so that it cannot believe the old settings afterwards."""
    name, second, third = named(cluster, "o"), cluster.store(), cluster.store(replace(QUICK, node_timeout_s=5.0))
    await put(store, name, b"x")
    await store.post_container(OWNER, ACCOUNT, "c", {"acl:read": "test2:tester2"})
    assert await get(second, name, OTHER) == b"x"
    cluster.network.clients_cut.add("proxy1")
    started = time.monotonic()
    await third.post_container(OWNER, ACCOUNT, "c", {"acl:read": ""})
    assert 0.5 < time.monotonic() - started < 3
    with pytest.raises(AccessDenied):
        await get(second, name, OTHER)


async def test_information_comes_from_memory(cluster: Cluster, store: ClusterStore) -> None:
    name = named(cluster, "o")
    await put(store, name, b"x")
    asked = cluster.network.count("StatTable")
    for _ in range(20):
        await get(store, name)
    assert cluster.network.count("StatTable") - asked <= 4  # a refresh ahead of the lease's end at most


async def test_many_who_ask_at_once_share_one_answer(cluster: Cluster) -> None:
    fresh = cluster.store()
    name = named(cluster, "o")
    await put(fresh, name, b"x")
    fresh.cache.forget(f"/{ACCOUNT}/c")
    asked = cluster.network.count("StatTable")
    await asyncio.gather(*(fresh.open_object(OWNER, ReadRequest(name, NO_CONDITIONS)) for _ in range(50)))
    assert cluster.network.count("StatTable") - asked == 2


async def test_memory_is_bounded(cluster: Cluster) -> None:
    fresh = cluster.store(replace(QUICK, cache_entries_max=5))
    for i in range(20):
        assert await fresh.peek_container(ACCOUNT, f"none{i}") is None
    assert len(fresh.cache._known) <= 5
