"""Chunks that go straight from a file: what every Exchange promises of them."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from crc32c import crc32c

from objstore.formats.messages import Address, End, ReadObject, Ready
from objstore.model.errors import Code, NodeError
from objstore.rpc.interface import (
    CHUNK_BYTES_MAX,
    CallContext,
    Caller,
    Chunk,
    Dispatcher,
    Exchange,
    FilePiece,
    PeerTimeout,
    PeerUnavailable,
)
from objstore.runtime.filesystem import RealFileSystem
from tests.contract.implementations import CALLERS
from tests.contract.service import read

BODY = os.urandom(24 * CHUNK_BYTES_MAX + 5)  # more than both kernels keep of a connection


class Sender:
    """Answers ReadObject from one file, in chunks of up to a MiB, with the checksums of BODY whatever the file holds. The first
    `start` bytes go out as any bytes do.
    """

    def __init__(self, path: Path) -> None:
        self.path = path / "body"
        self.path.write_bytes(BODY)
        self.dispatcher = Dispatcher()
        self.dispatcher.on_stream(ReadObject, self.send)
        self._file = RealFileSystem(str(path)).open("body")
        self.ends: list[object] = []
        self.ended = asyncio.Event()
        self.busy_after: int | None = None
        """After so many calls in threads, one for a chunk under way already is refused; in memory, where there are none, any."""
        self._last: object = None

    async def run(self, call: Callable[[], Any]) -> Any:
        if self.busy_after is not None:
            self.busy_after -= 1
            if self.busy_after < 0 and (call == self._last or not hasattr(call, "__self__")):
                raise NodeError(Code.BUSY)
            self._last = call
        return await asyncio.to_thread(call)

    async def send(self, request: ReadObject, exchange: Exchange, _context: CallContext) -> None:
        try:
            await exchange.send(Ready())
            if request.start:
                await exchange.send_chunk(BODY[: request.start])
            for start in range(request.start, request.length, CHUNK_BYTES_MAX):
                length = min(CHUNK_BYTES_MAX, request.length - start)
                piece = FilePiece(self._file, start, length, crc32c(BODY[start : start + length]))
                await exchange.send_file(piece, self.run)
            await exchange.send(End())
            self.ends.append(await exchange.finish())
        except BaseException as error:
            self.ends.append(type(error))
            raise
        finally:
            self.ended.set()


class Node:
    def __init__(self, caller: Caller, address: Address, sender: Sender) -> None:
        self.sender = sender
        self._caller = caller
        self._address = address

    async def open(self, length: int, timeout_s: float = 5, start: int = 0) -> Exchange:
        exchange = await self._caller.open(self._address, read(length, start), timeout_s=timeout_s)
        assert isinstance(await exchange.receive(), Ready)
        return exchange

    async def ends(self, count: int = 1) -> list[object]:
        async with asyncio.timeout(5):
            while len(self.sender.ends) < count:
                await self.sender.ended.wait()
                self.sender.ended.clear()
        return self.sender.ends


@pytest.fixture(params=CALLERS)
async def node(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Node]:
    sender = Sender(tmp_path)
    async with CALLERS[request.param](sender.dispatcher) as (caller, address):
        yield Node(caller, address, sender)


async def received(exchange: Exchange, pause_s: float = 0) -> bytes:
    got = bytearray()
    while isinstance(item := await exchange.receive(), Chunk):
        assert crc32c(item.data) == item.crc
        got += item.data
        await asyncio.sleep(pause_s)
    assert isinstance(item, End)
    assert await exchange.finish()
    return bytes(got)


@pytest.mark.parametrize("length", [1, 4096, CHUNK_BYTES_MAX - 1, CHUNK_BYTES_MAX, CHUNK_BYTES_MAX + 1, len(BODY)])
async def test_all_of_it_arrives(node: Node, length: int) -> None:
    for _ in range(2):  # on the same connection
        assert await received(await node.open(length)) == BODY[:length]
    assert await node.ends(2) == [True, True]


async def test_a_slow_reader_gets_all_of_it(node: Node) -> None:
    exchange = await node.open(len(BODY))
    await asyncio.sleep(0.3)
    assert await received(exchange, 0.02) == BODY
    assert await node.ends() == [True]


async def test_many_at_once(node: Node) -> None:
    exchanges = await asyncio.gather(*(node.open(len(BODY)) for _ in range(3)))
    assert set(await asyncio.gather(*map(received, exchanges))) == {BODY}


@pytest.mark.parametrize("at", [0, CHUNK_BYTES_MAX + 7, len(BODY) - 1])
async def test_what_is_not_what_it_should_be_reaches_nobody(node: Node, at: int) -> None:
    with node.sender.path.open("r+b") as file:
        file.seek(at)
        file.write(bytes([BODY[at] ^ 1]))
    exchange, got = await node.open(len(BODY)), bytearray()
    with pytest.raises(PeerUnavailable):
        while isinstance(item := await exchange.receive(), Chunk):
            got += item.data
    assert len(got) <= at and BODY.startswith(got)
    assert await node.ends() in ([PeerUnavailable], [False]), "the sender is told"


async def test_a_file_that_is_too_short(node: Node) -> None:
    os.truncate(node.sender.path, 3 * CHUNK_BYTES_MAX - 1)
    exchange = await node.open(len(BODY))
    with pytest.raises(PeerUnavailable):
        await received(exchange)
    assert await node.ends() == [PeerUnavailable]


async def test_a_reader_that_leaves(node: Node) -> None:
    exchange = await node.open(len(BODY))
    assert isinstance(await exchange.receive(), Chunk)
    exchange.abort()
    assert await node.ends() == [PeerUnavailable]
    assert await received(await node.open(len(BODY))) == BODY


async def test_a_reader_that_stops_reading(node: Node) -> None:
    """The sender gives up half a second after the reader's own time limit."""
    exchange = await node.open(len(BODY), timeout_s=0.2)
    await asyncio.sleep(0.1)
    assert await node.ends() == [PeerTimeout]
    exchange.abort()


async def test_a_disk_that_is_too_busy_in_the_middle_of_a_chunk(node: Node) -> None:
    """A refusal would be read as bytes of the chunk."""
    node.sender.busy_after = 2
    exchange = await node.open(len(BODY))
    await asyncio.sleep(0.2)
    with pytest.raises(PeerUnavailable) as broken:
        await received(exchange)
    assert broken.type is PeerUnavailable, "at once, not when time is up"
    assert await node.ends() == [NodeError]


async def test_what_was_sent_otherwise_goes_first(node: Node) -> None:
    """It stays in the transport for as long as nobody reads."""
    start = 12 * CHUNK_BYTES_MAX
    exchange = await node.open(len(BODY), start=start)
    await asyncio.sleep(0.2)
    assert await received(exchange) == BODY
    assert await node.ends() == [True]


async def test_a_reader_that_leaves_before_the_first_piece_of_a_file(node: Node) -> None:
    exchange = await node.open(len(BODY), start=12 * CHUNK_BYTES_MAX)
    await asyncio.sleep(0.2)
    exchange.abort()
    assert await node.ends() == [PeerUnavailable]
