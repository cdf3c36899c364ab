"""A reader that saw something replaced does not fall back to what is older than that."""

import asyncio
from pathlib import Path

from objstore.formats.messages import Message, PushObject
from objstore.model.names import ObjectName
from objstore.model.policy import Policies, Policy
from objstore.object.files import partition_directory
from objstore.rpc.interface import CallContext
from tests.unit.objstore.proxy.cluster import ACCOUNT, OWNER, Cluster, get, named, put, running
from tests.unit.objstore.proxy.proposing import leave, made

SLOPPY = Policies([Policy(0, "sloppy", default=True, sloppy=True)])


def overwrite_before_push(cluster: Cluster, node: int, name: ObjectName, body: bytes, others: bytes = b"") -> None:
    """When `node` is to push what it has, the first bit of an overwrite has just arrived there; the rest is on its way.
    `others`: what all others got just before.
    """
    handlers = cluster.nodes[node].dispatcher.handlers
    handler, lock = handlers[PushObject], asyncio.Lock()
    done: list[int] = []

    async def push(request: Message, context: CallContext) -> Message:
        async with lock:
            if not done:
                if others:
                    await leave(cluster, name, others, *({0, 1, 2} - {node}))
                done.append(await leave(cluster, name, body, node))
        return await handler(request, context)

    handlers[PushObject] = push


async def test_sloppy_what_was_acknowledged_is_read(tmp_path: Path) -> None:
    async with running(tmp_path, count=5, policies=SLOPPY) as cluster:
        writer = cluster.store()
        await writer.put_container(OWNER, ACCOUNT, "c", {})
        name = named(cluster, "o")
        await put(writer, name, b"first")
        cluster.down(0, 1)
        await put(writer, name, b"second")  # acknowledged: node 2 and two handoffs
        cluster.network.heal()
        overwrite_before_push(cluster, 2, name, b"third")
        assert await get(cluster.store(), name) in (b"second", b"third")


async def test_an_empty_disk_and_a_replica_that_missed_it_do_not_outvote_what_is_there(tmp_path: Path) -> None:
    async with running(tmp_path) as cluster:
        store, name = await made(cluster)
        cluster.down(0)
        await put(store, name, b"second")  # acknowledged by nodes 1 and 2
        cluster.network.heal()
        place = cluster.place(name)
        partition = partition_directory(0, place.replicas[0].target.partition)
        for file in (cluster.nodes[1].root / partition).glob("*"):  # its disk was replaced
            file.unlink()
        cluster.nodes[1].object._devices["d1"].index.forget(partition)
        overwrite_before_push(cluster, 2, name, b"third")
        assert await get(cluster.store(), name) in (b"second", b"third")


async def test_what_a_majority_has_by_then_is_told_where_the_newest_was_replaced(tmp_path: Path) -> None:
    async with running(tmp_path) as cluster:
        store, name = await made(cluster)
        await put(store, name, b"first")
        await leave(cluster, name, b"second", 2)
        overwrite_before_push(cluster, 2, name, b"fourth", others=b"third")
        seen = [await get(store, name) for _ in range(3)]
        assert b"third" in seen and seen == sorted(seen, key=[b"first", b"third", b"fourth"].index)
