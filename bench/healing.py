"""Healing: how long until three good copies stand again after a lost device, and after a flipped bit; what a pass costs when
there is nothing to do.

    python -m bench.healing [--objects 10000] [--daemons]

Without --daemons the passes of the object-replicator follow each other at once, so that the figures are those of the work itself.
With --daemons they come as configured (every 30 s), as in production.
"""

import argparse
import asyncio
import glob
import os
import shutil
import sys
import time
from urllib.parse import urlsplit

from bench.load import run
from objstore.app.identity import cluster_fingerprint
from objstore.runtime.device import init_device
from objstore.runtime.rng import SystemRng
from objstore.testing.cluster import Cluster
from objstore.testing.holdings import Replica

BODY_BYTES = 4096
CONNECTIONS = 32
LIMIT_S = 300.0
POLL_S = 0.25
REPLICAS = 3
DEVICE = "d1"
LOST = "node2"


class Healing:
    """One cluster with `objects` objects in one container."""

    def __init__(self, cluster: Cluster, objects: int, daemons: bool) -> None:
        self._cluster = cluster
        self._objects = objects
        self._daemons = daemons
        self._path = urlsplit(cluster.storage_url).path
        self._head = f"Host: 127.0.0.1\r\nX-Auth-Token: {cluster.token}\r\n"

    async def fill(self) -> None:
        """Store the objects; each body is another one."""
        port = urlsplit(self._cluster.endpoint).port or 0
        make = f"PUT {self._path}/healing HTTP/1.1\r\n{self._head}Content-Length: 0\r\n\r\n".encode()
        await run(port, lambda _: make, 1, 10.0, 1)

        def put(number: int) -> bytes:
            body = number.to_bytes(8, "big") * (BODY_BYTES // 8)
            name = f"{self._path}/healing/o{number}"
            return f"PUT {name} HTTP/1.1\r\n{self._head}Content-Length: {len(body)}\r\n\r\n".encode() + body

        stored = await run(port, put, CONNECTIONS, LIMIT_S, self._objects)
        print(f"stored {stored.requests} objects in {stored.seconds:.0f} s, statuses {stored.statuses}")
        await self._until(lambda: self.copies() == REPLICAS * self._objects, "every copy is there")

    def copies(self) -> int:
        """Object files of the container on all devices."""
        return sum(
            len(glob.glob("objects/*/*.data", root_dir=self._cluster.device_path(node, DEVICE))) for node in self._cluster.nodes
        )

    async def _until(self, condition: "object", what: str) -> float:
        started = time.monotonic()
        while not condition():  # type: ignore[operator]
            if time.monotonic() - started > LIMIT_S:
                raise SystemExit(f"not within {LIMIT_S:.0f} s: {what}")
            if not self._daemons:
                await self._cluster.run_daemons("object-replicator")
            else:
                await asyncio.sleep(POLL_S)
        return time.monotonic() - started

    async def nothing_to_do(self) -> None:
        """A pass over replicas that are equal, the second of two so that everything is known already."""
        await self._cluster.run_daemons("object-replicator")
        await asyncio.sleep(2.5)  # directories changed a moment ago are listed again
        await self._cluster.run_daemons("object-replicator")
        cpu, started = self._cpu_s(), time.monotonic()
        passes = await self._cluster.run_daemons("object-replicator")
        took, cpu = time.monotonic() - started, self._cpu_s() - cpu
        partitions = sum(figures["object-replicator"]["partitions"] for figures in passes.values())
        in_sync = sum(figures["object-replicator"]["in_sync"] for figures in passes.values())
        print(
            f"nothing to do: a pass of all nodes over {partitions} partitions ({in_sync} in sync, {self.copies()} files): "
            f"{took * 1000:.0f} ms, {cpu * 1000:.0f} ms of CPU, no object opened"
        )

    def _cpu_s(self) -> float:
        ticks = 0
        for node in self._cluster.nodes:
            with open(f"/proc/{self._cluster.pid(node)}/stat") as file:
                fields = file.read().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")

    async def lost_device(self) -> None:
        """The disk of one node is replaced by an empty one."""
        cluster, path = self._cluster, self._cluster.device_path(LOST, DEVICE)
        await cluster.kill(LOST)
        shutil.rmtree(path)
        init_device(path, cluster_fingerprint(cluster.config(LOST)).hex(), DEVICE, SystemRng())
        missing = REPLICAS * self._objects - self.copies()
        await cluster.restart(LOST)
        cpu = self._cpu_s()
        took = await self._until(lambda: self.copies() >= REPLICAS * self._objects, "three copies of everything")
        cpu = self._cpu_s() - cpu
        print(
            f"lost device: {missing} copies of {self._objects} objects missing; three copies of all after {took:.1f} s "
            f"({missing / took:.0f} objects/s, {cpu / missing * 1e6:.0f} µs of CPU each)"
        )

    async def flipped_bits(self, count: int = 20) -> None:
        """One bit of one replica turns over; the object is read until the damage is met."""
        times = []
        for number in range(count):
            name = f"healing/o{number}"
            damaged = self._cluster.corrupt(name, number % REPLICAS)
            body = number.to_bytes(8, "big") * (BODY_BYTES // 8)
            started = time.monotonic()
            while True:
                if await asyncio.to_thread(self._read, name) != body:
                    raise SystemExit(f"{name}: a wrong byte was served")
                good = [one for one in self._cluster.replicas(name) if one.md5 == damaged.md5]
                if self._quarantined(damaged) and len(good) == REPLICAS:
                    break
                if time.monotonic() - started > LIMIT_S:
                    raise SystemExit(f"{name} was not repaired")
            times.append(time.monotonic() - started)
        times.sort()
        print(
            f"flipped bit: {count} of {count} repaired, no wrong byte served; from the flip, read again and again, to quarantine "
            f"and three good copies: median {times[count // 2] * 1000:.0f} ms, longest {times[-1] * 1000:.0f} ms"
        )

    def _read(self, name: str) -> bytes:
        container, _, object_ = name.partition("/")
        _, body = self._cluster.swift().get_object(container, object_)
        return bytes(body)

    def _quarantined(self, damaged: Replica) -> bool:
        file = os.path.basename(damaged.path)
        return os.path.exists(os.path.join(self._cluster.device_path(damaged.node, DEVICE), "quarantine", file, file))


async def measure(objects: int, daemons: bool) -> None:
    async with Cluster(nodes=4, devices=1, part_power=8, network_faults=False, daemons=daemons) as cluster:
        healing = Healing(cluster, objects, daemons)
        await healing.fill()
        await healing.nothing_to_do()
        await healing.lost_device()
        await healing.flipped_bits()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.healing", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--objects", type=int, default=10_000)
    parser.add_argument("--daemons", action="store_true", help="passes at their configured intervals")
    options = parser.parse_args()
    asyncio.run(measure(options.objects, options.daemons))
    return 0


if __name__ == "__main__":
    sys.exit(main())
