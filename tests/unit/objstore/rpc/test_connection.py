"""Calls on a connection: limits, back-pressure, reverse calls."""

import asyncio

import pytest

from objstore.formats.messages import DaemonReport, Message, Ready, RevokeLease, RunDaemon, StatObject
from objstore.model.errors import Code, NodeError
from objstore.rpc.interface import CallContext, Dispatcher, PeerTimeout, PeerUnavailable
from objstore.runtime.knobs import Knobs
from tests.contract.service import HASH, TARGET, Service
from tests.unit.objstore.rpc.nodes import Nodes, Pair, eventually


def own_dispatcher(record: list[str], gate: asyncio.Event | None = None) -> Dispatcher:
    async def revoke(request: Message, context: CallContext) -> Message:
        assert isinstance(request, RevokeLease)
        record.append(request.name)
        if gate is not None:
            await gate.wait()
        return Ready()

    dispatcher = Dispatcher()
    dispatcher.on(RevokeLease, revoke)
    return dispatcher


async def test_reverse_calls_reach_the_one_client(nodes: Nodes) -> None:
    service = Service()
    address = await nodes.server(service.dispatcher)
    records: list[list[str]] = [[], []]
    clients = [nodes.client(dispatcher=own_dispatcher(record)) for record in records]
    for number, client in enumerate(clients):
        await client.call(address, RunDaemon(f"call-back /a/{number}"), timeout_s=5)
    assert records == [["/a/0"], ["/a/1"]] and service.revoked == []
    peers = [context.peer for context in service.contexts]
    assert await peers[0].call(RevokeLease("account", "/later"), timeout_s=5) == Ready()
    assert records[0] == ["/a/0", "/later"]
    with pytest.raises(NodeError) as refused:
        await peers[0].call(RunDaemon("echo"), timeout_s=5)
    assert refused.value.code == Code.BAD_REQUEST


async def test_reverse_calls_end_with_the_client(nodes: Nodes) -> None:
    service = Service()
    address = await nodes.server(service.dispatcher)
    gate = asyncio.Event()
    record: list[str] = []
    client = nodes.client(dispatcher=own_dispatcher(record, gate))
    await client.call(address, RunDaemon("echo"), timeout_s=5)
    peer = service.contexts[0].peer
    with pytest.raises(PeerTimeout):
        await peer.call(RevokeLease("account", "/slow"), timeout_s=0.05)
    under_way = asyncio.ensure_future(peer.call(RevokeLease("account", "/cut"), timeout_s=30))
    await eventually(lambda: record == ["/slow", "/cut"])
    await client.close()
    with pytest.raises(PeerUnavailable):
        await asyncio.wait_for(under_way, 1)
    assert not peer.alive
    with pytest.raises(PeerUnavailable):
        await peer.call(RevokeLease("account", "/gone"), timeout_s=5)


async def test_a_peer_that_does_not_read_bounds_the_caller(nodes: Nodes) -> None:
    service = Service()
    address = await nodes.server(service.dispatcher)
    client = nodes.client(knobs=Knobs(write_buffer_bytes_max=1 << 16))
    await client.call(address, RunDaemon("echo"), timeout_s=5)
    for link in nodes.servers[0]._links:
        link.pause_reading()
    large = RunDaemon("x" * (1 << 19))
    calls = [asyncio.ensure_future(client.call(address, large, timeout_s=0.3)) for _ in range(3)]
    await asyncio.sleep(0.05)
    late = [asyncio.ensure_future(client.call(address, large, timeout_s=0.3)) for _ in range(100)]
    await asyncio.sleep(0.05)
    (transport,) = [link._transport for link in client._links]
    assert transport is not None and transport.get_write_buffer_size() < 4 << 20
    results = await asyncio.gather(*calls, *late, return_exceptions=True)
    assert all(isinstance(result, PeerTimeout) for result in results)
    for link in nodes.servers[0]._links:
        link.resume_reading()
    assert await client.call(address, RunDaemon("echo"), timeout_s=5)


