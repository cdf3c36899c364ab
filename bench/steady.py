"""`make steady`: how even the answers are, and whether memory grows, over minutes of mixed load beside a probe of the disk.

    python -m bench.steady [--minutes 10] [--connections 64] [--names 20000]

PUTs go round over `--names` names: after a round no more is stored than before, and memory tells what requests leave behind. With
`--names 0` each PUT makes an object that was not there, which nodes remember.

Intervals in which the probe, which writes and syncs 4 KiB in a loop, stalls are left out of the latencies, and printed.
"""

import argparse
import asyncio
import itertools
import random
import sys
import time
from array import array
from dataclasses import dataclass, field

import uvloop

from bench.cluster import Cluster, running
from bench.load import Connection, connect, drive
from bench.main import Requests, authenticate
from bench.probe import Stalls, probing

KEYS = 5000
DELETE_LAG = 3000
WEIGHTS = {"GET": 62, "HEAD": 12, "PUT": 16, "DELETE": 8, "list": 2}
EXPECTED = {"GET": {200}, "HEAD": {200}, "PUT": {201}, "DELETE": {204, 404}, "list": {200, 204}}
MEMORY_AT = (200_000, 1_000_000)
SLOW_S = 1.0
SAY_S = 15.0


@dataclass(slots=True)
class Taken:
    """When requests of one kind began, and how long they took: seconds."""

    starts: "array[float]" = field(default_factory=lambda: array("d"))
    seconds: "array[float]" = field(default_factory=lambda: array("d"))

    def outside(self, stalls: Stalls) -> list[float]:
        """Sorted."""
        return sorted(taken for at, taken in zip(self.starts, self.seconds, strict=True) if not stalls.overlap(at, at + taken))


class Mixed:
    """One run of requests by weight, each kind with its times."""

    def __init__(self, cluster: Cluster, requests: Requests, seed: int, names: int) -> None:
        """`names`: over how many PUTs go, 0 for no end."""
        self.taken = {kind: Taken() for kind in WEIGHTS}
        self.memory: dict[int, int] = {}
        self.done = 0
        self._cluster = cluster
        self._requests = requests
        self._random = random.Random(seed)
        self._new = itertools.count()
        self._gone = itertools.count()
        self._made = 0
        self._names = names

    def _name(self, number: int) -> str:
        return f"new-{number % self._names if self._names else number:08d}"

    def next(self, weights: dict[str, int]) -> tuple[str, bytes]:
        """A kind, and a request of it."""
        (kind,) = self._random.choices(list(weights), list(weights.values()))
        make = self._requests.make
        if kind == "PUT":
            self._made = next(self._new)
            return kind, make("PUT", f"/bench/{self._name(self._made)}", self._requests.body)
        if kind == "DELETE" and self._made > DELETE_LAG:
            return kind, make("DELETE", f"/bench/{self._name(next(self._gone))}")
        if kind == "list":
            return kind, make("GET", f"/bench?limit=100&marker=object-{self._random.randrange(KEYS):07d}")
        kind = "GET" if kind == "DELETE" else kind  # there is nothing to delete yet
        return kind, make(kind, f"/bench/object-{self._random.randrange(KEYS):07d}")

    async def run(self, connections: list[Connection], seconds: float, weights: dict[str, int]) -> None:
        """Raises SystemExit for an unexpected answer."""
        end = time.monotonic() + seconds

        async def client(connection: Connection) -> None:
            while (begun := time.monotonic()) < end:
                kind, request = self.next(weights)
                status = await connection.send(request)
                if status not in EXPECTED[kind]:
                    raise SystemExit(f"{kind}: answer {status}: {request[:80]!r}")
                self.taken[kind].starts.append(begun)
                self.taken[kind].seconds.append(time.monotonic() - begun)
                self.done += 1
                if self.done in MEMORY_AT:
                    self.look_at_memory()

        async with asyncio.TaskGroup() as group:
            saying = group.create_task(self._say())
            clients = [group.create_task(client(connection)) for connection in connections]
            await asyncio.wait(clients)
            saying.cancel()

    def look_at_memory(self) -> None:
        """Of all processes."""
        self.memory[self.done] = sum(now for now, _ in self._cluster.memory_bytes().values())

    async def _say(self) -> None:
        while True:
            await asyncio.sleep(SAY_S)
            print(f"  {self.done:,} requests", file=sys.stderr, flush=True)


def even(title: str, taken: Taken, stalls: Stalls) -> str:
    """One line: p50, p99, their ratio, the longest."""
    times = taken.outside(stalls)
    if not times:
        return f"{title:16} nothing outside stalls"
    p50, p99 = (times[min(len(times) - 1, int(share * len(times)))] for share in (0.5, 0.99))
    slow = sum(one > SLOW_S for one in times)
    return (
        f"{title:16} p50 {p50 * 1e3:7.1f} ms   p99 {p99 * 1e3:7.1f} ms   p99 / p50 {p99 / p50:4.1f}   longest {times[-1]:.3f} s"
        f"   above {SLOW_S:g} s: {slow}   ({len(times):,} of {len(taken.seconds):,} requests)"
    )


def main() -> None:
    """Parse, start the cluster, measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0, help="of mixed load")
    parser.add_argument("--seconds", type=float, default=20.0, help="of GETs alone, and of PUTs alone")
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--names", type=int, default=20_000, help="over how many names PUTs go; 0: each makes a new object")
    args = parser.parse_args()
    uvloop.install()
    with running() as cluster:
        asyncio.run(steady(cluster, args))


async def steady(cluster: Cluster, args: argparse.Namespace) -> None:
    """The three parts."""
    requests = Requests(*authenticate(cluster))
    connections = await connect(cluster.port, args.connections)
    await drive(connections[:1], lambda _n: requests.make("PUT", "/bench", b""), 10, 1)
    await drive(connections, requests.put, 300, KEYS)
    for kind in ("GET", "PUT"):
        mixed = Mixed(cluster, requests, 1, args.names)
        with probing(cluster.data) as stalls:
            await mixed.run(connections, args.seconds, {kind: 1})
        report(f"{kind} alone, {args.connections} connections", stalls, [even(kind, mixed.taken[kind], stalls)])
    mixed = Mixed(cluster, requests, 2, args.names)
    with probing(cluster.data) as stalls:
        await mixed.run(connections, args.minutes * 60, WEIGHTS)
    mixed.look_at_memory()
    found = [even(kind, taken, stalls) for kind, taken in mixed.taken.items()]
    memory = [f"memory after {at:,} requests {size / (1 << 20):.0f} MiB" for at, size in mixed.memory.items()]
    begin, end = min(mixed.memory), max([at for at in mixed.memory if at in MEMORY_AT] or mixed.memory)
    memory.append(f"{mixed.memory[end] / mixed.memory[begin] - 1:+.1%} from request {begin:,} to {end:,}")
    report(f"mixed load of {args.minutes:g} minutes", stalls, [*found, *memory])


def report(name: str, stalls: Stalls, lines: list[str]) -> None:
    """What a part was like, and what the probe saw meanwhile."""
    left_out = sum(end - begun for begun, end in stalls.intervals)
    print(
        f"{name}; probe: median {stalls.median_s * 1e3:.2f} ms, longest {stalls.longest_s * 1e3:.0f} ms, "
        f"{len(stalls.intervals)} stalls, {left_out:.1f} s left out"
    )
    print("\n".join(f"  {line}" for line in lines), flush=True)


if __name__ == "__main__":
    main()
