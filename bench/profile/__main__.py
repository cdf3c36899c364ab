"""`make profile`: where the CPU time of a request goes, by part of the store, for PUT, GET, HEAD and DELETE of 4 KiB objects and
for lists of 1,000 names.

A cluster of its own (4 storage nodes, 3 replicas, fsync on, one proxy worker) is loaded in slices of time, every second of which
is sampled. Totals are what the kernel says that each thread used in the slices without sampling; samples say only how a thread's
total is split. So the parts sum to what was measured.
"""

import argparse
import asyncio
from collections.abc import Callable
from dataclasses import dataclass

import uvloop

from bench.cluster import running
from bench.inside import inside
from bench.load import run
from bench.main import Requests, authenticate
from bench.profile.measuring import Spending, Watched
from bench.profile.report import show, write

CONNECTIONS = 16
TURNS = 2
FILL = 2000
FILL_TIMEOUT_S = 120


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of request. `once`: each number can be used once, and there are `count` of them."""

    name: str
    make: Callable[[int], bytes]
    expected: int
    once: bool = False
    count: int = 10**7


class Profile:
    """One cluster, one kind of request after the other."""

    def __init__(self, port: int, watched: Watched, seconds: float) -> None:
        self._port, self._watched = port, watched
        self._slice_s = seconds / TURNS / 2

    def measure(self, kind: Kind) -> Spending:
        """All slices of one kind. Raises SystemExit when an answer is not what it must be."""
        spending, used_up = Spending(), 0
        for turn in range(2 * TURNS):
            sampled = turn % 2 == 1
            limit = (kind.count - used_up) // (2 * TURNS - turn) if kind.once else kind.count
            self._watched.sampling(sampled)
            before = self._watched.used()
            first = used_up if kind.once else 0
            result = asyncio.run(run(self._port, lambda n, first=first: kind.make(first + n), CONNECTIONS, self._slice_s, limit))
            used = self._watched.used().since(before)
            used_up += result.requests
            if set(result.statuses) != {kind.expected}:
                raise SystemExit(f"{kind.name}: answers {result.statuses}, expected only {kind.expected}")
            print(
                f"{kind.name:10} {turn + 1}/{2 * TURNS} {'sampled' if sampled else 'plain':8}{result.rate:7.0f} req/s "
                f"{sum(used.threads.values()) / result.requests * 1e6:7.0f} CPU µs/request",
                flush=True,
            )
            if sampled:
                spending.sampled_requests += result.requests
                spending.sampled_used.add(used)
                for group, counts in self._watched.samples().items():
                    spending.seen[group].update(counts)
            else:
                spending.requests += result.requests
                spending.used.add(used)
        self.used_up = used_up
        return spending


def fill(port: int, requests: Requests) -> None:
    """Two containers, the one with names to list, the other with objects to read."""
    for path in ("/bench", "/listing"):
        asyncio.run(run(port, lambda _n, path=path: requests.make("PUT", path, b""), 1, FILL_TIMEOUT_S, 1))
    asyncio.run(run(port, lambda n: requests.make("PUT", f"/listing/name-{n:05d}", b""), CONNECTIONS, FILL_TIMEOUT_S, 1000))
    asyncio.run(run(port, lambda n: requests.make("PUT", f"/bench/warm-{n:07d}", requests.body), CONNECTIONS, FILL_TIMEOUT_S, FILL))


def profile(seconds: float) -> dict[str, Spending]:
    """Kind of request -> where it spends."""
    with inside("sampler") as measured, running(environment=measured.environment) as cluster:
        requests = Requests(*authenticate(cluster))
        print("4 nodes, 3 replicas, fsync on, 1 proxy worker, 16 connections; filling", flush=True)
        fill(cluster.port, requests)
        one = Profile(cluster.port, Watched(cluster, measured), seconds)
        found = {"PUT": one.measure(Kind("PUT", requests.put, 201, once=True))}
        made = one.used_up

        def of_object(method: str) -> Callable[[int], bytes]:
            return lambda n: requests.make(method, f"/bench/object-{n % made:07d}")

        found["GET"] = one.measure(Kind("GET", of_object("GET"), 200))
        found["HEAD"] = one.measure(Kind("HEAD", of_object("HEAD"), 200))
        found["DELETE"] = one.measure(Kind("DELETE", of_object("DELETE"), 204, once=True, count=made))
        listed = Kind("list", lambda _n: requests.make("GET", "/listing?format=json"), 200)
        found["list 1,000"] = one.measure(listed)
        return found


def main() -> None:
    """Parse, measure, show."""
    parser = argparse.ArgumentParser(
        prog="bench.profile", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=12.0, help="of load for each kind of request, half of it sampled")
    parser.add_argument("--quick", action="store_true", help="2 s of each: shows that it works; figures mean little")
    parser.add_argument("--functions", type=int, default=0, help="also print so many of the dearest functions of each kind")
    parser.add_argument("--write-docs", action="store_true", help="put the table into docs/performance.md")
    args = parser.parse_args()
    seconds = 2.0 if args.quick else args.seconds
    uvloop.install()
    found = profile(seconds)
    show(found, args.functions)
    if args.write_docs:
        write(found, seconds)


if __name__ == "__main__":
    main()
