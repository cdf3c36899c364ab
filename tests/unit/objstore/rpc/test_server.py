"""The answering side: limits, drain, and what strangers may do to it (nothing)."""

import asyncio
import logging

import pytest

from objstore.formats.messages import DaemonReport, RunDaemon
from objstore.model.errors import Code, NodeError
from objstore.rpc.interface import Dispatcher, PeerUnavailable
from objstore.rpc.server import RpcServer
from objstore.runtime.clock import SystemClock
from objstore.runtime.knobs import Knobs
from objstore.runtime.rng import SystemRng
from tests.contract.service import Service, commit, put
from tests.unit.objstore.rpc.nodes import FINGERPRINT, Nodes, Pair, eventually, shown_the_door


async def test_port_in_use(nodes: Nodes) -> None:
    address = await nodes.server(Dispatcher())
    with pytest.raises(OSError, match="in use"):
        await nodes.server(Dispatcher(), port=address.port)


def test_there_is_no_default_secret() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        RpcServer(Dispatcher(), b"", "node", FINGERPRINT, SystemClock(), SystemRng())


async def test_stop_lets_calls_end(pair: Pair) -> None:
    waiting = asyncio.ensure_future(pair.call("wait"))
    await eventually(lambda: bool(pair.service.contexts))
    stopping = asyncio.ensure_future(pair.server.stop(5))
    await asyncio.sleep(0.05)
    assert not stopping.done()
    with pytest.raises(PeerUnavailable):
        await pair.call("echo")
    pair.service.gate.set()
    assert await waiting == DaemonReport({"wait": 0})
    await asyncio.wait_for(stopping, 2)


async def test_stop_lets_streams_end(pair: Pair) -> None:
    exchange = await pair.client.open(pair.address, put(), timeout_s=5)
    await exchange.receive()
    stopping = asyncio.ensure_future(pair.server.stop(5))
    await asyncio.sleep(0.02)
    await exchange.send_chunk(b"body")
    await exchange.send(commit(100))
    assert await exchange.receive()
    await exchange.finish()
    await asyncio.wait_for(stopping, 2)


async def test_stop_ends_what_does_not_end_in_time(pair: Pair) -> None:
    waiting = asyncio.ensure_future(pair.call("wait"))
    exchange = await pair.client.open(pair.address, put(), timeout_s=5)
    await exchange.receive()
    await asyncio.wait_for(pair.server.stop(0.1), 2)
    with pytest.raises(PeerUnavailable):
        await waiting
    with pytest.raises(PeerUnavailable):
        await exchange.receive()
    assert pair.service.ends["cancelled"] == 1


async def test_calls_in_flight_are_bounded(nodes: Nodes) -> None:
    service = Service()
    address = await nodes.server(service.dispatcher, knobs=Knobs(calls_in_flight_max=2))
    client = nodes.client()
    waiting = [asyncio.ensure_future(client.call(address, RunDaemon("wait"), timeout_s=5)) for _ in range(2)]
    await eventually(lambda: len(service.contexts) == 2)
    with pytest.raises(NodeError) as refused:
        await client.call(address, RunDaemon("echo"), timeout_s=5)
    assert refused.value.code == Code.BUSY
    service.gate.set()
    await asyncio.gather(*waiting)
    assert await client.call(address, RunDaemon("echo"), timeout_s=5)


async def test_connections_are_bounded(nodes: Nodes) -> None:
    address = await nodes.server(Service().dispatcher, knobs=Knobs(connections_max=2))
    for number in range(3):
        call = nodes.client().call(address, RunDaemon("echo"), timeout_s=5)
        if number < 2:
            await call
        else:
            with pytest.raises(PeerUnavailable):
                await call


