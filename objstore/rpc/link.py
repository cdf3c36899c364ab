"""One authenticated connection on a socket: handshake, then packets, both ways. What the packets mean is the business of the
conversation on it: calls (`connection.py`) or a stream (`exchange.py`).
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Protocol, cast

from objstore.model.octets import Octets
from objstore.rpc.counters import RpcCounters
from objstore.rpc.frames import (
    BUFFER_BYTES,
    FRAME_HEAD_BYTES_MAX,
    STREAM_BUFFER_BYTES,
    ChunkMemory,
    Event,
    PacketReader,
    PacketWriter,
    ProtocolError,
)
from objstore.rpc.handshake import MODE_CALLS, ClientHandshake, HandshakeError, ServerHandshake, Session
from objstore.rpc.interface import FilePiece, PeerTimeout, PeerUnavailable
from objstore.runtime import unixsockets
from objstore.runtime.knobs import Knobs
from objstore.runtime.net import Connection, duplicate, tune, tune_stream

HANDSHAKE_READ_BYTES = 4096
PACKET_BYTES_WANTED = 60_000  # a packet within the reader's shared buffer costs the least; larger only for one large message
JOINED_BYTES_MAX = 1 << 14
logger = logging.getLogger("objstore.rpc")


class Conversation(Protocol):
    """Called by the link, on the event loop, never re-entered by what it sends."""

    def event_received(self, event: Event) -> None:
        """A frame's body is good only until this returns. Raises ProtocolError to end the connection."""

    def link_lost(self, reason: str) -> None:
        """Once, at the end; nothing follows."""


