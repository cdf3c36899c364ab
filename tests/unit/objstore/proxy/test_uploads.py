"""Large uploads whose replicas do not keep step."""

import asyncio
from collections.abc import AsyncIterator
from hashlib import md5

import pytest

from objstore.formats.messages import CommitPut, Message, OpenPut, PutObject, Stored
from objstore.model.timestamps import from_seconds
from objstore.model.version import Version
from objstore.proxy.store import ClusterStore
from objstore.rpc.interface import CallContext, Chunk, Exchange
from objstore.rpc.local import LocalExchange
from tests.unit.objstore.proxy.cluster import Cluster, get, named, put

LARGE = bytes(range(256)) * 4096  # 1 MiB
LATE_S = 0.4


class LateCommits:
    """An exchange whose commits arrive late."""

    def __init__(self, inner: LocalExchange) -> None:
        self._inner = inner

    async def receive(self) -> Message | Chunk:
        message = await self._inner.receive()
        if isinstance(message, CommitPut):
            await asyncio.sleep(LATE_S)
        return message

    def __getattr__(self, name: str) -> object:
        return getattr(self._inner, name)


@pytest.fixture
async def late(cluster: Cluster) -> AsyncIterator[Cluster]:
    """A cluster whose third node commits late."""
    handlers = cluster.nodes[2].dispatcher.stream_handlers
    right = handlers[OpenPut]

    async def handle(request: Message, exchange: Exchange, context: CallContext) -> None:
        await right(request, LateCommits(exchange), context)  # type: ignore[arg-type]

    handlers[OpenPut] = handle
    yield cluster


async def test_a_late_replica_that_holds_something_newer_ends_the_upload_too(late: Cluster, store: ClusterStore) -> None:
    name = named(late, "o")
    place = late.place(name)
    newer = Version(place.name, from_seconds(late.clock.now() + 10), size=1, etag=md5(b"n").hexdigest())
    assert isinstance(await late.ask(2, PutObject(place.replicas[2].target, place.hash, newer, b"n", None)), Stored)
    await put(store, name, LARGE)
    assert store.nodes._background
    await asyncio.sleep(2 * LATE_S)
    assert not store.nodes._background
    assert not late.network.tasks


async def test_a_late_replica_gets_it_all_the_same(late: Cluster, store: ClusterStore) -> None:
    name = named(late, "o")
    await put(store, name, LARGE)
    assert await get(store, name) == LARGE
    await asyncio.sleep(2 * LATE_S)
    assert [body == LARGE for _, body in await late.held(name, range(3))] == [True, True, True]
    assert not store.nodes._background
