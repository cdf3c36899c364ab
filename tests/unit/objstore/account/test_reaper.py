"""The account-reaper on whole clusters: all that a deleted account contains goes, nothing of anybody else's."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from objstore.formats.filenames import parse_file_name
from objstore.formats.messages import DeleteObject, MergeContainerRows, PutObject, Query, WriteTable
from objstore.model.errors import Code, ContainerNotFound, NodeError, Unavailable
from objstore.model.names import ObjectName
from objstore.model.policy import Policies, Policy
from objstore.model.rows import ObjectRow
from objstore.model.timestamps import from_seconds, seconds_of
from objstore.model.version import Version
from objstore.placement.places import Placement
from objstore.proxy import cleaning as cleaning_module
from objstore.proxy.store import ClusterStore
from tests.unit.objstore.proxy.cleaned import CleaningCluster, cleaning
from tests.unit.objstore.proxy.cluster import ACCOUNT, OTHER, OWNER, RESELLER, get, put

REAPER = "account-reaper"
POLICIES = Policies([Policy(0, "plain", default=True), Policy(1, "gold")])
CONTAINERS = {"c": "plain", "g": "gold", "empty": "plain"}


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[CleaningCluster]:
    async with cleaning(tmp_path, policies=POLICIES) as cluster:
        yield cluster


@pytest.fixture
async def store(cluster: CleaningCluster) -> ClusterStore:
    """With an account of three containers, and another account."""
    store = cluster.store()
    for container, policy in CONTAINERS.items():
        await store.put_container(OWNER, ACCOUNT, container, {"user:a": "b"}, policy)
    for number in range(12):
        await put(store, object_name(number), b"x" * number)
    await store.put_container(OTHER, "AUTH_test2", "c", {})
    await put(store, ObjectName("AUTH_test2", "c", "stays"), b"stays", OTHER)
    return store


def object_name(number: int) -> ObjectName:
    return ObjectName(ACCOUNT, "cg"[number % 2], f"o{number}")


def object_files(cluster: CleaningCluster, kind: str) -> int:
    return sum(len(list(node.root.glob(f"objects*/*/*.{kind}"))) for node in cluster.nodes)


def first(cluster: CleaningCluster) -> int:
    """The node with the account's first replica."""
    address = Placement(cluster.rings).account(ACCOUNT).replicas[0].address
    return next(number for number, node in enumerate(cluster.nodes) if node.address == address)


async def containers_left(cluster: CleaningCluster) -> list[str]:
    """Containers of the account that exist by a majority of their replicas."""
    addresses = {node.address: number for number, node in enumerate(cluster.nodes)}
    left = []
    for container in CONTAINERS:
        place = Placement(cluster.rings).container(ACCOUNT, container)
        if sum([await cluster.exists(addresses[one.address], place.name) for one in place.replicas]) > 1:
            left.append(container)
    return left


async def test_all_that_a_deleted_account_contains_goes(cluster: CleaningCluster, store: ClusterStore) -> None:
    await store.delete_account(RESELLER, ACCOUNT)
    figures = await cluster.nodes[first(cluster)].run(REAPER)
    assert (figures["accounts"], figures["objects"], figures["containers"], figures["failed"]) == (1, 12, 3, 0)
    await cluster.replicated()
    assert object_files(cluster, "data") == 3, "the other account's"
    assert await containers_left(cluster) == []
    assert await get(store, ObjectName("AUTH_test2", "c", "stays"), OTHER) == b"stays"
    assert not await cluster.exists(first(cluster), f"/{ACCOUNT}"), "it stays deleted"
    figures = await cluster.pass_of(REAPER)
    assert figures == dict.fromkeys(figures, 0)


async def test_nothing_happens_to_accounts_that_are_not_deleted(cluster: CleaningCluster, store: ClusterStore) -> None:
    figures = await cluster.pass_of(REAPER)
    assert figures == dict.fromkeys(figures, 0)
    assert object_files(cluster, "data") == 39 and await containers_left(cluster) == list(CONTAINERS)