class Link(asyncio.BufferedProtocol):
    """The asyncio side. `authenticated` is called once the handshake is over, and returns the conversation."""

    def __init__(
        self,
        handshake: ClientHandshake | ServerHandshake,
        authenticated: Callable[["Link", Session], Conversation],
        ended: Callable[["Link", str, bool], None],
        knobs: Knobs,
        counters: RpcCounters,
        admits: Callable[[Any, str], bool] | None = None,
    ) -> None:
        """`ended(link, reason, refused)`: refused when the handshake failed for what the other side is or knows. `admits(socket,
        remote)`: asked before anything else whether the process at the other end of a Unix socket may speak to us.
        """
        self._handshake = handshake
        self._authenticated = authenticated
        self._ended = ended
        self._knobs = knobs
        self._counters = counters
        self._admits = admits
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._greeting = memoryview(bytearray(HANDSHAKE_READ_BYTES))
        self._reader: PacketReader | None = None
        self._writer: PacketWriter | None = None
        self._conversation: Conversation | None = None
        self.body_bytes_max = knobs.packet_bytes_max - FRAME_HEAD_BYTES_MAX
        self._pending: list[bytes] = []
        self._pending_bytes = 0
        self._flush_scheduled = False
        self._delivering = False
        self.paused = False
        """More than the high-water mark is unsent: `drain` before sending more."""
        self._drained: list[asyncio.Future[None]] = []
        self._timer: asyncio.TimerHandle | None = None
        self._refused = False
        self._rejected = False
        self._reason = ""
        self._keyless = False
        self.lost = False
        self.dropped = False
        """The other side ended it, and did not say why."""
        self.remote = "?"
        self.node = "?"

    # --- asyncio's side ----------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        if self.lost:  # given up while it was made
            self._transport.abort()
            return
        self._transport.set_write_buffer_limits(high=self._knobs.write_buffer_bytes_max)
        connection = transport.get_extra_info("socket")
        self._keyless = unixsockets.is_unix(connection)
        self.remote = _remote(transport, connection)
        tune(transport)
        self._counters.connections += 1
        self._counters.connections_made += 1
        self._timer = self._loop.call_later(self._knobs.handshake_timeout_s, self._handshake_late)
        if not self._welcome(connection):
            self._transport.abort()
        elif isinstance(self._handshake, ClientHandshake):
            self._transport.write(self._handshake.hello())

    def _welcome(self, connection: Any) -> bool:
        if self._rejected:
            logger.warning("connection refused", extra={"peer": self.remote, "error": self._reason})
            return False
        if self._keyless and self._admits is not None and not self._admits(connection, self.remote):
            self._counters.handshakes_refused += 1
            self._reason = "of another user"
            return False
        return True

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - asyncio's signature
        return self._greeting if self._reader is None else self._reader.get_buffer()

    def buffer_updated(self, nbytes: int) -> None:
        # uvloop closes a connection without a word when this raises: all that passes is logged here.
        try:
            if self._reader is None:
                self._greet(bytes(self._greeting[:nbytes]))
            else:
                self._counters.bytes_in += nbytes
                self._deliver(self._reader.received(nbytes))
        except ProtocolError as error:
            logger.warning("connection closed: bad data", extra={"peer": self.remote, "node": self.node, "error": str(error)})
            self.close(str(error))
        except Exception as error:
            logger.exception("connection closed: defect", extra={"peer": self.remote, "node": self.node, "error": repr(error)})
            self.close("internal error", at_once=True)
            raise

    def eof_received(self) -> None:
        return None  # closes

    def pause_writing(self) -> None:
        self.paused = True

    def resume_writing(self) -> None:
        self.paused = False
        self._wake(None)

    def connection_lost(self, exc: Exception | None) -> None:
        if self.lost:
            return
        self.lost = True
        self._counters.connections -= 1
        self.dropped = not self._reason
        self._reason = self._reason or (str(exc) if exc is not None else "connection closed by the peer")
        if self._timer is not None:
            self._timer.cancel()
        self._pending.clear()
        if self._reader is not None:
            self._reader.close()
        self._wake(PeerUnavailable(self._reason))
        if self._conversation is not None:
            self._conversation.link_lost(self._reason)
        self._ended(self, self._reason, self._refused)

    # --- handshake ---------------------------------------------------------------------------------------------

    def _greet(self, data: bytes) -> None:
        assert self._transport is not None
        try:
            answer = self._handshake.receive(data)
        except HandshakeError as error:
            self._counters.handshakes_refused += 1
            self._refused = True
            self._transport.write(self._handshake.refusal)
            self.close(str(error))
            return
        if answer:
            self._transport.write(answer)
        session = self._handshake.session
        if session is None:
            return
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self.node = session.node
        # Nobody is between two processes of one user: what the kernel carries from one to the other needs no proof.
        self._writer = PacketWriter(None if self._keyless else session.send_key)
        self._reader = PacketReader(
            None if self._keyless else session.receive_key,
            packet_bytes_max=self._knobs.packet_bytes_max,
            chunk_bytes_max=self._knobs.chunk_bytes_max,
            buffer_bytes=BUFFER_BYTES if session.mode == MODE_CALLS else STREAM_BUFFER_BYTES,
        )
        self._greeting = memoryview(b"")
        self._conversation = self._authenticated(self, session)
        if self._handshake.rest:
            self._deliver(self._reader.feed(self._handshake.rest))

    def _handshake_late(self) -> None:
        self.close("handshake took too long", at_once=True)

    def _deliver(self, events: list[Event]) -> None:
        assert self._conversation is not None
        received = self._conversation.event_received
        self._delivering = True  # what is sent meanwhile leaves at the end, without another turn of the loop
        try:
            for event in events:
                received(event)
        finally:
            self._delivering = False
            if self._pending:
                self._flush()

    # --- the conversation's side -------------------------------------------------------------------------------

    @property
    def closing(self) -> bool:
        """Nothing sent from now on will arrive."""
        return self.lost or (self._transport is not None and self._transport.is_closing())

    def send(self, head: bytes, body: bytes, *, alone: bool = False) -> None:
        """Queue one frame: all frames of one turn of the loop leave in one packet. `alone`: no others are to be expected, so it
        leaves at once. Raises ValueError for a body above `body_bytes_max`.
        """
        size = len(body)
        if size > self.body_bytes_max:
            raise ValueError(f"message of {size} bytes is too large")
        pending = self._pending
        if self._pending_bytes and self._pending_bytes + size > PACKET_BYTES_WANTED:
            self._flush()
        pending.append(head)
        pending.append(body)
        self._pending_bytes += len(head) + size
        if self._flush_scheduled or self._delivering:
            return
        if alone:  # saves a turn of the loop
            self._flush()
        else:
            self._flush_scheduled = True
            self._loop.call_soon(self._flush_turn)

    def widen(self, memory: ChunkMemory) -> None:
        """Large bodies will pass: those that come go to `memory`."""
        assert self._transport is not None and self._reader is not None
        self._reader.memory = memory
        tune_stream(self._transport)

    def end_stream(self) -> None:
        """Nothing large will pass for now."""
        if self._reader is not None:
            self._reader.end_stream()

    def send_chunk(self, data: Octets, crc: int) -> None:
        """Queue a chunk; `data` is not copied and must not change any more."""
        self._flush()
        if self.lost or self._transport is None or self._writer is None:
            return
        head = self._writer.chunk(len(data), crc)
        self._counters.bytes_out += len(head) + len(data)
        self._transport.writelines((head, data))

    def chunk_head(self, piece: FilePiece) -> bytes:
        """What goes right before a chunk that does not pass through here."""
        assert self._writer is not None
        head = self._writer.chunk(piece.length, piece.crc)
        self._counters.bytes_out += len(head) + piece.length
        return head

    def duplicate(self) -> Connection:
        """The same socket for whoever sends past the transport; asyncio lets nobody else wait for the transport's own. It is open
        for as long as there is one of these. Raises PeerUnavailable.
        """
        if self.closing or self._transport is None:
            raise PeerUnavailable(self._reason)
        return duplicate(self._transport)

    def _flush_turn(self) -> None:
        self._flush_scheduled = False
        self._flush()

    def _flush(self) -> None:
        if not self._pending or self._transport is None or self._writer is None:
            return
        mac, signed = self._writer.packet(self._pending)
        self._pending.clear()
        self._pending_bytes = 0
        if not self.lost:
            counters = self._counters
            counters.packets_out += 1
            counters.bytes_out += len(mac) + len(signed)
            if len(signed) <= JOINED_BYTES_MAX:
                self._transport.write(mac + signed)
            else:
                self._transport.writelines((mac, signed))

    async def drain(self, timeout_s: float) -> None:
        """Wait until less than the high-water mark is unsent. Raises PeerTimeout, PeerUnavailable."""
        if self.lost:
            raise PeerUnavailable(self._reason)
        if self.paused:
            await self._wait_until_woken(timeout_s)

    async def empty(self, timeout_s: float) -> None:
        """Wait until nothing is unsent. Raises PeerTimeout, PeerUnavailable."""
        self._flush()
        if not self.closing and self._transport is not None and self._transport.get_write_buffer_size():
            self._transport.set_write_buffer_limits(high=0)
            try:
                await self.drain(timeout_s)
            finally:
                if not self.lost:
                    self._transport.set_write_buffer_limits(high=self._knobs.write_buffer_bytes_max)
        if self.closing:
            raise PeerUnavailable(self._reason)

    async def writable(self, duplicate: int, timeout_s: float) -> None:
        """Wait until a duplicate of the socket takes more. Raises PeerTimeout, PeerUnavailable."""
        if self.lost:
            raise PeerUnavailable(self._reason)
        self._loop.add_writer(duplicate, self._wake, None)
        try:
            await self._wait_until_woken(timeout_s)
        finally:
            self._loop.remove_writer(duplicate)

    async def _wait_until_woken(self, timeout_s: float) -> None:
        future: asyncio.Future[None] = self._loop.create_future()
        self._drained.append(future)
        timer = self._loop.call_later(timeout_s, expire, future, f"{self.remote} does not read")
        try:
            await future
        finally:
            timer.cancel()
            if future in self._drained:
                self._drained.remove(future)

    def _wake(self, error: PeerUnavailable | None) -> None:
        waiting, self._drained = self._drained, []
        for future in waiting:
            if future.done():
                continue
            if error is None:
                future.set_result(None)
            else:
                future.set_exception(error)

    def pause_reading(self) -> None:
        if self._transport is not None and self._transport.is_reading():
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        if self._transport is not None and not self.lost and not self._transport.is_reading():
            self._transport.resume_reading()

    def reject(self, reason: str) -> None:
        """Close as soon as it is connected."""
        self._reason = reason
        self._rejected = True

    def abandon(self, reason: str) -> None:
        """Its making was given up: uvloop then closes the socket and never calls connection_lost."""
        self.close(reason, at_once=True)
        if self._transport is not None:
            self.connection_lost(None)
        self.lost = True

    def close(self, reason: str, *, at_once: bool = False) -> None:
        """End the connection; what is queued is still sent, unless `at_once`. Safe to call twice."""
        self._reason = self._reason or reason
        if self._transport is None:
            return
        if at_once:
            self._transport.abort()
        else:
            self._flush()
            self._transport.close()


def expire(future: "asyncio.Future[None]", text: str) -> None:
    """A wait took too long."""
    if not future.done():
        future.set_exception(PeerTimeout(text))


def _remote(transport: asyncio.BaseTransport, connection: Any) -> str:
    """`ip:port` of the other end, with brackets around IPv6. Who connected to a Unix socket has no port: its process is named."""
    name = transport.get_extra_info("peername")
    if unixsockets.is_unix(connection):
        if (address := unixsockets.address_of(name)) is not None:
            name = address
        elif (address := unixsockets.address_of(transport.get_extra_info("sockname"))) is not None:
            name = address[0], f"pid-{unixsockets.peer_of(connection)[0]}"
    if isinstance(name, tuple) and len(name) >= 2:
        ip = f"[{name[0]}]" if ":" in str(name[0]) else name[0]
        return f"{ip}:{name[1]}"
    return str(name)
