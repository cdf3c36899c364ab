"""The calling side: connections are made, shared, remembered as broken, and made again."""

import asyncio
import dataclasses
import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from objstore.formats.messages import Address, DaemonReport, RunDaemon
from objstore.model.errors import NodeError
from objstore.rpc.interface import PeerTimeout, PeerUnavailable
from objstore.runtime.knobs import Knobs
from tests.contract.service import Service, put, read
from tests.unit.objstore.rpc.nodes import FINGERPRINT, SECRET, Nodes, Pair, eventually

ROOT = Path(__file__).parents[4]
QUICK = Knobs(refusal_memory_min_s=0.1, refusal_memory_max_s=0.2)


async def free_address(nodes: Nodes) -> Address:
    address = await nodes.server(Service().dispatcher)
    await nodes.servers.pop().stop(0)
    return address


async def test_one_connection_for_all_calls(pair: Pair) -> None:
    await asyncio.gather(*(pair.call(f"echo {number}") for number in range(100)))
    assert pair.client.counters.connections_made == 1
    assert pair.client.counters.calls == {("RunDaemon", "ok"): 100}
    assert pair.server.counters.calls == {("RunDaemon", "ok"): 100}
    assert pair.client.counters.bytes_out == pair.server.counters.bytes_in > 0
    assert pair.client.counters.packets_out < 100, "calls of one turn share a packet"


async def test_streams_use_connections_again(pair: Pair) -> None:
    for _ in range(5):
        exchange = await pair.client.open(pair.address, read(10), timeout_s=5)
        for _ in range(3):
            await exchange.receive()
        await exchange.finish()
    assert pair.client.counters.connections_made == 1
    aborted = await pair.client.open(pair.address, read(10), timeout_s=5)
    aborted.abort()
    again = await pair.client.open(pair.address, read(10), timeout_s=5)
    again.abort()
    assert pair.client.counters.connections_made == 2


@pytest.mark.parametrize("bound", ["idle_streams_per_peer_max", "idle_streams_max"])
async def test_idle_connections_are_bounded(nodes: Nodes, bound: str) -> None:
    service = Service()
    address = await nodes.server(service.dispatcher)
    client = nodes.client(knobs=dataclasses.replace(Knobs(streams_per_peer_max=5), **{bound: 2}))
    exchanges = [await client.open(address, read(0), timeout_s=5) for _ in range(5)]
    with pytest.raises(PeerUnavailable, match="too many streams"):
        await client.open(address, read(0), timeout_s=5)
    for exchange in exchanges:
        await exchange.receive()
        await exchange.receive()
        await exchange.finish()
    await eventually(lambda: client.counters.connections == 2)
    (await client.open(address, read(0), timeout_s=5)).abort()


async def test_a_lost_connection_holds_no_buffer(pair: Pair) -> None:
    exchange = await pair.client.open(pair.address, read(10), timeout_s=5)
    (link,) = pair.client._links
    assert link._reader is not None and len(link._reader.get_buffer()) > 0
    exchange.abort()
    await eventually(lambda: link.lost)
    assert len(link._reader._buffer) == 0


async def test_refused_connections_fail_fast_for_a_while_and_come_back(nodes: Nodes) -> None:
    address = await free_address(nodes)
    client = nodes.client(knobs=QUICK)
    with pytest.raises(PeerUnavailable):
        await client.call(address, RunDaemon("echo"), timeout_s=1)
    assert client.known_down(address)
    made = client.counters.connections_made
    for attempt in (client.call, client.open):
        with pytest.raises(PeerUnavailable, match="a moment ago"):
            await attempt(address, RunDaemon("echo"), timeout_s=1)
    assert client.counters.connections_made == made
    service = Service()
    await nodes.server(service.dispatcher, port=address.port)
    await eventually(lambda: not client.known_down(address))
    assert await client.call(address, RunDaemon("echo"), timeout_s=1) == DaemonReport({"echo": 0})


async def test_the_memory_of_a_refusal_grows_to_its_limit(nodes: Nodes) -> None:
    address = await free_address(nodes)
    client = nodes.client(knobs=Knobs(refusal_memory_min_s=0.01, refusal_memory_max_s=0.04))
    for _ in range(5):
        with pytest.raises(PeerUnavailable):
            await client.call(address, RunDaemon("echo"), timeout_s=1)
        await asyncio.sleep(0.06)
        assert not client.known_down(address)


