"""The in-process short cut: a call to one of our own addresses goes straight to the handler, never through a codec or socket."""

import asyncio
import logging
from collections import deque

from crc32c import crc32c

from objstore.formats.messages import Address, Message, Refused
from objstore.model.errors import Code, NodeError
from objstore.model.octets import Octets
from objstore.rpc import guard
from objstore.rpc.exchange import ANSWERING_GRACE_S
from objstore.rpc.interface import (
    CHUNK_BYTES_MAX,
    Begun,
    CallContext,
    Caller,
    CallsAsTasks,
    Chunk,
    Dispatcher,
    Done,
    Exchange,
    FilePiece,
    PeerTimeout,
    PeerUnavailable,
    RunInThread,
)
from objstore.runtime.clock import SystemClock
from objstore.runtime.interface import Clock

logger = logging.getLogger("objstore.rpc")
BUFFER_BYTES_MAX = 2 * CHUNK_BYTES_MAX
MESSAGE_BYTES = 512  # what a queued message counts as


class LocalPeer:
    """This process as seen by its own handlers: calling it back asks its own dispatcher."""

    def __init__(self, dispatcher: Dispatcher, clock: Clock) -> None:
        self._dispatcher = dispatcher
        self._clock = clock

    @property
    def alive(self) -> bool:
        return True

    async def call(self, request: Message, *, timeout_s: float, txn: str = "") -> Message:
        """As Caller.call."""
        handler = self._dispatcher.handlers.get(type(request))
        if handler is None:
            raise NodeError(Code.BAD_REQUEST, f"this node does not answer {type(request).__name__}")
        if timeout_s <= 0:
            raise PeerTimeout(f"no time left for {type(request).__name__}")
        context = CallContext(txn, self._clock.monotonic() + timeout_s, self)
        at_once = self._dispatcher.at_once.get(type(request))
        reply = guard.at_once(at_once, request, context) if at_once is not None else None
        if reply is None:
            try:
                async with asyncio.timeout(timeout_s) as limit:
                    reply = await guard.answer(handler, request, context)
            except TimeoutError:
                if not limit.expired():
                    raise
                raise PeerTimeout(f"no answer to {type(request).__name__} in time") from None
        if isinstance(reply, Refused):
            raise guard.node_error(reply)
        return reply


class LocalFirst(CallsAsTasks):
    """Caller that answers calls to `own` addresses in this process and passes all others on."""

    def __init__(self, own: set[Address], dispatcher: Dispatcher, remote: Caller, clock: Clock | None = None) -> None:
        self._own = own
        self._dispatcher = dispatcher
        self._remote = remote
        self._clock = clock or SystemClock()
        self._peer = LocalPeer(dispatcher, self._clock)
        self._tasks: set[asyncio.Task[None]] = set()

    async def call(self, address: Address, request: Message, *, timeout_s: float, txn: str = "") -> Message:
        """As Caller."""
        if address in self._own:
            return await self._peer.call(request, timeout_s=timeout_s, txn=txn)
        return await self._remote.call(address, request, timeout_s=timeout_s, txn=txn)

    def begin(self, address: Address, request: Message, done: Done, *, timeout_s: float, txn: str = "") -> Begun:
        """As Caller."""
        if address in self._own:
            return super().begin(address, request, done, timeout_s=timeout_s, txn=txn)
        return self._remote.begin(address, request, done, timeout_s=timeout_s, txn=txn)

    async def open(self, address: Address, request: Message, *, timeout_s: float, txn: str = "") -> Exchange:
        """As Caller."""
        if address not in self._own:
            return await self._remote.open(address, request, timeout_s=timeout_s, txn=txn)
        if timeout_s <= 0:
            raise PeerTimeout(f"no time left for {type(request).__name__}")
        near, far = local_pair(timeout_s)
        context = CallContext(txn, self._clock.monotonic() + timeout_s, self._peer)
        task = asyncio.get_running_loop().create_task(self._serve(request, far, context))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return near

    async def _serve(self, request: Message, exchange: "LocalExchange", context: CallContext) -> None:
        try:
            await guard.serve_stream(self._dispatcher, request, exchange, context)
            await exchange.finish()
        except PeerUnavailable:
            logger.debug("caller left the stream", extra={"txn": context.txn, "method": type(request).__name__})
        finally:
            exchange.abort()  # does nothing after a clean end


