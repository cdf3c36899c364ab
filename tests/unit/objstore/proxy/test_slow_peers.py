"""A node that hangs costs clients a moment once, not time and again, and the listing keeps its promise meanwhile (F10, G6)."""

import time

from objstore.formats.messages import ListTable, ObjectPage, Query
from objstore.model.names import ObjectName
from objstore.proxy.store import ClusterStore
from tests.unit.objstore.proxy.cluster import ACCOUNT, OWNER, QUICK, Cluster, get, named, put


async def timed_puts(store: ClusterStore, names: list[ObjectName]) -> list[float]:
    times = []
    for name in names:
        started = time.monotonic()
        assert (await put(store, name, b"x")).listed
        times.append(time.monotonic() - started)
    return times


async def test_writes_wait_for_a_hung_node_once(cluster: Cluster, store: ClusterStore) -> None:
    names = [named(cluster, f"o{number}-") for number in range(20)]
    cluster.network.fault(cluster.nodes[1].address).hung = True
    times = await timed_puts(store, names)
    first = QUICK.straggler_grace_s + 0.3  # the storage nodes wait 0.3 s for a row
    assert times[0] < first + 0.3
    assert sorted(times)[-3] < 0.1, times
    for name in names[:3]:
        assert await get(store, name) == b"x"


async def test_a_hung_node_is_left_alone_before_its_calls_time_out(cluster: Cluster, store: ClusterStore) -> None:
    names = [named(cluster, f"o{number}-") for number in range(60)]
    address = cluster.nodes[1].address
    cluster.network.fault(address).hung = True
    await timed_puts(store, names[:5])
    trouble = store.nodes.failures._troubles[address]
    trouble.silent_since -= QUICK.silence_max_s  # time goes by, less than a call may take
    cluster.network.calls.clear()
    await timed_puts(store, names[5:])
    assert cluster.network.calls[address, "PutObject"] <= 3


async def test_rows_reach_a_majority_although_two_of_three_pairs_are_broken(cluster: Cluster, store: ClusterStore) -> None:
    """Node 1 holds an object replica of one pair and the container replica of another: each alone would break one pair."""
    name = named(cluster, "o")
    place = cluster.place(name)
    cluster.down(1)
    result = await put(store, name, b"x")
    assert result.listed
    table = store._opener._placement.container(ACCOUNT, "c")
    told = 0
    for number, replica in enumerate(table.replicas):
        node = [node.address for node in cluster.nodes].index(replica.address)
        if node == 1:
            continue
        page = await cluster.ask(node, ListTable("container", replica.target, table.hash, table.name, Query(10)))
        assert isinstance(page, ObjectPage)
        told += [row.name for row in page.rows] == [name.object]
        assert place.index[number].device == replica.target.device
    assert told == 2
    rows = (await store.list_container(OWNER, ACCOUNT, "c", Query(9))).rows
    assert [row.name for row in rows] == [name.object]
