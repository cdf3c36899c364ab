"""What the nodes of an in-process cluster hold, and passes of their replicators."""

import asyncio

from tests.unit.objstore.proxy.cluster import Cluster, Node

REPLICATOR = "object-replicator"


def tree(node: Node) -> dict[str, bytes]:
    """Every object file of a node by its path, with its bytes."""
    return {str(path.relative_to(node.root)): path.read_bytes() for path in node.root.glob("objects/*/*")}


async def passes(cluster: Cluster, *numbers: int) -> list[dict[str, int]]:
    return [await cluster.nodes[number].run(REPLICATOR) for number in numbers or range(len(cluster.nodes))]


async def equal(cluster: Cluster, *numbers: int) -> dict[str, bytes]:
    """The files that all of these nodes hold alike."""
    await asyncio.sleep(0.05)  # superseded files are removed behind the answer
    trees = [tree(cluster.nodes[number]) for number in numbers]
    assert all(one == trees[0] for one in trees), [sorted(one) for one in trees]
    return trees[0]