class _Pipe:
    """One direction: a queue bounded by bytes."""

    def __init__(self) -> None:
        self.items: deque[Message | Chunk] = deque()
        self.size = 0
        self.ended = False  # nothing more is put in
        self.closed = False  # nothing more is taken out
        self.changed = asyncio.Event()


class LocalExchange:
    """Exchange in memory; `local_pair` makes its two ends."""

    def __init__(self, incoming: _Pipe, outgoing: _Pipe, timeout_s: float) -> None:
        self._in = incoming
        self._out = outgoing
        self._timeout_s = timeout_s
        self._aborted = False
        self.other: LocalExchange

    async def _wait(self, pipe: _Pipe, what: str) -> None:
        pipe.changed.clear()
        try:
            async with asyncio.timeout(self._timeout_s) as limit:
                await pipe.changed.wait()
        except TimeoutError:
            if not limit.expired():
                raise
            self.abort()
            raise PeerTimeout(f"no {what} in time") from None

    def _check(self) -> None:
        if self._aborted:
            raise PeerUnavailable("stream aborted")

    async def _put(self, item: Message | Chunk, size: int) -> None:
        self._check()
        if self._in.items and isinstance(refused := self._in.items[0], Refused):
            raise guard.node_error(refused)
        if self._out.ended or self._out.closed:
            raise PeerUnavailable("the stream has ended")
        self._out.items.append(item)
        self._out.size += size
        self._out.changed.set()
        while self._out.size > BUFFER_BYTES_MAX:
            await self._wait(self._out, "progress")
            self._check()

    async def send(self, message: Message) -> None:
        """As Exchange."""
        await self._put(message, MESSAGE_BYTES)

    async def send_chunk(self, data: Octets | Chunk) -> None:
        """As Exchange."""
        octets = data.data if isinstance(data, Chunk) else data
        if isinstance(octets, bytes) and len(octets) <= CHUNK_BYTES_MAX:
            await self._put(data if isinstance(data, Chunk) else Chunk.of(octets), len(octets))
            return
        view = memoryview(octets)
        for start in range(0, len(view), CHUNK_BYTES_MAX):
            piece = bytes(view[start : start + CHUNK_BYTES_MAX])
            await self._put(Chunk.of(piece), len(piece))

    async def send_file(self, piece: FilePiece, run: RunInThread) -> None:
        """As Exchange."""
        self._check()
        file, start, length, crc = piece

        def read() -> bytes:
            data = file.pread(length, start)
            if len(data) != length or crc32c(data) != crc:
                raise OSError("the piece is not what it was")
            return data

        try:
            await self._put(Chunk(await run(read), crc), length)
        except BaseException as error:
            self.abort()
            if isinstance(error, OSError):
                raise PeerUnavailable(str(error)) from error
            raise

    async def receive(self) -> Message | Chunk:
        """As Exchange."""
        self._check()
        while not self._in.items:
            if self._in.ended:
                raise PeerUnavailable("the stream has ended")
            await self._wait(self._in, "message")
            self._check()
        item = self._in.items.popleft()
        self._in.size -= len(item.data) if isinstance(item, Chunk) else MESSAGE_BYTES
        self._in.changed.set()
        if isinstance(item, Refused):
            raise guard.node_error(item)
        return item

    async def refuse(self, error: Exception) -> None:
        """As Exchange."""
        if not isinstance(error, NodeError):
            error = NodeError(Code.INTERNAL, type(error).__name__)
        if not (self._aborted or self._out.ended):
            await self.send(Refused.of(error))
            self._end()

    def _end(self) -> None:
        self._out.ended = True
        self._out.changed.set()
        self._in.closed = True
        self._in.items.clear()
        self._in.size = 0
        self._in.changed.set()

    async def finish(self) -> bool:
        """As Exchange."""
        if not self._aborted:
            self._end()
        return not self._aborted

    def abort(self) -> None:
        """As Exchange."""
        if not self._out.ended:
            for end in (self, self.other):
                end._aborted = True
                end._in.items.clear()
                end._in.changed.set()


def local_pair(timeout_s: float) -> tuple[LocalExchange, LocalExchange]:
    """Both ends of a stream; `timeout_s` bounds each wait for progress."""
    there, back = _Pipe(), _Pipe()
    near, far = LocalExchange(back, there, timeout_s), LocalExchange(there, back, timeout_s + ANSWERING_GRACE_S)
    near.other, far.other = far, near
    return near, far
