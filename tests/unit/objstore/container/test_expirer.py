"""The object-expirer on whole clusters: what has expired goes, durably and everywhere; nothing else does."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from objstore.container import expiring
from objstore.formats.messages import DeleteObject, PostObject, PutObject, Query
from objstore.model.conditions import NO_CONDITIONS
from objstore.model.errors import Code, ObjectNotFound, Unavailable
from objstore.model.manifest import Segment
from objstore.model.names import ObjectName
from objstore.model.rows import ObjectRow
from objstore.model.timestamps import from_seconds, seconds_of
from objstore.placement.places import Placement
from objstore.proxy.found import Found
from objstore.proxy.operations import NewObject
from objstore.proxy.store import ClusterStore
from tests.unit.objstore.object.replicas import equal
from tests.unit.objstore.proxy.cleaned import CleaningCluster, cleaning
from tests.unit.objstore.proxy.cluster import ACCOUNT, OWNER, damage, get, head, named, put

EXPIRER = "object-expirer"


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[CleaningCluster]:
    async with cleaning(tmp_path) as cluster:
        await cluster.store().put_container(OWNER, ACCOUNT, "c", {})
        yield cluster


@pytest.fixture
def store(cluster: CleaningCluster) -> ClusterStore:
    return cluster.stores[0]


def expiring_in(cluster: CleaningCluster, seconds: float) -> dict[str, str]:
    return {"x-delete-at": str(int(cluster.clock.now() + seconds))}


async def listed(store: ClusterStore) -> list[str]:
    return [row.name for row in (await store.list_container(OWNER, ACCOUNT, "c", Query(100))).rows]


async def test_what_has_expired_is_deleted_everywhere(cluster: CleaningCluster, store: ClusterStore) -> None:
    name, stays, later = named(cluster, "o"), named(cluster, "stays"), named(cluster, "later")
    await put(store, name, b"x", headers=expiring_in(cluster, -100))
    await put(store, stays, b"y")
    await put(store, later, b"z", headers=expiring_in(cluster, 100))
    assert name.object in await listed(store)
    figures = await cluster.pass_of(EXPIRER)
    assert figures == {"expired": 1, "stale": 0, "failed": 0, "left": 0, "refused": 0}
    assert await cluster.alive(name) == [None, None, None] and len(await cluster.deletions(name)) == 1
    assert await listed(store) == sorted([stays.object, later.object])
    assert (await cluster.pass_of(EXPIRER))["expired"] == 0
    cluster.clock.passed_s = 200
    assert (await cluster.pass_of(EXPIRER))["expired"] == 1
    assert await listed(store) == [stays.object]
    assert await get(store, stays) == b"y"


async def test_one_replica_does_the_work(cluster: CleaningCluster, store: ClusterStore) -> None:
    name = named(cluster, "o")
    await put(store, name, b"x", headers=expiring_in(cluster, -100))
    for number in (2, 1, 3):
        figures = await cluster.nodes[number].run(EXPIRER)
        assert (figures["expired"], figures["left"]) == (0, int(number != 3))
    assert (await cluster.nodes[0].run(EXPIRER))["expired"] == 1


async def test_the_next_replica_does_it_when_the_first_does_not_answer(cluster: CleaningCluster, store: ClusterStore) -> None:
    """And the one that was away learns of the deletion when it is back."""
    name = named(cluster, "o")
    await put(store, name, b"x", headers=expiring_in(cluster, -100))
    cluster.down(0)
    assert (await cluster.nodes[2].run(EXPIRER))["left"] == 1
    assert (await cluster.nodes[1].run(EXPIRER))["expired"] == 1
    await cluster.nodes[1].cleaner.stop()
    cluster.network.heal()
    await cluster.nodes[1].run("object-replicator")
    await equal(cluster, 0, 1, 2)
    assert await cluster.alive(name) == [None, None, None]


async def test_a_first_replica_that_does_nothing_is_not_waited_for_for_ever(cluster: CleaningCluster, store: ClusterStore) -> None:
    await put(store, named(cluster, "o"), b"x", headers=expiring_in(cluster, 10))
    cluster.clock.passed_s = 3000
    assert (await cluster.nodes[1].run(EXPIRER))["left"] == 1
    cluster.clock.passed_s = 4000
    assert (await cluster.nodes[2].run(EXPIRER))["left"] == 1
    assert (await cluster.nodes[1].run(EXPIRER))["expired"] == 1


# --- rows that are behind their objects --------------------------------------------------------------------------


@pytest.mark.parametrize("change", ["moved", "removed", "put again", "put again to expire later"])
async def test_what_lives_on_stays_and_its_row_is_brought_up_to_date(
    cluster: CleaningCluster, store: ClusterStore, change: str
) -> None:
    """The row that the expirer goes by knows nothing of the change."""
    name = named(cluster, "o")
    await put(store, name, b"x", headers=expiring_in(cluster, 50))
    cluster.refuse_rows(0)
    later = expiring_in(cluster, 5000)
    if change.startswith("put again"):
        await put(store, name, b"x", headers=later if "later" in change else {})
    else:
        await store.post_object(OWNER, name, NewObject("", later if change == "moved" else {}), None)
    await cluster.settled(store)
    cluster.clock.passed_s = 100
    figures = await cluster.nodes[0].run(EXPIRER)
    assert (figures["expired"], figures["stale"], figures["failed"]) == (0, 1, 0)
    assert await get(store, name) == b"x" and await cluster.deletions(name) == set()
    expected = int(later["x-delete-at"]) if change in ("moved", "put again to expire later") else 0
    assert [(await cluster.rows(number))[0].delete_at for number in range(3)] == [expected] * 3
    assert await cluster.nodes[0].run(EXPIRER) == {"expired": 0, "stale": 0, "failed": 0, "left": 0, "refused": 0}


async def test_a_deletion_that_the_row_does_not_know(cluster: CleaningCluster, store: ClusterStore) -> None:
    """By a user, with a time of its own: it is told to the listing, not done again."""
    name = named(cluster, "o")
    await put(store, name, b"x", headers=expiring_in(cluster, -100))
    cluster.refuse_rows(0)
    timestamp = await store.delete_object(OWNER, name, NO_CONDITIONS)
    await cluster.settled(store)
    figures = await cluster.nodes[0].run(EXPIRER)
    assert (figures["expired"], figures["stale"]) == (0, 1)
    assert await cluster.deletions(name) == {timestamp}
    (row,) = await cluster.rows(0)
    assert (row.deleted, row.timestamp) == (True, timestamp)


async def test_a_row_without_an_object_goes_too(cluster: CleaningCluster, store: ClusterStore) -> None:
    """Its deletion was forgotten everywhere before the row heard of it."""
    name = named(cluster, "o")
    await put(store, name, b"x", headers=expiring_in(cluster, -100))
    for node in cluster.nodes[:3]:
        for path in node.data_files():
            path.unlink()
            node.object._devices["d1"].index.forget(f"objects/{path.parent.name}")
    assert (await cluster.nodes[0].run(EXPIRER))["expired"] == 1
    assert await listed(store) == []
    assert (await cluster.nodes[0].run(EXPIRER))["expired"] == 0


# --- clients and expirers at the same time -----------------------------------------------------------------------


@pytest.mark.parametrize("lead_s", [-100, 0, 100])
async def test_a_put_after_the_expiry_always_wins(cluster: CleaningCluster, store: ClusterStore, lead_s: int) -> None:
    """It comes between the expirer's look and its deletion, and one replica misses it. So with an object that was put by a proxy
    whose clock is ahead, or put with a time already over.
    """
    name = named(cluster, "o")
    if lead_s > 0:
        cluster.clock.ahead_s = 20
    await put(store, name, b"old", headers=expiring_in(cluster, min(lead_s, 30)))
    cluster.clock.ahead_s = 0
    cluster.clock.passed_s = max(0, lead_s)
    finder = cluster.nodes[0].cleaner._finder
    real = finder.find

    async def find(*args: object, **named_args: object) -> Found:
        found = await real(*args, **named_args)  # type: ignore[arg-type]
        cluster.network.fault(cluster.nodes[2].address).refuse[PutObject] = Code.BUSY
        cluster.clock.ahead_s = -30  # this proxy's clock is behind
        await put(store, name, b"new")
        cluster.clock.ahead_s = 0
        return found

    finder.find = find  # type: ignore[method-assign]
    await cluster.nodes[0].run(EXPIRER)
    finder.find = real  # type: ignore[method-assign]
    await cluster.settled(store)
    await cluster.replicated()
    assert await cluster.alive(name) == [b"new", b"new", b"new"]
    for number in range(3):
        await cluster.nodes[number].run("object-auditor")
    assert await get(store, name) == b"new" and await listed(store) == [name.object]


async def test_a_replica_with_another_delete_at_is_left_alone(cluster: CleaningCluster, store: ClusterStore) -> None:
    """A POST that keeps the object for longer reached one replica between the expirer's look and its deletion."""
    name = named(cluster, "o")
    await put(store, name, b"x", headers=expiring_in(cluster, 200))
    place, between = cluster.place(name), from_seconds(cluster.clock.now() + 1)
    cluster.clock.passed_s = 300
    post = PostObject(place.replicas[2].target, place.hash, place.name, between, expiring_in(cluster, 900), {}, None, None)
    finder = cluster.nodes[0].cleaner._finder
    real = finder.find

    async def find(*args: object, **named_args: object) -> Found:
        found = await real(*args, **named_args)  # type: ignore[arg-type]
        await cluster.ask(2, post)
        return found

    finder.find = find  # type: ignore[method-assign]
    assert (await cluster.nodes[0].run(EXPIRER))["expired"] == 1
    assert await cluster.alive(name) == [None, None, b"x"]


