"""The container-reviver on whole clusters: a deleted container that holds an object after all is back, and no other."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from objstore.formats.messages import Query
from objstore.model.conditions import NO_CONDITIONS
from objstore.model.errors import Code, Conflict, ContainerNotFound, NodeError, StoreError
from objstore.model.names import ObjectName
from objstore.model.policy import Policies, Policy
from objstore.object.files import Files, Place
from objstore.proxy.store import ClusterStore
from tests.unit.objstore.proxy.cleaned import CleaningCluster, cleaning
from tests.unit.objstore.proxy.cluster import ACCOUNT, OWNER, RESELLER, damage, get, named, put

REVIVER = "container-reviver"
POLICIES = Policies([Policy(0, "plain", default=True), Policy(1, "gold")])


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[CleaningCluster]:
    async with cleaning(tmp_path, policies=POLICIES) as cluster:
        await cluster.store().put_container(OWNER, ACCOUNT, "c", {"user:a": "b", "acl:read": ".r:*"}, "gold")
        yield cluster


@pytest.fixture
def store(cluster: CleaningCluster) -> ClusterStore:
    return cluster.stores[0]


async def delivered(cluster: CleaningCluster) -> None:
    """All rows that wait in the object servers' logs arrive."""
    cluster.network.heal()
    for node in cluster.nodes:
        node.object.updates._down_until = {}
        assert (await node.run("object-updater"))["pending"] == 0


async def deleted_before_its_row(cluster: CleaningCluster, store: ClusterStore, *numbers: int, expires_in_s: int = 0) -> ObjectName:
    """An acknowledged object whose row reached the container replicas of these nodes after the container was deleted."""
    name = named(cluster, "o")
    cluster.refuse_rows(0, 1, 2)
    headers = {"x-delete-at": str(int(cluster.clock.now()) + expires_in_s)} if expires_in_s else {}
    await put(store, name, b"abc", headers=headers)
    await store.delete_container(OWNER, ACCOUNT, "c")
    await store.nodes.stop()
    if len(numbers) == 3:
        await delivered(cluster)
    else:
        rest = [number for number in range(3) if number not in numbers]
        cluster.network.heal()
        cluster.refuse_rows(*rest)
        for node in cluster.nodes:
            node.object.updates._down_until = {}
            await node.run("object-updater")
        cluster.network.heal()
    return name


async def listed(store: ClusterStore) -> list[str]:
    return [row.name for row in (await store.list_container(OWNER, ACCOUNT, "c", Query(100))).rows]


async def counted(cluster: CleaningCluster, store: ClusterStore) -> dict[str, int]:
    """The account's containers, and how many objects they hold."""
    await cluster.pass_of("container-updater")
    return {row.name: row.object_count for row in (await store.list_account(OWNER, ACCOUNT, Query(9))).rows}


@pytest.mark.parametrize("numbers", [(0, 1, 2), (1, 2)])
async def test_it_is_back_when_the_row_comes(cluster: CleaningCluster, store: ClusterStore, numbers: tuple[int, ...]) -> None:
    """At however many replicas: on all proxies, in the account, with its policy, and without what was set on it before."""
    other = cluster.store()
    name = await deleted_before_its_row(cluster, store, *numbers)
    for proxy in (store, other):
        with pytest.raises(ContainerNotFound):
            await listed(proxy)
    assert await counted(cluster, store) == {}
    figures = await cluster.pass_of(REVIVER)
    assert figures["revived"] >= 1 and figures["failed"] == 0
    await delivered(cluster)
    for proxy in (store, other):
        assert await listed(proxy) == [name.object]
        assert await get(proxy, name) == b"abc"
    view = await store.head_container(OWNER, ACCOUNT, "c")
    assert (view.settings.values, view.settings.policy, view.stats.object_count) == ({}, 1, 1)
    assert await counted(cluster, store) == {"c": 1}
    assert (await cluster.pass_of(REVIVER))["revived"] == 0


async def test_a_row_that_one_replica_has_revives_it_when_others_have_it_too(cluster: CleaningCluster, store: ClusterStore) -> None:
    """Whether the first look, at a majority, saw it or not."""
    name = await deleted_before_its_row(cluster, store, 0)
    early = (await cluster.nodes[0].run(REVIVER))["revived"]
    await delivered(cluster)
    assert (await cluster.pass_of(REVIVER))["revived"] + early >= 1
    assert await listed(store) == [name.object]


