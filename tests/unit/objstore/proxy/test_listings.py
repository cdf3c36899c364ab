"""Listings that no single answer of a container server can hold."""

import pytest

from objstore.formats.messages import MergeObjectRows, Query
from objstore.model.rows import ObjectRow
from objstore.placement.places import Placement
from objstore.proxy.store import ClusterStore
from tests.unit.objstore.proxy.cluster import ACCOUNT, OWNER, Cluster

LONG = "n" * 1000
COUNT = 2500


async def add(cluster: Cluster, rows: list[ObjectRow], nodes: tuple[int, ...] = (0, 1, 2)) -> None:
    """Give rows to the container's replicas."""
    place = Placement(cluster.rings).container(ACCOUNT, "c")
    for node in nodes:
        target = next(replica.target for replica in place.replicas if replica.address == cluster.nodes[node].address)
        await cluster.ask(node, MergeObjectRows(target, place.hash, place.name, rows))


def row(name: str, deleted: bool = False) -> ObjectRow:
    return ObjectRow(name, 1 << 50, deleted, 1, "etag", "text/plain", 1 << 50, 1 << 50)


@pytest.mark.parametrize("reverse", [False, True])
async def test_a_page_is_as_long_as_was_asked_for(cluster: Cluster, store: ClusterStore, reverse: bool) -> None:
    names = [f"{i:04}{LONG}" for i in range(COUNT)]
    await add(cluster, [row(name) for name in names])
    listing = await store.list_container(OWNER, ACCOUNT, "c", Query(10_000, reverse=reverse))
    assert [row.name for row in listing.rows] == (names[::-1] if reverse else names)
    listing = await store.list_container(OWNER, ACCOUNT, "c", Query(COUNT - 1, reverse=reverse))
    assert len(listing.rows) == COUNT - 1


@pytest.mark.parametrize("limit", [1, 10_000])
@pytest.mark.parametrize("delimiter", ["", "/"])
async def test_what_lies_behind_many_tombstones_is_listed(
    cluster: Cluster, store: ClusterStore, limit: int, delimiter: str
) -> None:
    await add(cluster, [row(f"a/{i:04}{LONG}", True) for i in range(COUNT)] + [row("a/z")])
    listing = await store.list_container(OWNER, ACCOUNT, "c", Query(limit, delimiter=delimiter))
    assert [row.name for row in listing.rows] == (["a/"] if delimiter else ["a/z"])


async def test_what_lies_behind_many_tombstones_is_listed_of_replicas_that_differ(cluster: Cluster, store: ClusterStore) -> None:
    tombstones = [row(f"a/{i:05}", True) for i in range(4 * COUNT)]
    await add(cluster, tombstones)
    for node in range(3):
        await add(cluster, [row(f"b{node}")], (node, (node + 1) % 3))
    for _ in range(3):
        for limit in (1, 10_000):
            listing = await store.list_container(OWNER, ACCOUNT, "c", Query(limit))
            assert [row.name for row in listing.rows] == ["b0", "b1", "b2"][:limit]