async def test_a_lost_connection_is_made_again(pair: Pair) -> None:
    relay = await pair.nodes.relay(pair.address)
    assert await pair.client.call(relay.address, RunDaemon("echo"), timeout_s=5)
    waiting = asyncio.ensure_future(pair.client.call(relay.address, RunDaemon("wait"), timeout_s=30))
    await eventually(lambda: len(pair.service.contexts) == 2)
    relay.cut()
    with pytest.raises(PeerUnavailable):
        await asyncio.wait_for(waiting, 1)
    await eventually(lambda: pair.service.ends["cancelled"] == 1)
    assert not pair.service.contexts[0].peer.alive
    assert await pair.client.call(relay.address, RunDaemon("echo"), timeout_s=5)
    assert pair.client.counters.calls["RunDaemon", "unavailable"] == 1


SERVER = """
import asyncio, sys
from objstore.rpc.server import RpcServer
from objstore.runtime.clock import SystemClock
from objstore.runtime.rng import SystemRng
from tests.contract.service import Service

async def main():
    server = RpcServer(Service().dispatcher, sys.argv[1].encode(), "server", sys.argv[2].encode(), SystemClock(), SystemRng())
    await server.start("127.0.0.1", 0)
    print(server.ports[0], flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"""


@pytest.mark.parametrize("kind", ["call", "stream"])
async def test_a_killed_peer_is_noticed_at_once(nodes: Nodes, kind: str) -> None:
    command = [sys.executable, "-c", SERVER, SECRET.decode(), FINGERPRINT.decode()]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT) as process:  # noqa: ASYNC220 - it prints its port at once
        assert process.stdout is not None
        try:
            address = Address("127.0.0.1", int(process.stdout.readline()))
            client = nodes.client()
            await client.call(address, RunDaemon("echo"), timeout_s=5)
            if kind == "call":
                waiting = asyncio.ensure_future(client.call(address, RunDaemon("wait"), timeout_s=30))
            else:
                exchange = await client.open(address, put(), timeout_s=30)
                await exchange.receive()
                waiting = asyncio.ensure_future(exchange.receive())
            await asyncio.sleep(0.05)
            os.kill(process.pid, signal.SIGKILL)
            started = time.monotonic()
            with pytest.raises(PeerUnavailable) as error:
                await waiting
            assert time.monotonic() - started < 0.5 and not isinstance(error.value, PeerTimeout)
            with pytest.raises(PeerUnavailable):
                await client.call(address, RunDaemon("echo"), timeout_s=5)
        finally:
            process.kill()


async def test_a_peer_that_never_speaks(nodes: Nodes) -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1000)
        await asyncio.sleep(5)
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    address = Address("127.0.0.1", server.sockets[0].getsockname()[1])
    client = nodes.client(knobs=Knobs(handshake_timeout_s=0.2))
    with pytest.raises(PeerUnavailable, match="handshake took too long"):
        await asyncio.wait_for(client.call(address, RunDaemon("echo"), timeout_s=5), 2)
    patient = nodes.client()
    for attempt in (patient.call, patient.open):
        with pytest.raises(PeerTimeout):
            await asyncio.wait_for(attempt(address, RunDaemon("echo"), timeout_s=0.1), 2)
    server.close()