async def test_contents_stay_for_as_long_as_is_configured(cluster: CleaningCluster, store: ClusterStore) -> None:
    node = cluster.nodes[first(cluster)]
    node.delay_reaper(3000)
    await store.delete_account(RESELLER, ACCOUNT)
    for passed_s in (0, 2900):
        cluster.clock.passed_s = passed_s
        figures = await node.run(REAPER)
        assert (figures["waiting"], figures["accounts"]) == (1, 0)
    cluster.clock.passed_s = 3100
    assert (await node.run(REAPER))["objects"] == 12
    await cluster.replicated()
    assert object_files(cluster, "data") == 3


async def test_deletions_are_as_recent_as_they_can_be(cluster: CleaningCluster, store: ClusterStore) -> None:
    """After a long delay they must not be below the horizon of deletions already: replicas would forget them too early."""
    node = cluster.nodes[first(cluster)]
    node.delay_reaper(3000)
    await store.delete_account(RESELLER, ACCOUNT)
    cluster.clock.passed_s = 3100
    await node.run(REAPER)
    await cluster.replicated()
    tombstones = [parse_file_name(path.name) for node in cluster.nodes for path in node.root.glob("objects*/*/*.ts")]
    assert len(tombstones) == 36
    for tombstone in tombstones:
        assert seconds_of(tombstone.timestamp) == pytest.approx(cluster.clock.now() - 60, abs=10)


async def test_with_a_node_down(cluster: CleaningCluster, store: ClusterStore) -> None:
    """The next replica of the account takes its turn, and whatever was away hears of the deletions later."""
    await store.delete_account(RESELLER, ACCOUNT)
    await store.nodes.stop()
    turns = [replica.address for replica in Placement(cluster.rings).account(ACCOUNT).replicas]
    order = [next(n for n, node in enumerate(cluster.nodes) if node.address == address) for address in turns]
    assert (await cluster.nodes[order[1]].run(REAPER))["left"] == 1
    cluster.down(order[0])
    assert (await cluster.nodes[order[2]].run(REAPER))["left"] == 1
    figures = await cluster.nodes[order[1]].run(REAPER)
    assert (figures["objects"], figures["containers"], figures["failed"]) == (12, 3, 0)
    await cluster.nodes[order[1]].cleaner.stop()
    cluster.network.heal()
    await cluster.replicated()
    assert object_files(cluster, "data") == 3
    figures = await cluster.pass_of(REAPER)
    assert figures["objects"] == figures["failed"] == 0


async def test_what_cannot_be_deleted_now_is_deleted_later(cluster: CleaningCluster, store: ClusterStore) -> None:
    await store.delete_account(RESELLER, ACCOUNT)
    node = cluster.nodes[first(cluster)]
    for other in cluster.nodes:
        if other is not node:
            cluster.network.fault(other.address).refuse[DeleteObject] = Code.NO_SPACE
    figures = await node.run(REAPER)
    assert figures["failed"] > 0 and figures["containers"] == 1, "the empty one"
    cluster.network.heal()
    figures = await node.run(REAPER)
    assert (figures["failed"], figures["containers"]) == (0, 2)
    await cluster.replicated()  # deletions that reached a minority are no longer listed: they spread like any other
    assert object_files(cluster, "data") == 3 and await containers_left(cluster) == []


async def test_an_object_that_cannot_be_deleted_keeps_its_container_alone(
    cluster: CleaningCluster, store: ClusterStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cleaning_module, "PAGE_ROWS", 2)
    await store.delete_account(RESELLER, ACCOUNT)
    node = cluster.nodes[first(cluster)]
    real = node.cleaner.delete_object

    async def delete_object(name: ObjectName, policy: int, at: int) -> None:
        if name == object_name(4):
            raise Unavailable("too few replicas")
        await real(name, policy, at)

    node.cleaner.delete_object = delete_object  # type: ignore[method-assign]
    figures = await node.run(REAPER)
    assert (figures["objects"], figures["containers"], figures["failed"]) == (11, 2, 1)
    assert await containers_left(cluster) == ["c"]
    node.cleaner.delete_object = real  # type: ignore[method-assign]
    figures = await node.run(REAPER)
    assert (figures["objects"], figures["containers"], figures["failed"]) == (1, 1, 0)


