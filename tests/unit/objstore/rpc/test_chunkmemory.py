"""Memory of chunks is shared by all streams of a process: it is not used again while anybody may still look at it."""

import asyncio
import hashlib
import os
import socket
import threading
from collections.abc import Callable

import pytest
import uvloop

from objstore.api.connection import Writer
from objstore.rpc.frames import BLOCKS_MAX, ChunkMemory

MIB = 1 << 20


def chunk(memory: ChunkMemory, data: bytes) -> memoryview:
    """As a stream hands it out."""
    view = memory.take(len(data))
    view[:] = data
    return view.toreadonly()


def overwrite(memory: ChunkMemory, size: int) -> None:
    """What streams do that get as much as there is."""
    for _ in range(2 * BLOCKS_MAX):
        memory.take(size)[:] = bytes(size)


class _Client:
    """The connection of a client that does not read."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self.transport = transport

    async def drained(self) -> None:
        """Without the wait, so that more than one chunk is under way."""


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_while_a_client_does_not_read(new_loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    memory, sent = ChunkMemory(), [os.urandom(MIB) for _ in range(4)]

    async def go() -> None:
        ours, client = socket.socketpair()
        client.setblocking(False)
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_connection(asyncio.Protocol, sock=ours)
        writer = Writer(_Client(transport))  # type: ignore[arg-type]
        for data in sent:
            await writer.write(chunk(memory, data))
            overwrite(memory, MIB)
        assert transport.get_write_buffer_size() > 3 * MIB
        await asyncio.sleep(0.05)
        overwrite(memory, MIB)
        got = bytearray()
        while len(got) < 4 * MIB:
            got += await loop.sock_recv(client, MIB)
            overwrite(memory, MIB)
        assert bytes(got) == b"".join(sent)
        transport.close()
        client.close()

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(go())


def test_while_a_thread_takes_a_digest_or_writes_a_file() -> None:
    memory, data = ChunkMemory(), os.urandom(16 * MIB)
    digest, file = hashlib.md5(), os.memfd_create("chunks")
    digesting = threading.Thread(target=digest.update, args=(chunk(memory, data),))
    writing = threading.Thread(target=os.pwritev, args=(file, [chunk(memory, data)], 0))
    for thread in (digesting, writing):
        thread.start()
    overwrite(memory, len(data))
    for thread in (digesting, writing):
        thread.join()
    assert digest.digest() == hashlib.md5(data).digest()
    assert os.pread(file, len(data), 0) == data
    os.close(file)


def test_while_a_part_of_it_is_kept() -> None:
    memory, data = ChunkMemory(), os.urandom(MIB)
    parts = [chunk(memory, data)[start : start + 1000] for start in (0, 5000, MIB - 1000)]
    overwrite(memory, MIB)
    assert [bytes(part) for part in parts] == [data[:1000], data[5000:6000], data[-1000:]]


def test_once_nobody_looks_at_it_the_next_stream_has_it() -> None:
    memory = ChunkMemory()
    first = memory.take(MIB)
    block = id(first.obj)
    del first
    assert id(memory.take(MIB).obj) == block
