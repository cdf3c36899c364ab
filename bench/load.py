"""A cheap HTTP/1.1 load generator: keep-alive connections, one request in flight on each, requests built beforehand."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast

REQUEST_TIMEOUT_S = 60.0
CONNECT_AT_ONCE = 100


@dataclass(slots=True)
class Result:
    """What a load run measured. Latencies in seconds, sorted on demand."""

    requests: int = 0
    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)
    statuses: dict[int, int] = field(default_factory=dict)

    def percentile(self, share: float) -> float:
        """Latency in seconds below which `share` of the requests stayed."""
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0

    @property
    def rate(self) -> float:
        return self.requests / self.seconds if self.seconds else 0.0


class Connection(asyncio.Protocol):
    """One connection; `send` again when the last answer has come."""

    def __init__(self) -> None:
        self.buffer = bytearray()
        self.waiter: asyncio.Future[int] | None = None
        self.transport: asyncio.Transport | None = None
        self.head_only = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        end = self.buffer.find(b"\r\n\r\n")
        if end < 0 or self.waiter is None:
            return
        head = bytes(self.buffer[:end]).lower()
        at = head.find(b"content-length:")
        length = int(head[at + 15 : head.find(b"\r", at) if b"\r" in head[at:] else None]) if at >= 0 else 0
        if self.head_only or len(self.buffer) >= end + 4 + length:
            status = int(head[9:12])
            del self.buffer[:]
            waiter, self.waiter = self.waiter, None
            if not waiter.done():
                waiter.set_result(status)

    def connection_lost(self, exc: Exception | None) -> None:
        if self.waiter is not None and not self.waiter.done():
            self.waiter.set_exception(exc or ConnectionResetError("the server closed the connection"))

    def send(self, request: bytes) -> "asyncio.Future[int]":
        """The status of the answer, when all of it is there."""
        assert self.transport is not None
        self.waiter = asyncio.get_running_loop().create_future()
        self.head_only = request.startswith(b"HEAD ")
        self.transport.write(request)
        return self.waiter

    @property
    def is_open(self) -> bool:
        return self.transport is not None and not self.transport.is_closing()

    def close(self) -> None:
        """At once."""
        assert self.transport is not None
        self.transport.close()


async def connect(port: int, connections: int) -> list[Connection]:
    """So many connections, made a hundred at a time: more would be more than a listening socket may keep waiting."""
    loop, made = asyncio.get_running_loop(), []
    while len(made) < connections:
        missing = min(CONNECT_AT_ONCE, connections - len(made))
        pairs = await asyncio.gather(*(loop.create_connection(Connection, "127.0.0.1", port) for _ in range(missing)))
        made += [protocol for _, protocol in pairs]
    return made


async def drive(
    connections: list[Connection], make_request: Callable[[int], bytes], seconds_max: float, requests_max: int = 1_000_000
) -> Result:
    """Send `make_request(n)` for n = 0, 1, 2 … over these connections until the time or the count is used up."""
    result = Result()
    numbers = iter(range(requests_max))
    started = time.perf_counter()

    async def client(connection: Connection) -> None:
        for number in numbers:
            before = time.perf_counter()
            if result.requests and before - started > seconds_max:
                return  # but one answer at least there is, however slow the machine
            status = await asyncio.wait_for(connection.send(make_request(number)), REQUEST_TIMEOUT_S)
            result.latencies.append(time.perf_counter() - before)
            result.statuses[status] = result.statuses.get(status, 0) + 1
            result.requests += 1

    await asyncio.gather(*map(client, connections))
    result.seconds = time.perf_counter() - started
    return result


async def run(
    port: int, make_request: Callable[[int], bytes], connections: int, seconds_max: float, requests_max: int = 1_000_000
) -> Result:
    """`drive` over connections of its own."""
    made = await connect(port, connections)
    try:
        return await drive(made, make_request, seconds_max, requests_max)
    finally:
        for connection in made:
            connection.close()
