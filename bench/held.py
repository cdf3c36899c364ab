"""Load held while a node is killed, then paused: latencies and errors before, during and after, at a steady number of clients.

python -m bench.held [--seconds 10] [--connections 16]
"""

import argparse
import asyncio
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

from bench.load import Result, run
from objstore.testing.cluster import Cluster

BODY = b"x" * 4096
NAMES = 2000
FAILED_FROM = 500


@dataclass(slots=True)
class Phase:
    """What clients saw in one phase, by method."""

    name: str
    results: dict[str, Result]

    def lines(self) -> list[str]:
        found = []
        for method, result in self.results.items():
            p50, p99, worst = (result.percentile(share) * 1000 for share in (0.5, 0.99, 1.0))
            failed = sum(count for status, count in result.statuses.items() if status >= FAILED_FROM or status < 200)
            rate = result.rate
            found.append(
                f"{self.name:<22} {method:<4} {rate:7.0f}/s  p50 {p50:6.1f} ms  p99 {p99:7.1f} ms  max {worst:7.1f} ms"
                f"  requests {result.requests:6d}  failed {failed}"
            )
        return found

    def p99_ms(self, method: str) -> float:
        return self.results[method].percentile(0.99) * 1000

    @property
    def failed(self) -> int:
        return sum(
            count
            for result in self.results.values()
            for status, count in result.statuses.items()
            if status >= FAILED_FROM or status < 200
        )


class Load:
    """Half of the connections write, half read what was written before the first phase."""

    def __init__(self, cluster: Cluster, connections: int) -> None:
        self._port = urlsplit(cluster.endpoint).port or 0
        self._path = urlsplit(cluster.storage_url).path
        self._head = f"Host: 127.0.0.1\r\nX-Auth-Token: {cluster.token}\r\n"
        self._connections = connections
        self._written = 0

    def _put(self, number: int) -> bytes:
        name = f"{self._path}/held/o{(self._written + number) % NAMES}"
        return f"PUT {name} HTTP/1.1\r\n{self._head}Content-Length: {len(BODY)}\r\n\r\n".encode() + BODY

    def _get(self, number: int) -> bytes:
        return f"GET {self._path}/held/o{number % NAMES} HTTP/1.1\r\n{self._head}\r\n".encode()

    async def fill(self) -> None:
        """Make the container and every name once."""
        make = f"PUT {self._path}/held HTTP/1.1\r\n{self._head}Content-Length: 0\r\n\r\n".encode()
        await run(self._port, lambda _: make, 1, 10.0, 1)
        await run(self._port, self._put, self._connections, 120.0, NAMES)

    async def phase(self, name: str, seconds: float) -> Phase:
        half = max(1, self._connections // 2)
        put, get = await asyncio.gather(run(self._port, self._put, half, seconds), run(self._port, self._get, half, seconds))
        self._written += put.requests
        return Phase(name, {"PUT": put, "GET": get})


async def measure(seconds: float, connections: int, say: Callable[[str], None]) -> list[Phase]:
    """All phases in order; each is told as soon as it is over."""
    phases = []
    async with Cluster(nodes=4, devices=1, network_faults=False, daemons=True) as cluster:
        load = Load(cluster, connections)
        await load.fill()

        async def phase(name: str, length: float = seconds) -> None:
            phases.append(await load.phase(name, length))
            for line in phases[-1].lines():
                say(line)

        await phase("quiet")
        killing = asyncio.create_task(_after(1.0, cluster.kill("node2")))
        await phase("node killed after 1 s")
        await killing
        restarting = asyncio.create_task(_after(1.0, cluster.restart("node2")))
        await phase("back after 1 s")
        await restarting
        await phase("quiet again")
        pausing = asyncio.create_task(_after(1.0, cluster.pause("node3")))
        await phase("node paused after 1 s")
        await pausing
        resuming = asyncio.create_task(_after(1.0, cluster.resume("node3")))
        await phase("resumed after 1 s")
        await resuming
    return phases


async def _after(seconds: float, work: "asyncio.Future[None] | object") -> None:
    await asyncio.sleep(seconds)
    await work  # type: ignore[misc]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.held", description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("--seconds", type=float, default=10.0, help="length of each phase")
    parser.add_argument("--connections", type=int, default=16)
    options = parser.parse_args()
    started = time.monotonic()
    phases = asyncio.run(measure(options.seconds, options.connections, print))
    quiet, paused = phases[0], phases[4]
    failed = sum(phase.failed for phase in phases)
    more_ms = paused.p99_ms("PUT") - quiet.p99_ms("PUT")
    print(f"failed requests {failed}; PUT p99 with a node paused: quiet {quiet.p99_ms('PUT'):.0f} ms {more_ms:+.0f} ms")
    print(f"{time.monotonic() - started:.0f} s")
    return 0 if not failed and more_ms <= 500 else 1


if __name__ == "__main__":
    sys.exit(main())
