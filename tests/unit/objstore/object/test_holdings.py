"""Digests of partitions in memory: remembered until something changes, and never many objects in one turn of the event loop."""

import asyncio
import random

import pytest

from objstore.object import holdings as module
from objstore.object.digests import DigestLog, digest_of
from objstore.object.files import NOTHING, Files, Place
from objstore.object.holdings import OBJECTS_IN_A_ROW_MAX, Holdings
from objstore.object.partition import CompactPartition
from objstore.runtime.clock import SystemClock
from tests.unit.objstore.object.rig import Node


class Horizon:
    """A time below which deletions are forgotten, that the test sets."""

    at = 0

    def __call__(self) -> int:
        return self.at


@pytest.fixture
def horizon() -> Horizon:
    return Horizon()


@pytest.fixture
def holdings(node: Node, horizon: Horizon) -> Holdings:
    return Holdings(node.device, DigestLog(node.fs, bytes(16)), SystemClock(), horizon)


async def loaded(node: Node, partition: int) -> CompactPartition:
    (node.root / f"objects/{partition}").mkdir(parents=True, exist_ok=True)
    return await node.device.index.load(f"objects/{partition}")


@pytest.mark.parametrize("seed", range(20))
async def test_a_remembered_digest_is_that_of_what_is_there(node: Node, holdings: Holdings, horizon: Horizon, seed: int) -> None:
    """Through every way in which a partition changes, and as deletions become forgettable."""
    rng, index = random.Random(seed), node.device.index
    partition = await loaded(node, 3)
    hashes = [rng.randbytes(16) for _ in range(5)]
    for _ in range(200):
        hash_, time = rng.choice(hashes), rng.randrange(1, 100)
        what = rng.randrange(6)
        if what < 2:
            index.put(Place("objects/3", hash_), Files(time, rng.random() < 0.5, rng.choice([0, time + 1])))
        elif what == 2:
            index.put(Place("objects/3", hash_), NOTHING)
        elif what == 3:
            horizon.at = max(0, horizon.at + rng.randrange(-10, 20))
        assert await holdings.digests(0, [3]) == [digest_of(dict(partition), horizon.at)]


async def test_equal_partitions_are_looked_at_once(node: Node, holdings: Holdings, monkeypatch: pytest.MonkeyPatch) -> None:
    looked = []
    monkeypatch.setattr(module, "digest_of", lambda partition, horizon: looked.append(partition) or digest_of(partition, horizon))
    for number in range(4):
        await loaded(node, number)
        node.device.index.put(Place(f"objects/{number}", bytes([number]) * 16), Files(1))
    first = await holdings.digests(0, range(4))
    assert await holdings.digests(0, range(4)) == first and len(looked) == 4
    node.device.index.put(Place("objects/2", bytes(16)), Files(2))
    second = await holdings.digests(0, range(4))
    assert len(looked) == 5 and [a == b for a, b in zip(first, second, strict=True)] == [True, True, False, True]


async def test_others_have_their_turns_meanwhile(node: Node, holdings: Holdings) -> None:
    count = 40
    for number in range(count):
        await loaded(node, number)
        for at in range(OBJECTS_IN_A_ROW_MAX // 2):
            node.device.index.put(Place(f"objects/{number}", at.to_bytes(16, "big")), Files(1 + at))
    turns, work = 0, asyncio.create_task(holdings.digests(0, range(count)))
    while not work.done():
        turns += 1
        await asyncio.sleep(0)
    assert turns >= count // 2
