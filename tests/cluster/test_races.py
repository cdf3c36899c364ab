"""Racing writers under conditions, on a cluster that is well, and on one that is not: never two winners, and no acknowledged update
is missing from what became of its object. `OBJSTORE_RACES=500,200` runs as many rounds of creators and of updaters.
"""

import asyncio
import itertools
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import pytest

from objstore.testing.cluster import Cluster
from tests.cluster.races import Racers
from tests.faults.figures import Count

CREATIONS, UPDATES = (int(text) for text in os.environ.get("OBJSTORE_RACES", "16,8").split(","))
UPDATES_PER_KEY = 20


async def well(_: Cluster) -> None:
    await asyncio.Event().wait()


async def paused(cluster: Cluster) -> None:
    """One node hangs all the time, another one after a while."""
    for node in itertools.cycle(cluster.nodes):
        await cluster.pause(node)
        try:
            await asyncio.sleep(4.0)
        finally:
            await cluster.resume(node)


async def killed(cluster: Cluster) -> None:
    """One after the other dies, comes back, and learns what it missed."""
    for node in itertools.cycle(cluster.nodes):
        await cluster.kill(node)
        await asyncio.sleep(1.0)
        await cluster.restart(node)
        await asyncio.sleep(0.3)
        await cluster.run_daemons("object-replicator", nodes=node, check=False)


async def changing(cluster: Cluster) -> None:
    """The ring changes again and again, while a replicator pass follows now and then."""
    added = [await cluster.add_node()]
    for turn in itertools.count():
        for _ in range(turn % 3):
            await cluster.run_daemons("object-replicator", check=False)
        await asyncio.sleep(0.5)
        node = [*cluster.nodes[:2], *added][turn % 3]
        await cluster.set_weight(node, "d1", 20 if turn % 2 else 100)


@asynccontextmanager
async def trouble(cluster: Cluster, makes: Callable[[Cluster], object]) -> AsyncIterator[None]:
    making = asyncio.ensure_future(makes(cluster))
    try:
        yield
        if making.done():
            making.result()
    finally:
        making.cancel()
        await asyncio.wait([making])


@pytest.mark.parametrize("makes", [well, paused, killed, changing], ids=lambda makes: makes.__name__)
async def test_never_two_winners(makes: Callable[[Cluster], object], count: Count) -> None:
    began = time.monotonic()
    async with Cluster(nodes=4, devices=1, proxies=2, network_faults=False, disk_faults=False) as cluster:
        await cluster.run_daemons("object-replicator")
        racers = Racers(cluster.endpoints, cluster.token, urlsplit(cluster.storage_url).path)
        await racers.start()
        async with trouble(cluster, makes):
            for number in range(CREATIONS):
                await racers.create(f"created {number}".replace(" ", "-"))
            for number in range(UPDATES):
                key = f"updated-{number // UPDATES_PER_KEY}"
                if number % UPDATES_PER_KEY == 0:
                    await racers.create(key)
                await racers.update(key)
        await cluster.restore()
        for key in racers.parents:
            await racers.check(key)
        await cluster.settle(120)
        for key in racers.parents:
            await racers.check(key)
            copies = cluster.replicas(f"races/{key}")
            assert len({one.md5 for one in copies}) <= 1, key
        racers.close()
    found = dict(racers.outcomes)
    print(f"{makes.__name__}: {CREATIONS} creations, {UPDATES} updates by 16 clients in {time.monotonic() - began:.0f} s: {found}")
    count(f"races, {makes.__name__}", rounds=CREATIONS + UPDATES, wrong=len(racers.wrong), **found)
    assert racers.wrong == []
    if makes is well:
        assert racers.outcomes["decided"] >= CREATIONS + UPDATES
