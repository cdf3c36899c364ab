"""Unix sockets between processes of one host: used where they are there, by one user's processes alone, and never needed."""

import asyncio
import logging
import os
import socket
from collections import Counter
from typing import Any

import pytest
from crc32c import crc32c

from objstore.formats.messages import Address, DaemonReport, RunDaemon
from objstore.rpc.frames import MAC_BYTES
from objstore.rpc.interface import Chunk, PeerUnavailable
from objstore.rpc.sameuser import SameUser
from objstore.runtime.knobs import Knobs
from objstore.runtime.net import STREAM_BYTES_UNDER_WAY
from objstore.runtime.unixsockets import bound_beside, connected_beside, peer_of
from tests.contract.service import CHUNK, Service, put, read
from tests.unit.objstore.rpc.nodes import Nodes, Pair, eventually, shown_the_door


class Door(SameUser):
    """Counts who comes by a Unix socket; with `user`, the other end seems to be of that one."""

    def __init__(self, user: int | None = None) -> None:
        self.asked: Counter[str] = Counter()
        super().__init__(lambda connection: peer_of(connection) if user is None else (1, user))

    def admits(self, connection: Any, remote: str) -> bool:
        self.asked[remote] += 1
        return super().admits(connection, remote)


async def echo(nodes: Nodes, address: Address, **options: Any) -> None:
    assert await nodes.client(**options).call(address, RunDaemon("echo"), timeout_s=5) == DaemonReport({"echo": 0})


async def test_used_where_it_is_there(nodes: Nodes) -> None:
    door, far_door = Door(), Door()
    address = await nodes.server(Service().dispatcher, same_user=far_door)
    client = nodes.client(same_user=door)
    await client.call(address, RunDaemon("echo"), timeout_s=5)
    exchange = await client.open(address, read(10), timeout_s=5)
    assert isinstance([await exchange.receive() for _ in range(2)][1], Chunk)
    exchange.abort()
    assert door.asked == {f"127.0.0.1:{address.port}": 2}, "a connection for calls, one for the stream"
    assert far_door.asked == {f"127.0.0.1:pid-{os.getpid()}": 2}
    assert client.counters.connections_made == 2


@pytest.mark.parametrize("bound", [False, True])
async def test_tcp_where_nobody_listens(nodes: Nodes, bound: bool) -> None:
    door = Door()
    address = await nodes.server(Service().dispatcher, same_user=door, unix=False)
    name = bound_beside(*address) if bound else None
    await echo(nodes, address)
    assert not door.asked
    if name is not None:
        name.close()


async def test_a_name_that_is_taken_costs_one_line(nodes: Nodes, caplog: pytest.LogCaptureFixture) -> None:
    address = await nodes.server(Service().dispatcher)
    await nodes.servers.pop().stop(0)
    with bound_beside(*address), caplog.at_level(logging.WARNING, "objstore.rpc"):
        assert await nodes.server(Service().dispatcher, port=address.port) == address
        await echo(nodes, address)
    assert [record.msg for record in caplog.records] == ["no Unix socket"]


@pytest.mark.parametrize("side", ["client", "server"])
async def test_another_user_is_refused_and_tcp_used(nodes: Nodes, side: str, caplog: pytest.LogCaptureFixture) -> None:
    stranger = Door(user=os.geteuid() + 1)
    address = await nodes.server(Service().dispatcher, same_user=stranger if side == "server" else None)
    client = nodes.client(same_user=stranger if side == "client" else None)
    with caplog.at_level(logging.INFO, "objstore.rpc"):
        await client.call(address, RunDaemon("echo"), timeout_s=5)
        exchange = await client.open(address, read(0), timeout_s=5)
        exchange.abort()
    assert stranger.asked.total() == 2
    ours = [record for record in caplog.records if "of another user" in record.msg]
    assert len(ours) == 1 and ours[0].user == os.geteuid() + 1
    assert nodes.servers[0].counters.handshakes_refused == (2 if side == "server" else 0)
    assert not client.known_down(address)


