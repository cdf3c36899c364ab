"""Writers under conditions, what they leave behind when they die, and what happens between their steps."""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

from objstore.formats.messages import Message, Prepare, PutObject
from objstore.model.conditions import ANY, Conditions
from objstore.model.names import ObjectName
from objstore.model.timestamps import from_seconds
from objstore.model.version import Version
from objstore.placement.places import members_of
from objstore.proxy.bodies import InMemory
from objstore.proxy.operations import NewObject, PutResult, Upload
from objstore.proxy.store import ClusterStore
from tests.unit.objstore.object.replicas import passes
from tests.unit.objstore.proxy.cluster import ACCOUNT, OWNER, QUICK, Cluster, Node, named

ABSENT = Conditions(if_none_match=frozenset({ANY}))
STREAMED = replace(QUICK, inline_bytes_max=16, piece_bytes_min=16)


def instead_of(body: bytes) -> Conditions:
    return Conditions(if_match=frozenset({hashlib.md5(body).hexdigest()}))


async def put_if(store: ClusterStore, name: ObjectName, body: bytes, conditions: Conditions = ABSENT) -> PutResult:
    return await store.put_object(OWNER, name, NewObject("text/plain"), Upload(InMemory(body), len(body)), conditions)


async def made(cluster: Cluster) -> tuple[ClusterStore, ObjectName]:
    await passes(cluster, *range(3))
    store = cluster.store()
    await store.put_container(OWNER, ACCOUNT, "c", {})
    return store, named(cluster, "o")


async def leave(cluster: Cluster, name: ObjectName, body: bytes, *numbers: int) -> int:
    """Have some primaries alone hold a version, as a writer that died leaves it; returns its timestamp."""
    place, timestamp = cluster.place(name), cluster.store()._storer._writer.hlc.next(0)
    version = Version(
        place.name, timestamp, False, len(body), hashlib.md5(body).hexdigest(), "text/plain", meta_timestamp=timestamp
    )
    for number in numbers:
        await cluster.ask(number, PutObject(place.replicas[number].target, place.hash, version, body, place.index[number]))
    return timestamp


async def announce(cluster: Cluster, name: ObjectName, *numbers: int, ahead_s: float = 0.0) -> int:
    """A writer that dies after it was promised something; its clock may run ahead."""
    hlc = cluster.store()._storer._writer.hlc
    place, ballot = cluster.place(name), hlc.next(from_seconds(cluster.clock.now() + ahead_s))
    for number in numbers:
        target = place.replicas[number].target
        members = members_of(target.partition, place.replicas)
        await cluster.ask(number, Prepare(target, place.hash, place.name, ballot, members))
    return ballot


def meanwhile(node: Node, kind: type[Message], work: Callable[[], Awaitable[object]], times: int = 1) -> None:
    """Have something happen before the next such request is carried out at a node."""
    handler, left = node.dispatcher.handlers[kind], [times]

    async def handle(request: Message, context: object) -> Message:
        if left[0]:
            left[0] -= 1
            await work()
        return await handler(request, context)

    node.dispatcher.handlers[kind] = handle


def between(cluster: Cluster, kind: type[Message], work: Callable[[], Awaitable[object]]) -> None:
    """Have something happen after the first replica carried out such a request, and before the two others do."""
    over = asyncio.Event()

    async def happen() -> None:
        await work()
        over.set()

    meanwhile(cluster.nodes[1], kind, happen)
    meanwhile(cluster.nodes[2], kind, over.wait)


async def promises(cluster: Cluster) -> list[Path]:
    await asyncio.sleep(0.1)  # they are given back, and their files removed, behind the answer
    return [path for node in cluster.nodes for path in node.root.glob("promises/*")]
