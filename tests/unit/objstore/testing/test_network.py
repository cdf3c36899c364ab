"""The proxy between nodes, with plain sockets at its ends."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from objstore.formats.messages import Address, DaemonReport, RunDaemon
from objstore.rpc.client import RpcClient
from objstore.rpc.interface import PeerUnavailable
from objstore.rpc.server import RpcServer
from objstore.runtime.clock import SystemClock
from objstore.runtime.rng import SystemRng
from objstore.runtime.unixsockets import connected_beside
from objstore.testing.addresses import Addresses
from objstore.testing.layout import Member
from objstore.testing.network import Network
from tests.contract.service import Service


@dataclass
class Ends:
    """Two members behind the proxy: what connects as `a` reaches `b`, which answers every line with itself."""

    network: Network
    a: Member
    b: Member
    received: list[bytes]
    ended: asyncio.Event

    async def over(self) -> None:
        await asyncio.wait_for(self.ended.wait(), 5)

    async def connect(self, source: str | None = None) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection(self.b.ip, self.b.port, local_addr=(source or self.a.bound_ip, 0))


def member(addresses: Addresses, name: str, host: int) -> Member:
    return Member(name, "storage", host, addresses.ring_ip(host), addresses.bound_ip(host), 6200, "", "")


@pytest.fixture
async def ends() -> AsyncIterator[Ends]:
    addresses, network = Addresses(), Network()
    a, b = member(addresses, "a", 1), member(addresses, "b", 2)
    received: list[bytes] = []
    ended = asyncio.Event()

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                received.append(line)
                writer.write(line)
                await writer.drain()
        except ConnectionError:
            received.append(b"reset")
        received.append(b"end")
        ended.set()
        writer.close()

    server = await asyncio.start_server(echo, b.bound_ip, b.port)
    for one in (a, b):
        network.add(one)
    network.open(b)
    yield Ends(network, a, b, received, ended)
    network.close()
    server.close()
    addresses.close()


async def line(reader: asyncio.StreamReader, timeout_s: float = 5.0) -> bytes:
    return await asyncio.wait_for(reader.readline(), timeout_s)


async def silent(reader: asyncio.StreamReader) -> bool:
    try:
        await line(reader, 0.1)
    except TimeoutError:
        return True
    return False


async def test_bytes_and_ends_pass(ends: Ends) -> None:
    reader, writer = await ends.connect()
    writer.write(b"hello\n")
    assert await line(reader) == b"hello\n"
    writer.close()
    assert await line(reader) == b""
    await ends.over()
    assert ends.network.connections == {("a", "b"): 1}


async def test_a_large_transfer_is_throttled_not_hoarded(ends: Ends) -> None:
    """Nobody reads: writing must stop long before everything is in memory."""
    reader, writer = await ends.connect()
    block = b"x" * 32_767 + b"\n"
    sent = 0
    try:
        async with asyncio.timeout(1.0):
            while True:
                writer.write(block)
                await writer.drain()
                sent += len(block)
    except TimeoutError:
        pass
    assert sent < 64 << 20
    writer.transport.abort()
    assert reader is not None


async def test_open_connections_obey_a_new_rule_at_once_and_break_when_it_ends(ends: Ends) -> None:
    reader, writer = await ends.connect()
    writer.write(b"one\n")
    assert await line(reader) == b"one\n"
    ends.network.change("b", "a", lost=True)
    writer.write(b"two\n")
    assert await silent(reader)
    assert ends.received == [b"one\n", b"two\n"], "the request arrived, the reply was lost"
    ends.network.heal()
    with pytest.raises(ConnectionResetError):
        await line(reader)


async def test_a_lost_end_is_not_seen_by_the_other_side(ends: Ends) -> None:
    reader, writer = await ends.connect()
    writer.write(b"one\n")
    await line(reader)
    ends.network.change("a", "b", lost=True)
    writer.close()
    await asyncio.sleep(0.1)
    assert ends.received == [b"one\n"], "half open: its end was lost"
    ends.network.heal()
    await ends.over()


async def test_refusing_resets_open_and_new_connections_of_one_side(ends: Ends) -> None:
    reader, writer = await ends.connect()
    writer.write(b"one\n")
    await line(reader)
    ends.network.change("a", "b", refused=True)
    with pytest.raises(ConnectionResetError):
        await line(reader)
    with pytest.raises(ConnectionResetError):
        again, _ = await ends.connect()
        await line(again)
    ends.network.heal()
    third, writer = await ends.connect()
    writer.write(b"back\n")
    assert await line(third) == b"back\n"
    writer.close()


async def test_strangers_are_not_disturbed(ends: Ends) -> None:
    for sender, receiver in (("a", "b"), ("b", "a")):
        ends.network.change(sender, receiver, lost=True)
    reader, writer = await ends.connect("127.0.0.1")
    writer.write(b"hello\n")
    assert await line(reader) == b"hello\n"
    writer.close()


async def test_a_cut_delivers_what_came_before_it(ends: Ends) -> None:
    ends.network.change("a", "b", cut_after=6, cuts=1)
    reader, writer = await ends.connect()
    writer.write(b"12345\n67890\n")
    await ends.over()
    # An answer that meets the closed connection is answered by a reset in its turn.
    assert [one for one in ends.received if one != b"reset"] == [b"12345\n", b"end"]
    with pytest.raises(ConnectionResetError):
        while await line(reader):
            pass
    again, writer = await ends.connect()
    writer.write(b"12345\n67890\n")
    assert (await line(again), await line(again)) == (b"12345\n", b"67890\n")
    writer.close()


async def test_a_node_that_is_gone_refuses(ends: Ends) -> None:
    ends.network.shut(ends.b)
    with pytest.raises(ConnectionRefusedError):
        await ends.connect()
    ends.network.open(ends.b)
    ends.network.open(ends.b)
    _, writer = await ends.connect()
    writer.close()


async def test_a_node_that_does_not_listen_resets(ends: Ends) -> None:
    ends.network.open(ends.a)
    with pytest.raises(ConnectionResetError):
        reader, _ = await asyncio.open_connection(ends.a.ip, ends.a.port, local_addr=(ends.b.bound_ip, 0))
        await line(reader)


async def test_unix_sockets_do_not_go_round_it() -> None:
    """They stand beside the addresses that nodes are bound to; nodes call each other by those in the rings."""
    addresses, network = Addresses(), Network()
    a, b = member(addresses, "a", 1), member(addresses, "b", 2)
    secret, clock, rng = b"the secret of the cluster under test", SystemClock(), SystemRng()
    server = RpcServer(Service().dispatcher, secret, "b", b"fingerprint", clock, rng)
    await server.start(b.bound_ip, b.port)
    for one in (a, b):
        network.add(one)
    network.open(b)
    beside = connected_beside(b.bound_ip, b.port)
    assert beside is not None, "it has one"
    beside.close()
    client = RpcClient(secret, "a", b"fingerprint", clock, rng, local_ip=a.bound_ip)
    address = Address(b.ip, b.port)
    assert await client.call(address, RunDaemon("echo"), timeout_s=5) == DaemonReport({"echo": 0})
    assert network.connections == {("a", "b"): 1}
    network.change("b", "a", lost=True)
    with pytest.raises(PeerUnavailable):
        await client.call(address, RunDaemon("echo"), timeout_s=0.2)
    await client.close()
    network.close()
    await server.stop(0)
    addresses.close()
