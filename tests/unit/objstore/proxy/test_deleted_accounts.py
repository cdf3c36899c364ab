"""Accounts that a reseller deleted with all they contain."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from objstore.formats.messages import Query
from objstore.model.conditions import NO_CONDITIONS
from objstore.model.errors import (
    AccessDenied,
    AccountDeleted,
    AccountNotFound,
    ContainerNotFound,
    NotAuthenticated,
    StoreError,
    Unavailable,
)
from objstore.model.names import ObjectName
from objstore.proxy.operations import NewObject
from objstore.proxy.store import ClusterStore
from tests.unit.objstore.proxy.cleaned import CleaningCluster, cleaning
from tests.unit.objstore.proxy.cluster import ACCOUNT, ANYBODY, OWNER, RESELLER, get, named, put


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[CleaningCluster]:
    async with cleaning(tmp_path) as cluster:
        await cluster.store().put_container(OWNER, ACCOUNT, "c", {"acl:read": ".r:*"})
        yield cluster


@pytest.fixture
def store(cluster: CleaningCluster) -> ClusterStore:
    return cluster.stores[0]


async def outcome(work: object) -> type[StoreError] | None:
    try:
        await work  # type: ignore[misc]
    except StoreError as error:
        return type(error)
    return None


async def test_nothing_in_it_can_be_reached(cluster: CleaningCluster, store: ClusterStore) -> None:
    """At once, on every proxy, by everybody."""
    other = cluster.store()
    name = named(cluster, "o")
    await put(store, name, b"x")
    assert await get(other, name) == b"x"
    await store.delete_account(RESELLER, ACCOUNT)
    for proxy in (other, store):
        for ctx in (OWNER, RESELLER):
            assert await outcome(proxy.head_account(ctx, ACCOUNT)) is AccountDeleted
            assert await outcome(proxy.list_account(ctx, ACCOUNT, Query(9))) is AccountDeleted
            assert await outcome(proxy.post_account(ctx, ACCOUNT, {"user:a": "b"})) is AccountNotFound
            assert await outcome(proxy.head_container(ctx, ACCOUNT, "c")) is ContainerNotFound
            assert await outcome(proxy.list_container(ctx, ACCOUNT, "c", Query(9))) is ContainerNotFound
            assert await outcome(proxy.post_container(ctx, ACCOUNT, "c", {})) is ContainerNotFound
            assert await outcome(proxy.delete_container(ctx, ACCOUNT, "c")) is ContainerNotFound
            assert await outcome(get(proxy, name, ctx)) is ContainerNotFound
            assert await outcome(put(proxy, name, b"y", ctx)) is ContainerNotFound
            assert await outcome(proxy.post_object(ctx, name, NewObject(""), None)) is ContainerNotFound
            assert await outcome(proxy.delete_object(ctx, name, NO_CONDITIONS)) is ContainerNotFound
        assert await outcome(get(proxy, name, ANYBODY)) is NotAuthenticated, "its lists grant nothing any more"
        assert await proxy.peek_container(ACCOUNT, "c") is None
    assert await outcome(store.delete_account(RESELLER, ACCOUNT)) is AccountNotFound
    assert (await cluster.alive(name)) == [b"x"] * 3


async def test_it_cannot_be_made_again_before_it_is_empty(cluster: CleaningCluster, store: ClusterStore) -> None:
    """What was deleted must not come back with it."""
    name = named(cluster, "o")
    await put(store, name, b"x")
    await store.post_account(OWNER, ACCOUNT, {"user:a": "b"})
    await store.delete_account(RESELLER, ACCOUNT)
    with pytest.raises(AccessDenied, match="Recently deleted"):
        await store.put_account(RESELLER, ACCOUNT, {})
    assert await outcome(store.put_container(OWNER, ACCOUNT, "d", {})) is AccountNotFound
    assert (await cluster.pass_of("account-reaper"))["containers"] == 1
    assert await store.put_account(RESELLER, ACCOUNT, {})
    view = await store.head_account(OWNER, ACCOUNT)
    assert (view.stats.container_count, view.settings.values) == (0, {})
    assert await store.put_container(OWNER, ACCOUNT, "c", {})
    assert (await store.list_container(OWNER, ACCOUNT, "c", Query(9))).rows == []
    assert await outcome(get(store, name)) is not None
    await put(store, name, b"new")
    assert await get(store, name) == b"new"


async def test_an_empty_one_can_be_made_again_by_use(cluster: CleaningCluster, store: ClusterStore) -> None:
    await store.delete_container(OWNER, ACCOUNT, "c")
    await store.delete_account(RESELLER, ACCOUNT)
    assert await outcome(store.head_account(OWNER, ACCOUNT)) is AccountDeleted
    assert await store.put_container(OWNER, ACCOUNT, "c", {})
    assert (await store.head_account(OWNER, ACCOUNT)).stats.container_count == 1


async def test_one_that_never_was_is_not_deleted(store: ClusterStore) -> None:
    assert await outcome(store.head_account(RESELLER, "AUTH_never")) is None
    assert await outcome(store.delete_account(RESELLER, "AUTH_never")) is AccountNotFound


async def test_what_can_be_read_is_read_though_the_account_cannot_be_asked(cluster: CleaningCluster, store: ClusterStore) -> None:
    name = ObjectName(ACCOUNT, "c", named(cluster, "o").object)
    await put(store, name, b"x")
    fresh, real = cluster.store(), cluster.store().cache.get

    async def get_(place: object) -> object:
        if place.kind == "account":  # type: ignore[attr-defined]
            raise Unavailable("too few replicas")
        return await real(place)  # type: ignore[arg-type]

    fresh.cache.get = get_  # type: ignore[method-assign, assignment]
    assert await get(fresh, name) == b"x"