async def test_two_expirers_make_one_deletion(cluster: CleaningCluster, store: ClusterStore) -> None:
    """At once, again after a failure, and by another node."""
    names = [named(cluster, f"o{number}-") for number in range(8)]
    for name in names:
        await put(store, name, b"x", headers=expiring_in(cluster, -100))
    rows = {row.name: row for row in await cluster.rows(0)}
    cluster.network.fault(cluster.nodes[1].address).refuse[DeleteObject] = Code.BUSY
    work = [cluster.nodes[number].cleaner.expire(name, 0, rows[name.object]) for name in names for number in (0, 1, 2)]
    assert all(await asyncio.gather(*work))
    cluster.network.heal()
    assert not any(await asyncio.gather(*[cluster.nodes[2].cleaner.expire(name, 0, rows[name.object]) for name in names]))
    for name in names:
        assert len(await cluster.deletions(name)) == 1
    for number in range(3):
        await cluster.nodes[number].cleaner.stop()
        await cluster.nodes[number].run("object-replicator")
    await equal(cluster, 0, 1, 2)


async def test_a_deletion_is_as_recent_as_it_can_be(cluster: CleaningCluster, store: ClusterStore) -> None:
    """One below the horizon of deletions would be forgotten before all replicas have it: it is dated by the expiry, not the PUT."""
    name = named(cluster, "o")
    headers = expiring_in(cluster, 3000)
    await put(store, name, b"x", headers=headers)
    cluster.clock.passed_s = 3100
    await cluster.nodes[0].run(EXPIRER)
    (timestamp,) = await cluster.deletions(name)
    assert seconds_of(timestamp) == int(headers["x-delete-at"]) - 60


