"""`make contended`: a steady load of GETs and PUTs of 4 KiB, quiet, and beside what may hold it up: a hot container, a hot object,
a slow device, a replicator with nothing to do, one that fills a replaced device, auditors.

    python -m bench.contended [--seconds 6] [--connections 16] [--rounds 3] [--objects 20000] [--only slow,auditor]

Each contention stands between two quiet runs, to which it is compared: a shared machine is not the same for long. Requests during
which a probe of the disk stalled are left out. Background jobs run where they are named and not otherwise.
"""

import argparse
import asyncio
import random
import shutil
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import uvloop

from bench.load import Connection, connect, drive
from bench.main import Requests
from bench.probe import Stalls, probing
from bench.steady import Taken
from objstore.app.identity import cluster_fingerprint
from objstore.runtime.device import init_device
from objstore.runtime.rng import SystemRng
from objstore.testing.cluster import Cluster

CONTAINERS = 64
HOT_OBJECTS = 1000
FILL_LIMIT_S = 300.0
PASS_LIMIT_S = 300.0
NODE, DEVICE = "node2", "d1"
SLOW_S = 0.075
SLOW_CALLS = ("sync", "sync_directory", "sync_all", "pread")
KINDS = {"GET": 200, "PUT": 201}
RATIO_MAX = 2.0
BACK_S = 2.0

Name = Callable[[], str]
"""The next object of the load, as "/container/object"."""


def percentile(times: list[float], share: float) -> float:
    """Of sorted times."""
    return times[min(len(times) - 1, int(share * len(times)))]


def said(counts: Counter[str]) -> str:
    """In short."""
    return ", ".join(f"{count} {what}" for what, count in counts.items()) or "none"


@dataclass(slots=True)
class Phase:
    """What clients saw in one phase."""

    taken: dict[str, Taken] = field(default_factory=lambda: {kind: Taken() for kind in KINDS})
    failed: Counter[str] = field(default_factory=Counter)
    """By kind and status."""
    seconds: float = 0.0

    def line(self, stalls: Stalls) -> str:
        """All of it in short."""
        parts = []
        for kind, taken in self.taken.items():
            if times := taken.outside(stalls):
                p50, p99 = percentile(times, 0.5) * 1e3, percentile(times, 0.99) * 1e3
                parts.append(f"{kind} {len(taken.seconds) / self.seconds:.0f}/s p50 {p50:.1f} p99 {p99:.1f} ms")
        return f"{', '.join(parts)}; failed {said(self.failed)}; {self.seconds:.1f} s"


class Foreground:
    """GETs and PUTs in equal parts, one in flight on each connection."""

    def __init__(self, requests: Requests, connections: list[Connection], objects: int) -> None:
        self.requests = requests
        self.connections = connections
        self._objects = objects
        self._random = random.Random(1)

    async def fill(self) -> None:
        """All containers, all objects."""
        make, body = self.requests.make, self.requests.body
        containers = [f"/c{number:02d}" for number in range(CONTAINERS)] + ["/hot"]
        await drive(self.connections, lambda n: make("PUT", containers[n], b""), FILL_LIMIT_S, len(containers))
        await drive(self.connections, lambda n: make("PUT", f"/hot/o{n}", body), FILL_LIMIT_S, HOT_OBJECTS)
        await drive(self.connections, lambda n: make("PUT", self._name(n), body), FILL_LIMIT_S, self._objects)

    def _name(self, number: int) -> str:
        return f"/c{number % CONTAINERS:02d}/o{number}"

    def spread(self) -> str:
        """Any object of any container."""
        return self._name(self._random.randrange(self._objects))

    def hot_container(self) -> str:
        """Any object of one container."""
        return f"/hot/o{self._random.randrange(HOT_OBJECTS)}"

    def hot_object(self) -> str:
        """Always the same."""
        return "/hot/o0"

    async def run(self, name: Name, seconds: float, beside: "asyncio.Task[None] | None" = None) -> Phase:
        """For so long, and until what runs beside it has ended."""
        phase, begun = Phase(), time.monotonic()
        make, body, coin = self.requests.make, self.requests.body, self._random

        async def client(connection: Connection) -> None:
            while (at := time.monotonic()) - begun < seconds or (beside is not None and not beside.done()):
                kind = coin.choice(("GET", "PUT"))
                status = await connection.send(make(kind, name(), body if kind == "PUT" else None))
                if status != KINDS[kind]:
                    phase.failed[f"{kind} {status}"] += 1
                    continue
                phase.taken[kind].starts.append(at)
                phase.taken[kind].seconds.append(time.monotonic() - at)

        async with asyncio.TaskGroup() as group:
            for connection in self.connections:
                group.create_task(client(connection))
        phase.seconds = time.monotonic() - begun
        return phase