async def test_it_is_an_ordinary_container_then(cluster: CleaningCluster, store: ClusterStore) -> None:
    """It cannot be deleted while the object is there; then it can, and be made again with another policy."""
    name = await deleted_before_its_row(cluster, store, 0, 1, 2)
    await cluster.pass_of(REVIVER)
    with pytest.raises(Conflict):
        await store.delete_container(OWNER, ACCOUNT, "c")
    with pytest.raises(Conflict):
        await store.put_container(OWNER, ACCOUNT, "c", {}, "plain")
    await store.post_container(OWNER, ACCOUNT, "c", {"user:a": "new"})
    await store.delete_object(OWNER, name, NO_CONDITIONS)
    await store.delete_container(OWNER, ACCOUNT, "c")
    assert await cluster.pass_of(REVIVER) == {"revived": 0, "stale": 0, "failed": 0}
    assert await counted(cluster, store) == {}
    assert await store.put_container(OWNER, ACCOUNT, "c", {}, "plain")
    view = await store.head_container(OWNER, ACCOUNT, "c")
    assert (view.settings.values, view.settings.policy) == ({}, 0)


@pytest.mark.parametrize("made_again", ["before the row", "after the row"])
async def test_one_that_was_made_again_is_left_alone(cluster: CleaningCluster, store: ClusterStore, made_again: str) -> None:
    if made_again == "after the row":
        name = await deleted_before_its_row(cluster, store, 0, 1, 2)
        await store.put_container(OWNER, ACCOUNT, "c", {"user:a": "new"}, "gold")
    else:
        name = await deleted_before_its_row(cluster, store)
        await store.put_container(OWNER, ACCOUNT, "c", {"user:a": "new"}, "gold")
        await delivered(cluster)
    before = (await store.head_container(OWNER, ACCOUNT, "c")).settings
    assert before.values["user:a"].value == "new"
    assert (await cluster.pass_of(REVIVER))["revived"] == 0
    assert (await store.head_container(OWNER, ACCOUNT, "c")).settings == before
    assert await listed(store) == [name.object] and await get(store, name) == b"abc"


async def test_a_row_that_missed_its_objects_deletion_does_not_revive(cluster: CleaningCluster, store: ClusterStore) -> None:
    """The replica that missed it is put right instead, whatever it hears of first."""
    name = named(cluster, "o")
    await put(store, name, b"abc")
    cluster.refuse_rows(2)
    await store.delete_object(OWNER, name, NO_CONDITIONS)
    await store.delete_container(OWNER, ACCOUNT, "c")
    await cluster.settled(store)
    with pytest.raises(ContainerNotFound):
        await listed(store)
    assert not (await cluster.rows(2))[0].deleted
    await cluster.nodes[2].run(REVIVER)
    await store.nodes.stop()
    for _ in range(2):
        await cluster.pass_of(REVIVER)
    with pytest.raises(ContainerNotFound):
        await listed(cluster.store())


async def test_rows_that_a_majority_believes_are_not_believed_alone(cluster: CleaningCluster, store: ClusterStore) -> None:
    """No container replica heard of the deletion: of the object's replicas a majority did."""
    name = await deleted_before_its_row(cluster, store, 0, 1, 2)
    cluster.refuse_rows(0, 1, 2)
    settings = (await cluster.nodes[0].cleaner._contents(ACCOUNT, "c", Query(1))).settings
    await cluster.nodes[0].cleaner.delete_object(name, settings.policy, settings.delete_timestamp)
    await cluster.settled(store)
    assert [row.deleted for row in await cluster.rows(0)] == [False]
    figures = await cluster.nodes[0].run(REVIVER)
    assert figures == {"revived": 0, "stale": 1, "failed": 0}
    await cluster.nodes[0].cleaner.stop()
    for number in range(3):
        assert [row.deleted for row in await cluster.rows(number)] == [True]
        assert not await cluster.exists(number, f"/{ACCOUNT}/c")


async def test_an_expired_object_revives_nothing(cluster: CleaningCluster, store: ClusterStore) -> None:
    """Nobody could read it: it is left to the expirer."""
    name = await deleted_before_its_row(cluster, store, expires_in_s=50)
    await delivered(cluster)
    cluster.clock.passed_s = 100
    assert (await cluster.pass_of(REVIVER))["revived"] == 0
    assert (await cluster.pass_of("object-expirer"))["expired"] == 1
    assert await cluster.alive(name) == [None] * 3
    assert not await cluster.exists(0, f"/{ACCOUNT}/c")


