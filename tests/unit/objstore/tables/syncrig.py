"""Several storage nodes in one process, with real databases, a ring, and their replicators."""

import asyncio
import sqlite3
from array import array
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from objstore.account.server import AccountServer
from objstore.account.store import CONTAINER_ROWS
from objstore.container.server import ContainerServer
from objstore.container.store import OBJECT_ROWS
from objstore.formats.messages import Address, Kind, Settings, Target, WriteTable
from objstore.model.rows import ContainerRow, ObjectRow
from objstore.model.timestamps import from_seconds
from objstore.placement.places import Placement, Rings
from objstore.rpc.interface import Dispatcher
from objstore.tables.database import Database
from objstore.tables.device import TableDevice
from objstore.tables.draft import State, figures_of
from objstore.tables.operations import Merge, Write
from objstore.tables.place import Place
from objstore.tables.recount import count
from objstore.tables.scanning import places
from objstore.tables.upkeep import UpkeepSettings
from ring.device import Device
from ring.fileformat import RingTable
from ring.hashing import hash_path, partition_of
from ring.ring import Ring
from tests.unit.objstore.proxy.network import Network
from tests.unit.objstore.tables.rig import ManualClock, device_at

NAME = "/acc/con"
ACCOUNT = "/acc"
PART_POWER = 2

Rows = list[ObjectRow] | list[ContainerRow]


def ring_of(count: int, rows: Sequence[Sequence[int]]) -> Ring:
    """`rows`: per replica the node of each of the four partitions."""
    devices = tuple(Device(i, 1, i + 1, "127.0.0.1", 6000 + i, "d1", 100.0) for i in range(count))
    return Ring(RingTable(devices, tuple(array("H", row) for row in rows), 32 - PART_POWER, 1))


def ring_on(nodes: Sequence[int], count: int) -> Ring:
    """All partitions on these nodes; the others appear in a partition that no name of the tests has."""
    return ring_of(count, [[node] * (1 << PART_POWER) for node in nodes])


class Node:
    """One storage node with one device, `d1`."""

    def __init__(self, number: int, device: TableDevice, rig: "SyncRig") -> None:
        self.number = number
        self.address = Address("127.0.0.1", 6000 + number)
        self.device = device
        self.dispatcher = Dispatcher()
        caller = rig.network.client(f"node{number}", Dispatcher())
        settings = UpkeepSettings(
            Placement(rig.rings), frozenset({self.address}), lambda: rig.horizon, whole_rows_min=rig.whole_rows_min
        )
        self.account = AccountServer({"d1": device}, caller, rig.clock, settings)
        self.container = ContainerServer({"d1": device}, caller, rig.clock, settings)
        self.account.register(self.dispatcher)
        self.container.register(self.dispatcher)
        rig.network.nodes[self.address] = self.dispatcher
        self._rig = rig

    async def replicate(self, kind: Kind = "container") -> dict[str, int]:
        server = self.container if kind == "container" else self.account
        assert server.upkeep is not None
        return await server.upkeep.replicator.run_once()

    async def audit(self, kind: Kind = "container") -> dict[str, int]:
        server = self.container if kind == "container" else self.account
        assert server.upkeep is not None
        return await server.upkeep.auditor.run_once()

    async def merge(self, *rows: Any, name: str = NAME, **fields: Any) -> None:
        await self.device.apply(self._rig.place(name), Merge(name, rows, **fields))

    async def write(self, action: Any, second: float, name: str = NAME, **fields: Any) -> None:
        place = self._rig.place(name)
        target = Target("d1", place.partition)
        request = WriteTable(place.kind.kind, target, place.hash, name, from_seconds(second), action, **fields)
        await self.device.apply(place, Write(request))

    async def database(self, name: str = NAME) -> Database[Any] | None:
        return await self.device.opened(self._rig.place(name), "")

    async def state(self, name: str = NAME) -> State:
        database = await self.database(name)
        assert database is not None
        return database.state

    async def rows(self, name: str = NAME) -> Rows:
        """All rows, deleted ones too; the figures must be theirs."""
        database = await self.database(name)
        if database is None:
            return []
        kind = database.kind
        columns = ", ".join(kind.column_names)

        def read(connection: sqlite3.Connection) -> Rows:
            assert count(connection, kind) == figures_of(database.state)
            assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            found: Rows = kind.unpack(connection.execute(f"SELECT {columns} FROM row ORDER BY name").fetchall())
            return found

        return await self.device.read(self._rig.place(name), database, read)

    async def settings(self, name: str = NAME) -> Settings:
        return (await self.state(name)).settings

    def file(self, name: str = NAME) -> Path:
        return Path(self.device.path_of(self._rig.place(name)))


class SyncRig:
    """`horizon` and `rings` may be changed at any time."""

    def __init__(self, count: int, on: Sequence[int], whole_rows_min: int) -> None:
        self.clock = ManualClock()
        self.network = Network(self.clock)
        self.rings = Rings(ring_on(on, count), ring_on(on, count), {}, b"pre", b"suf")
        self.horizon = 0
        self.whole_rows_min = whole_rows_min
        self.nodes: list[Node] = []

    def place(self, name: str) -> Place:
        parts = name[1:].split("/")
        hash_ = hash_path(b"pre", b"suf", *parts)
        kind: Any = OBJECT_ROWS if len(parts) == 2 else CONTAINER_ROWS
        return Place(kind, partition_of(hash_, 32 - PART_POWER), hash_)

    def move(self, *on: int) -> None:
        """All partitions belong to these nodes from now on."""
        ring = ring_on(on, len(self.nodes))
        self.rings.account = self.rings.container = ring

    def down(self, *numbers: int) -> None:
        for number in numbers:
            self.network.fault(self.nodes[number].address).down = True

    async def replicate(self, *numbers: int, kind: Kind = "container") -> list[dict[str, int]]:
        """One pass of each of these nodes in turn, of all where none is named."""
        return [await self.nodes[number].replicate(kind) for number in numbers or range(len(self.nodes))]

    async def equal(self, *numbers: int, name: str = NAME) -> Rows:
        """These nodes hold the same rows and settings, which are returned."""
        nodes = [self.nodes[number] for number in numbers]
        rows = [await node.rows(name) for node in nodes]
        assert all(found == rows[0] for found in rows)
        settings = [await node.settings(name) for node in nodes]
        assert all(found == settings[0] for found in settings), settings
        states = [await node.state(name) for node in nodes]
        assert len({state.id for state in states}) == len(nodes)
        return rows[0]

    async def databases(self) -> list[int]:
        """How many containers each node has."""
        return [len([place async for place in places(node.device, OBJECT_ROWS)]) for node in self.nodes]


@asynccontextmanager
async def sync_rig(
    root: Path, count: int = 3, on: Sequence[int] = (0, 1, 2), *, whole_rows_min: int = 1000, **options: Any
) -> AsyncIterator[SyncRig]:
    rig = SyncRig(count, on, whole_rows_min)
    async with AsyncExitStack() as stack:
        for number in range(count):
            path = root / f"n{number}"
            path.mkdir(exist_ok=True)
            device = await stack.enter_async_context(device_at(path, **options))
            rig.nodes.append(Node(number, device, rig))
        yield rig
        await asyncio.gather(*rig.network.tasks)