# --- faults ------------------------------------------------------------------------------------------------------


async def test_what_cannot_be_deleted_now_is_deleted_later(cluster: CleaningCluster, store: ClusterStore) -> None:
    name = named(cluster, "o")
    await put(store, name, b"x", headers=expiring_in(cluster, -100))
    cluster.down(1, 2)
    figures = await cluster.nodes[0].run(EXPIRER)
    assert (figures["expired"], figures["failed"]) == (0, 1)
    cluster.network.heal()
    assert (await cluster.nodes[0].run(EXPIRER))["expired"] == 1
    assert await cluster.alive(name) == [None, None, None]


async def test_a_minority_is_no_deletion(cluster: CleaningCluster, store: ClusterStore) -> None:
    """The replicas' clocks count: those that do not show the second yet refuse."""
    name = named(cluster, "o")
    await put(store, name, b"x", headers=expiring_in(cluster, -100))
    for number in (1, 2):
        cluster.network.fault(cluster.nodes[number].address).refuse[DeleteObject] = Code.TOO_FAR_AHEAD
    assert (await cluster.nodes[0].run(EXPIRER))["failed"] == 1


async def test_a_replica_that_lacks_the_object_learns_that_it_is_gone(cluster: CleaningCluster, store: ClusterStore) -> None:
    name = named(cluster, "o")
    cluster.down(1)
    await put(store, name, b"x", headers=expiring_in(cluster, -100))
    await store.nodes.stop()
    cluster.network.heal()
    assert (await cluster.pass_of(EXPIRER))["expired"] == 1
    assert await cluster.alive(name) == [None, None, None]
    assert [version is not None and version.deleted for version, _ in await cluster.held(name, range(3))] == [True] * 3


async def test_nothing_is_deleted_by_a_clock_that_jumped(cluster: CleaningCluster, store: ClusterStore) -> None:
    """F66: by a year, and back."""
    name = named(cluster, "o")
    await put(store, name, b"x", headers=expiring_in(cluster, 100_000))
    await cluster.pass_of(EXPIRER)
    cluster.clock.ahead_s = 365 * 86_400
    for _ in range(3):
        assert (await cluster.nodes[0].run(EXPIRER)) == {"expired": 0, "stale": 0, "failed": 0, "left": 0, "refused": 1}
    cluster.clock.ahead_s = 0
    assert (await cluster.nodes[0].run(EXPIRER))["refused"] == 0
    assert await get(store, name) == b"x"