class Contentions:
    """What may hold the load up, by name."""

    def __init__(self, cluster: Cluster, load: Foreground, seconds: float) -> None:
        self._cluster = cluster
        self._load = load
        self._seconds = seconds
        self.all = {
            "hot container": lambda: load.run(load.hot_container, seconds),
            "hot object": lambda: load.run(load.hot_object, seconds),
            "slow device": self._slow_device,
            "replicator, nothing to do": lambda: self._passes("object-replicator", "container-replicator", "account-replicator"),
            "replicator, fills a device": self._replaced_device,
            "auditors": lambda: self._passes("object-auditor", "container-auditor", "account-auditor"),
        }

    async def quiet(self) -> Phase:
        """Nothing beside it."""
        return await self._load.run(self._load.spread, self._seconds)

    async def _slow_device(self) -> Phase:
        async with self._slow():
            return await self.quiet()

    @asynccontextmanager
    async def _slow(self) -> AsyncIterator[None]:
        """What is synced or read there takes longer, until all that waits there is done."""
        for operation in SLOW_CALLS:
            await self._cluster.slow_disk(NODE, DEVICE, SLOW_S, operation)
        try:
            yield
        finally:
            await self._cluster.heal_disk(NODE, DEVICE)
            await asyncio.sleep(1.0)

    async def _passes(self, *jobs: str) -> Phase:
        """Pass after pass on all nodes."""
        end = time.monotonic() + self._seconds

        async def again() -> None:
            while time.monotonic() < end:
                await asyncio.gather(*(self._cluster.run_daemons(job, timeout_s=PASS_LIMIT_S) for job in jobs))

        return await self._load.run(self._load.spread, self._seconds, asyncio.create_task(again()))

    async def _replaced_device(self) -> Phase:
        """A node comes back with an empty device, and one pass of all replicators fills it."""
        cluster, path = self._cluster, self._cluster.device_path(NODE, DEVICE)
        await cluster.kill(NODE)
        shutil.rmtree(path)
        init_device(path, cluster_fingerprint(cluster.config(NODE)).hex(), DEVICE, SystemRng())
        await cluster.restart(NODE)
        await self._load.run(self._load.spread, BACK_S)  # that it was away is not what is measured
        return await self._passes("object-replicator", "container-replicator", "account-replicator")


@dataclass(slots=True)
class Figures:
    """Of one kind of request beside one contention, round by round: seconds, and how many times the quiet p99."""

    p50: list[float] = field(default_factory=list)
    p99: list[float] = field(default_factory=list)
    ratio: list[float] = field(default_factory=list)

    def cells(self) -> str:
        """p50, p99, ratio: medians of the rounds."""
        p50, p99, ratio = map(statistics.median, (self.p50, self.p99, self.ratio))
        return f"{p50 * 1e3:.1f} ms | {p99 * 1e3:.1f} ms | {ratio:.2f}"


