"""Bucket names of all accounts together: one account gets a name, whoever races, and a name without a container is not lost."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from objstore.model.claims import CLAIMS_ACCOUNT, CLAIMS_CONTAINER
from objstore.model.conditions import NO_CONDITIONS
from objstore.model.errors import AccessDenied, BucketClaimed, Conflict, ContainerNotFound, StoreError, Unavailable
from objstore.model.identity import Identity
from objstore.model.names import ObjectName
from objstore.model.parts import hidden_account
from objstore.proxy.bodies import InMemory
from objstore.proxy.operations import Context, NewObject, Upload
from objstore.proxy.store import ClusterStore
from tests.unit.objstore.object.replicas import passes
from tests.unit.objstore.proxy.cluster import OTHER, OWNER, QUICK, RESELLER, Cluster, put, running

MINE, THEIRS = "AUTH_test", "AUTH_test2"
IMPATIENT = replace(QUICK, claim_grace_s=0.0)


def member(number: int) -> tuple[Context, str]:
    account = f"AUTH_race{number}"
    return Context(Identity(f"race{number}:u", frozenset({f"race{number}"}), frozenset({account})), "tx"), account


async def outcome(work: Awaitable[object]) -> object:
    try:
        return await work
    except StoreError as error:
        return type(error)


async def ready(cluster: Cluster, **knobs: float) -> ClusterStore:
    await passes(cluster, *range(3))
    return cluster.store(replace(QUICK, **knobs))


async def test_one_account_gets_a_name(tmp_path: Path) -> None:
    async with running(tmp_path) as cluster:
        store = await ready(cluster)
        assert await store.bucket_holder("pictures", "tx") == ""
        assert await store.create_bucket(OWNER, MINE, "pictures", {}) is True
        assert await store.bucket_holder("pictures", "tx") == MINE
        assert await store.create_bucket(OWNER, MINE, "pictures", {}) is False
        assert await outcome(cluster.store().create_bucket(OTHER, THEIRS, "pictures", {})) is BucketClaimed
        assert await outcome(store.head_container(OTHER, THEIRS, "pictures")) is ContainerNotFound
        await store.delete_bucket(OWNER, MINE, "pictures")
        assert await store.bucket_holder("pictures", "tx") == ""
        assert await cluster.store().create_bucket(OTHER, THEIRS, "pictures", {}) is True


@pytest.mark.parametrize("down", [0, 1])
async def test_of_many_accounts_that_race_one_gets_the_name(tmp_path: Path, down: int) -> None:
    async with running(tmp_path) as cluster:
        stores = [await ready(cluster), cluster.store(), cluster.store()]
        await stores[0].create_bucket(OWNER, MINE, "first", {})  # the claims' container
        cluster.down(*range(down))
        for turn in range(4):
            name = f"race-{turn}"
            told = await asyncio.gather(*(outcome(stores[n % 3].create_bucket(*member(n), name, {})) for n in range(12)))
            assert told.count(True) == 1 and told.count(BucketClaimed) == 11, told
            winner = f"AUTH_race{told.index(True)}"
            assert {await cluster.store().bucket_holder(name, "tx") for _ in range(2)} == {winner}


async def test_without_a_majority_nobody_gets_it(tmp_path: Path) -> None:
    async with running(tmp_path) as cluster:
        store = await ready(cluster)
        await store.create_bucket(OWNER, MINE, "first", {})
        cluster.down(0, 1)
        assert await outcome(store.create_bucket(OWNER, MINE, "second", {})) is Unavailable


async def test_a_name_without_a_container_is_its_accounts_at_once_and_anybodys_later(tmp_path: Path) -> None:
    async with running(tmp_path) as cluster:
        store = await ready(cluster)
        await store.create_bucket(OWNER, MINE, "b", {})
        await store.delete_container(OWNER, MINE, "b")  # as Swift does
        assert await outcome(store.create_bucket(OTHER, THEIRS, "b", {})) is BucketClaimed
        assert await store.create_bucket(OWNER, MINE, "b", {}) is True
        await store.delete_container(OWNER, MINE, "b")
        later = cluster.store(IMPATIENT)
        assert await later.create_bucket(OTHER, THEIRS, "b", {}) is True
        assert await outcome(cluster.store(IMPATIENT).create_bucket(OWNER, MINE, "b", {})) is BucketClaimed


async def test_a_claim_with_a_container_is_never_taken_over(tmp_path: Path) -> None:
    async with running(tmp_path) as cluster:
        store = await ready(cluster, claim_grace_s=0.0)
        await store.create_bucket(OWNER, MINE, "b", {})
        assert await outcome(cluster.store(IMPATIENT).create_bucket(OTHER, THEIRS, "b", {})) is BucketClaimed


async def test_a_claim_that_is_used_again_cannot_be_taken_over_meanwhile(tmp_path: Path) -> None:
    """Its account makes the container just when another one found that there is none."""
    async with running(tmp_path) as cluster:
        store, other = await ready(cluster), cluster.store(IMPATIENT)
        await store.create_bucket(OWNER, MINE, "b", {})
        await store.delete_container(OWNER, MINE, "b")
        write = other._buckets._write

        async def late(*args: object) -> None:
            other._buckets._write = write
            assert await store.create_bucket(OWNER, MINE, "b", {}) is True
            await write(*args)

        other._buckets._write = late
        assert await outcome(other.create_bucket(OTHER, THEIRS, "b", {})) is BucketClaimed
        assert await cluster.store().bucket_holder("b", "tx") == MINE


async def test_a_name_that_was_claimed_anew_is_not_given_back(tmp_path: Path) -> None:
    """The account makes the bucket again while an earlier deletion of it is not over."""
    async with running(tmp_path) as cluster:
        store, other = await ready(cluster), cluster.store()
        await store.create_bucket(OWNER, MINE, "b", {})
        delete = store._tables.delete_container

        async def slowly(*args: object) -> None:
            await delete(*args)
            assert await other.create_bucket(OWNER, MINE, "b", {}) is True

        store._buckets._tables.delete_container = slowly
        await store.delete_bucket(OWNER, MINE, "b")
        assert await cluster.store().bucket_holder("b", "tx") == MINE


async def test_a_container_of_swift_stays_with_its_account(tmp_path: Path) -> None:
    async with running(tmp_path) as cluster:
        store = await ready(cluster)
        await store.put_container(OWNER, MINE, "both", {})
        assert await store.bucket_holder("both", "tx") == ""
        assert await store.create_bucket(OTHER, THEIRS, "both", {}) is True
        assert await cluster.store().create_bucket(OWNER, MINE, "both", {}) is False
        assert await cluster.store().bucket_holder("both", "tx") == THEIRS
        await store.put_container(OWNER, MINE, "own", {})
        assert await store.create_bucket(OWNER, MINE, "own", {}) is False, "it is there, and claimed now"
        assert await cluster.store().bucket_holder("own", "tx") == MINE


async def test_only_an_owner_makes_and_deletes(tmp_path: Path) -> None:
    async with running(tmp_path) as cluster:
        store = await ready(cluster)
        assert await outcome(store.create_bucket(OTHER, MINE, "b", {})) is AccessDenied
        await store.create_bucket(OWNER, MINE, "b", {})
        assert await outcome(store.delete_bucket(OTHER, MINE, "b")) is AccessDenied
        await put(store, ObjectName(MINE, "b", "o"), b"x")
        assert await outcome(store.delete_bucket(OWNER, MINE, "b")) is Conflict
        assert await cluster.store().bucket_holder("b", "tx") == MINE


CLAIM = ObjectName(CLAIMS_ACCOUNT, CLAIMS_CONTAINER, "b")
TOUCHES: list[Callable[[ClusterStore, Context], Awaitable[object]]] = [
    lambda store, ctx: store.delete_object(ctx, CLAIM, NO_CONDITIONS),
    lambda store, ctx: store.put_object(ctx, CLAIM, NewObject("a/b"), Upload(InMemory(b"x"), 1), NO_CONDITIONS),
    lambda store, ctx: store.put_container(ctx, CLAIMS_ACCOUNT, "x", {}),
    lambda store, ctx: store.post_container(ctx, CLAIMS_ACCOUNT, CLAIMS_CONTAINER, {"acl:write": "*:*"}),
    lambda store, ctx: store.head_container(ctx, CLAIMS_ACCOUNT, CLAIMS_CONTAINER),
    lambda store, ctx: store.head_account(ctx, CLAIMS_ACCOUNT),
    lambda store, ctx: store.put_account(ctx, CLAIMS_ACCOUNT, {}),
    lambda store, ctx: store.post_account(ctx, CLAIMS_ACCOUNT, {"acl:account": '{"admin": ["test"]}'}),
    lambda store, ctx: store.delete_account(ctx, CLAIMS_ACCOUNT),
    lambda store, ctx: store.delete_account(ctx, hidden_account(MINE)),
]


@pytest.mark.parametrize("touch", TOUCHES)
async def test_nobody_touches_the_claims(tmp_path: Path, touch: Callable[[ClusterStore, Context], Awaitable[object]]) -> None:
    async with running(tmp_path) as cluster:
        store = await ready(cluster)
        await store.create_bucket(OWNER, MINE, "b", {})
        for ctx in (OWNER, RESELLER):
            assert await outcome(touch(store, ctx)) is AccessDenied