async def test_a_peer_of_another_kind(nodes: Nodes, caplog: pytest.LogCaptureFixture) -> None:
    async def http(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await reader.read(1000)
        writer.close()

    server = await asyncio.start_server(http, "127.0.0.1", 0)
    address = Address("127.0.0.1", server.sockets[0].getsockname()[1])
    with pytest.raises(PeerUnavailable, match="not an objstore node"):
        await nodes.client().call(address, RunDaemon("echo"), timeout_s=5)
    server.close()


@pytest.mark.parametrize(
    ("secret", "fingerprint", "reason"),
    [(b"another secret of thirty-two bytes", FINGERPRINT, "secret"), (SECRET, b"another", "prefix or suffix")],
)
async def test_not_of_our_cluster(
    pair: Pair, caplog: pytest.LogCaptureFixture, secret: bytes, fingerprint: bytes, reason: str
) -> None:
    stranger = pair.nodes.client(
        secret=secret, fingerprint=fingerprint, knobs=Knobs(refusal_memory_min_s=0.01, refusal_memory_max_s=0.01)
    )
    with caplog.at_level(logging.ERROR, "objstore.rpc"):
        for _ in range(3):
            with pytest.raises(PeerUnavailable, match=reason):
                await stranger.call(pair.address, RunDaemon("echo"), timeout_s=5)
            await asyncio.sleep(0.03)
    assert pair.service.contexts == [] and stranger.counters.handshakes_refused == 3
    assert len(caplog.records) == 2, "once here, once there, not once per attempt"
    assert all(reason in record.error for record in caplog.records)
    assert secret.decode() not in caplog.text
    await eventually(lambda: stranger.counters.connections == 0 and pair.server.counters.connections == 0)


async def test_one_who_gives_up_connecting_does_not_stop_the_others(pair: Pair) -> None:
    first = asyncio.ensure_future(pair.call("echo 1"))
    second = asyncio.ensure_future(pair.call("echo 2"))
    await asyncio.sleep(0)
    first.cancel()
    assert await second == DaemonReport({"echo 2": 2})
    assert pair.client.counters.connections_made == 1


async def test_calls_in_flight_are_bounded(nodes: Nodes) -> None:
    service = Service()
    address = await nodes.server(service.dispatcher)
    client = nodes.client(knobs=Knobs(calls_in_flight_max=3))
    waiting = [asyncio.ensure_future(client.call(address, RunDaemon("wait"), timeout_s=5)) for _ in range(3)]
    await eventually(lambda: client.counters.in_flight == 3)
    with pytest.raises(NodeError, match="in flight"):
        await client.call(address, RunDaemon("echo"), timeout_s=5)
    service.gate.set()
    await asyncio.gather(*waiting)
    assert await client.call(address, RunDaemon("echo"), timeout_s=5)


async def test_messages_too_large_are_refused_before_they_are_sent(nodes: Nodes) -> None:
    service = Service()
    address = await nodes.server(service.dispatcher)
    client = nodes.client(knobs=Knobs(packet_bytes_max=10_000))
    for attempt in (client.call, client.open):
        with pytest.raises(NodeError, match="too large"):
            await attempt(address, RunDaemon("x" * 10_000), timeout_s=5)
    exchange = await client.open(address, put(), timeout_s=5)
    with pytest.raises(NodeError, match="too large"):
        await exchange.send(RunDaemon("x" * 10_000))
    exchange.abort()
    assert await client.call(address, RunDaemon("y" * 9_000), timeout_s=5)
    assert client.counters.streams == 0


async def test_closed(pair: Pair) -> None:
    waiting = asyncio.ensure_future(pair.call("wait"))
    await eventually(lambda: bool(pair.service.contexts))
    await pair.client.close()
    with pytest.raises(PeerUnavailable):
        await waiting
    with pytest.raises(PeerUnavailable, match="closed"):
        await pair.call("echo")


@pytest.mark.parametrize("kind", ["call", "stream"])
async def test_closed_while_connecting(pair: Pair, kind: str) -> None:
    attempt = pair.client.call if kind == "call" else pair.client.open
    waiting = asyncio.ensure_future(attempt(pair.address, read(0), timeout_s=5))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    await asyncio.wait_for(pair.client.close(), 2)
    with pytest.raises(PeerUnavailable):
        await waiting
    assert pair.client.counters.connections == 0


async def test_long_transaction_ids_are_cut(pair: Pair) -> None:
    await pair.client.call(pair.address, RunDaemon("echo"), timeout_s=5, txn="x" * 1000)
    assert pair.service.contexts[0].txn == "x" * 255


def test_there_is_no_default_secret() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        Nodes().client(secret=b"short")


async def test_connections_come_from_the_address_that_was_given(nodes: Nodes) -> None:
    address = await nodes.server(Service().dispatcher)
    relay = await nodes.relay(address)
    for options, source in (({"local_ip": "127.0.0.77"}, "127.0.0.77"), ({"local_ip": "::1"}, "127.0.0.1"), ({}, "127.0.0.1")):
        client = nodes.client(**options)
        await client.call(relay.address, RunDaemon("echo"), timeout_s=5)
        assert relay.callers[-1] == source


async def test_calls_to_who_cannot_be_reached_are_counted(pair: Pair) -> None:
    await pair.server.stop(0.1)
    for _ in range(2):  # the second fails by what is remembered of the first
        with pytest.raises(PeerUnavailable):
            await pair.call("echo")
    assert pair.client.counters.calls["RunDaemon", "unavailable"] == 2