class Table:
    """All rounds."""

    def __init__(self) -> None:
        self._figures: dict[str, dict[str, Figures]] = {}
        self._left_out: dict[str, int] = {}
        self._requests: dict[str, int] = {}
        self._failed: dict[str, Counter[str]] = {}

    def add(self, phases: list[tuple[str, Phase]], stalls: Stalls) -> None:
        """One round."""
        for place, (name, phase) in enumerate(phases):
            around = [one for quiet, one in phases[max(0, place - 1) : place + 2] if quiet == "quiet"]
            by_kind = self._figures.setdefault(name, {kind: Figures() for kind in KINDS})
            for kind, taken in phase.taken.items():
                times = taken.outside(stalls)
                self._requests[name] = self._requests.get(name, 0) + len(taken.seconds)
                self._left_out[name] = self._left_out.get(name, 0) + len(taken.seconds) - len(times)
                quiet = sorted(time for one in around for time in one.taken[kind].outside(stalls))
                if times and quiet:
                    figures, p99 = by_kind[kind], percentile(times, 0.99)
                    figures.p50.append(percentile(times, 0.5))
                    figures.p99.append(p99)
                    figures.ratio.append(p99 / percentile(quiet, 0.99))
            self._failed.setdefault(name, Counter()).update(phase.failed)

    def lines(self) -> list[str]:
        """As markdown."""
        head = ["beside"] + [f"{kind} {what}" for kind in KINDS for what in ("p50", "p99", "times quiet")]
        found = [" | ".join(head), " | ".join("---" for _ in head)]
        found += [f"{name} | " + " | ".join(one.cells() for one in by_kind.values()) for name, by_kind in self._figures.items()]
        return [f"| {line} |" for line in found] + [
            f"{name}: {count:,} requests, {self._left_out[name]:,} left out for stalls, failed: {said(self._failed[name])}"
            for name, count in self._requests.items()
        ]

    def too_slow(self) -> list[str]:
        """What is not within RATIO_MAX of quiet."""
        return [
            f"{name}: {kind}"
            for name, by_kind in self._figures.items()
            for kind, figures in by_kind.items()
            if statistics.median(figures.ratio) > RATIO_MAX
        ]


async def measure(args: argparse.Namespace) -> Table:
    """Over one cluster. Its files are removed here: there are too many for the harness, which waits only so long."""
    table = Table()
    with tempfile.TemporaryDirectory(prefix="objstore-bench-") as directory:
        async with Cluster(nodes=4, devices=1, part_power=8, network_faults=False, directory=directory) as cluster:
            await rounds(cluster, args, table)
    return table


async def rounds(cluster: Cluster, args: argparse.Namespace, table: Table) -> None:
    """Fill the cluster, then one round after the other."""
    requests = Requests(cluster.token, urlsplit(cluster.storage_url).path)
    load = Foreground(requests, await connect(urlsplit(cluster.endpoint).port or 0, args.connections), args.objects)
    await load.fill()
    contentions = Contentions(cluster, load, args.seconds)
    wanted = args.only.split(",")
    for number in range(args.rounds):
        phases = []
        with probing(Path(cluster.directory)) as stalls:
            phases.append(("quiet", await contentions.quiet()))
            for name, run in contentions.all.items():
                if any(one in name for one in wanted):
                    phases += [(name, await run()), ("quiet", await contentions.quiet())]
        table.add(phases, stalls)
        for name, phase in phases:
            print(f"round {number + 1}: {name}: {phase.line(stalls)}", file=sys.stderr, flush=True)
    print("\n".join(table.lines()), flush=True)


def main() -> int:
    """Parse, start the cluster, measure; 1 when a p99 is not within twice the quiet one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=6.0, help="of each phase; with background jobs until their pass has ended")
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--objects", type=int, default=20_000)
    parser.add_argument("--only", default="", help="parts of the names of contentions, by commas")
    args = parser.parse_args()
    slow = uvloop.run(measure(args)).too_slow()
    print(f"not within {RATIO_MAX:g} times of quiet: {', '.join(slow) or 'nothing'}")
    return 1 if slow else 0


if __name__ == "__main__":
    sys.exit(main())
