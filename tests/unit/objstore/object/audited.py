"""What the tests of the object-auditor share: passes that find something, and what comes of it."""

import asyncio
from pathlib import Path

from objstore.model.names import ObjectName
from tests.unit.objstore.object.replicas import equal
from tests.unit.objstore.proxy.cluster import Cluster, Node

AUDITOR = "object-auditor"
CHUNK = 1 << 16
LARGE = bytes(range(256)) * (12 * CHUNK // 256) + b"the last chunk is short"


async def repaired(node: Node) -> None:
    """Until what was set aside has been fetched from another replica."""
    replication = node.object._replication
    assert replication is not None
    async with asyncio.timeout(5):
        await replication._repairs.settled()


async def expect_made_good(cluster: Cluster, name: ObjectName, body: bytes, number: int = 0) -> dict[str, int]:
    """A pass on one node sets one thing aside, and then all replicas are good."""
    node = cluster.nodes[number]
    figures = await node.run(AUDITOR)
    await repaired(node)
    assert figures["corrupt"] + figures["misplaced"] == 1, figures
    assert node.object.report("d1")[1] == 1
    await equal(cluster, 0, 1, 2)
    assert {held for _, held in await cluster.held(name, range(3))} == {body}
    again = await node.run(AUDITOR)
    assert (again["corrupt"], again["misplaced"], again["strange"], again["errors"]) == (0, 0, 0, 0), again
    return figures


def partition_of(cluster: Cluster, name: ObjectName) -> int:
    return cluster.place(name).replicas[0].target.partition


def only_file(node: Node, kind: str = "data") -> Path:
    (found,) = node.root.glob(f"objects/*/*.{kind}")
    return found
