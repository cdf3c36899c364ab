"""Random histories of an object, one copy of which rots while another may be behind: a reader hears the truth or nothing."""

import asyncio
import contextlib
import os
import random
from pathlib import Path

import pytest

from objstore.formats.messages import DeleteObject, GetObject, PostObject, PutObject
from objstore.model.conditions import NO_CONDITIONS
from objstore.model.errors import Code, NodeError, ObjectNotFound, Unavailable
from objstore.model.names import ObjectName
from objstore.proxy.operations import NewObject
from objstore.proxy.store import ClusterStore
from tests.unit.objstore.object.replicas import equal, passes
from tests.unit.objstore.proxy.cluster import ACCOUNT, OWNER, Cluster, get, head, named, put, running

HISTORIES = [*range(60), 341, 354, 432]
ATTRIBUTE = "user.objstore.meta"
Truth = tuple[bytes, str] | None
"""Body and the POST's mark; None when there is no object."""


async def told(store: ClusterStore, name: ObjectName) -> Truth:
    """Raises Unavailable."""
    try:
        return await get(store, name), (await head(store, name)).user.get("mark", "")
    except ObjectNotFound:
        return None


async def history(cluster: Cluster, store: ClusterStore, name: ObjectName, rng: random.Random) -> Truth:
    """Some acknowledged changes, each of which one replica may have missed; what the object is then."""
    truth: Truth = None
    for number in range(rng.randrange(1, 5)):
        what = rng.choice(("put", "delete", "post") if truth else ("put",))
        missing = rng.choice((0, 1, 2, None))
        if missing is not None:
            refused = cluster.network.fault(cluster.nodes[missing].address).refuse
            refused.update(dict.fromkeys((PutObject, DeleteObject, PostObject), Code.NO_SPACE))
        mark = f"{number}"
        if what == "put":
            await put(store, name, mark.encode())
            truth = (mark.encode(), "")
        elif what == "delete":
            await store.delete_object(OWNER, name, NO_CONDITIONS)
            truth = None
        else:
            await store.post_object(OWNER, name, NewObject("", user={"mark": mark}), None)
            assert truth is not None
            truth = (truth[0], mark)
        await store.nodes.stop()
        cluster.network.heal()
    await asyncio.sleep(0.05)  # superseded files are removed behind the answer
    return truth


def files(cluster: Cluster, number: int) -> list[Path]:
    return sorted(cluster.nodes[number].root.glob("objects/*/*.*"))


async def look(cluster: Cluster, name: ObjectName, number: int) -> None:
    """Have one replica read what it holds, so that it knows of its damage."""
    place = cluster.place(name)
    with contextlib.suppress(NodeError):
        await cluster.ask(number, GetObject(place.replicas[number].target, place.hash, place.name))


async def rot(cluster: Cluster, name: ObjectName, number: int, rng: random.Random) -> bool:
    """One file of a replica is damaged, and perhaps found."""
    held = files(cluster, number)
    if not held:
        return False
    os.setxattr(rng.choice(held), ATTRIBUTE, b"nonsense")
    if rng.random() < 0.7:
        await look(cluster, name, number)
        if rng.random() < 0.7:
            await cluster.nodes[number].object._replication._repairs.settled()
    return True


@pytest.mark.parametrize("seed", HISTORIES)
async def test_a_reader_hears_the_truth_or_nothing(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    async with running(tmp_path) as cluster:
        store = cluster.store()
        await store.put_container(OWNER, ACCOUNT, "c", {})
        name = named(cluster, "o")
        truth = await history(cluster, store, name, rng)
        rotten, down = rng.randrange(3), rng.choice((0, 1, 2, None))
        if down is not None and rng.random() < 0.5:
            cluster.down(down)
        await rot(cluster, name, rotten, rng)
        if down is not None:
            cluster.down(down)
        for number in rng.sample(range(3), rng.randrange(3)):
            if number != down:
                await cluster.nodes[number].run("object-replicator")
        for turn in rng.sample(range(3), 3):
            reader = cluster.store()
            reader._opener._finder._turn = turn
            try:
                assert await told(reader, name) == truth
            except Unavailable:
                assert down is not None, "one damaged copy alone must not hide an object"
            await reader.nodes.stop()
        cluster.network.heal()
        await look(cluster, name, rotten)
        for _ in range(3):
            figures = await passes(cluster, 0, 1, 2, 3)
        assert sum(one["missed"] for one in figures) == 0
        await equal(cluster, 0, 1, 2)
        for turn in range(3):
            reader = cluster.store()
            reader._opener._finder._turn = turn
            assert await told(reader, name) == truth
            if truth is not None:
                await put(reader, name, truth[0])
                truth = (truth[0], "")
