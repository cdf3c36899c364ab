"""Costs against clients: connections that all have a request under way, and connections that stand idle beside sixteen that do."""

import asyncio
import resource
from itertools import count
from pathlib import Path

from bench.growth.curves import Curve
from bench.growth.site import Site, site
from bench.growth.stored import READ, reader
from bench.load import connect

DESCRIPTORS_SPARE = 200
IDLE_S = 2.0


def descriptors() -> int:
    """How many connections this process may open, once it has raised its limit as far as it goes."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard - DESCRIPTORS_SPARE


def resident_kib(pid: int) -> int:
    """Of a process."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))


async def by_clients(sizes: list[int], seconds: float) -> Curve:
    """Active ones, then idle ones."""
    curve = Curve("growth-clients", "CPU time per request by clients", "clients", "CPU µs per request")
    most = descriptors()
    if most < sizes[-1]:
        curve.notes.append(f"this machine lets a process open {most:,} connections: larger sizes are left out")
        sizes = [size for size in sizes if size <= most]
    async with site(seconds) as here:
        make, body = here.requests.make, here.requests.body
        await here.prepare(lambda _n: make("PUT", "/large", b""), 1)
        await here.prepare(lambda n: make("PUT", f"/large/read-{n:04d}", body), READ)
        puts = count()
        for size in sizes:
            connections = await connect(here.port, size)
            curve.add("GET, all active", size, await here.cost_us(reader(here, "GET", "/large/read-{:04d}"), 200, connections))
            put = await here.cost_us(lambda: make("PUT", f"/large/new-{next(puts)}", body), 201, connections)
            curve.add("PUT, all active", size, put)
            for connection in connections:
                connection.close()
            await asyncio.sleep(0.5)
            await idle(curve, here, size)
    return curve


async def idle(curve: Curve, here: Site, size: int) -> None:
    """So many that do nothing: what GETs of others cost, what they cost while nobody asks, and the memory they take."""
    before = resident_kib(here.proxy_pid)
    connections = await connect(here.port, size)
    await asyncio.sleep(0.5)
    taken = resident_kib(here.proxy_pid) - before
    curve.add("GET, 16 active beside idle", size, await here.cost_us(reader(here, "GET", "/large/read-{:04d}"), 200))
    used = here.cpu_s()
    await asyncio.sleep(IDLE_S)
    curve.notes.append(
        f"{size:,} idle clients: {(here.cpu_s() - used) / IDLE_S * 1000:.1f} CPU ms per second of all processes while nobody asks, "
        f"{max(0, taken):,} KiB more memory in the proxy"
    )
    for connection in connections:
        connection.close()
    await asyncio.sleep(0.5)
