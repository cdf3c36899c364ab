"""What a signature costs: 4 KiB GET and PUT through S3, signed, beside the same through Swift with a token, in turn.

    python -m bench.signed [--pairs 10] [--seconds 1.0] [--checksum]

CPU is that of all server processes together. Each pair is two slices, one after the other on the same cluster; the figure that
counts is the median of the ratios of the pairs. The requests are signed before a slice begins, as botocore does: payload hash, date
and host in the header. With `--checksum` a PUT carries a CRC32 as well, as SDKs of 2025 send it.
"""

import argparse
import asyncio
import base64
import os
import statistics
import zlib

import uvloop
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from bench.cluster import Cluster, running
from bench.load import run
from bench.main import SMALL, Requests, authenticate

KEYS = 2000
BUCKET = "bench"
SIGNED_MAX = 4000
"""Requests made beforehand; a slice goes around them."""


class Signed:
    """Builds the raw requests of S3."""

    def __init__(self, port: int, body: bytes, checksum: bool) -> None:
        self._port = port
        self._body = body
        self._signer = S3SigV4Auth(Credentials("test:tester", "testing"), "s3", "us-east-1")
        self._more = {"x-amz-sdk-checksum-algorithm": "CRC32"} if checksum else {}
        if checksum:
            self._more["x-amz-checksum-crc32"] = base64.b64encode(zlib.crc32(body).to_bytes(4, "big")).decode()

    def make(self, method: str, key: str) -> bytes:
        body, headers = (self._body, self._more) if method == "PUT" else (b"", {})
        host = f"127.0.0.1:{self._port}"
        request = AWSRequest(method, f"http://{host}/{BUCKET}/{key}", headers={"Host": host, **headers}, data=body)
        request.context["payload_signing_enabled"] = True
        self._signer.add_auth(request)
        lines = [f"{method} /{BUCKET}/{key} HTTP/1.1", *(f"{name}: {value}" for name, value in request.headers.items())]
        if method == "PUT":
            lines.append(f"Content-Length: {len(body)}")
        return "\r\n".join([*lines, "", ""]).encode() + body


def slice_(cluster: Cluster, requests: list[bytes], expected: int, args: argparse.Namespace) -> float:
    """CPU µs per request of one slice. Raises SystemExit when answers are not what they must be."""
    before = cluster.cpu_s()
    result = asyncio.run(run(cluster.port, lambda n: requests[n % len(requests)], args.connections, args.seconds, 1_000_000))
    if set(result.statuses) != {expected}:
        raise SystemExit(f"answers {result.statuses}, expected only {expected}")
    return (cluster.cpu_s() - before) / result.requests * 1e6


def compare(cluster: Cluster, method: str, token: Requests, signed: Signed, args: argparse.Namespace) -> None:
    """Print both medians and the median of the ratios."""
    keys = [f"object-{number % KEYS:07d}" for number in range(SIGNED_MAX)]
    body = token.body if method == "PUT" else None
    plain = [token.make(method, f"/{BUCKET}/{key}", body) for key in keys]
    ratios: list[float] = []
    figures: tuple[list[float], list[float]] = ([], [])
    for turn in range(args.pairs):
        ours = [signed.make(method, key) for key in keys]  # signed now: a signature is good for 15 minutes
        sides = ((plain, 201 if method == "PUT" else 200), (ours, 200))
        order = (0, 1) if turn % 2 == 0 else (1, 0)
        pair = {side: slice_(cluster, *sides[side], args) for side in order}
        for side, value in pair.items():
            figures[side].append(value)
        ratios.append(pair[1] / pair[0])
    swift, s3 = (statistics.median(side) for side in figures)
    low, high = min(ratios), max(ratios)
    print(
        f"{method} 4 KiB   token {swift:6.0f} µs   signed {s3:6.0f} µs   ratio {statistics.median(ratios):.2f}"
        f"   ({low:.2f} to {high:.2f} in {len(ratios)} pairs)",
        flush=True,
    )


def main() -> None:
    """Parse, start the cluster, measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--checksum", action="store_true")
    args = parser.parse_args()
    uvloop.install()
    with running() as cluster:
        token = Requests(*authenticate(cluster))
        signed = Signed(cluster.port, os.urandom(SMALL), args.checksum)
        asyncio.run(run(cluster.port, lambda _: token.make("PUT", f"/{BUCKET}", b""), 1, 10, 1))
        asyncio.run(run(cluster.port, token.put, args.connections, 60, KEYS))
        for method in ("GET", "PUT"):
            compare(cluster, method, token, signed, args)


if __name__ == "__main__":
    main()
