"""Figures of this process, and of all processes of the node together, in Prometheus' text format.

The parts count in plain attributes; `collectors` read them when somebody asks. Every process of a node listens on a Unix socket
in `run_dir` and answers with its families; the worker that serves `/metrics` asks all of them and adds up what has the same name
and labels.
"""

import asyncio
import contextlib
import os
import resource
import socket
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Literal

import msgspec

from objstore.rpc.counters import RpcCounters

LATENCY_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
ASK_TIMEOUT_S = 2.0
ANSWER_BYTES_MAX = 8 << 20
SUFFIX = ".metrics"


class Sample(msgspec.Struct, array_like=True, frozen=True):
    name: str
    labels: dict[str, str]
    value: float


class Family(msgspec.Struct, array_like=True, frozen=True):
    """All samples of one metric. The name of a counter ends in `_total`, as do its samples."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    samples: list[Sample]


Collector = Callable[[], Iterable[Family]]


class Histogram:
    """How often a duration fell into which bucket."""

    __slots__ = ("counts", "sum_s")

    def __init__(self) -> None:
        self.counts = [0] * (len(LATENCY_BUCKETS_S) + 1)
        self.sum_s = 0.0

    def add(self, seconds: float) -> None:
        self.counts[bisect_left(LATENCY_BUCKETS_S, seconds)] += 1
        self.sum_s += seconds

    def samples(self, name: str, labels: dict[str, str]) -> Iterable[Sample]:
        """Buckets are cumulative (Prometheus, "Exposition formats")."""
        running = 0
        for bound, count in zip((*map(str, LATENCY_BUCKETS_S), "+Inf"), self.counts, strict=True):
            running += count
            yield Sample(f"{name}_bucket", {**labels, "le": bound}, running)
        yield Sample(f"{name}_sum", labels, self.sum_s)
        yield Sample(f"{name}_count", labels, running)


class RequestFigures:
    """Clients' requests by operation."""

    def __init__(self) -> None:
        self.codes: Counter[tuple[str, int]] = Counter()
        self.latency: dict[str, Histogram] = {}
        self.bytes_in = 0
        self.bytes_out = 0

    def add(self, operation: str, status: int, seconds: float, bytes_in: int, bytes_out: int) -> None:
        """One request is over. `operation` must come from a closed set."""
        self.codes[operation, status] += 1
        histogram = self.latency.get(operation)
        if histogram is None:
            histogram = self.latency[operation] = Histogram()
        histogram.add(seconds)
        self.bytes_in += bytes_in
        self.bytes_out += bytes_out

    def families(self) -> Iterable[Family]:
        name = "objstore_requests_total"
        samples = [Sample(name, {"operation": op, "code": str(code)}, n) for (op, code), n in self.codes.items()]
        yield Family(name, "counter", "Requests of clients.", samples)
        name = "objstore_request_duration_seconds"
        samples = [s for op, histogram in self.latency.items() for s in histogram.samples(name, {"operation": op})]
        yield Family(name, "histogram", "From the request's head to the last byte of the answer.", samples)
        name = "objstore_request_bytes_total"
        both = (("in", self.bytes_in), ("out", self.bytes_out))
        yield Family(name, "counter", "Bytes of bodies.", [Sample(name, {"direction": d}, n) for d, n in both])


def rpc_families(counters: RpcCounters, side: str) -> Iterable[Family]:
    """`side`: "client" or "server"."""
    at = {"side": side}
    name = "objstore_rpc_calls_total"
    samples = [Sample(name, {**at, "method": method, "code": code}, n) for (method, code), n in counters.calls.items()]
    yield Family(name, "counter", "Calls between nodes that have ended.", samples)
    name = "objstore_rpc_bytes_total"
    both = (("in", counters.bytes_in), ("out", counters.bytes_out))
    yield Family(name, "counter", "Bytes between nodes.", [Sample(name, {**at, "direction": d}, n) for d, n in both])
    for key, help_ in (("connections_made", "Connections made."), ("handshakes_refused", "Peers that failed authentication.")):
        yield counter(f"objstore_rpc_{key}_total", help_, getattr(counters, key), at)
    for key, help_ in (("connections", "Open connections."), ("in_flight", "Calls under way."), ("streams", "Open streams.")):
        yield gauge(f"objstore_rpc_{key}", help_, getattr(counters, key), at)


