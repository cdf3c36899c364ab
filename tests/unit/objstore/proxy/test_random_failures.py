"""Random histories of an object with changes that failed on the way, for 2 to 5 replicas, some of which rot or are down: no reader
hears anything older than what was acknowledged, or than what a reader heard before.
"""

import asyncio
import contextlib
import os
import random
from dataclasses import replace
from pathlib import Path

import pytest

from objstore.formats.messages import DeleteObject, GetObject, PutObject
from objstore.model.conditions import NO_CONDITIONS
from objstore.model.errors import Code, NodeError, ObjectNotFound, StoreError, Unavailable
from objstore.model.names import ObjectName
from objstore.proxy.store import ClusterStore
from tests.unit.objstore.object.replicas import passes
from tests.unit.objstore.proxy.cluster import ACCOUNT, OWNER, QUICK, Cluster, get, named, put, running
from tests.unit.objstore.proxy.test_random_losses import ATTRIBUTE

HISTORIES = range(80)
PATIENT = replace(QUICK, hedge_s=5.0)
"""A reader that does without a slow half sees the other one."""


class Told:
    """What the object was at each change, b"" for none, and which of them a reader may still hear."""

    def __init__(self) -> None:
        self.states = [b""]
        self.oldest = 0
        """The newest that was acknowledged, or heard by a reader."""

    def heard(self, state: bytes) -> None:
        allowed = self.states[self.oldest :]
        assert state in allowed, f"heard {state!r}, may hear {allowed}"
        while self.states[self.oldest] != state:  # of two alike, the older: that is the weaker demand
            self.oldest += 1


async def change(cluster: Cluster, store: ClusterStore, name: ObjectName, told: Told, rng: random.Random, replicas: int) -> None:
    for number in rng.sample(range(replicas), rng.choice((0, 1, 1, replicas // 2, replicas - 1))):
        cluster.network.fault(cluster.nodes[number].address).refuse.update(dict.fromkeys((PutObject, DeleteObject), Code.NO_SPACE))
    body = b"" if rng.random() < 0.25 else b"%d" % len(told.states)
    told.states.append(body)
    try:
        if body:
            await put(store, name, body)
        else:
            await store.delete_object(OWNER, name, NO_CONDITIONS)
    except ObjectNotFound:
        pass  # it is deleted all the same
    except StoreError:
        await store.nodes.stop()
        cluster.network.heal()
        return
    told.oldest = len(told.states) - 1
    await store.nodes.stop()
    cluster.network.heal()


async def rot(cluster: Cluster, name: ObjectName, rng: random.Random, replicas: int) -> None:
    number = rng.randrange(replicas)
    held = sorted(cluster.nodes[number].root.glob("objects/*/*.*"))
    if not held:
        return
    os.setxattr(rng.choice(held), ATTRIBUTE, b"nonsense")
    place = cluster.place(name)
    with contextlib.suppress(NodeError):
        await cluster.ask(number, GetObject(place.replicas[number].target, place.hash, place.name))
    if rng.random() < 0.5:
        await cluster.nodes[number].object._replication._repairs.settled()


async def read(cluster: Cluster, name: ObjectName, told: Told, turn: int) -> bool:
    """Whether a reader heard anything."""
    store = cluster.store(PATIENT)
    store._opener._finder._turn = turn
    try:
        told.heard(await get(store, name))
    except ObjectNotFound:
        told.heard(b"")
    except Unavailable:
        return False
    finally:
        await store.nodes.stop()
    return True


@pytest.mark.parametrize("seed", HISTORIES)
async def test_no_reader_hears_anything_older(tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("objstore.object.repairs.IN_FLIGHT_S", 0.0)  # whatever was on its way has arrived: it is waited for
    rng = random.Random(seed)
    replicas = rng.choice((2, 3, 3, 4, 5))
    async with running(tmp_path, count=replicas + 1, replicas=replicas) as cluster:
        store, told = cluster.store(), Told()
        await store.put_container(OWNER, ACCOUNT, "c", {})
        name = named(cluster, "o")
        rots = rng.choice((0, 1, 1, 2))
        # Of an even number always the same half is down: two halves that never met tell what each of them has.
        frail = rng.sample(range(replicas), replicas // 2)
        for _ in range(rng.randrange(3, 8)):
            match rng.choice(("change", "change", "rot", "read", "down", "replicate")):
                case "change":
                    await change(cluster, store, name, told, rng, replicas)
                case "rot" if rots:
                    rots -= 1
                    await asyncio.sleep(0.03)  # superseded files are removed behind the answer
                    await rot(cluster, name, rng, replicas)
                case "down":
                    cluster.down(*(frail if rng.random() < 0.5 else rng.sample(range(replicas), (replicas - 1) // 2)))
                    await read(cluster, name, told, rng.randrange(replicas))
                    cluster.network.heal()
                case "replicate":
                    await passes(cluster, *rng.sample(range(replicas), rng.randrange(1, replicas + 1)))
                case _:
                    await read(cluster, name, told, rng.randrange(replicas))
        for _ in range(2):
            await passes(cluster, *range(replicas))
        for turn in range(replicas):
            await read(cluster, name, told, turn)