NOISE = [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\xff" * 5000, b"\0" * 50]


@pytest.mark.parametrize("noise", NOISE)
async def test_garbage_on_the_listener(pair: Pair, noise: bytes, caplog: pytest.LogCaptureFixture) -> None:
    reader, writer = await asyncio.open_unix_connection(sock=connected_beside(*pair.address))
    await shown_the_door(reader, writer, noise)
    assert await pair.call("echo")
    assert pair.server.counters.handshakes_refused == 1
    assert [record.peer for record in caplog.records] == [f"127.0.0.1:pid-{os.getpid()}"]


async def test_a_listener_that_hangs_up_is_passed_by(nodes: Nodes) -> None:
    address = await nodes.server(Service().dispatcher, unix=False)
    visits = 0

    async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal visits
        visits += 1
        writer.close()

    rude = await asyncio.start_unix_server(hang_up, sock=bound_beside(*address))
    await echo(nodes, address)
    assert visits == 1
    rude.close()


async def test_a_listener_that_is_silent_counts_as_a_peer_that_is(nodes: Nodes) -> None:
    """It may be a node that is paused: by TCP it would not answer either."""
    address = await nodes.server(Service().dispatcher, unix=False)
    with bound_beside(*address) as listener:
        listener.listen()
        client = nodes.client(knobs=Knobs(handshake_timeout_s=0.1))
        with pytest.raises(PeerUnavailable, match="handshake took too long"):
            await client.call(address, RunDaemon("echo"), timeout_s=5)


async def test_giving_up_leaves_no_connection(nodes: Nodes) -> None:
    address = await nodes.server(Service().dispatcher)
    for turns in range(8):
        client = nodes.client()
        opening = asyncio.ensure_future(client.open(address, read(0), timeout_s=5))
        for _ in range(turns):
            await asyncio.sleep(0)
        opening.cancel()
        await asyncio.gather(opening, return_exceptions=True)
        await eventually(lambda client=client: client.counters.connections == 0)
        await asyncio.wait_for(client.close(), 1)
    await eventually(lambda: nodes.servers[0].counters.connections == 0)


@pytest.mark.parametrize("unix", [False, True])
async def test_by_tcp_packets_have_a_mac_and_by_unix_sockets_a_sum(nodes: Nodes, unix: bool) -> None:
    address = await nodes.server(Service().dispatcher)
    relay = await nodes.relay(address, unix=unix)
    client = nodes.client()
    await client.call(relay.address, RunDaemon("echo"), timeout_s=5)
    exchange = await client.open(relay.address, put(), timeout_s=5)
    await exchange.receive()
    passed: list[bytes] = []

    def change(_: str, data: bytes) -> bytes:
        passed.append(data)
        return data

    relay.change = change
    await client.call(relay.address, RunDaemon("echo"), timeout_s=5)
    await exchange.send_chunk(CHUNK[:100])
    await eventually(lambda: len(passed) == 3)
    exchange.abort()
    assert set(relay.callers) == {"unix" if unix else "127.0.0.1"}
    for packet, size in zip(passed, (len(passed[0]), len(passed[1]), len(passed[2]) - 100), strict=True):
        total = crc32c(packet[MAC_BYTES:size]).to_bytes(4, "little") + bytes(MAC_BYTES - 4)
        assert (packet[:MAC_BYTES] == total) == unix
        assert bool(any(packet[4:MAC_BYTES])) != unix


@pytest.mark.parametrize("direction", ["up", "down"])
async def test_a_flipped_bit_ends_the_connection_loudly(pair: Pair, direction: str, caplog: pytest.LogCaptureFixture) -> None:
    relay = await pair.nodes.relay(pair.address, unix=True)
    assert await pair.client.call(relay.address, RunDaemon("echo"), timeout_s=5)
    relay.change = lambda way, data: data[:-1] + bytes([data[-1] ^ 1]) if way == direction else data
    calls = len(pair.service.contexts)
    with caplog.at_level(logging.WARNING, "objstore.rpc"), pytest.raises(PeerUnavailable) as error:
        await asyncio.wait_for(pair.client.call(relay.address, RunDaemon("echo"), timeout_s=30), 2)
    assert "damaged on the way" in caplog.records[0].error
    assert str(error.value).startswith(f"127.0.0.1:{relay.address.port}: ")
    assert len(pair.service.contexts) == calls + (direction == "down"), "an altered request never reaches a handler"
    assert relay.callers == ["unix"]


async def test_the_kernel_keeps_a_large_chunk_of_a_stream_under_way(nodes: Nodes) -> None:
    address = await nodes.server(Service().dispatcher)
    exchange = await nodes.client().open(address, put(), timeout_s=5)
    await exchange.receive()
    for link in (exchange._link, *nodes.servers[0]._conversations):  # type: ignore[attr-defined]
        end = link._transport.get_extra_info("socket")
        assert end.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) >= STREAM_BYTES_UNDER_WAY
    exchange.abort()


async def test_a_chunk_is_sent_with_the_sum_it_brings(nodes: Nodes) -> None:
    """Whoever sends it to many has it counted once; a chunk that was altered since then is found."""
    address = await nodes.server(Service().dispatcher)
    exchange = await nodes.client().open(address, put(), timeout_s=5)
    await exchange.receive()
    await exchange.send_chunk(Chunk.of(CHUNK))
    await exchange.send_chunk(Chunk(CHUNK, crc32c(CHUNK) ^ 1))
    with pytest.raises(PeerUnavailable):
        await exchange.receive()
