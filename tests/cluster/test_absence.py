"""G9, F70: a device that was away for longer than deletions are remembered does not bring deleted objects back."""

import asyncio
from pathlib import Path

from objstore.app.lifetime import STAMP
from objstore.formats.devicestamp import Stamp, decode_stamp, encode_stamp
from objstore.testing.cluster import Cluster
from tests.cluster.swift import Swift

RECLAIM_S = 4
REPLICATORS = ("object-replicator", "container-replicator", "account-replicator")


async def test_deleted_objects_stay_deleted_after_a_long_absence() -> None:
    settings = {"daemons": {"reclaim_age_s": RECLAIM_S}}
    async with Cluster(nodes=4, devices=1, network_faults=False, settings=settings) as cluster:
        swift = Swift(cluster.endpoint)
        names = [f"/c/o{number}" for number in range(20)]
        swift.request("PUT", "/c")
        for name in names:
            assert swift.request("PUT", name, b"to be deleted").status == 201
        await cluster.run_daemons(*REPLICATORS)
        await cluster.kill("node1")
        await cluster.set_weight("node1", "d1", 0)  # the others go on without it
        for _ in range(3):
            await cluster.run_daemons(*REPLICATORS)
        for name in names:
            assert swift.request("DELETE", name).status == 204
        reclaimed = 0
        for _ in range(40):
            passes = await cluster.run_daemons(*REPLICATORS)
            reclaimed += sum(figures["object-replicator"]["reclaimed"] for figures in passes.values())
            if reclaimed >= 3 * len(names):
                break
            await asyncio.sleep(0.5)
        assert reclaimed >= 3 * len(names), "nobody remembers the deletions any more"

        await cluster.restart("node1")
        assert "longer than deletions are remembered" in await refusal_of(cluster, "node1")
        await cluster.run_daemons(*REPLICATORS, check=False)
        for name in names:
            assert swift.request("GET", name).status == 404
        assert swift.names("c") == {}
        for node in ("node2", "node3", "node4"):
            assert not [one for name in names for one in cluster.replicas(name[1:]) if one.node == node]

        # Made anew it is filled like any other.
        await cluster.kill("node1")
        await cluster.set_weight("node1", "d1", 100)
        assert swift.request("PUT", "/c/later", b"kept").status == 201
        await cluster.replace_disk("node1", "d1")
        await cluster.restart("node1")
        await cluster.settle(60)
        assert (await cluster.status("node1")).devices[0].state == "ok"
        assert swift.request("GET", "/c/later").body == b"kept"
        assert len([one for one in cluster.replicas("c/later") if one.kind == "data"]) == 3


async def test_a_cluster_that_was_off_for_weeks_starts_as_if_nothing_had_happened() -> None:
    async with Cluster(nodes=4, devices=1, network_faults=False) as cluster:
        swift = Swift(cluster.endpoint)
        swift.request("PUT", "/c")
        assert swift.request("PUT", "/c/o", b"x").status == 201
        assert swift.request("PUT", "/c/gone", b"x").status == 201
        assert swift.request("DELETE", "/c/gone").status == 204
        await cluster.terminate(cluster.nodes)
        await cluster.skew_clock([*cluster.nodes, *cluster.proxies], 15 * 86_400)
        await cluster.restart(cluster.nodes)
        for node in cluster.nodes:
            assert (await cluster.status(node)).devices[0].state == "ok"
        passes = await cluster.run_daemons(*REPLICATORS)
        assert sum(figures["object-replicator"]["reclaimed"] for figures in passes.values()) == 0
        swift = Swift(cluster.endpoint)  # the old token ran out meanwhile
        assert swift.request("GET", "/c/o").body == b"x"
        assert swift.request("GET", "/c/gone").status == 404
        tombstones = [one for one in cluster.replicas("c/gone") if one.kind == "ts"]
        assert len(tombstones) == 3


async def test_one_node_that_was_off_while_the_others_went_on_is_refused() -> None:
    async with Cluster(nodes=4, devices=1, network_faults=False) as cluster:
        stamps = [Path(cluster.device_path(node, "d1"), STAMP) for node in cluster.nodes]
        for _ in range(100):  # they are written once the nodes have met
            if all(map(Path.exists, stamps)):
                break
            await asyncio.sleep(0.1)
        await cluster.terminate(cluster.nodes)
        for node in cluster.nodes[1:]:
            grow_older(Path(cluster.device_path(node, "d1"), STAMP))
        await cluster.restart(cluster.nodes[1:])
        await cluster.restart(cluster.nodes[0])
        assert "away for 8.0 days" in await refusal_of(cluster, "node1")
        assert [(await cluster.status(node)).devices[0].state for node in cluster.nodes[1:]] == ["ok"] * 3


def grow_older(path: Path) -> None:
    """As if the device had been in use for eight more days."""
    stamp = decode_stamp(path.read_bytes())
    path.write_bytes(encode_stamp(Stamp(stamp.age_s + 8 * 86_400, stamp.samples)))


async def refusal_of(cluster: Cluster, node: str) -> str:
    """Why the node's device is refused: at once, or as soon as others have answered it."""
    state = "ok"
    for _ in range(100):
        state = (await cluster.status(node)).devices[0].state
        if state != "ok":
            break
        await asyncio.sleep(0.1)
    return state
