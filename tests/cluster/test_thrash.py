"""Random faults under load, then the judgement. `OBJSTORE_THRASH_RUNS` makes it longer, `OBJSTORE_THRASH_SEED` another one."""

import asyncio
import os

import pytest

from objstore.testing import Cluster
from objstore.testing.atlas import DAMAGING, PASSING
from objstore.testing.load import Load
from objstore.testing.thrash import judged, planned, run_once
from tests.faults.figures import Count

SEED = int(os.environ.get("OBJSTORE_THRASH_SEED", "1"))
RUNS = int(os.environ.get("OBJSTORE_THRASH_RUNS", "2"))
WINDOWS = 6
WINDOW_S = 2.0


@pytest.mark.parametrize("seed", range(SEED, SEED + RUNS))
def test_nothing_is_lost_and_nothing_made_up(seed: int, count: Count) -> None:
    result = asyncio.run(run_once(seed, WINDOWS, WINDOW_S))
    print(*result.lines(), sep="\n")
    numbers = {"operations": sum(result.operations.values()), "changes acknowledged": result.acknowledged}
    numbers |= {"faults": sum(result.faults.values()), "violations": len(result.violations)}
    count("thrash", runs=1, seconds=round(result.took_s), **numbers)
    assert sum(result.operations.values()) > 200
    assert sum(result.faults.values()) == WINDOWS
    assert result.violations == []


def test_the_same_seed_makes_the_same_plan() -> None:
    nodes = ["node1", "node2", "node3"]
    plans = [planned(seed, 20, [*PASSING, *DAMAGING], nodes) for seed in (5, 5, 6)]
    assert plans[0] == plans[1] != plans[2]
    assert {victim for _, victim in plans[0]} == set(nodes)


async def test_a_store_that_forgets_is_found_out() -> None:
    """The control: objects are taken away from every device, which no store survives."""
    async with Cluster(nodes=3, devices=1, network_faults=False) as cluster:
        load = Load([cluster.storage_url], cluster.token)
        await load.start()
        await asyncio.sleep(1.5)
        await load.pause()
        await cluster.terminate(cluster.nodes)  # in order: what a killed node has in its journal would come back
        things = (await cluster.snapshot()).named("object").items()
        lost = [name for name, thing in things if thing.version is not None]
        for name in lost:
            for replica in cluster.replicas(name):
                os.unlink(replica.path)
        await cluster.restart(cluster.nodes)
        found = judged(load.history, await load.read_all())
        await load.stop()
    keys = {name.rpartition("/")[2] for name in lost}
    blamed = {key for key in keys for line in found if line.startswith(f"{key}: data") and "acknowledged after it" in line}
    assert len(blamed) >= len(keys) / 5 > 0, "a key that met a DELETE which found nothing is open, every other one is missed"
