"""What node-to-node calls cost: CPU per round trip of both sides, by calls in flight and body size, and per GiB streamed.

    python -m bench.rpc [--seconds 2] [--rounds 1]

Both ends run in processes of their own, with the production event loop. Each line is measured over TCP on 127.0.0.1, then over the
Unix socket that processes of one host use, so that both see the same machine.
"""

import argparse
import asyncio
import multiprocessing
import os
import resource
import sys
import time
from multiprocessing.connection import Connection

import uvloop

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from objstore.formats.messages import (
    Address,
    End,
    GetObject,
    Message,
    ObjectReply,
    ReadObject,
    Ready,
    RevokeLease,
    Target,
)
from objstore.model.version import Version
from objstore.rpc.client import RpcClient
from objstore.rpc.interface import CallContext, Chunk, Dispatcher, Exchange
from objstore.rpc.server import RpcServer
from objstore.runtime.clock import SystemClock
from objstore.runtime.rng import SystemRng

SECRET = b"not a secret, for this benchmark only"
FINGERPRINT = b"bench"
TARGET = Target("sda", 1)
GIB = 1 << 30
VERSION = Version("/a/c/o", 1, False, 4096, "d" * 32, "text/plain", {}, {"color": "blue"}, {}, 1, 1)


def cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


async def answer(request: Message, _context: CallContext) -> Message:
    assert isinstance(request, GetObject)
    return ObjectReply(VERSION, bytes(request.length) if request.length > 0 else None)


async def revoke(_request: Message, _context: CallContext) -> Message:
    return Ready()


async def stream(request: Message, exchange: Exchange, _context: CallContext) -> None:
    assert isinstance(request, ReadObject)
    await exchange.send(Ready())
    left, piece = request.length, bytes(1 << 20)
    while left > 0:
        await exchange.send_chunk(piece)
        left -= len(piece)
    await exchange.send(End())


async def serve(pipe: Connection) -> None:
    dispatcher = Dispatcher()
    dispatcher.on(GetObject, answer)
    dispatcher.on(RevokeLease, revoke)
    dispatcher.on_stream(ReadObject, stream)
    servers = []
    for unix in (False, True):
        server = RpcServer(dispatcher, SECRET, "server", FINGERPRINT, SystemClock(), SystemRng())
        await server.start("127.0.0.1", 0, unix=unix)
        servers.append(server)
    pipe.send([server.ports[0] for server in servers])
    loop = asyncio.get_running_loop()
    while await loop.run_in_executor(None, pipe.recv):
        pipe.send(cpu_s())
    for server in servers:
        await server.stop(0)


def run_server(pipe: Connection) -> None:
    uvloop.run(serve(pipe))


class Bench:
    """The calling side."""

    def __init__(self, pipe: Connection, seconds: float) -> None:
        self._pipe = pipe
        self._seconds = seconds
        self._end = 0.0
        self._addresses = {way: Address("127.0.0.1", port) for way, port in zip(("TCP", "Unix"), pipe.recv(), strict=True)}
        self._client = RpcClient(SECRET, "client", FINGERPRINT, SystemClock(), SystemRng())

    def _server_cpu_s(self) -> float:
        self._pipe.send(True)
        return float(self._pipe.recv())

    async def calls(self, name: str, request: Message, in_flight: int) -> None:
        """CPU of `in_flight` callers that ask again at once."""
        client = self._client
        for way, address in self._addresses.items():
            done = 0

            async def caller(address: Address) -> None:
                nonlocal done
                while time.perf_counter() < self._end:
                    await client.call(address, request, timeout_s=5, txn="tx0123456789abcdef01234")
                    done += 1

            for warm in (True, False):
                there, here, start, packets = self._server_cpu_s(), cpu_s(), time.perf_counter(), client.counters.packets_out
                done, self._end = 0, time.perf_counter() + (0.5 if warm else self._seconds)
                await asyncio.gather(*(caller(address) for _ in range(in_flight)))
            wall, here = time.perf_counter() - start, cpu_s() - here
            there = self._server_cpu_s() - there
            print(
                f"{name:>18} {in_flight:3} in flight, {way:>4}: {(here + there) / done * 1e6:6.1f} µs CPU "
                f"(client {here / done * 1e6:5.1f}, server {there / done * 1e6:5.1f}), {done / wall:7.0f}/s, "
                f"{done / (client.counters.packets_out - packets):.1f} calls a packet",
                flush=True,
            )

    async def streams(self, count: int) -> None:
        """CPU of half a GiB on each of `count` streams at a time."""
        client = self._client
        for way, address in self._addresses.items():

            async def read(address: Address) -> None:
                exchange = await client.open(address, ReadObject(TARGET, b"h" * 16, 1, 0, GIB // 2), timeout_s=5)
                while not isinstance(event := await exchange.receive(), End):
                    assert isinstance(event, Chunk | Ready)
                await exchange.finish()

            there, here, start = self._server_cpu_s(), cpu_s(), time.perf_counter()
            await asyncio.gather(*(read(address) for _ in range(count)))
            gib = count / 2
            wall, here, there = time.perf_counter() - start, cpu_s() - here, self._server_cpu_s() - there
            print(
                f"{'stream':>18} {count:3} at a time, {way:>4}: {(here + there) / gib:6.2f} CPU s/GiB "
                f"(client {here / gib:.2f}, server {there / gib:.2f}), {gib / wall:.2f} GiB/s",
                flush=True,
            )

    async def close(self) -> None:
        await self._client.close()
        self._pipe.send(False)


async def measure(pipe: Connection, seconds: float, rounds: int) -> None:
    bench = Bench(pipe, seconds)
    for _ in range(rounds):
        for in_flight in (1, 16, 64):
            await bench.calls("small call", RevokeLease("container", "/AUTH_test/container"), in_flight)
        await bench.calls("metadata", GetObject(TARGET, b"h" * 16, "/a/c/o", 65536), 16)
        for size in (4096, 65536):
            await bench.calls(f"{size} bytes inline", GetObject(TARGET, b"h" * 16, "/a/c/o", size, 0, size), 16)
        for streams in (1, 4):
            await bench.streams(streams)
    await bench.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--rounds", type=int, default=1)
    options = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=run_server, args=(there,), daemon=True)
    process.start()
    uvloop.run(measure(here, options.seconds, options.rounds))
    process.join(5)


if __name__ == "__main__":
    main()