async def test_a_call_cancelled_before_its_handler_began(pair: Pair) -> None:
    """Request and cancellation arrive in one packet."""
    await pair.call("echo")
    relay = await pair.nodes.relay(pair.address)
    await pair.client.call(relay.address, RunDaemon("echo"), timeout_s=5)
    call = asyncio.ensure_future(pair.client.call(relay.address, RunDaemon("wait"), timeout_s=5))
    await asyncio.sleep(0)
    call.cancel()
    await asyncio.gather(call, return_exceptions=True)
    assert await pair.client.call(relay.address, RunDaemon("echo 3"), timeout_s=5) == DaemonReport({"echo 3": 3})
    assert pair.server.counters.in_flight == 0
    assert not any(conversation.busy for conversation in pair.server._conversations.values())


async def test_deadlines_of_thousands_of_calls(pair: Pair) -> None:
    await pair.call("echo")  # connected: else that takes of their time
    calls = [asyncio.ensure_future(pair.call("wait", timeout_s=0.2)) for _ in range(1000)]
    started = asyncio.get_running_loop().time()
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert {type(result) for result in results} == {PeerTimeout}
    assert 0.19 < asyncio.get_running_loop().time() - started < 1.5
    await eventually(lambda: pair.server.counters.in_flight == 0)
    assert pair.client.counters.calls["RunDaemon", "timeout"] == 1000


async def test_a_late_reply_is_dropped(pair: Pair) -> None:
    class Stubborn:
        async def __call__(self, request: Message, context: CallContext) -> Message:
            try:
                await asyncio.sleep(10)
            except asyncio.CancelledError:
                pass  # finishes what it began, and answers a caller long gone
            return Ready()

    pair.service.dispatcher.on(StatObject, Stubborn())
    with pytest.raises(PeerTimeout):
        await pair.client.call(pair.address, StatObject(TARGET, HASH, "/a/c/o"), timeout_s=0.05)
    await asyncio.sleep(0.1)
    assert await pair.call("echo")


class Lasting:
    """A handler that runs to its end, whoever leaves."""

    def __init__(self) -> None:
        self.dispatcher = Dispatcher()
        self.dispatcher.on(RunDaemon, self.run, lasting=True)
        self.gate = asyncio.Event()
        self.begun: list[CallContext] = []
        self.ended = 0

    async def run(self, request: Message, context: CallContext) -> Message:
        self.begun.append(context)
        await self.gate.wait()
        self.ended += 1
        return Ready()


async def test_a_lasting_handler_outlives_its_caller(nodes: Nodes) -> None:
    service = Lasting()
    address = await nodes.server(service.dispatcher)
    client, other = nodes.client(), nodes.client()
    with pytest.raises(PeerTimeout):
        await client.call(address, RunDaemon("late"), timeout_s=0.05)
    given_up = asyncio.ensure_future(client.call(address, RunDaemon("given up"), timeout_s=30))
    cut = asyncio.ensure_future(other.call(address, RunDaemon("cut"), timeout_s=30))
    patient = asyncio.ensure_future(client.call(address, RunDaemon("patient"), timeout_s=30))
    await eventually(lambda: len(service.begun) == 4)
    given_up.cancel()
    await other.close()
    with pytest.raises(PeerUnavailable):
        await cut
    await asyncio.sleep(0.05)
    assert (service.ended, all(context.lasting for context in service.begun)) == (0, True)
    service.gate.set()
    assert await patient == Ready()
    await eventually(lambda: service.ended == 4)
    counters = nodes.servers[0].counters
    await eventually(lambda: counters.in_flight == 0)
    assert (counters.calls["RunDaemon", "ok"], counters.calls["RunDaemon", "cancelled"]) == (1, 3)


async def test_no_call_is_given_up_before_its_deadline_or_long_after(nodes: Nodes) -> None:
    service = Lasting()
    address = await nodes.server(service.dispatcher)
    client = nodes.client()
    loop = asyncio.get_running_loop()
    began = loop.time()

    async def waited(timeout_s: float) -> float:
        with pytest.raises(PeerTimeout):
            await client.call(address, RunDaemon("x"), timeout_s=timeout_s)
        return loop.time() - began

    for timeout_s, passed_s in zip((0.4, 0.1, 0.2), await asyncio.gather(waited(0.4), waited(0.1), waited(0.2)), strict=True):
        assert timeout_s - 0.002 <= passed_s < timeout_s + 0.15
