"""Changes under conditions on a whole cluster in one process: one winner, whatever fails, and nobody is told what may not last."""

import asyncio
import shutil
from pathlib import Path

import pytest

from objstore.formats.messages import PutObject
from objstore.model.conditions import NO_CONDITIONS
from objstore.model.errors import Code, Conflict, NodeError, ObjectNotFound, PreconditionFailed, Unavailable
from objstore.model.names import ObjectName
from objstore.placement.places import members_of
from objstore.proxy.operations import NewObject, PutResult
from objstore.proxy.store import ClusterStore
from tests.unit.objstore.object.replicas import passes
from tests.unit.objstore.proxy.cluster import ACCOUNT, OWNER, QUICK, Cluster, Node, get, head, named, put, ring_of, running
from tests.unit.objstore.proxy.proposing import (
    STREAMED,
    announce,
    between,
    instead_of,
    leave,
    made,
    meanwhile,
    promises,
    put_if,
)

# --- one winner ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["", "down", "hung"])
@pytest.mark.parametrize("streamed", [False, True])
async def test_of_64_creators_one_wins(tmp_path: Path, fault: str, streamed: bool) -> None:
    async with running(tmp_path) as cluster:
        _, name = await made(cluster)
        stores = [cluster.store(STREAMED if streamed else QUICK) for _ in range(3)]
        if fault:
            setattr(cluster.network.fault(cluster.nodes[1].address), fault, True)
        bodies = [b"%d " % number * 20 for number in range(64)]
        told = await asyncio.gather(
            *(put_if(stores[number % 3], name, body) for number, body in enumerate(bodies)), return_exceptions=True
        )
        won = [body for body, one in zip(bodies, told, strict=True) if isinstance(one, PutResult)]
        assert len(won) == 1 and sum(isinstance(one, PreconditionFailed) for one in told) == 63
        assert {await get(store, name) for store in stores} == set(won)
        if not fault:
            assert await promises(cluster) == []


async def test_of_racing_updaters_one_wins_each_round(tmp_path: Path) -> None:
    async with running(tmp_path) as cluster:
        store, name = await made(cluster)
        stores, body = [store, cluster.store(), cluster.store(STREAMED)], b"first"
        await put(store, name, body)
        for turn in range(5):
            bodies = [b"%d.%d " % (turn, number) * 9 for number in range(12)]
            told = await asyncio.gather(
                *(put_if(stores[number % 3], name, one, instead_of(body)) for number, one in enumerate(bodies)),
                return_exceptions=True,
            )
            (body,) = [one for one, result in zip(bodies, told, strict=True) if isinstance(result, PutResult)]
            assert await get(store, name) == body
        with pytest.raises(PreconditionFailed):
            await store.delete_object(OWNER, name, instead_of(b"first"))
        await store.delete_object(OWNER, name, instead_of(body))
        with pytest.raises(PreconditionFailed):
            await put_if(store, name, b"new", instead_of(body))
        await put_if(store, name, b"new")


async def test_without_a_majority_nobody_wins(tmp_path: Path) -> None:
    async with running(tmp_path) as cluster:
        store, name = await made(cluster)
        cluster.down(0, 1)
        with pytest.raises(Unavailable):
            await put_if(store, name, b"new")
        cluster.network.heal()
        await store.nodes.stop()
        with pytest.raises(ObjectNotFound):
            await get(cluster.store(), name)
        await put_if(cluster.store(), name, b"new")


async def test_plain_writes_take_no_promise(tmp_path: Path) -> None:
    async with running(tmp_path) as cluster:
        store, name = await made(cluster)
        await put(store, name, b"x")
        await store.delete_object(OWNER, name, NO_CONDITIONS)
        assert cluster.network.count("Prepare") == cluster.network.count("GiveBack") == 0


# --- what others left half done -----------------------------------------------------------------------------------


async def test_nobody_is_refused_for_what_could_vanish(tmp_path: Path) -> None:
    async with running(tmp_path) as cluster:
        store, name = await made(cluster)
        await leave(cluster, name, b"half", 0)
        store._opener._finder._settle = None
        store._storer.check = no_check
        cluster.down(2)
        with pytest.raises(PreconditionFailed):
            await put_if(store, name, b"new")
        cluster.network.heal()
        cluster.down(0)
        assert await get(cluster.store(), name) == b"half"


async def no_check(*_: object) -> int:
    return 0