def process_families(name: str) -> Iterable[Family]:
    """CPU time, memory and open files of this process."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    labels = {"process": name}
    yield counter("objstore_process_cpu_seconds_total", "CPU time, user and system.", usage.ru_utime + usage.ru_stime, labels)
    with open("/proc/self/statm") as file:
        resident = int(file.read().split()[1]) * resource.getpagesize()
    yield gauge("objstore_process_resident_memory_bytes", "Resident memory.", resident, labels)
    yield gauge("objstore_process_open_fds", "Open file descriptors.", len(os.listdir("/proc/self/fd")), labels)


def counter(name: str, help_: str, value: float, labels: dict[str, str]) -> Family:
    """A family of one sample."""
    return Family(name, "counter", help_, [Sample(name, labels, value)])


def gauge(name: str, help_: str, value: float, labels: dict[str, str]) -> Family:
    """A family of one sample."""
    return Family(name, "gauge", help_, [Sample(name, labels, value)])


def merge(parts: Iterable[Iterable[Family]]) -> list[Family]:
    """One family per name; samples with the same name and labels are added up."""
    heads: dict[str, Family] = {}
    values: dict[str, dict[tuple[str, tuple[tuple[str, str], ...]], float]] = {}
    for families in parts:
        for family in families:
            heads.setdefault(family.name, family)
            sums = values.setdefault(family.name, {})
            for sample in family.samples:
                key = (sample.name, tuple(sample.labels.items()))
                sums[key] = sums.get(key, 0) + sample.value
    return [
        Family(name, head.kind, head.help, [Sample(key, dict(labels), value) for (key, labels), value in values[name].items()])
        for name, head in sorted(heads.items())
    ]


def render(families: Iterable[Family]) -> bytes:
    """Prometheus' text format, version 0.0.4."""
    from prometheus_client.exposition import generate_latest
    from prometheus_client.metrics_core import Metric
    from prometheus_client.registry import CollectorRegistry

    class Collected:
        def collect(self) -> Iterable[Metric]:
            for family in families:
                metric = Metric(
                    family.name.removesuffix("_total") if family.kind == "counter" else family.name, family.help, family.kind
                )
                for sample in family.samples:
                    metric.add_sample(sample.name, sample.labels, sample.value)
                yield metric

    registry = CollectorRegistry(auto_describe=False)
    registry.register(Collected())
    return generate_latest(registry)


class MetricsSocket:
    """This process's families for its siblings, and the siblings' for this process."""

    def __init__(self, run_dir: str, name: str, collectors: Iterable[Collector]) -> None:
        self._name = f"{name}.{os.getpid()}{SUFFIX}"
        self._collectors = list(collectors)
        os.makedirs(run_dir, mode=0o700, exist_ok=True)
        # The address of a Unix socket has at most 107 bytes; through a descriptor of its directory it is always short.
        self._directory = os.open(run_dir, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._server: asyncio.Server | None = None

    def families(self) -> list[Family]:
        return [family for collector in self._collectors for family in collector()]

    async def start(self) -> None:
        """Answer on the socket. Raises OSError."""
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._name, dir_fd=self._directory)
        listener.bind(self._path(self._name))
        listener.listen()
        listener.setblocking(False)
        self._server = await asyncio.start_unix_server(self._answer, sock=listener)

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._name, dir_fd=self._directory)
        os.close(self._directory)

    async def gather(self) -> bytes:
        """The text of all processes of this node."""
        names = [name for name in os.listdir(self._directory) if name.endswith(SUFFIX) and name != self._name]
        others = await asyncio.gather(*(self._ask(name) for name in sorted(names)))
        return render(merge([self.families(), *others]))

    async def _answer(self, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(msgspec.msgpack.encode(self.families()))
        with contextlib.suppress(ConnectionError):
            await writer.drain()
        writer.close()

    async def _ask(self, name: str) -> list[Family]:
        """One sibling's families; none from a process that has ended or does not answer."""
        try:
            async with asyncio.timeout(ASK_TIMEOUT_S):
                reader, writer = await asyncio.open_unix_connection(self._path(name))
                try:
                    data = b""
                    while (piece := await reader.read(1 << 16)) and len(data) < ANSWER_BYTES_MAX:
                        data += piece
                finally:
                    writer.close()
            return msgspec.msgpack.decode(data, type=list[Family])
        except ConnectionRefusedError:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name, dir_fd=self._directory)
        except (OSError, TimeoutError, msgspec.DecodeError):
            pass
        return []

    def _path(self, name: str) -> str:
        return f"/proc/self/fd/{self._directory}/{name}"
