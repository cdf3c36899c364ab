"""A few storage nodes with an account server and a container server each, called in process."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Literal

from objstore.account.server import AccountServer
from objstore.container.server import ContainerServer
from objstore.formats.messages import (
    Address,
    ContainerPage,
    IndexTarget,
    Kind,
    ListTable,
    MergeObjectRows,
    Message,
    ObjectPage,
    Query,
    Ready,
    StatTable,
    TableInfo,
    TableWritten,
    Target,
    WriteTable,
)
from objstore.model.rows import ObjectRow
from objstore.model.timestamps import from_seconds
from objstore.rpc.interface import CallContext, Dispatcher, Exchange, PeerUnavailable
from objstore.tables.device import TableDevice
from tests.unit.objstore.tables.rig import ManualClock, device_at

ACCOUNT = "/acc"
CONTAINER = "/acc/con"


def hash_of(name: str) -> bytes:
    return hashlib.md5(name.encode()).digest()


class Nobody:
    """A caller that holds no lease."""

    alive = True
    revoked = 0

    async def call(self, request: Message, *, timeout_s: float) -> Message:
        self.revoked += 1
        return Ready()


class Wire:
    """Caller between the nodes; `down` addresses do not answer, `calls` counts those that do."""

    def __init__(self) -> None:
        self.nodes: dict[Address, Dispatcher] = {}
        self.down: set[Address] = set()
        self.calls: list[Message] = []

    async def call(self, address: Address, request: Message, *, timeout_s: float, txn: str = "") -> Message:
        await asyncio.sleep(0)
        if address in self.down:
            raise PeerUnavailable(f"{address} is down")
        self.calls.append(request)
        return await self.nodes[address].handlers[type(request)](request, CallContext(txn, timeout_s, Nobody()))

    async def open(self, address: Address, request: Message, *, timeout_s: float, txn: str = "") -> Exchange:
        raise PeerUnavailable("no streams here")


class Node:
    """One storage node with one device."""

    def __init__(self, number: int, device: TableDevice, wire: Wire, clock: ManualClock) -> None:
        self.address = Address("127.0.0.1", 6000 + number)
        self.device = device
        self.target = Target("d1", 3)
        self.peer = Nobody()
        self.dispatcher = Dispatcher()
        self.account = AccountServer({"d1": device}, wire, clock)
        self.container = ContainerServer({"d1": device}, wire, clock)
        self.account.register(self.dispatcher)
        self.container.register(self.dispatcher)
        wire.nodes[self.address] = self.dispatcher

    async def ask(self, request: Message, peer: Any = None) -> Any:
        return await self.dispatcher.handlers[type(request)](request, CallContext("txn", 0.0, peer or self.peer))

    async def write(
        self,
        action: Literal["create", "update", "delete"],
        second: float,
        name: str = CONTAINER,
        *,
        parent: "Node | None" = None,
        peer: Any = None,
        **fields: Any,
    ) -> TableWritten:
        kind: Kind = "container" if name.count("/") == 2 else "account"
        where = parent.index(name.rpartition("/")[0]) if parent is not None else None
        request = WriteTable(kind, self.target, hash_of(name), name, from_seconds(second), action, parent=where, **fields)
        reply: TableWritten = await self.ask(request, peer)
        return reply

    def index(self, name: str) -> IndexTarget:
        """This node as the one that holds `name`."""
        return IndexTarget(self.address.ip, self.address.port, "d1", 3, hash_of(name))

    async def stat(self, name: str = CONTAINER, *, lease: bool = False, peer: Any = None) -> TableInfo:
        kind: Kind = "container" if name.count("/") == 2 else "account"
        info: TableInfo = await self.ask(StatTable(kind, self.target, hash_of(name), name, lease), peer)
        return info

    async def page(self, name: str = CONTAINER, query: Query | None = None, **fields: Any) -> ObjectPage | ContainerPage:
        kind: Kind = "container" if name.count("/") == 2 else "account"
        request = ListTable(kind, self.target, hash_of(name), name, query or Query(1000), **fields)
        page: ObjectPage | ContainerPage = await self.ask(request)
        return page

    async def merge(self, *rows: ObjectRow, name: str = CONTAINER, **fields: Any) -> None:
        assert await self.ask(MergeObjectRows(self.target, hash_of(name), name, list(rows), **fields)) == Ready()


class Rig:
    def __init__(self, nodes: list[Node], wire: Wire, clock: ManualClock) -> None:
        self.nodes = nodes
        self.wire = wire
        self.clock = clock


@asynccontextmanager
async def rig_at(root: Path, count: int = 2) -> AsyncIterator[Rig]:
    wire, clock = Wire(), ManualClock()
    async with AsyncExitStack() as stack:
        nodes = []
        for number in range(count):
            path = root / f"n{number}"
            path.mkdir(exist_ok=True)
            nodes.append(Node(number, await stack.enter_async_context(device_at(path)), wire, clock))
        yield Rig(nodes, wire, clock)