async def test_a_container_that_cannot_be_read_holds_up_no_other(cluster: CleaningCluster, store: ClusterStore) -> None:
    await store.delete_account(RESELLER, ACCOUNT)
    node = cluster.nodes[first(cluster)]
    real = node.cleaner.objects

    async def objects(account: str, container: str, marker: str) -> tuple[int, list[ObjectRow]]:
        if container == "c":
            raise NodeError(Code.DEVICE_FAILED)
        return await real(account, container, marker)

    node.cleaner.objects = objects  # type: ignore[method-assign]
    figures = await node.run(REAPER)
    assert (figures["objects"], figures["containers"], figures["failed"]) == (6, 2, 1)


async def test_more_than_a_page(cluster: CleaningCluster, store: ClusterStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cleaning_module, "PAGE_ROWS", 2)
    for number in range(5):
        await store.put_container(OWNER, ACCOUNT, f"more{number}", {})
    await store.delete_account(RESELLER, ACCOUNT)
    figures = await cluster.nodes[first(cluster)].run(REAPER)
    assert (figures["objects"], figures["containers"]) == (12, 8)


async def test_nothing_is_reaped_by_a_wrong_clock(cluster: CleaningCluster, store: ClusterStore) -> None:
    node = cluster.nodes[first(cluster)]
    node.delay_reaper(86_400)
    await store.delete_account(RESELLER, ACCOUNT)
    await node.run(REAPER)
    cluster.clock.ahead_s = 365 * 86_400
    assert (await node.run(REAPER))["refused"] == 1
    cluster.clock.ahead_s = 0
    node.is_trusted = False
    assert (await node.run(REAPER))["refused"] == 1
    assert object_files(cluster, "data") == 39


# --- accounts that were made again -------------------------------------------------------------------------------


async def make_again(cluster: CleaningCluster) -> None:
    """As a request would that was on its way for a while: nobody may while there is something left."""
    place, now = Placement(cluster.rings).account(ACCOUNT), from_seconds(cluster.clock.now(), 77)
    addresses = {node.address: number for number, node in enumerate(cluster.nodes)}
    for replica in place.replicas:
        request = WriteTable("account", replica.target, place.hash, place.name, now, "create")
        await cluster.ask(addresses[replica.address], request)


async def test_only_what_is_older_goes_from_an_account_made_again(cluster: CleaningCluster, store: ClusterStore) -> None:
    """A new container, an old one put again with a new object in it, an old one."""
    await store.delete_account(RESELLER, ACCOUNT)
    await make_again(cluster)
    again = cluster.store()
    await again.put_container(OWNER, ACCOUNT, "new", {})
    await again.put_container(OWNER, ACCOUNT, "c", {})
    names = [ObjectName(ACCOUNT, container, "new") for container in ("c", "new")]
    for name in names:
        await put(again, name, b"new")
    await put(again, object_name(0), b"overwritten")
    node = cluster.nodes[first(cluster)]
    figures = await node.run(REAPER)
    assert (figures["objects"], figures["containers"], figures["failed"]) == (11, 2, 0)
    rows = (await again.list_account(OWNER, ACCOUNT, Query(9))).rows
    assert [row.name for row in rows] == ["c", "new"]
    assert [row.name for row in (await again.list_container(OWNER, ACCOUNT, "c", Query(99))).rows] == ["new", "o0"]
    for name in names:
        assert await get(again, name) == b"new"
    assert await get(again, object_name(0)) == b"overwritten"
    await node.run(REAPER)
    await again.put_container(OWNER, ACCOUNT, "more", {})
    cluster.network.calls.clear()
    await node.run(REAPER)
    assert cluster.network.count("ListTable") == 0, "it was found clean"
    cluster.clock.passed_s = 4000
    await node.run(REAPER)
    assert cluster.network.count("ListTable") > 0, "but not for ever"