async def test_what_was_promised_and_never_came(tmp_path: Path) -> None:
    """Plain writes go above it, readers bring what is there to a majority, replicators what a majority has."""
    async with running(tmp_path) as cluster:
        store, name = await made(cluster)
        await leave(cluster, name, b"half", 0)
        await announce(cluster, name, 1, 2)
        assert await get(store, name) == b"half"
        await put(store, name, b"plain")
        assert await get(store, name) == b"plain"
        cluster.down(2)
        await put(store, name, b"two have it")
        cluster.network.heal()
        await announce(cluster, name, 2)
        await passes(cluster, 0)
        assert [body for _, body in await cluster.held(name, range(3))] == [b"two have it"] * 3


async def test_plain_writes_go_above_a_promise_of_a_clock_that_runs_ahead(tmp_path: Path) -> None:
    async with running(tmp_path) as cluster:
        store, name = await made(cluster)
        ballot = await announce(cluster, name, 0, 1, 2, ahead_s=5.0)
        result = await put(store, name, b"plain")
        assert result.timestamp > ballot and await get(store, name) == b"plain"


async def test_one_that_missed_the_last_change_does_not_decide(tmp_path: Path) -> None:
    async with running(tmp_path) as cluster:
        store, name = await made(cluster)
        cluster.down(2)
        await put(store, name, b"two have it")
        cluster.network.heal()
        for node in cluster.nodes[:2]:
            cluster.network.fault(node.address).delay_s = 0.2
        other = cluster.store()
        other._storer.check = no_check
        with pytest.raises(PreconditionFailed):
            await put_if(other, name, b"new")


async def test_a_copy_that_no_majority_has_does_not_pass_a_promise(tmp_path: Path) -> None:
    async with running(tmp_path) as cluster:
        _, name = await made(cluster)
        await leave(cluster, name, b"half", 0)
        await announce(cluster, name, 1, 2)
        await passes(cluster, 0)
        assert [body for _, body in await cluster.held(name, range(3))] == [b"half", None, None]


async def brought_further(cluster: Cluster, store: ClusterStore, name: ObjectName) -> None:
    """While a change is on its way to the other nodes, a writer that sees it on the first one settles it."""
    for _ in range(400):
        if (await cluster.held(name, range(1)))[0][0] is not None:
            break
        await asyncio.sleep(0.005)
    hung = cluster.network.fault(cluster.nodes[2].address)
    hung.hung = True
    await store._storer._proposer.settle(cluster.place(name), "tx")
    hung.hung = False


async def refused() -> None:
    raise NodeError(Code.NO_SPACE)


async def test_one_that_was_brought_further_by_another_knows_it_again(tmp_path: Path) -> None:
    async with running(tmp_path) as cluster:
        store, name = await made(cluster)
        other = cluster.store()
        meanwhile(cluster.nodes[1], PutObject, lambda: brought_further(cluster, other, name))
        meanwhile(cluster.nodes[2], PutObject, refused)
        await put_if(store, name, b"mine")
        assert await get(other, name) == b"mine"


async def test_one_that_was_replaced_meanwhile_is_not_refused(tmp_path: Path) -> None:
    async with running(tmp_path) as cluster:
        store, name = await made(cluster)
        other = cluster.store()

        async def replaced() -> None:
            await brought_further(cluster, other, name)
            await put(other, name, b"another")

        between(cluster, PutObject, replaced)
        with pytest.raises(Conflict):
            await put_if(store, name, b"mine")
        assert await get(other, name) == b"another"


async def test_one_that_was_deleted_meanwhile_is_not_made_twice(tmp_path: Path) -> None:
    """Its condition holds again, but readers saw it come and go."""
    async with running(tmp_path) as cluster:
        store, name = await made(cluster)
        other = cluster.store()

        async def deleted() -> None:
            await brought_further(cluster, other, name)
            assert await get(other, name) == b"mine"
            await other.delete_object(OWNER, name, instead_of(b"mine"))

        between(cluster, PutObject, deleted)
        with pytest.raises(Conflict):
            await put_if(store, name, b"mine")
        with pytest.raises(ObjectNotFound):
            await get(other, name)


async def test_a_post_to_one_that_is_still_under_way_stays(tmp_path: Path) -> None:
    async with running(tmp_path) as cluster:
        store, name = await made(cluster)
        other = cluster.store()

        async def posted() -> None:
            await brought_further(cluster, other, name)
            await other.post_object(OWNER, name, NewObject("", user={"a": "1"}), None, False)

        between(cluster, PutObject, posted)
        await put_if(store, name, b"mine")
        assert (await head(other, name)).user == {"a": "1"}


