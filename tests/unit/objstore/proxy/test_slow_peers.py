"""A node that hangs costs clients a moment once, not time and again, and the listing keeps its promise meanwhile (F10, G6)."""

import math
import time
from pathlib import Path

from objstore.formats.messages import ListTable, ObjectPage, PutObject, Query
from objstore.model.names import ObjectName
from objstore.placement.places import Placement
from objstore.proxy.store import ClusterStore
from tests.unit.objstore.proxy.cluster import ACCOUNT, OWNER, QUICK, Cluster, get, named, put, ring_of, running


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


async def test_writes_wait_for_a_slow_disk_a_few_times_however_quick_its_node_answers_reads(
    cluster: Cluster, store: ClusterStore
) -> None:
    names = [named(cluster, f"o{number}-") for number in range(20)]
    fault = cluster.network.fault(cluster.nodes[1].address)
    fault.delay_s, fault.delayed = 0.8 * QUICK.straggler_grace_s, PutObject
    times = []
    for name in names:
        times += await timed_puts(store, [name])
        assert await get(store, name) == b"x"
    assert sum(time >= fault.delay_s for time in times) <= QUICK.lags_max + 2, times
    await store.nodes.stop()
    for name in names:
        assert [body for _, body in await cluster.held(name)].count(b"x") == 3, "it has them all the same"
    fault.delay_s = 0.0
    await timed_puts(store, names)
    assert store.nodes.failures.none, "it keeps up again"


async def test_a_hung_node_is_left_alone_before_its_calls_time_out(cluster: Cluster, store: ClusterStore) -> None:
    names = [named(cluster, f"o{number}-") for number in range(60)]
    address = cluster.nodes[1].address
    cluster.network.fault(address).hung = True
    for name in names[:5]:
        await put(store, name, b"x")
    trouble = store.nodes.failures._troubles[address]
    trouble.silent_since -= QUICK.silence_max_s  # time goes by, less than a call may take
    cluster.network.calls.clear()
    times = await timed_puts(store, names[5:])
    tried = cluster.network.calls[address, "PutObject"]
    assert tried <= 3 + math.log2(1 + sum(times) / QUICK.failing_min_s), "one try after each pause, and pauses double"


async def test_rows_reach_a_majority_although_two_of_three_pairs_are_broken(tmp_path: Path) -> None:
    """Of one pair the object replica is down, of another the container replica."""
    async with running(tmp_path, count=6) as cluster:
        cluster.rings.container = ring_of(6, [3, 4, 5])
        await rows_reach_a_majority(cluster, cluster.store())


async def rows_reach_a_majority(cluster: Cluster, store: ClusterStore) -> None:
    await store.put_container(OWNER, ACCOUNT, "rotated", {})
    await store.nodes.stop()
    name = named(cluster, "o", "rotated")
    place, table = cluster.place(name), Placement(cluster.rings).container(ACCOUNT, "rotated")
    ports = [node.address.port for node in cluster.nodes]
    pairs = [(ports.index(one.address.port), ports.index(place.index[i].port)) for i, one in enumerate(place.replicas)]
    assert pairs == [(0, 3), (1, 4), (2, 5)]
    cluster.down(0)
    cluster.down(4)
    assert (await put(store, name, b"x")).listed
    told = []
    for replica in table.replicas:
        node = ports.index(replica.address.port)
        if node != 4:
            page = await cluster.ask(node, ListTable("container", replica.target, table.hash, table.name, Query(10)))
            assert isinstance(page, ObjectPage)
            told.append([row.name for row in page.rows])
    assert told == [[name.object]] * 2
    rows = (await store.list_container(OWNER, ACCOUNT, "rotated", Query(9))).rows
    assert [row.name for row in rows] == [name.object]
