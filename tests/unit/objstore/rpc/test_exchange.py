"""Streams on sockets: connections are used again only after a clean end, and nobody's buffers grow without bound."""

import asyncio

import pytest
from crc32c import crc32c

from objstore.formats.messages import End, Message, OpenPut, Ready
from objstore.model.errors import Code, NodeError
from objstore.rpc.interface import CallContext, Chunk, Dispatcher, Exchange, PeerUnavailable
from objstore.rpc.local import LocalFirst
from objstore.runtime.knobs import Knobs
from tests.contract.service import CHUNK, Service, put, read
from tests.unit.objstore.rpc.nodes import Nodes, Pair, eventually

MIB = 1 << 20


async def test_the_next_stream_may_begin_in_the_packet_that_ends_the_last(pair: Pair) -> None:
    for _ in range(50):
        exchange = await pair.client.open(pair.address, read(0), timeout_s=5)
        assert await exchange.receive() == Ready() and await exchange.receive() == End()
        packets = pair.client.counters.packets_out
        await exchange.finish()
        again = await pair.client.open(pair.address, read(0), timeout_s=5)
        assert await again.receive() == Ready() and await again.receive() == End()
        assert pair.client.counters.packets_out <= packets + 2
        await again.finish()
    assert pair.client.counters.connections_made == 1


async def test_unread_messages_are_no_clean_end(pair: Pair) -> None:
    exchange = await pair.client.open(pair.address, read(3 * len(CHUNK)), timeout_s=5)
    await exchange.receive()
    await eventually(lambda: pair.service.ends["sent"] == 1)
    await asyncio.sleep(0.05)
    await exchange.finish()
    other = await pair.client.open(pair.address, read(0), timeout_s=5)
    assert await other.receive() == Ready()
    await other.finish()
    assert pair.client.counters.connections_made == 2


async def test_a_slow_receiver_holds_little(nodes: Nodes) -> None:
    service = Service()
    address = await nodes.server(service.dispatcher)
    client = nodes.client(knobs=Knobs(stream_buffer_bytes_max=MIB // 4))
    exchange = await client.open(address, read(1 << 40), timeout_s=5)
    await exchange.receive()
    await asyncio.sleep(0.1)
    held = client.counters.bytes_in
    await asyncio.sleep(0.1)
    assert client.counters.bytes_in == held <= MIB
    (transport,) = [link._transport for link in nodes.servers[0]._links]
    assert transport is not None and transport.get_write_buffer_size() <= 2 * MIB
    exchange.abort()


async def test_a_refused_sender_cannot_go_on_for_ever(nodes: Nodes) -> None:
    """What is under way after a refusal is read and dropped, up to a limit."""
    service = Service()
    address = await nodes.server(service.dispatcher, knobs=Knobs(stream_buffer_bytes_max=MIB))
    client = nodes.client()
    exchange = await client.open(address, put("refuse"), timeout_s=5)
    send_anyway = exchange._link.send_chunk  # type: ignore[attr-defined]
    for _ in range(1000):
        send_anyway(CHUNK, crc32c(CHUNK))
        await asyncio.sleep(0)
    await eventually(lambda: exchange._link.lost)  # type: ignore[attr-defined]
    assert client.counters.bytes_out < 40 * MIB


async def test_a_fast_receiver_leaves_the_loop_to_others(pair: Pair) -> None:
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    task = asyncio.ensure_future(other())
    exchange = await pair.client.open(pair.address, read(20 * MIB), timeout_s=5)
    while not isinstance(await exchange.receive(), End):
        pass
    await exchange.finish()
    task.cancel()
    assert turns > 20


async def test_a_handler_that_ends_early_and_one_that_returns_at_once(nodes: Nodes) -> None:
    async def nothing(request: Message, exchange: Exchange, context: CallContext) -> None:
        return None

    dispatcher = Dispatcher()
    dispatcher.on_stream(OpenPut, nothing)
    address = await nodes.server(dispatcher)
    client = nodes.client()
    for _ in range(3):
        exchange = await client.open(address, put(), timeout_s=5)
        with pytest.raises(PeerUnavailable, match="ended"):
            await exchange.receive()
        await exchange.finish()
    assert client.counters.connections_made == 1


async def test_both_ends_of_a_stream_count(pair: Pair) -> None:
    exchange = await pair.client.open(pair.address, put(), timeout_s=5)
    await exchange.receive()
    assert pair.client.counters.streams == pair.server.counters.streams == 1
    exchange.abort()
    await eventually(lambda: pair.server.counters.calls["OpenPut", "unavailable"] == 1)
    refused = await pair.client.open(pair.address, put("refuse"), timeout_s=5)
    with pytest.raises(NodeError) as error:
        await refused.receive()
    assert error.value.code == Code.NO_SPACE
    await refused.finish()
    await eventually(lambda: pair.server.counters.calls["OpenPut", "no_space"] == 1)
    assert pair.client.counters.streams == 0


async def test_a_damaged_chunk_ends_the_stream(pair: Pair) -> None:
    relay = await pair.nodes.relay(pair.address)

    def damage(way: str, data: bytes) -> bytes:
        return data.replace(b"\x41\x42", b"\x41\x43", 1) if way == "down" else data

    exchange = await pair.client.open(relay.address, read(5 * MIB), timeout_s=5)
    await exchange.receive()
    relay.change = damage
    with pytest.raises(PeerUnavailable, match="chunk damaged"):
        while isinstance(event := await exchange.receive(), Chunk):
            assert CHUNK.startswith(event.data) or event.data in CHUNK * 2
    await exchange.finish()


@pytest.mark.parametrize("local", [False, True])
async def test_a_sender_hears_of_its_refusal_while_it_sends(nodes: Nodes, local: bool) -> None:
    """The reason must not be lost in the broken connection that follows: a full device is no broken node."""

    async def refuse(request: Message, exchange: Exchange, context: CallContext) -> None:
        await exchange.receive()
        raise NodeError(Code.NO_SPACE, "full")

    dispatcher = Dispatcher()
    dispatcher.on_stream(OpenPut, refuse)
    address = await nodes.server(dispatcher)
    caller = LocalFirst({address}, dispatcher, nodes.client()) if local else nodes.client()
    exchange = await caller.open(address, put(), timeout_s=5)
    with pytest.raises(NodeError) as raised:
        for _ in range(100):
            await exchange.send_chunk(bytes(MIB))
    assert raised.value.code is Code.NO_SPACE
    exchange.abort()