async def test_nothing_is_deleted_by_a_clock_that_others_do_not_share(cluster: CleaningCluster, store: ClusterStore) -> None:
    name = named(cluster, "o")
    await put(store, name, b"x", headers=expiring_in(cluster, -100))
    cluster.nodes[0].is_trusted = False
    assert (await cluster.nodes[0].run(EXPIRER))["refused"] == 1
    assert (await cluster.alive(name))[0] == b"x"
    cluster.nodes[0].is_trusted = True
    assert (await cluster.nodes[0].run(EXPIRER))["expired"] == 1


# --- more than one small object ----------------------------------------------------------------------------------


async def test_a_large_object_expires_without_its_segments(cluster: CleaningCluster, store: ClusterStore) -> None:
    segments = []
    for number in range(3):
        name = named(cluster, f"segment{number}-")
        etag = (await put(store, name, bytes(100_000))).etag
        segments.append(Segment(path=f"/c/{name.object}", etag=etag, size=100_000))
    manifest = named(cluster, "large")
    await store.put_manifest(OWNER, manifest, NewObject("t/t", expiring_in(cluster, 100)), segments, NO_CONDITIONS)
    assert (await head(store, manifest)).delete_at
    cluster.clock.passed_s = 200
    assert (await cluster.pass_of(EXPIRER))["expired"] == 1
    with pytest.raises(ObjectNotFound):
        await get(store, manifest)
    assert len(await listed(store)) == 3
    for number in range(3):
        assert await get(store, named(cluster, f"segment{number}-")) == bytes(100_000)


async def test_more_than_a_page_in_several_containers(
    cluster: CleaningCluster, store: ClusterStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(expiring, "PAGE_ROWS_MAX", 7)
    for container in ("d", "e"):
        await store.put_container(OWNER, ACCOUNT, container, {})
    for number in range(40):
        await put(store, ObjectName(ACCOUNT, "cde"[number % 3], f"o{number}"), b"x", headers=expiring_in(cluster, -number))
    assert (await cluster.pass_of(EXPIRER))["expired"] == 40
    for container in "cde":
        assert (await store.list_container(OWNER, ACCOUNT, container, Query(100))).rows == []


async def test_a_row_of_an_object_that_never_was_stored_on_a_majority(cluster: CleaningCluster, store: ClusterStore) -> None:
    """The row is newer than anything that the objects' replicas know."""
    name = named(cluster, "o")
    await put(store, name, b"x", headers=expiring_in(cluster, -100))
    (row,) = await cluster.rows(0)
    later = row.timestamp + (1 << 14)
    newer = ObjectRow(row.name, later, False, 1, "e", "t", later, later, row.delete_at)
    await cluster.nodes[0].cleaner._tell(Placement(cluster.rings).container(ACCOUNT, "c"), None, [newer])
    for _ in range(3):
        await cluster.nodes[0].run(EXPIRER)
    assert await listed(store) == [] and (await cluster.nodes[0].run(EXPIRER))["expired"] == 0


# --- objects whose copies are damaged ----------------------------------------------------------------------------


async def test_an_object_that_is_damaged_everywhere_goes_too(cluster: CleaningCluster, store: ClusterStore) -> None:
    name = named(cluster, "o")
    await put(store, name, b"x", headers=expiring_in(cluster, -100))
    await damage(cluster, name, 0, 1, 2)
    figures = await cluster.pass_of(EXPIRER)
    assert (figures["expired"], figures["failed"]) == (1, 0)
    assert await listed(store) == []
    with pytest.raises(ObjectNotFound):
        await get(store, name)


async def test_a_row_older_than_what_was_damaged_decides_nothing(cluster: CleaningCluster, store: ClusterStore) -> None:
    """The version that was lost may have been meant to stay; it may be restored."""
    name = named(cluster, "o")
    await put(store, name, b"x", headers=expiring_in(cluster, 50))
    cluster.refuse_rows(0, 1, 2)
    await put(store, name, b"y")
    await cluster.settled(store)
    await damage(cluster, name, 0, 1, 2)
    cluster.clock.passed_s = 100
    figures = await cluster.nodes[0].run(EXPIRER)
    assert (figures["expired"], figures["failed"]) == (0, 1)
    with pytest.raises(Unavailable):
        await get(store, name)
