"""Streamed calls: one at a time on a connection of their own, so that TCP's back-pressure is the stream's.

Both sides end their direction with DONE. A connection is used again only when both DONEs have passed and nothing came after
them; in every other case it is dropped.
"""

import asyncio
from collections import deque
from collections.abc import Callable

from crc32c import crc32c

from objstore.formats.messages import Message, Refused
from objstore.model.errors import Code, NodeError
from objstore.model.octets import Octets
from objstore.rpc import guard
from objstore.rpc.connection import TXN_BYTES_MAX, Station
from objstore.rpc.filesending import send_file
from objstore.rpc.frames import DONE, MESSAGE, OPEN, TIMEOUT_MS_MAX, Event, Frame, ProtocolError, frame_head
from objstore.rpc.interface import CallContext, Chunk, FilePiece, PeerUnavailable, RunInThread
from objstore.rpc.link import Link, expire
from objstore.rpc.patience import Patience

TURN_BYTES_MAX = 1 << 20
ANSWERING_GRACE_S = 0.5  # the answering side waits longer, so that the caller sees its own timeout, not a lost connection
MESSAGE_BYTES_IN_BUFFER = 512  # what a queued message counts as


class SocketExchange:
    """Exchange on a link. `ended(clean)` is called once: the connection may be used again when clean."""

    def __init__(self, link: Link, station: Station, timeout_s: float, ended: Callable[[bool], None]) -> None:
        self._link = link
        self._station = station
        self._timeout_s = timeout_s
        self._patience = Patience(timeout_s, self._late)
        self._awaited = ""
        self._ended = ended
        self._inbox: deque[Message | Chunk] = deque()
        self._inbox_bytes = 0
        self._waiter: asyncio.Future[None] | None = None
        self._failure: PeerUnavailable | None = None
        self._sent_in_turn = 0
        self._sent_done = False
        self._got_done = False
        self._over = False

    # --- what came (from the conversation) ---------------------------------------------------------------------

    def deliver(self, event: Message | Chunk | None) -> None:
        """A message or chunk came, or None for the peer's DONE."""
        if event is None:
            self._got_done = True
            if self._sent_done:  # at once: the next stream's first frame may be in the same packet
                self._end(clean=True)
        elif self._sent_done:  # refused or finished: what is still under way is read and dropped up to the peer's DONE
            self._inbox_bytes += len(event.data) if isinstance(event, Chunk) else MESSAGE_BYTES_IN_BUFFER
            if self._inbox_bytes > 4 * self._station.knobs.stream_buffer_bytes_max:
                self.abort()
        else:
            self._inbox.append(event)
            self._inbox_bytes += len(event.data) if isinstance(event, Chunk) else MESSAGE_BYTES_IN_BUFFER
            if self._inbox_bytes >= self._station.knobs.stream_buffer_bytes_max:
                self._link.pause_reading()
        self._wake()

    def fail(self, error: PeerUnavailable) -> None:
        """The connection is gone."""
        self._failure = self._failure or error
        self._end(clean=False)
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def _wait(self, what: str) -> None:
        """Until something comes. Raises PeerTimeout; PeerUnavailable is left to the caller to see."""
        self._waiter = asyncio.get_running_loop().create_future()
        self._awaited = what
        self._patience.begin()
        try:
            await self._waiter
        finally:
            self._patience.end()
            self._waiter = None

    def _late(self) -> None:
        if self._waiter is not None:
            expire(self._waiter, f"{self._link.remote}: no {self._awaited} in time")

    # --- Exchange ----------------------------------------------------------------------------------------------

    async def send(self, message: Message) -> None:
        """As Exchange. Raises NodeError bad_request for a message above the packet limit."""
        self._check()
        codec = self._station.codec
        body = codec.encode(message)
        try:
            self._link.send(frame_head(MESSAGE, 0, 0, codec.name(message), b"", len(body)), body)
        except ValueError as error:
            raise NodeError(Code.BAD_REQUEST, f"{type(message).__name__}: {error}") from None
        await self._progress(len(body))

    async def send_chunk(self, data: Octets | Chunk) -> None:
        """As Exchange. Pieces above the chunk limit are split. A writable view is copied, as the bytes leave later."""
        self._check()
        piece, crc = (data.data, data.crc) if isinstance(data, Chunk) else (data, None)
        if isinstance(piece, memoryview) and not piece.readonly:
            piece = bytes(piece)
        size = self._station.knobs.chunk_bytes_max
        if len(piece) <= size:
            self._link.send_chunk(piece, crc32c(piece) if crc is None else crc)
            await self._progress(len(piece))
            return
        view = memoryview(piece)
        for start in range(0, len(view), size):
            self._check()
            part = view[start : start + size]
            self._link.send_chunk(part, crc32c(part))
            await self._progress(size)

    async def send_file(self, piece: FilePiece, run: RunInThread) -> None:
        """As Exchange."""
        self._check()
        try:
            await send_file(self._link, piece, run, self._timeout_s)
        except BaseException:  # a chunk cut short: nothing can follow
            self.abort()
            raise
        await self._progress(piece.length)

    def _check(self) -> None:
        if self._failure is not None:
            raise self._failure
        if self._inbox and isinstance(refused := self._inbox[0], Refused):  # before the connection breaks over what we send
            raise guard.node_error(refused)
        if self._sent_done or self._over or self._link.closing:
            raise PeerUnavailable(f"{self._link.remote}: the stream has ended")

    async def _progress(self, size: int) -> None:
        self._sent_in_turn += size
        if self._sent_in_turn >= TURN_BYTES_MAX:  # a receiver as fast as we are must not keep the loop to itself
            self._sent_in_turn = 0
            await asyncio.sleep(0)
        if self._link.paused:
            try:
                await self._link.drain(self._timeout_s)
            except PeerUnavailable:
                self.abort()
                raise

    async def receive(self) -> Message | Chunk:
        """As Exchange."""
        while not self._inbox:
            if self._failure is not None:
                raise self._failure
            if self._got_done or self._over:
                raise PeerUnavailable(f"{self._link.remote}: the stream has ended")
            try:
                await self._wait("message")
            except PeerUnavailable:
                self.abort()
                raise
        event = self._inbox.popleft()
        if isinstance(event, Chunk):
            self._inbox_bytes -= len(event.data)
        else:
            self._inbox_bytes -= MESSAGE_BYTES_IN_BUFFER
        if self._inbox_bytes < self._station.knobs.stream_buffer_bytes_max:
            self._link.resume_reading()
        if isinstance(event, Refused):
            raise guard.node_error(event)
        return event

    async def refuse(self, error: Exception) -> None:
        """As Exchange. An error that is no NodeError is sent as internal."""
        if not isinstance(error, NodeError):
            error = NodeError(Code.INTERNAL, type(error).__name__)
        if not (self._over or self._sent_done):
            await self.send(Refused.of(error))
            self.done_sending()

    def done_sending(self) -> None:
        """Nothing more will be sent; what still comes is dropped up to the peer's DONE."""
        if not (self._sent_done or self._over):
            self._sent_done = True
            self._link.send(frame_head(DONE, 0, 0, b"", b"", 0), b"")
            self._inbox.clear()
            self._inbox_bytes = 0
            self._link.resume_reading()
            if self._got_done:
                self._end(clean=True)

    async def finish(self) -> bool:
        """As Exchange. Never raises: where no clean end comes of it, the connection is dropped."""
        if self._over:
            return self._failure is None
        if self._inbox and not isinstance(self._inbox[-1], Refused):
            self.abort()  # what it sent was never received: no clean end
            return False
        self.done_sending()
        try:
            while not self._got_done and self._failure is None and not self._over:
                await self._wait("end")
        except PeerUnavailable:
            pass
        clean = self._got_done and self._failure is None
        self._end(clean=clean)
        return clean

    def abort(self) -> None:
        """As Exchange."""
        if not self._over:
            self._failure = self._failure or PeerUnavailable(f"{self._link.remote}: stream aborted")
            self._end(clean=False)
            self._wake()

    def _end(self, *, clean: bool) -> None:
        if self._over:
            return
        self._over = True
        self._patience.stop()
        self._inbox.clear()
        self._station.counters.streams -= 1
        if not clean:
            self._link.close("stream aborted", at_once=True)
        self._ended(clean)


