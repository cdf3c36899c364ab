"""Large bodies from replicas that are slow, or overwritten meanwhile."""

import asyncio

from objstore.formats.messages import Message, ReadObject
from objstore.model.conditions import NO_CONDITIONS
from objstore.proxy.operations import ReadRequest
from objstore.proxy.store import ClusterStore
from objstore.rpc.interface import CallContext, Exchange
from tests.unit.objstore.proxy.cluster import OWNER, QUICK, Cluster, get, named, put

LARGE = bytes(range(256)) * 4096 * 5  # 5 MiB


def delay_streams(cluster: Cluster, node: int, delay_s: float) -> None:
    handlers = cluster.nodes[node].dispatcher.stream_handlers
    right = handlers[ReadObject]

    async def handle(request: Message, exchange: Exchange, context: CallContext) -> None:
        await asyncio.sleep(delay_s)
        await right(request, exchange, context)

    handlers[ReadObject] = handle


async def test_when_all_replicas_are_slow_they_are_waited_for(cluster: Cluster, store: ClusterStore) -> None:
    name = named(cluster, "o")
    await put(store, name, LARGE)
    for node in range(3):
        delay_streams(cluster, node, 2 * QUICK.stall_s)
    assert await get(store, name) == LARGE


async def test_one_slow_replica_is_left_behind(cluster: Cluster, store: ClusterStore) -> None:
    name = named(cluster, "o")
    await put(store, name, LARGE)
    delay_streams(cluster, 1, 5.0)
    for _ in range(3):
        started = cluster.clock.monotonic()
        assert await get(store, name) == LARGE
        assert cluster.clock.monotonic() - started < 3.0


async def test_an_overwritten_body_is_never_mixed(cluster: Cluster, store: ClusterStore) -> None:
    """The reader has the old version's bytes to the end: the streams hold their files open."""
    name = named(cluster, "o")
    await put(store, name, LARGE)
    read = await store.open_object(OWNER, ReadRequest(name, NO_CONDITIONS))
    body, pieces = read.body(), []
    async for piece in body:
        pieces.append(piece)
        if len(pieces) == 1:
            await put(store, name, LARGE[::-1])
    await read.close()
    assert b"".join(pieces) == LARGE
    assert await get(store, name) == LARGE[::-1]
