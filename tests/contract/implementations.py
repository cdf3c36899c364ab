"""What each contract suite runs against. A new implementation of a seam adds one entry here and passes the suite as it is."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from pathlib import Path

from objstore.formats.messages import Address
from objstore.rpc.client import RpcClient
from objstore.rpc.interface import Caller, Dispatcher
from objstore.rpc.local import LocalFirst
from objstore.rpc.server import RpcServer
from objstore.runtime.clock import SystemClock
from objstore.runtime.disk import RealDisk
from objstore.runtime.filesystem import RealFileSystem
from objstore.runtime.interface import Clock, Disk, FileSystem
from objstore.runtime.journal import open_journal
from objstore.runtime.knobs import Knobs
from objstore.runtime.rng import SystemRng
from objstore.testing.faultyfs import DiskFaults, FaultyFileSystem
from tests.faults.crashfs import CrashFileSystem

SECRET = b"the secret of the cluster under test"
FINGERPRINT = b"fingerprint"

MakeClock = Callable[[], Clock]
MakeFileSystem = Callable[[Path], FileSystem]
MakeDisk = Callable[[Path], AbstractAsyncContextManager[Disk]]
MakeCaller = Callable[[Dispatcher], AbstractAsyncContextManager[tuple[Caller, Address]]]


def named_temp_files(path: Path) -> FileSystem:
    """The real file system as it is where O_TMPFILE is missing."""
    fs = RealFileSystem(str(path))
    fs.nameless = False
    return fs


@asynccontextmanager
async def real_disk(path: Path, *, journal: bool = False) -> AsyncIterator[Disk]:
    fs = RealFileSystem(str(path))
    disk = RealDisk("sda", fs, journal=open_journal(fs, Knobs(), None) if journal else None)
    yield disk
    await asyncio.wait_for(disk.close(), 5)


@asynccontextmanager
async def sockets(dispatcher: Dispatcher, *, unix: bool) -> AsyncIterator[tuple[Caller, Address]]:
    clock, rng = SystemClock(), SystemRng()
    server = RpcServer(dispatcher, SECRET, "server", FINGERPRINT, clock, rng)
    await server.start("127.0.0.1", 0, unix=unix)
    client = RpcClient(SECRET, "client", FINGERPRINT, clock, rng, dispatcher=dispatcher)
    yield client, Address("127.0.0.1", server.ports[0])
    await asyncio.wait_for(client.close(), 5)
    await asyncio.wait_for(server.stop(1), 5)
    assert client.counters.connections == server.counters.connections == 0
    assert client.counters.in_flight == server.counters.in_flight == 0
    assert client.counters.streams == server.counters.streams == 0


@asynccontextmanager
async def short_cut(dispatcher: Dispatcher) -> AsyncIterator[tuple[Caller, Address]]:
    own = Address("127.0.0.1", 1)
    remote = RpcClient(SECRET, "client", FINGERPRINT, SystemClock(), SystemRng())
    yield LocalFirst({own}, dispatcher, remote, SystemClock()), own
    await remote.close()


CLOCKS: dict[str, MakeClock] = {"system": SystemClock}
FILE_SYSTEMS: dict[str, MakeFileSystem] = {
    "real": lambda path: RealFileSystem(str(path)),
    "real, named temps": named_temp_files,
    "faulty, without faults": lambda path: FaultyFileSystem(RealFileSystem(str(path)), DiskFaults()),
    "crash": lambda _: CrashFileSystem(),
    "crash, named temps": lambda _: CrashFileSystem(nameless=False),
}
DISKS: dict[str, MakeDisk] = {"real": real_disk, "real, with a journal": partial(real_disk, journal=True)}
CALLERS: dict[str, MakeCaller] = {
    "TCP": partial(sockets, unix=False),
    "Unix sockets": partial(sockets, unix=True),
    "in process": short_cut,
}