async def test_what_cannot_be_found_out_now_is_found_out_later(cluster: CleaningCluster, store: ClusterStore) -> None:
    name = await deleted_before_its_row(cluster, store, 0, 1, 2)
    cluster.down(1, 2)
    assert await cluster.nodes[0].run(REVIVER) == {"revived": 0, "stale": 0, "failed": 1}
    cluster.network.heal()
    cluster.clock.passed_s = 60
    assert (await cluster.nodes[0].run(REVIVER))["revived"] == 1
    assert await listed(cluster.store()) == [name.object]


async def test_it_is_found_after_a_restart(cluster: CleaningCluster, store: ClusterStore) -> None:
    """By the first pass of a process that heard of no change."""
    await deleted_before_its_row(cluster, store, 0, 1, 2)
    node = cluster.nodes[0]
    node.reviver._changed.clear()
    assert (await node.run(REVIVER))["revived"] == 1


async def test_in_a_deleted_account_it_goes_too(cluster: CleaningCluster, store: ClusterStore) -> None:
    """The reaper came before the row: what is back is gone with the next pass."""
    name = await deleted_before_its_row(cluster, store)
    await store.delete_account(RESELLER, ACCOUNT)
    await cluster.pass_of("account-reaper")
    await delivered(cluster)
    assert (await cluster.pass_of(REVIVER))["revived"] >= 1
    await cluster.pass_of("container-updater")
    with pytest.raises(StoreError):
        await get(cluster.store(), name)
    cluster.clock.passed_s = 4000
    figures = await cluster.pass_of("account-reaper")
    assert (figures["objects"], figures["containers"], figures["failed"]) == (1, 1, 0)
    assert (await cluster.pass_of(REVIVER))["revived"] == 0
    assert not await cluster.exists(0, f"/{ACCOUNT}/c")


async def test_in_an_account_made_again_it_goes_too(cluster: CleaningCluster, store: ClusterStore) -> None:
    """What was in the old account is not given to the new one's owner."""
    name = await deleted_before_its_row(cluster, store)
    await store.delete_account(RESELLER, ACCOUNT)
    await cluster.pass_of("account-reaper")
    assert await store.put_account(RESELLER, ACCOUNT, {})
    await delivered(cluster)
    assert (await cluster.pass_of(REVIVER))["revived"] >= 1
    await cluster.pass_of("container-updater")
    assert (await cluster.pass_of("account-reaper"))["objects"] == 1
    assert await cluster.alive(name) == [None] * 3
    assert await counted(cluster, cluster.store()) == {}


# --- objects whose copies are damaged ----------------------------------------------------------------------------


async def test_a_damaged_object_is_not_missing(cluster: CleaningCluster, store: ClusterStore) -> None:
    name = await deleted_before_its_row(cluster, store, 0, 1, 2)
    await damage(cluster, name, 0, 1, 2, policy=1)
    assert (await cluster.pass_of(REVIVER))["revived"] == 1
    assert await listed(cluster.store()) == [name.object]
    await cluster.store().delete_object(OWNER, name, NO_CONDITIONS)
    await cluster.store().delete_container(OWNER, ACCOUNT, "c")


async def test_one_that_cannot_be_judged_hides_none_behind_it(cluster: CleaningCluster, store: ClusterStore) -> None:
    first = named(cluster, "a")
    cluster.refuse_rows(0, 1, 2)
    await put(store, first, b"abc")
    last = await deleted_before_its_row(cluster, store, 0, 1, 2)
    assert first < last
    for number in (0, 1):  # of `first`, too few replicas answer
        cluster.nodes[number].object._devices["d1"].require_sound = refusing(cluster.place(first).hash)
    assert (await cluster.nodes[0].run(REVIVER))["revived"] == 1
    assert set(await listed(cluster.store())) == {first.object, last.object}


def refusing(hash_: bytes) -> Callable[[Place, Files], None]:
    def require_sound(place: Place, _: Files) -> None:
        if place.hash == hash_:
            raise NodeError(Code.DEVICE_FAILED, "unreadable")

    return require_sound