async def test_a_stream_is_not_won_by_what_came_after_it(tmp_path: Path) -> None:
    """Its first commit reached one replica; before that one passes it on, somebody who knew nothing of it wins."""
    async with running(tmp_path) as cluster:
        _, name = await made(cluster)
        store, other = cluster.store(STREAMED), cluster.store()
        place, body = cluster.place(name), b"stream" * 20
        timestamp = await leave(cluster, name, body, 0)
        order = (timestamp, timestamp)
        await put(other, name, b"another")
        spread = await store._storer._completion.spread(place, place.replicas[0], order, [1], 1, 10, "tx")
        assert spread.newer and not spread.done, "the source has something newer"
        cluster.down(0)
        await put(other, name, b"a third")
        cluster.network.heal()
        found = (await cluster.held(name, range(1)))[0][0]
        assert found is not None
        spread = await store._storer._completion.spread(place, place.replicas[0], found.order, [1], 1, 10, "tx")
        assert spread.newer and not spread.done, "the other one has something newer"


# --- who has a say ------------------------------------------------------------------------------------------------


async def emptied(cluster: Cluster, number: int) -> None:
    """Its disk is replaced by an empty one."""
    old = cluster.nodes[number]
    await old.stop()
    shutil.rmtree(old.root)
    old.root.mkdir()
    cluster.nodes[number] = Node(number, old.root, cluster.network, cluster.clock, cluster.rings)
    await cluster.nodes[number].start()


async def test_an_empty_disk_has_no_say(tmp_path: Path) -> None:
    async with running(tmp_path) as cluster:
        store, name = await made(cluster)
        cluster.down(2)
        await put(store, name, b"two have it")
        cluster.network.heal()
        await emptied(cluster, 1)
        cluster.down(0)
        store = cluster.store()
        store._storer.check = no_check
        with pytest.raises(Unavailable):
            await put_if(store, name, b"new")
        cluster.network.heal()
        with pytest.raises(PreconditionFailed):
            await put_if(cluster.store(), name, b"new")
        await passes(cluster, 0, 2, 1, 0)
        cluster.down(0)
        with pytest.raises(PreconditionFailed):
            await put_if(cluster.store(), name, b"new")


async def test_on_a_new_cluster_all_have_to_answer(tmp_path: Path) -> None:
    async with running(tmp_path) as cluster:
        store = cluster.store()
        await store.put_container(OWNER, ACCOUNT, "c", {})
        name = named(cluster, "o")
        await put_if(store, name, b"new")
        cluster.down(0)
        with pytest.raises(Unavailable):
            await put_if(cluster.store(), named(cluster, "another"), b"new")


async def test_knowledge_of_a_partition_outlives_a_restart_and_ends_with_the_ring(tmp_path: Path) -> None:
    async with running(tmp_path) as cluster:
        _, name = await made(cluster)
        place = cluster.place(name)
        partition, members = place.replicas[0].target.partition, members_of(place.replicas[0].target.partition, place.replicas)
        old = cluster.nodes[0]
        await old.stop()
        cluster.nodes[0] = node = Node(0, old.root, cluster.network, cluster.clock, cluster.rings)
        await node.start()
        membership = node.object._devices["d1"].membership
        assert membership.is_member(0, partition, members)
        cluster.rings.objects[0] = ring_of(4, (0, 1, 3))
        await passes(cluster, 0)
        assert not membership.is_member(0, partition, members)
        assert membership.is_member(0, partition, members_of(partition, cluster.place(name).replicas))


async def test_a_pass_that_has_nothing_to_learn_does_not_go_over_the_ring(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running(tmp_path) as cluster:
        await made(cluster)
        assert [one["joining"] for one in await passes(cluster, *range(3), *range(3))][3:] == [0, 0, 0]
        looked: list[object] = []
        monkeypatch.setattr("objstore.object.joining.memberships", lambda *ring: looked.append(ring) or {})
        await passes(cluster, *range(3))
        assert looked == []
        cluster.rings.objects[0] = ring_of(4, (0, 1, 3))
        await passes(cluster, 0)
        assert len(looked) == 1


async def test_a_writer_with_another_ring_is_told_to_come_again(tmp_path: Path) -> None:
    async with running(tmp_path) as cluster:
        store, name = await made(cluster)
        old = store._storer._placement.object(name, 0)
        cluster.rings.objects[0] = ring_of(4, (0, 1, 3))

        async def change(ballot: object, base: int) -> object:
            raise AssertionError("not a single promise was given")

        with pytest.raises(Unavailable, match="rings"):
            await store._storer._proposer.propose(old, lambda _: None, change, "tx")
        await passes(cluster, 0, 1, 3)
        await put_if(cluster.store(), name, b"new")
