"""`make bench`: requests per second, latency and CPU µs per request of every server process together.

python -m bench.main [--seconds 5] [--connections 16] [--workers 1] [--big-mib 1024] [--memory-gib 0] [--by-process]
"""

import argparse
import asyncio
import hashlib
import http.client
import os
import time
import urllib.request
from collections.abc import Callable

import uvloop

from bench.cluster import Cluster, running
from bench.load import Result, run

SMALL = 4096
PIECE = 1 << 20


def authenticate(cluster: Cluster) -> tuple[str, str]:
    """(token, path of the account) of the first development user."""
    request = urllib.request.Request(
        f"{cluster.endpoint}/auth/v1.0", headers={"X-Auth-User": "test:tester", "X-Auth-Key": "testing"}
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        return answer.headers["X-Auth-Token"], "/v1/" + answer.headers["X-Storage-Url"].rpartition("/")[2]


class Requests:
    """Builds the raw requests of each kind."""

    def __init__(self, token: str, account: str) -> None:
        self.head = f"Host: 127.0.0.1\r\nX-Auth-Token: {token}\r\n"
        self.account = account
        self.body = os.urandom(SMALL)

    def make(self, method: str, path: str, body: bytes | None = None, extra: str = "") -> bytes:
        length = f"Content-Length: {len(body)}\r\n" if body is not None else ""
        return f"{method} {self.account}{path} HTTP/1.1\r\n{self.head}{extra}{length}\r\n".encode() + (body or b"")

    def put(self, number: int) -> bytes:
        return self.make("PUT", f"/bench/object-{number:07d}", self.body)


def measure(
    cluster: Cluster, name: str, make: Callable[[int], bytes], expected: int, args: argparse.Namespace, count: int
) -> Result:
    """Run one load and print its line. Raises SystemExit when answers are not what they must be."""
    before = cluster.cpu_s()
    result = asyncio.run(run(cluster.port, make, args.connections, args.seconds, count))
    cpu_us = (cluster.cpu_s() - before) / max(1, result.requests) * 1e6
    print(
        f"{name:16} {result.rate:9.0f} req/s   p50 {result.percentile(0.5) * 1e3:7.2f} ms"
        f"   p99 {result.percentile(0.99) * 1e3:7.2f} ms   {cpu_us:8.0f} CPU µs/request   ({result.requests} requests)",
        flush=True,
    )
    if set(result.statuses) != {expected}:
        raise SystemExit(f"{name}: answers {result.statuses}, expected only {expected}")
    return result


def small(cluster: Cluster, requests: Requests, args: argparse.Namespace) -> None:
    """The six small loads, in the order in which each finds what it needs."""
    for path in ("/bench", "/listing"):
        asyncio.run(run(cluster.port, lambda _n, p=path: requests.make("PUT", p, b""), 1, 10, 1))  # type: ignore[misc]
    asyncio.run(run(cluster.port, lambda n: requests.make("PUT", f"/bench/warm-{n}", requests.body), args.connections, 2, 2000))
    made = measure(cluster, "PUT 4 KiB", requests.put, 201, args, 1_000_000).requests
    measure(cluster, "GET 4 KiB", lambda n: requests.make("GET", f"/bench/object-{n % made:07d}"), 200, args, 1_000_000)
    measure(cluster, "HEAD", lambda n: requests.make("HEAD", f"/bench/object-{n % made:07d}"), 200, args, 1_000_000)
    asyncio.run(run(cluster.port, lambda n: requests.make("PUT", f"/listing/name-{n:05d}", b""), args.connections, 60, 1000))
    measure(cluster, "list 1,000", lambda _n: requests.make("GET", "/listing?format=json"), 200, args, 1_000_000)
    measure(cluster, "DELETE", lambda n: requests.make("DELETE", f"/bench/object-{n:07d}"), 204, args, made)


def big(cluster: Cluster, requests: Requests, mib: int, name: str) -> None:
    """One upload and one download; checks the md5, prints MB/s, CPU seconds per GiB and the highest memory of a process."""
    piece = os.urandom(PIECE)
    whole = hashlib.md5()
    headers = {"X-Auth-Token": requests.head.split("X-Auth-Token: ")[1].strip(), "Content-Length": str(mib * PIECE)}
    connection = http.client.HTTPConnection("127.0.0.1", cluster.port, timeout=600)
    before, started = cluster.cpu_s(), time.perf_counter()
    connection.putrequest("PUT", f"{requests.account}/bench/{name}")
    for key, value in headers.items():
        connection.putheader(key, value)
    connection.endheaders()
    for _ in range(mib):
        connection.send(piece)
    answer = connection.getresponse()
    answer.read()
    report(cluster, f"PUT {mib} MiB", answer.status, 201, mib, started, before)
    for _ in range(mib):
        whole.update(piece)
    before, started = cluster.cpu_s(), time.perf_counter()
    connection.request("GET", f"{requests.account}/bench/{name}", headers={"X-Auth-Token": headers["X-Auth-Token"]})
    answer = connection.getresponse()
    read, got = hashlib.md5(), 0
    while data := answer.read(PIECE):
        read.update(data)
        got += len(data)
    report(cluster, f"GET {mib} MiB", answer.status, 200, mib, started, before)
    if got != mib * PIECE or read.hexdigest() != whole.hexdigest():
        raise SystemExit("the download differs from the upload")
    connection.request("DELETE", f"{requests.account}/bench/{name}", headers={"X-Auth-Token": headers["X-Auth-Token"]})
    connection.getresponse().read()
    connection.close()


def report(cluster: Cluster, name: str, status: int, expected: int, mib: int, started: float, cpu_before: float) -> None:
    """Print one line of a big transfer."""
    if status != expected:
        raise SystemExit(f"{name}: answer {status}, expected {expected}")
    seconds = time.perf_counter() - started
    cpu = (cluster.cpu_s() - cpu_before) / (mib / 1024)
    highest = max(high for _, high in cluster.memory_bytes().values()) / (1 << 20)
    print(
        f"{name:16} {mib * PIECE / 1e6 / seconds:9.0f} MB/s    {cpu:8.2f} CPU s/GiB    highest resident memory of a process "
        f"{highest:.0f} MiB",
        flush=True,
    )


def main() -> None:
    """Parse, start the cluster, measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--nodes", type=int, default=4)
    parser.add_argument("--big-mib", type=int, default=1024)
    parser.add_argument("--memory-gib", type=int, default=0, help="also move one object of this size and watch memory")
    parser.add_argument("--by-process", action="store_true", help="print the CPU seconds of each process at the end")
    args = parser.parse_args()
    uvloop.install()
    with running(args.nodes, args.workers) as cluster:
        requests = Requests(*authenticate(cluster))
        print(
            f"{args.nodes} nodes, 3 replicas, fsync on, {args.workers} proxy worker(s), {args.connections} connections", flush=True
        )
        small(cluster, requests, args)
        resident = sum(now for now, _ in cluster.memory_bytes().values()) / (1 << 20)
        print(f"resident memory of all {len(cluster.memory_bytes())} processes: {resident:.0f} MiB", flush=True)
        if args.big_mib:
            big(cluster, requests, args.big_mib, "big")
        if args.memory_gib:
            big(cluster, requests, args.memory_gib * 1024, "huge")
        if args.by_process:
            for title, seconds in cluster.cpu_by_process().items():
                print(f"{seconds:8.2f} CPU s  {title}")


if __name__ == "__main__":
    main()
