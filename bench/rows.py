"""What rows cost: merging them, listing them, looking at a container. Real databases on a real disk.

    python bench/rows.py [--dir DIR] [--rows 100000]

CPU is user + system time of the whole process, all threads. `near` names come almost in order, as uploads of a directory do;
`random` names hit a page of their own each, which is the dearest there is.
"""

import argparse
import asyncio
import hashlib
import random
import resource
import shutil
import tempfile
import time
from collections.abc import Awaitable, Callable

import uvloop

from objstore.container.server import ContainerServer
from objstore.formats.messages import ListTable, MergeObjectRows, Message, Query, StatTable, Target
from objstore.model.rows import ObjectRow
from objstore.model.timestamps import from_seconds
from objstore.rpc.interface import CallContext, Dispatcher
from objstore.rpc.local import LocalFirst, LocalPeer
from objstore.runtime.clock import SystemClock
from objstore.runtime.crashpoints import NoCrashPoints
from objstore.runtime.disk import RealDisk
from objstore.runtime.filesystem import RealFileSystem
from objstore.tables.device import TableDevice

TARGET = Target("d1", 1)
GROUP_ROWS = 50
CALLS_AT_ONCE = 16


def hash_of(name: str) -> bytes:
    return hashlib.md5(name.encode()).digest()


def row(name: str, second: float) -> ObjectRow:
    timestamp = from_seconds(second)
    return ObjectRow(name, timestamp, False, 4096, "d41d8cd98f00b204e9800998ecf8427e", "image/jpeg", timestamp, timestamp)


def cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


async def timed(what: str, count: int, unit: str, work: Callable[[], Awaitable[None]]) -> None:
    started, cpu = time.perf_counter(), cpu_s()
    await work()
    cpu, wall = cpu_s() - cpu, time.perf_counter() - started
    print(f"{what:48} {cpu / count * 1e6:9.1f} µs CPU   {wall / count * 1e6:9.1f} µs wall   per {unit}")


class Bench:
    def __init__(self, dispatcher: Dispatcher) -> None:
        self._handlers = dispatcher.handlers
        self._context = CallContext("bench", 0.0, LocalPeer(dispatcher, SystemClock()))

    async def ask(self, request: Message) -> Message:
        return await self._handlers[type(request)](request, self._context)

    async def fill(self, name: str, names: list[str], second: float, group: int, at_once: int) -> None:
        """Merge rows in messages of `group`, `at_once` of them under way."""
        messages = iter(
            [
                MergeObjectRows(TARGET, hash_of(name), name, [row(n, second) for n in names[start : start + group]])
                for start in range(0, len(names), group)
            ]
        )

        async def client() -> None:
            for message in messages:
                await self.ask(message)

        await asyncio.gather(*(client() for _ in range(at_once)))

    async def list_pages(self, name: str, count: int, query: Query, digest_only: bool = False) -> None:
        for _ in range(count):
            await self.ask(ListTable("container", TARGET, hash_of(name), name, query, digest_only))

    async def stat(self, name: str, count: int) -> None:
        for _ in range(count):
            await self.ask(StatTable("container", TARGET, hash_of(name), name, True))


async def measure(directory: str, rows: int) -> None:
    disk = RealDisk("d1", RealFileSystem(directory))
    clock = SystemClock()
    device = TableDevice("d1", directory, disk, clock, crash=NoCrashPoints())
    device.start()
    dispatcher = Dispatcher()
    server = ContainerServer({"d1": device}, LocalFirst(set(), dispatcher, None, clock), clock)  # type: ignore[arg-type]
    server.register(dispatcher)
    bench = Bench(dispatcher)
    rng = random.Random(1)
    near = [f"photos/2024/img{i:07d}.jpg" for i in range(rows)]
    for start in range(0, rows, 1000):
        part = near[start : start + 1000]
        rng.shuffle(part)
        near[start : start + 1000] = part
    scattered = [f"{rng.getrandbits(64):016x}/{i}" for i in range(rows)]
    print(f"rows: {rows}, in messages of {GROUP_ROWS}, one at a time, unless said otherwise")
    await timed("merge, near names, new", rows, "row", lambda: bench.fill("/a/near", near, 1, GROUP_ROWS, 1))
    await timed("merge, near names, overwritten", rows, "row", lambda: bench.fill("/a/near", near, 2, GROUP_ROWS, 1))
    await timed("merge, near names, told again", rows, "row", lambda: bench.fill("/a/near", near, 2, GROUP_ROWS, 1))
    await timed("merge, random names, new", rows, "row", lambda: bench.fill("/a/random", scattered, 1, GROUP_ROWS, 1))
    few = rows // 10
    for at_once in (1, CALLS_AT_ONCE, 4 * CALLS_AT_ONCE):
        await timed(
            f"merge, messages of one row, {at_once} at once",
            few,
            "row",
            lambda at_once=at_once: bench.fill(f"/a/one{at_once}", near[:few], 1, 1, at_once),
        )
    for name in ("near", "random"):
        what = f"page of 1,000 of {rows} rows, {name}"
        await timed(what, 200, "page", lambda n=name: bench.list_pages(f"/a/{n}", 200, Query(1000)))
    await timed("digest of 1,000 rows", 200, "page", lambda: bench.list_pages("/a/near", 200, Query(1000), True))
    await timed("page of 10,000 rows", 20, "page", lambda: bench.list_pages("/a/near", 20, Query(10_000)))
    await timed("page of 100 rows", 1000, "page", lambda: bench.list_pages("/a/near", 1000, Query(100)))
    folded = Query(1000, delimiter="/")
    await timed("page of 1,000 folded directories", 20, "page", lambda: bench.list_pages("/a/random", 20, folded))
    await timed("stat with a lease", 50_000, "stat", lambda: bench.stat("/a/near", 50_000))
    await device.stop()
    await disk.close()


def main() -> None:
    parser = argparse.ArgumentParser(description="What rows cost.")
    parser.add_argument("--dir", help="where to put the databases (default: a temporary directory)")
    parser.add_argument("--rows", type=int, default=100_000)
    options = parser.parse_args()
    directory = tempfile.mkdtemp(prefix="rows-", dir=options.dir)
    try:
        uvloop.run(measure(directory, options.rows))
    finally:
        shutil.rmtree(directory)


if __name__ == "__main__":
    main()
