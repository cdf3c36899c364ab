"""What it costs to keep replicas of databases equal: comparing them, sending rows, sending whole databases, auditing.

    python -m bench.replicas [--dir DIR] [--databases 2000] [--rows 200000]

Two nodes in one process, on a real disk, messages passed without a network; CPU is that of both together, all threads.
"""

import argparse
import random
import resource
import shutil
import tempfile
import time
from array import array
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import uvloop

from objstore.container.server import ContainerServer
from objstore.container.store import OBJECT_ROWS
from objstore.formats.messages import Address, Message
from objstore.model.rows import ObjectRow
from objstore.model.timestamps import from_seconds
from objstore.placement.places import Placement, Rings
from objstore.rpc.interface import Dispatcher, Exchange
from objstore.rpc.local import LocalFirst
from objstore.runtime.clock import SystemClock
from objstore.runtime.crashpoints import NoCrashPoints
from objstore.runtime.disk import RealDisk
from objstore.runtime.filesystem import RealFileSystem
from objstore.runtime.knobs import Knobs
from objstore.tables.auditor import examine
from objstore.tables.device import TableDevice
from objstore.tables.operations import Merge
from objstore.tables.place import Place
from objstore.tables.upkeep import Upkeep, UpkeepSettings
from ring.device import Device
from ring.fileformat import RingTable
from ring.hashing import hash_path, partition_of
from ring.ring import Ring

PART_SHIFT = 24
BATCH_ROWS = 500


def place_of(name: str) -> Place:
    hash_ = hash_path(b"", b"", *name[1:].split("/"))
    return Place(OBJECT_ROWS, partition_of(hash_, PART_SHIFT), hash_)


class Wire:
    """Caller to both nodes."""

    def __init__(self, clock: SystemClock) -> None:
        self.locals: dict[Address, LocalFirst] = {}
        self._clock = clock

    def add(self, address: Address, dispatcher: Dispatcher) -> None:
        self.locals[address] = LocalFirst({address}, dispatcher, self, self._clock)

    async def call(self, address: Address, request: Message, *, timeout_s: float, txn: str = "") -> Message:
        return await self.locals[address].call(address, request, timeout_s=timeout_s, txn=txn)

    async def open(self, address: Address, request: Message, *, timeout_s: float, txn: str = "") -> Exchange:
        return await self.locals[address].open(address, request, timeout_s=timeout_s, txn=txn)


class Node:
    def __init__(self, number: int, root: Path, rings: Rings, wire: Wire, clock: SystemClock, whole_rows_min: int) -> None:
        root.mkdir()
        self.address = Address("127.0.0.1", 6000 + number)
        self.disk = RealDisk("d1", RealFileSystem(str(root)), knobs=Knobs(reserve_bytes_min=1, reserve_percent=0.0))
        self.device = TableDevice("d1", str(root), self.disk, clock, crash=NoCrashPoints())
        self.device.start()
        dispatcher = Dispatcher()
        settings = UpkeepSettings(Placement(rings), frozenset({self.address}), whole_rows_min=whole_rows_min)
        self.server = ContainerServer({"d1": self.device}, wire, clock, settings)
        self.server.register(dispatcher)
        wire.add(self.address, dispatcher)

    @property
    def upkeep(self) -> Upkeep:
        assert self.server.upkeep is not None
        return self.server.upkeep

    async def fill(self, name: str, rows: list[ObjectRow]) -> None:
        for start in range(0, len(rows), BATCH_ROWS):
            await self.device.apply(place_of(name), Merge(name, rows[start : start + BATCH_ROWS]))

    async def close(self) -> None:
        await self.device.stop()
        await self.disk.close()


def cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


async def timed(what: str, count: int, unit: str, work: Callable[[], Awaitable[dict[str, int]]]) -> dict[str, int]:
    started, cpu = time.perf_counter(), cpu_s()
    figures = await work()
    cpu, wall = cpu_s() - cpu, time.perf_counter() - started
    print(f"{what:56} {cpu / count * 1e6:9.1f} µs CPU   {wall / count * 1e6:9.1f} µs wall   per {unit}")
    return figures


def rings() -> Rings:
    devices = tuple(Device(i, 1, i + 1, "127.0.0.1", 6000 + i, "d1", 100.0) for i in range(2))
    parts = 1 << (32 - PART_SHIFT)
    ring = Ring(RingTable(devices, tuple(array("H", [i] * parts) for i in range(2)), PART_SHIFT, 1))
    return Rings(ring, ring, {})


def rows_of(count: int, second: float) -> list[ObjectRow]:
    rng, at = random.Random(1), from_seconds(second)
    return [
        ObjectRow(f"{rng.getrandbits(64):016x}/{i}", at, False, 4096, "d41d8cd98f00b204e9800998ecf8427e", "image/jpeg", at, at)
        for i in range(count)
    ]


def pair(root: Path, whole_rows_min: int) -> list[Node]:
    root.mkdir()
    clock, both = SystemClock(), rings()
    wire = Wire(clock)
    return [Node(number, root / str(number), both, wire, clock, whole_rows_min) for number in range(2)]


async def many(root: Path, databases: int) -> None:
    nodes = pair(root, 1 << 60)
    (row,) = rows_of(1, 1)
    for number in range(databases):
        await nodes[0].fill(f"/a/c{number}", [row])
    first = nodes[0].upkeep
    await timed("pass, every database missing on the other", databases, "database", first.replicator.run_once)
    figures = await timed("pass, all equal", databases, "database", first.replicator.run_once)
    assert figures["in_sync"] == databases, figures
    await timed("audit", databases, "database", first.auditor.run_once)
    for node in nodes:
        await node.close()


async def large(root: Path, count: int, whole: bool) -> None:
    nodes = pair(root, 1000 if whole else 1 << 60)
    rows = rows_of(count, 1)
    await nodes[0].fill("/a/c", rows)
    await nodes[1].fill("/a/c", rows[: count // 100])
    what = "whole, into one that has a hundredth" if whole else "in messages"
    figures = await timed(f"{count} rows, {what}", count, "row", nodes[0].upkeep.replicator.run_once)
    assert figures["transferred"] == whole, figures
    assert (await nodes[0].upkeep.replicator.run_once())["in_sync"] == 1
    if whole:
        database = await nodes[0].device.opened(place_of("/a/c"), "/a/c")
        assert database is not None

        async def look() -> dict[str, int]:
            await nodes[0].device.read(place_of("/a/c"), database, partial(examine, place_of("/a/c")))
            return {}

        await timed(f"audit of {count} rows, not against objects", count, "row", look)
    for node in nodes:
        await node.close()


async def measure(root: Path, databases: int, rows: int) -> None:
    await many(root / "many", databases)
    await large(root / "rows", rows, whole=False)
    await large(root / "whole", rows, whole=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="What it costs to keep replicas of databases equal.")
    parser.add_argument("--dir", help="where to put the databases (default: a temporary directory)")
    parser.add_argument("--databases", type=int, default=2000)
    parser.add_argument("--rows", type=int, default=200_000)
    options = parser.parse_args()
    directory = tempfile.mkdtemp(prefix="replicas-", dir=options.dir)
    try:
        uvloop.run(measure(Path(directory), options.databases, options.rows))
    finally:
        shutil.rmtree(directory)


if __name__ == "__main__":
    main()
