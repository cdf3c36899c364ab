"""Background jobs on objects wait for clients, and for clients alone."""

from pathlib import Path

import pytest

from objstore.runtime.pacing import Yielding
from tests.unit.objstore.proxy.cluster import ACCOUNT, OWNER, Cluster, get, named, put, running


def yielding_of(cluster: Cluster, number: int = 0) -> Yielding:
    return cluster.nodes[number].object._yielding


@pytest.mark.parametrize("daemon", ["object-replicator", "object-auditor"])
async def test_a_pass_has_turns(tmp_path: Path, daemon: str) -> None:
    async with running(tmp_path) as cluster:
        store = cluster.store()
        await store.put_container(OWNER, ACCOUNT, "c", {})
        name = named(cluster, "o")
        await put(store, name, b"x")
        assert await get(store, name) == b"x"
        yielding = yielding_of(cluster)
        assert yielding.served > yielding._seen
        await cluster.nodes[0].run(daemon)
        assert yielding._seen == yielding.served


async def test_what_a_replicator_sends_is_no_clients(tmp_path: Path) -> None:
    async with running(tmp_path) as cluster:
        store = cluster.store()
        await store.put_container(OWNER, ACCOUNT, "c", {})
        cluster.down(2)
        await put(store, named(cluster, "o"), b"x")
        cluster.network.heal()
        before = yielding_of(cluster, 2).served
        assert (await cluster.nodes[0].run("object-replicator"))["pushed"] == 1
        assert yielding_of(cluster, 2).served == before