async def test_the_replica_that_does_not_know_yet_asks_the_others(cluster: CleaningCluster, store: ClusterStore) -> None:
    await store.delete_account(RESELLER, ACCOUNT)
    number = first(cluster)
    cluster.down(number)
    place, now = Placement(cluster.rings).account(ACCOUNT), from_seconds(cluster.clock.now(), 77)
    addresses = {node.address: number for number, node in enumerate(cluster.nodes)}
    for replica in place.replicas[1:]:
        request = WriteTable("account", replica.target, place.hash, place.name, now, "create")
        await cluster.ask(addresses[replica.address], request)
    cluster.network.heal()
    again = cluster.store()
    cluster.network.fault(cluster.nodes[number].address).refuse[MergeContainerRows] = Code.BUSY  # it is not told by a reader
    await again.put_container(OWNER, ACCOUNT, "new", {})
    await again.nodes.stop()
    cluster.network.heal()
    assert not await cluster.exists(number, f"/{ACCOUNT}")
    cluster.clock.passed_s = 300
    figures = await cluster.nodes[number].run(REAPER)
    assert (figures["objects"], figures["containers"]) == (12, 3)
    assert [row.name for row in (await again.list_account(OWNER, ACCOUNT, Query(9))).rows] == ["new"]


async def test_an_account_made_again_while_the_reaper_works(cluster: CleaningCluster, store: ClusterStore) -> None:
    """What is written then stays, even if one replica missed it and the writer's clock is behind."""
    await store.delete_account(RESELLER, ACCOUNT)
    cluster.clock.passed_s = 300
    node, again = cluster.nodes[first(cluster)], cluster.store()
    real, done = node.cleaner.objects, []

    async def objects(account: str, container: str, marker: str) -> tuple[int, list[ObjectRow]]:
        found = await real(account, container, marker)
        if container == "c" and not done:
            done.append(True)
            cluster.clock.ahead_s = -30
            await make_again(cluster)
            await again.put_container(OWNER, ACCOUNT, "c", {})
            cluster.network.fault(cluster.nodes[2].address).refuse[PutObject] = Code.BUSY
            await put(again, object_name(0), b"new")
            cluster.network.heal()
            cluster.clock.ahead_s = 0
        return found

    node.cleaner.objects = objects  # type: ignore[method-assign]
    figures = await node.run(REAPER)
    assert done and figures["objects"] >= 11 and figures["containers"] == 2
    await again.nodes.stop()
    await cluster.replicated()
    assert await get(again, object_name(0), newest=True) == b"new"
    assert [row.name for row in (await again.list_container(OWNER, ACCOUNT, "c", Query(99))).rows] == ["o0"]
    assert await cluster.alive(object_name(0)) == [b"new"] * 3


async def test_what_was_written_a_moment_ago_waits(cluster: CleaningCluster, store: ClusterStore) -> None:
    """By a proxy that did not know of the deletion: it may be newer than the deletion, and belongs to nobody."""
    await store.delete_account(RESELLER, ACCOUNT)
    name, later = object_name(0), from_seconds(cluster.clock.now() + 2)
    place = cluster.place(name)
    addresses = {node.address: number for number, node in enumerate(cluster.nodes)}
    for replica, index in zip(place.replicas, place.index, strict=True):
        request = PutObject(replica.target, place.hash, Version(str(name), later, size=1), b"x", index)
        await cluster.ask(addresses[replica.address], request)
    node = cluster.nodes[first(cluster)]
    figures = await node.run(REAPER)
    assert (figures["objects"], figures["containers"]) == (11, 2)
    assert (await node.run(REAPER))["objects"] == 0
    cluster.clock.passed_s = 120
    figures = await node.run(REAPER)
    assert (figures["objects"], figures["containers"]) == (1, 1)
    with pytest.raises(ContainerNotFound):
        await get(cluster.store(), name)
