"""Listings of a large bucket through S3: pages of 1,000 at its beginning and at its end, and common prefixes.

    python -m bench.listing [--objects 1000000] [--pages 15]

The rows are merged into the container's replicas as replication does it (the objects themselves play no part in a listing):
`flat/00000000` ... and, once more as many, 100,000 prefixes `deep/00000/` with ten objects each. CPU is that of all servers.
"""

import argparse
import asyncio
import os
import statistics
from urllib.parse import urlencode

import uvloop
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from bench.cluster import CLOCK_TICKS_PER_S
from objstore.app.rings import load_rings
from objstore.app.ringwatch import placement_rings
from objstore.formats.messages import MergeObjectRows
from objstore.model.rows import ObjectRow
from objstore.model.timestamps import from_seconds
from objstore.placement.places import Placement
from objstore.testing.cluster import Cluster
from objstore.testing.rawhttp import Answer, Connection

GROUP_ROWS = 2000
PREFIXES = 100_000
UNDER_EACH = 10
STAMP = from_seconds(1_700_000_000.0)


def names(objects: int) -> "list[str]":
    """All names, in order."""
    deep = [f"deep/{prefix:05d}/{number}" for prefix in range(PREFIXES) for number in range(UNDER_EACH)]
    return deep + [f"flat/{number:08d}" for number in range(objects)]


async def fill(cluster: Cluster, all_names: list[str]) -> None:
    """Merge a row for each name into every replica of the container."""
    config = cluster.config(cluster.nodes[0])
    place = Placement(placement_rings(config, load_rings(config))).container("AUTH_test", "large")
    client = cluster._life.client
    for start in range(0, len(all_names), GROUP_ROWS):
        rows = [
            ObjectRow(name, STAMP, False, 4096, "d41d8cd98f00b204e9800998ecf8427e", "image/jpeg", STAMP, STAMP)
            for name in all_names[start : start + GROUP_ROWS]
        ]
        calls = [
            client.call(address, MergeObjectRows(target, place.hash, place.name, rows), timeout_s=60.0)
            for address, target in place.replicas
        ]
        await asyncio.gather(*calls)
        if start // GROUP_ROWS % 50 == 0:
            print(f"\r{start:,} of {len(all_names):,} rows", end="", flush=True)
    print(f"\r{len(all_names):,} rows in three replicas")


class Lister:
    """Asks for pages, and counts what they cost."""

    def __init__(self, cluster: Cluster) -> None:
        self._connection = Connection(cluster.endpoint)
        self._endpoint = cluster.endpoint
        self._pids = [cluster.pid(node) for node in [*cluster.nodes, *cluster.proxies]]
        self._signer = S3SigV4Auth(Credentials("test:tester", "testing"), "s3", "us-east-1")

    def cpu_s(self) -> float:
        ticks = 0
        for pid in self._pids:
            with open(f"/proc/{pid}/stat") as file:
                fields = file.read().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
        return ticks / CLOCK_TICKS_PER_S

    async def page(self, **query: str) -> Answer:
        url = f"{self._endpoint}/large?{urlencode({'list-type': '2', **query})}"
        request = AWSRequest("GET", url)  # the connection sends the Host field
        self._signer.add_auth(request)
        answer = await self._connection.request("GET", url.removeprefix(self._endpoint), dict(request.headers.items()))
        if answer.status != 200:
            raise SystemExit(f"{url}: {answer.words} {answer.body.decode()[:300]}")
        return answer

    async def measure(self, what: str, pages: int, expected: int, queries: list[dict[str, str]]) -> list[float]:
        """CPU ms of each of the queries, asked in turn, `pages` times each ten in a row."""
        costs: list[list[float]] = [[] for _ in queries]
        for _ in range(pages):
            for cost, query in zip(costs, queries, strict=True):
                before = self.cpu_s()
                for _ in range(10):
                    answer = await self.page(**query)
                cost.append((self.cpu_s() - before) * 100)
                found = answer.body.count(b"<Key>") + answer.body.count(b"<CommonPrefixes>")
                if found != expected:
                    raise SystemExit(f"{what}: {found} entries, expected {expected}")
        return [statistics.median(cost) for cost in costs]


async def measured(args: argparse.Namespace) -> None:
    async with Cluster(nodes=4, devices=1, network_faults=False, disk_faults=False) as cluster:
        await asyncio.to_thread(cluster.swift().put_container, "large")
        await fill(cluster, names(args.objects))
        lister, last = Lister(cluster), args.objects - 1001
        flat = [{"prefix": "flat/"}, {"prefix": "flat/", "start-after": f"flat/{last:08d}"}]
        begin, end = await lister.measure("pages", args.pages, 1000, flat)
        print(f"a page of 1,000 of {args.objects:,}: at the beginning {begin:.1f} CPU ms, at the end {end:.1f}: {end / begin:.2f}")
        deep = [
            {"prefix": "deep/", "delimiter": "/"},
            {"prefix": "deep/", "delimiter": "/", "start-after": f"deep/{PREFIXES - 1001:05d}/~"},
            {"delimiter": "/"},
        ]
        first, final = await lister.measure("prefixes", args.pages, 1000, deep[:2])
        (top,) = await lister.measure("top", args.pages, 2, deep[2:])
        print(f"a page of 1,000 of {PREFIXES:,} common prefixes: {first:.1f} CPU ms, at the end {final:.1f}")
        print(f"the two prefixes above {args.objects + PREFIXES * UNDER_EACH:,} objects: {top:.2f} CPU ms")


def main() -> None:
    """Parse, measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--objects", type=int, default=1_000_000)
    parser.add_argument("--pages", type=int, default=15)
    args = parser.parse_args()
    os.environ.setdefault("PYTHONDONTWRITEBYTECODE", "1")
    uvloop.install()
    asyncio.run(measured(args))


if __name__ == "__main__":
    main()
