"""Counts the calls of single requests, one after the other, to a small cluster whose background jobs stand still."""

import asyncio
from collections import Counter, defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import count
from typing import Literal

from bench.inside import Inside, inside
from bench.profile.categories import place
from objstore.app.rings import load_rings
from objstore.app.ringwatch import placement_rings
from objstore.formats.messages import MergeObjectRows
from objstore.model.names import ObjectName
from objstore.model.rows import ObjectRow
from objstore.model.timestamps import from_seconds
from objstore.placement.places import Placement
from objstore.testing.cluster import Cluster
from objstore.testing.layout import Settings
from objstore.testing.rawhttp import Connection

ACCOUNT = "AUTH_test"
BODY = b"x" * 4096
LISTED = 1000
PART_POWER = 2
IN_EACH_PARTITION = 2
"""So many objects of each partition are asked for in a stretch: all stretches are the same work, by local and remote calls."""
OBJECTS = IN_EACH_PARTITION * 2**PART_POWER
LISTS = 2
POLL_S, REST_CALLS = 0.03, 60
"""What an answer leaves behind, a third replica's row above all, is done when all processes make fewer calls in this time."""
STILL: Settings = {"cluster": {"ring_check_interval_s": 3600.0}}
"""Else a cluster under test looks for new rings five times a second."""
SYNCS = ("fsync", "fdatasync", "syncfs", "sync_file_range")
LIBRARIES, ALL, SYNCED = "libraries", "all", "syncs"
STAMP = from_seconds(1_700_000_000.0)


@dataclass(frozen=True, slots=True, order=True)
class Call:
    """A function was called, if `callee` is ""; or it called one in C or of a library. `file` as the profile's rules know it."""

    file: str
    function: str
    callee: str = ""

    @property
    def part(self) -> str:
        """The package of the store, or libraries."""
        parts = self.file.split("/")
        return "/".join(parts[: 2 if parts[0] == "objstore" else 1]) if parts[0] in ("objstore", "ring") else LIBRARIES


Calls = dict[Call, float]
"""Per request."""


@dataclass(frozen=True, slots=True)
class Kind:
    """Requests to count: of new objects, or of those that were put last, or, where they are deleted, put just before."""

    method: str
    expected: int
    of: Literal["new", "last", "put before", "list"]


KINDS = {
    "PUT": Kind("PUT", 201, "new"),
    "GET": Kind("GET", 200, "last"),
    "HEAD": Kind("HEAD", 200, "last"),
    f"list {LISTED:,}": Kind("GET", 200, "list"),
    "DELETE": Kind("DELETE", 204, "put before"),
}


class Counting:
    """A cluster under count."""

    def __init__(self, cluster: Cluster, inside: Inside) -> None:
        config = cluster.config(cluster.nodes[0])
        self._placement = Placement(placement_rings(config, load_rings(config)))
        self._client = cluster._life.client
        self._inside = inside
        self._pids = [cluster.pid(name) for name in (*cluster.proxies, *cluster.nodes)]
        self._connection = Connection(cluster.endpoint)
        self._headers = {"X-Auth-Token": cluster.token}
        self._names = map(str, count())
        self._last: list[str] = []

    async def fill(self) -> None:
        """Two containers; one gets rows without objects, which play no part in a listing."""
        for container in ("counted", "listed"):
            await self._ask("PUT", container, 201)
        where = self._placement.container(ACCOUNT, "listed")
        rows = [
            ObjectRow(f"name-{n:05d}", STAMP, False, 4096, "d41d8cd98f00b204e9800998ecf8427e", "image/jpeg", STAMP, STAMP)
            for n in range(LISTED)
        ]
        for address, target in where.replicas:
            await self._client.call(address, MergeObjectRows(target, where.hash, where.name, rows), timeout_s=60.0)
        for kind in KINDS.values():  # every process meets every other, and every partition is written to
            await self.of(kind)

    async def _ask(self, method: str, target: str, expected: int, body: bytes = b"") -> None:
        """Raises SystemExit for another answer than the expected one."""
        answer = await self._connection.request(method, f"/v1/{ACCOUNT}/{target}", self._headers, body)
        if answer.status != expected:
            raise SystemExit(f"{method} {target}: answer {answer.words}, expected {expected}")

    def _objects(self) -> list[str]:
        """New names, as many from each partition."""
        found: dict[int, list[str]] = defaultdict(list)
        while sum(map(len, found.values())) < OBJECTS:
            name = next(self._names)
            place = self._placement.object(ObjectName(ACCOUNT, "counted", name), 0)
            of_partition = found[place.replicas[0].target.partition]
            if len(of_partition) < IN_EACH_PARTITION:
                of_partition.append(name)
        return [f"counted/{name}" for names in zip(*found.values(), strict=True) for name in names]

    def _since(self) -> Counter[Call]:
        """What all processes called since this was asked last."""
        counts: Counter[Call] = Counter()
        for pid in self._pids:
            for file, function, callee, calls in self._inside.ask(pid, "counts"):
                counts[Call(place(file), function, callee)] += calls
        return counts

    async def _rest(self) -> Counter[Call]:
        """Until nothing is left to do; what was called since this was waited for last."""
        counts = self._since()
        while True:
            await asyncio.sleep(POLL_S)
            more = self._since()
            counts.update(more)
            if more.total() < REST_CALLS:
                return counts

    async def of(self, kind: Kind) -> Calls:
        """Calls per request of a stretch, of all processes."""
        if kind.of == "put before":
            await self.of(KINDS["PUT"])
        elif kind.of == "new":
            self._last = self._objects()
        targets = [f"listed?format=json&limit={LISTED}"] * LISTS if kind.of == "list" else self._last
        for container in ("counted", "listed"):
            await self._ask("HEAD", f"{container}/nothing", 404)  # leases are renewed now, not while calls are counted
        await self._rest()
        for target in targets:
            await self._ask(kind.method, target, kind.expected, BODY if kind.method == "PUT" else b"")
        return {call: calls / len(targets) for call, calls in (await self._rest()).items()}

    async def close(self) -> None:
        self._connection.close()


@asynccontextmanager
async def counting() -> AsyncIterator[Counting]:
    """Four nodes and a proxy."""
    with inside("counter") as measured:
        cluster = Cluster(
            devices=1,
            part_power=PART_POWER,
            network_faults=False,
            disk_faults=False,
            settings=STILL,
            environment=measured.environment,
        )
        async with cluster:
            one = Counting(cluster, measured)
            await one.fill()
            yield one
            await one.close()


def by_part(calls: Calls) -> dict[str, float]:
    """Calls per request by package, all of them, and among them the syncs of files and directories."""
    found: dict[str, float] = defaultdict(float)
    for call, times in calls.items():
        for part in (call.part, ALL, *([SYNCED] if call.callee in SYNCS else [])):
            found[part] += times
    return {part: round(times, 1) for part, times in sorted(found.items()) if times >= 0.05}
