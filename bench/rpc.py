"""What node-to-node calls cost: CPU per round trip of both sides, by calls in flight and body size, and per GiB streamed.

    python bench/rpc.py [--seconds 2]

Both ends run in processes of their own on 127.0.0.1, with the production event loop.
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
    server = RpcServer(dispatcher, SECRET, "server", FINGERPRINT, SystemClock(), SystemRng())
    await server.start("127.0.0.1", 0)
    pipe.send(server.ports[0])
    loop = asyncio.get_running_loop()
    while await loop.run_in_executor(None, pipe.recv):
        pipe.send(cpu_s())
    await server.stop(0)


def run_server(pipe: Connection) -> None:
    uvloop.run(serve(pipe))


async def measure(pipe: Connection, seconds: float) -> None:
    address = Address("127.0.0.1", pipe.recv())
    client = RpcClient(SECRET, "client", FINGERPRINT, SystemClock(), SystemRng())

    def server_cpu() -> float:
        pipe.send(True)
        return float(pipe.recv())

    async def calls(name: str, request: Message, in_flight: int) -> None:
        done = 0
        end = time.perf_counter() + seconds

        async def caller() -> None:
            nonlocal done
            while time.perf_counter() < end:
                await client.call(address, request, timeout_s=5, txn="tx0123456789abcdef01234")
                done += 1

        await asyncio.gather(*(caller() for _ in range(in_flight)))
        there, here, start, packets = server_cpu(), cpu_s(), time.perf_counter(), client.counters.packets_out
        done, end = 0, time.perf_counter() + seconds
        await asyncio.gather(*(caller() for _ in range(in_flight)))
        wall, here = time.perf_counter() - start, cpu_s() - here
        there = server_cpu() - there
        print(
            f"{name:>22} {in_flight:4} in flight: {(here + there) / done * 1e6:6.1f} µs CPU "
            f"(client {here / done * 1e6:5.1f}, server {there / done * 1e6:5.1f}), {done / wall:8.0f}/s, "
            f"{done / (client.counters.packets_out - packets):.1f} calls a packet"
        )

    small = RevokeLease("container", "/AUTH_test/container")
    for in_flight in (1, 16, 64):
        await calls("small call", small, in_flight)
    get = GetObject(TARGET, b"h" * 16, "/a/c/o", 65536)
    await calls("metadata", get, 16)
    for size in (4096, 65536):
        await calls(f"{size} bytes inline", GetObject(TARGET, b"h" * 16, "/a/c/o", size, 0, size), 16)

    for streams in (1, 4):
        there, here, start = server_cpu(), cpu_s(), time.perf_counter()

        async def read() -> None:
            exchange = await client.open(address, ReadObject(TARGET, b"h" * 16, 1, 0, GIB // 2), timeout_s=5)
            while not isinstance(event := await exchange.receive(), End):
                assert isinstance(event, Chunk | Ready)
            await exchange.finish()

        await asyncio.gather(*(read() for _ in range(streams)))
        gib = streams / 2
        wall, here, there = time.perf_counter() - start, cpu_s() - here, server_cpu() - there
        print(
            f"{'stream':>22} {streams:4} at a time: {(here + there) / gib:.2f} CPU s/GiB "
            f"(client {here / gib:.2f}, server {there / gib:.2f}), {gib / wall:.2f} GiB/s"
        )
    await client.close()
    pipe.send(False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=2.0)
    options = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=run_server, args=(there,), daemon=True)
    process.start()
    uvloop.run(measure(here, options.seconds))
    process.join(5)


if __name__ == "__main__":
    main()
