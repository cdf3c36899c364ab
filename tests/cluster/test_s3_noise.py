"""Noise on the wire (security test S19): whatever comes, the answer is one of S3's or HTTP's, and the processes live on.

`OBJSTORE_S3_NOISE` is how many requests there are, `OBJSTORE_S3_NOISE_S` how long they may take at most, `OBJSTORE_S3_NOISE_SEED`
their seed.
"""

import collections
import os
import socket
import struct
import time
from collections.abc import Iterator

import pytest

from objstore.testing.blocking import BlockingCluster
from tests.cluster.s3noise import Noise, Noisy
from tests.cluster.s3raw import CRC_TRAILER, SIGNED_TRAILER, Answer, Wire, call, encoded, exchange, sign
from tests.faults.figures import Count

REQUESTS = int(os.environ.get("OBJSTORE_S3_NOISE", "1500"))
SECONDS_MAX = float(os.environ.get("OBJSTORE_S3_NOISE_S", "60"))
SEED = int(os.environ.get("OBJSTORE_S3_NOISE_SEED", "19"))
TOLD_EVERY_S = 20.0
PATIENCE_S = 0.3
"""After that the client says that nothing more comes: what it said of its body may be more than it has."""
ANSWER_S = 15.0
SERVER_ERRORS = (501, 503, 507)
GROWTH_BYTES_MAX = 96 * 2**20
"""Of all workers together, once a third of the requests has warmed them up."""


@pytest.fixture(scope="module")
def cluster() -> Iterator[BlockingCluster]:
    with BlockingCluster(nodes=3, devices=1, network_faults=False) as running:
        yield running


def pids(cluster: BlockingCluster) -> list[int]:
    """Of all processes of all nodes, workers included."""
    found = [cluster.pid(name) for name in (*cluster.nodes, *cluster.proxies)]
    for pid in found:
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/children") as children:
                found += [int(child) for child in children.read().split()]
    return found


def rss_bytes(processes: list[int]) -> int:
    total = 0
    for pid in processes:
        with open(f"/proc/{pid}/statm") as statm:
            total += int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return total


def answer_to(endpoint: str, noise: Noise) -> Answer:
    """Status 0 when the server just ends the connection. Raises TimeoutError when it does nothing."""
    with Wire(endpoint, PATIENCE_S) as wire:
        wire.send(noise.data)
        if noise.stops:
            wire.end()
        try:
            return wire.answer(noise.method)
        except TimeoutError:
            wire.socket.settimeout(ANSWER_S)
            wire.end()
            return wire.answer(noise.method)


def check_logs(cluster: BlockingCluster) -> None:
    """No request failed in a way that nobody thought of."""
    for name in (*cluster.nodes, *cluster.proxies):
        log = cluster.logs(name)
        assert "Traceback" not in log and "request failed" not in log, log[log.find("Traceback") - 500 :][:4000]


def test_noise(cluster: BlockingCluster, count: Count) -> None:
    noisy, endpoint = Noisy(cluster.endpoint, SEED), cluster.endpoint
    processes, started = pids(cluster), time.monotonic()
    told, warm, statuses = started, 0, collections.Counter[int]()
    print(f"seed {SEED}, {REQUESTS:,} requests in at most {SECONDS_MAX:.0f} s", flush=True)
    for number in range(REQUESTS):
        if number % 500 == 0:
            for bucket in ("noise-0", "noise-1"):
                call(endpoint, "PUT", f"/{bucket}")
                call(endpoint, "PUT", f"/{bucket}/k", b"body of the noise")
        noise = noisy.next()
        answer = answer_to(endpoint, noise)
        where = f"seed {SEED}, request {number}: {noise!r}: {answer!r}"
        assert answer.status < 500 or answer.status in SERVER_ERRORS, where
        assert b"Traceback" not in answer.body and b'File "' not in answer.body, where
        statuses[answer.status] += 1
        now = time.monotonic()
        if now - told > TOLD_EVERY_S or number + 1 == REQUESTS:
            told = now
            print(f"{number + 1:,} in {now - started:.0f} s, rss {rss_bytes(processes) >> 20} MB {dict(statuses)}", flush=True)
        if not warm and (number >= REQUESTS // 3 or now - started > SECONDS_MAX / 3):
            warm = rss_bytes(processes)
        if now - started > SECONDS_MAX:
            break
    count("S3 noise", requests=statuses.total(), **{f"status_{status}": n for status, n in sorted(statuses.items())})
    assert pids(cluster) == processes, "every process is the one it was"
    assert rss_bytes(processes) - warm < GROWTH_BYTES_MAX
    check_logs(cluster)
    assert statuses.total() >= min(REQUESTS, 1000)
    assert statuses[200] > statuses.total() // 20, "enough of it goes all the way"
    call(endpoint, "PUT", "/noise-0")
    assert call(endpoint, "PUT", "/noise-0/after", b"alive").status == 200
    assert call(endpoint, "GET", "/noise-0/after").body == b"alive"


@pytest.mark.parametrize("mode", [SIGNED_TRAILER, None])
def test_clients_that_leave_at_any_byte(cluster: BlockingCluster, mode: str | None, count: Count) -> None:
    """Without a word, by a reset: nothing is stored, and nobody stumbles."""
    endpoint, body = cluster.endpoint, b"the body of one who leaves"
    call(endpoint, "PUT", "/leaving")
    headers = {"x-amz-decoded-content-length": str(len(body)), "x-amz-trailer": CRC_TRAILER} if mode else {}
    raw = sign(endpoint, "PUT", "/leaving/o", body, headers, payload=mode)
    data = (raw.carrying(b"".join(encoded(raw, mode, [body]))) if mode else raw).wire()
    processes = pids(cluster)
    for at in range(0, len(data), 1 if not mode else 3):
        with Wire(endpoint) as wire:
            wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            wire.send(data[:at])
        count("S3 noise", clients_that_left=1)
    assert call(endpoint, "HEAD", "/leaving/o").status == 404
    assert pids(cluster) == processes
    check_logs(cluster)
    assert exchange(endpoint, data).status == 200
    call(endpoint, "DELETE", "/leaving/o")
