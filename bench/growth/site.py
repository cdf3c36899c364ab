"""A cluster whose costs are measured at several sizes: no background jobs, no access log, all processes' threads accounted for."""

import asyncio
import os
import statistics
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

from bench.load import Connection, connect, drive
from bench.main import Requests
from objstore.app.rings import load_rings
from objstore.app.ringwatch import placement_rings
from objstore.formats.messages import Message
from objstore.placement.places import Placement, Replica
from objstore.testing.cluster import Cluster
from objstore.testing.layout import Settings

ACCOUNT = "AUTH_test"
CONNECTIONS = 16
SLICES = 3
HOLDS_TRIES = 30
PREPARE_TIMEOUT_S = 7200.0
SETTINGS: Settings = {"log": {"access": False}, "cluster": {"ring_check_interval_s": 5.0}}


class Site:
    """One cluster, and connections to it."""

    def __init__(self, cluster: Cluster, seconds: float) -> None:
        """`seconds` of load for each cost."""
        self._cluster = cluster
        config = cluster.config(cluster.nodes[0])
        self.placement = Placement(placement_rings(config, load_rings(config)))
        self.port = urlsplit(cluster.endpoint).port or 80
        self.requests = Requests(cluster.token, f"/v1/{ACCOUNT}")
        self.proxy_pid = cluster.pid(cluster.proxies[0])
        self._client = cluster._life.client
        self._pids = [cluster.pid(name) for name in (*cluster.proxies, *cluster.nodes)]
        self._seconds = seconds
        self._connections: list[Connection] = []
        self._number = 0

    def number(self) -> int:
        """One that was not used yet, to make new names of."""
        self._number += 1
        return self._number

    def cpu_s(self) -> float:
        """CPU seconds of all threads of all processes."""
        tasks = [task for pid in self._pids for task in Path(f"/proc/{pid}/task").iterdir()]
        return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9

    async def tell(self, replicas: tuple[Replica, ...], message: Callable[[Replica], Message]) -> None:
        """Send each replica its message, as another node would."""
        calls = [self._client.call(one.address, message(one), timeout_s=120.0) for one in replicas]
        await asyncio.gather(*calls)

    async def holds(self, figure: str, count: int, *container: str) -> None:
        """Wait until a HEAD says that the account or container holds so many: at most as long as the proxy's knowledge of them is
        good, some seconds. Raises SystemExit when it does not.
        """
        for _ in range(HOLDS_TRIES):
            swift = self._cluster.swift()
            head = await asyncio.to_thread(swift.head_container if container else swift.head_account, *container)
            swift.close()
            if int(head[figure]) >= count:
                return
            await asyncio.sleep(1.0)
        raise SystemExit(f"{figure} is {head[figure]}, not {count}: the rows did not arrive")

    async def prepare(self, make: Callable[[int], bytes], count: int, connections: int = CONNECTIONS) -> None:
        """So many requests whose cost is not asked for. Raises SystemExit when one fails."""
        result = await drive(await self._ready(connections), make, PREPARE_TIMEOUT_S, count)
        if any(status >= 300 for status in result.statuses):
            raise SystemExit(f"preparing: answers {result.statuses}")

    async def cost_us(self, make: Callable[[], bytes], expected: int, connections: list[Connection] | None = None) -> float:
        """CPU µs per request, all processes: the median of some slices. Raises SystemExit for an unexpected answer."""
        found = []
        chosen = connections or await self._ready(CONNECTIONS)
        for _ in range(SLICES):
            before = self.cpu_s()
            result = await drive(chosen, lambda _n: make(), self._seconds / SLICES)
            found.append((self.cpu_s() - before) / result.requests * 1e6)
            if set(result.statuses) != {expected}:
                raise SystemExit(f"answers {result.statuses}, expected only {expected}: {make()[:80]!r}")
        return statistics.median(found)

    async def _ready(self, connections: int) -> list[Connection]:
        """So many connections, made when they are wanted first. One that the server closed is a defect of the measurement."""
        self._connections += await connect(self.port, connections - len(self._connections))
        return self._connections[:connections]

    def close(self) -> None:
        for connection in self._connections:
            connection.close()


@asynccontextmanager
async def site(seconds: float, *, nodes: int = 4, replicas: int = 3) -> AsyncIterator[Site]:
    """A site of its own. Removing a million files takes longer than a cluster gives itself, so they are removed here."""
    with tempfile.TemporaryDirectory(prefix="growth-") as directory:
        cluster = Cluster(
            nodes,
            devices=1,
            replicas=replicas,
            network_faults=False,
            disk_faults=False,
            settings=SETTINGS,
            directory=os.path.join(directory, "cluster"),
        )
        os.mkdir(cluster.directory)
        async with cluster:
            made = Site(cluster, seconds)
            try:
                yield made
            finally:
                made.close()