async def test_a_reply_too_large_is_a_refusal(nodes: Nodes) -> None:
    service = Service()
    address = await nodes.server(service.dispatcher, knobs=Knobs(packet_bytes_max=5_000))
    with pytest.raises(NodeError) as refused:
        # The reply repeats the name; the request is within the server's limit with its head left out of account.
        await nodes.client().call(address, RunDaemon("x" * 4_600), timeout_s=5)
    assert refused.value.code == Code.INTERNAL and "too large" in refused.value.text


async def test_a_reply_that_is_no_message_is_a_refusal(pair: Pair, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(NodeError) as refused:
        await pair.call("nonsense")
    assert refused.value.code == Code.INTERNAL
    assert "reply not sent" in caplog.text
    assert await pair.call("echo")


TLS_HELLO = b"\x16\x03\x01\x02\x00\x01" * 200


@pytest.mark.parametrize("noise", [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\xff" * 5000, b"\0" * 50, TLS_HELLO])
async def test_strangers_are_shown_the_door(pair: Pair, noise: bytes) -> None:
    reader, writer = await asyncio.open_connection(*pair.address)
    await shown_the_door(reader, writer, noise)
    assert await pair.call("echo")
    assert pair.server.counters.handshakes_refused == 1


async def test_a_handshake_must_end_in_time(nodes: Nodes) -> None:
    address = await nodes.server(Service().dispatcher, knobs=Knobs(handshake_timeout_s=0.1))
    reader, writer = await asyncio.open_connection(*address)
    assert await asyncio.wait_for(reader.read(1000), 2) == b""
    writer.close()
    client = nodes.client()
    assert await client.call(address, RunDaemon("echo"), timeout_s=5)
    await asyncio.sleep(0.2)
    assert client.counters.connections == 1, "an authenticated connection stays"


@pytest.mark.parametrize("direction", ["up", "down"])
async def test_altered_traffic_ends_the_connection_loudly(pair: Pair, direction: str, caplog: pytest.LogCaptureFixture) -> None:
    relay = await pair.nodes.relay(pair.address)
    assert await pair.client.call(relay.address, RunDaemon("echo"), timeout_s=5)

    def flip(way: str, data: bytes) -> bytes:
        return data[:-1] + bytes([data[-1] ^ 1]) if way == direction else data

    relay.change = flip
    calls = len(pair.service.contexts)
    with caplog.at_level(logging.WARNING, "objstore.rpc"), pytest.raises(PeerUnavailable):
        await asyncio.wait_for(pair.client.call(relay.address, RunDaemon("echo"), timeout_s=30), 2)
    assert "bad data" in caplog.text and "not authentic" in caplog.records[0].error
    assert len(pair.service.contexts) == calls + (direction == "down"), "an altered request never reaches a handler"
    relay.change = lambda way, data: data
    assert await pair.client.call(relay.address, RunDaemon("echo"), timeout_s=5)


async def test_replayed_traffic_ends_the_connection(pair: Pair) -> None:
    relay = await pair.nodes.relay(pair.address)
    assert await pair.client.call(relay.address, RunDaemon("echo"), timeout_s=5)
    relay.change = lambda way, data: data * 2 if way == "up" else data
    with pytest.raises(PeerUnavailable):
        await pair.client.call(relay.address, RunDaemon("wait"), timeout_s=30)
    assert len(pair.service.contexts) <= 2


async def test_bytes_one_at_a_time(pair: Pair) -> None:
    relay = await pair.nodes.relay(pair.address)
    relay.piece_bytes = 1
    replies = await asyncio.gather(*(pair.client.call(relay.address, RunDaemon(f"echo {n}"), timeout_s=5) for n in range(5)))
    assert replies == [DaemonReport({f"echo {n}": n}) for n in range(5)]


async def test_stop_while_a_peer_does_not_read(nodes: Nodes) -> None:
    service = Service()
    address = await nodes.server(service.dispatcher)
    client = nodes.client()
    exchange = await client.open(address, put("slow"), timeout_s=5)
    await exchange.receive()
    await asyncio.wait_for(nodes.servers[0].stop(0.1), 3)
    await client.close()