class StreamConnection:
    """The conversation of streams on one link, either side."""

    def __init__(self, link: Link, station: Station, *, accepts: bool) -> None:
        """`accepts`: streams are opened by the other side (it connected to us)."""
        self._link = link
        self._station = station
        self._accepts = accepts
        self._exchange: SocketExchange | None = None
        self._task: asyncio.Task[None] | None = None
        self.leaving = False
        self.on_idle: Callable[[StreamConnection], None] | None = None
        link.widen(station.memory)

    @property
    def alive(self) -> bool:
        return not self._link.closing

    @property
    def busy(self) -> bool:
        return self._exchange is not None

    def open(self, request: Message, timeout_s: float, txn: str) -> SocketExchange:
        """Client side: begin a streamed call on this idle connection."""
        assert self._exchange is None
        codec = self._station.codec
        body = codec.encode(request)
        timeout_ms = min(int(timeout_s * 1000), TIMEOUT_MS_MAX)
        try:
            self._link.send(frame_head(OPEN, 0, timeout_ms, codec.name(request), txn.encode()[:TXN_BYTES_MAX], len(body)), body)
        except ValueError as error:
            raise NodeError(Code.BAD_REQUEST, f"{type(request).__name__}: {error}") from None
        return self._begin(timeout_s)

    def _begin(self, timeout_s: float) -> SocketExchange:
        self._exchange = SocketExchange(self._link, self._station, timeout_s, self._exchange_ended)
        self._station.counters.streams += 1
        return self._exchange

    def _exchange_ended(self, clean: bool) -> None:
        self._exchange = None
        self._link.end_stream()
        if self.leaving and clean:
            self._link.close("stopping")
        if self.on_idle is not None:
            self.on_idle(self)

    def event_received(self, event: Event) -> None:
        """As Conversation."""
        exchange = self._exchange
        if isinstance(event, Frame):
            if event.kind == OPEN and self._accepts and exchange is None:
                self._opened(event)
            elif exchange is None:
                raise ProtocolError("data outside a stream")
            elif event.kind == MESSAGE:
                exchange.deliver(self._station.codec.decode(event.name, event.body))
            elif event.kind == DONE:
                exchange.deliver(None)
            else:
                raise ProtocolError(f"frame of kind {event.kind} on a stream's connection")
        elif exchange is None:
            raise ProtocolError("data outside a stream")
        else:
            exchange.deliver(event)

    def _opened(self, frame: Frame) -> None:
        timeout_s = frame.timeout_ms / 1000
        exchange = self._begin(timeout_s + ANSWERING_GRACE_S)
        context = CallContext(
            frame.txn.decode(errors="replace"), self._station.clock.monotonic() + timeout_s, _StreamPeer(self._link)
        )
        request: Message | ProtocolError
        try:
            request = self._station.codec.decode(frame.name, frame.body)
        except ProtocolError as error:
            request = error
        self._task = asyncio.get_running_loop().create_task(self._serve(request, exchange, context))

    async def _serve(self, request: Message | ProtocolError, exchange: SocketExchange, context: CallContext) -> None:
        method = type(request).__name__
        outcome = "cancelled"
        try:
            outcome = await self._handle(request, exchange, context)
            await exchange.finish()
        except PeerUnavailable:
            outcome = "unavailable"
        finally:
            exchange.abort()  # does nothing after a clean end
            self._station.counters.calls[method, outcome] += 1
            self._task = None

    async def _handle(self, request: Message | ProtocolError, exchange: SocketExchange, context: CallContext) -> str:
        if isinstance(request, ProtocolError):
            refusal = NodeError(Code.BAD_REQUEST, str(request))
        elif self.leaving:
            refusal = NodeError(Code.BUSY, "stopping")
        else:
            return await guard.serve_stream(self._station.dispatcher, request, exchange, context)
        await exchange.refuse(refusal)
        return refusal.code

    def link_lost(self, reason: str) -> None:
        """As Conversation."""
        exchange = self._exchange
        if exchange is not None:
            exchange.fail(PeerUnavailable(f"{self._link.remote}: {reason}"))
        elif self.on_idle is not None:
            self.on_idle(self)

    def leave(self) -> None:
        """Close once idle."""
        self.leaving = True
        if self._exchange is None:
            self._link.close("stopping")

    def close(self, reason: str) -> None:
        self._link.close(reason, at_once=True)


class _StreamPeer:
    """A stream's connection carries nothing else: its other end cannot be called back."""

    def __init__(self, link: Link) -> None:
        self._link = link

    @property
    def alive(self) -> bool:
        return not self._link.lost

    async def call(self, request: Message, *, timeout_s: float) -> Message:  # noqa: ARG002 - Peer's signature
        raise PeerUnavailable("the peer of a stream cannot be called back")
