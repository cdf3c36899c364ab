"""Calls on a connection: many at once, in both directions, answered in any order."""

import asyncio
from dataclasses import dataclass

from objstore.formats.messages import Message, Refused
from objstore.model.errors import Code, NodeError
from objstore.rpc import guard
from objstore.rpc.codec import Codec
from objstore.rpc.counters import RpcCounters
from objstore.rpc.frames import (
    CANCEL,
    LEAVING,
    REPLY,
    REQUEST,
    TIMEOUT_MS_MAX,
    Event,
    Frame,
    ProtocolError,
    frame_head,
)
from objstore.rpc.interface import CallContext, Dispatcher, Handler, PeerTimeout, PeerUnavailable
from objstore.rpc.link import Link
from objstore.runtime.interface import Clock
from objstore.runtime.knobs import Knobs

TXN_BYTES_MAX = 255
TIMEOUT_S_MAX = TIMEOUT_MS_MAX / 1000


@dataclass(frozen=True, slots=True)
class Station:
    """What all connections of one client or server share."""

    clock: Clock
    knobs: Knobs
    codec: Codec
    counters: RpcCounters
    dispatcher: Dispatcher


_Call = tuple["asyncio.Future[Message]", float, str]  # the reply, the deadline, the method


class CallConnection:
    """The conversation of calls on one link. It is the Peer that handlers see."""

    def __init__(self, link: Link, station: Station) -> None:
        self._link = link
        self._station = station
        self._loop = asyncio.get_running_loop()
        self._calls: dict[int, _Call] = {}
        self._last_call = 0
        self._handlers: dict[int, tuple[asyncio.Task[None], float]] = {}
        self._sweeping = False
        self._leaving = False
        self._peer_leaving = False

    @property
    def alive(self) -> bool:
        return not self._link.lost

    @property
    def usable(self) -> bool:
        """New calls may be made on it."""
        return not (self._link.closing or self._peer_leaving)

    @property
    def node(self) -> str:
        """The name the other side gave in the handshake."""
        return self._link.node

    # --- calling -----------------------------------------------------------------------------------------------

    async def call(self, request: Message, *, timeout_s: float, txn: str = "") -> Message:
        """As Caller.call. Raises NodeError busy when too many calls are in flight."""
        link, station = self._link, self._station
        if link.lost:
            raise PeerUnavailable(f"{link.remote}: connection lost")
        if timeout_s <= 0:
            raise PeerTimeout(f"{link.remote}: no time left for {type(request).__name__}")
        if len(self._calls) >= station.knobs.calls_in_flight_max:
            raise NodeError(Code.BUSY, f"too many calls in flight to {link.remote}")
        deadline = station.clock.monotonic() + timeout_s
        if link.paused:
            await link.drain(timeout_s)
        codec = station.codec
        body = codec.encode(request)
        self._last_call = call = (self._last_call + 1) & 0xFFFFFFFF
        timeout_ms = int(timeout_s * 1000) if timeout_s < TIMEOUT_S_MAX else TIMEOUT_MS_MAX
        head = frame_head(REQUEST, call, timeout_ms, codec.name(request), txn.encode()[:TXN_BYTES_MAX], len(body))
        try:
            link.send(head, body)
        except ValueError as error:
            raise NodeError(Code.BAD_REQUEST, f"{type(request).__name__}: {error}") from None
        future: asyncio.Future[Message] = self._loop.create_future()
        method = type(request).__name__
        self._calls[call] = (future, deadline, method)
        if not self._sweeping:
            self._sweep_later()
        outcome = "cancelled"
        station.counters.in_flight += 1
        try:
            reply = await future
            if isinstance(reply, Refused):
                outcome = reply.code
                raise guard.node_error(reply)
            outcome = "ok"
            return reply
        except PeerTimeout:
            outcome = "timeout"
            raise
        except PeerUnavailable:
            outcome = "unavailable"
            raise
        finally:
            station.counters.in_flight -= 1
            station.counters.calls[method, outcome] += 1
            if self._calls.pop(call, None) is not None and not link.lost:  # not answered
                link.send(frame_head(CANCEL, call, 0, b"", b"", 0), b"")

    def _answered(self, frame: Frame) -> None:
        call = self._calls.pop(frame.call, None)
        if call is None or call[0].done():
            return  # it was given up meanwhile
        future, _, method = call
        try:
            future.set_result(self._station.codec.decode(frame.name, frame.body))
        except ProtocolError as error:
            future.set_exception(PeerUnavailable(f"{self._link.remote}: reply to {method}: {error}"))

    # --- deadlines ---------------------------------------------------------------------------------------------

    def _sweep_later(self) -> None:
        """One timer per busy connection instead of one per call: a deadline may be a tick late."""
        self._sweeping = True
        self._loop.call_later(self._station.knobs.deadline_tick_s, self._sweep)

    def _sweep(self) -> None:
        now = self._station.clock.monotonic()
        for future, deadline, method in self._calls.values():
            if deadline <= now and not future.done():
                future.set_exception(PeerTimeout(f"{self._link.remote}: no answer to {method} in time"))
        for call_number, (_, deadline) in list(self._handlers.items()):
            if deadline <= now:  # its caller gave up
                self._cancel(call_number)
        if self._calls or self._handlers:
            self._sweep_later()
        else:
            self._sweeping = False

    # --- answering ---------------------------------------------------------------------------------------------

    def event_received(self, event: Event) -> None:
        """As Conversation."""
        if not isinstance(event, Frame):
            raise ProtocolError("a chunk on a connection for calls")
        kind = event.kind
        if kind == REPLY:
            self._answered(event)
        elif kind == REQUEST:
            self._requested(event)
        elif kind == CANCEL:
            self._cancel(event.call)
        elif kind == LEAVING:
            self._peer_leaving = True
        else:
            raise ProtocolError(f"frame of kind {kind} on a connection for calls")

    def _requested(self, frame: Frame) -> None:
        station = self._station
        try:
            request = station.codec.decode(frame.name, frame.body)
        except ProtocolError as error:
            self._reply(frame.call, Refused(Code.BAD_REQUEST, str(error)))
            return
        handler = station.dispatcher.handlers.get(type(request))
        if handler is None:
            self._reply(frame.call, Refused(Code.BAD_REQUEST, f"this node does not answer {type(request).__name__}"))
            return
        if self._leaving or len(self._handlers) >= station.knobs.calls_in_flight_max:
            self._reply(frame.call, Refused(Code.BUSY, "stopping" if self._leaving else "too many calls in flight"))
            return
        if frame.call in self._handlers:
            raise ProtocolError("a call number used twice")
        deadline = station.clock.monotonic() + frame.timeout_ms / 1000
        context = CallContext(frame.txn.decode(errors="replace"), deadline, self)
        task = self._loop.create_task(self._answer(frame.call, handler, request, context))
        self._handlers[frame.call] = (task, deadline)
        if not self._sweeping:
            self._sweep_later()

    async def _answer(self, call: int, handler: Handler, request: Message, context: CallContext) -> None:
        counters = self._station.counters
        counters.in_flight += 1
        outcome = "cancelled"
        try:
            reply = await guard.answer(handler, request, context)
            outcome = reply.code if isinstance(reply, Refused) else "ok"
            if self._link.paused:
                await self._link.drain(max(0.0, context.deadline - self._station.clock.monotonic()))
            self._reply(call, reply)
        except PeerUnavailable:
            outcome = "unavailable"  # nobody is left to answer to
        finally:
            counters.in_flight -= 1
            counters.calls[type(request).__name__, outcome] += 1
            self._handlers.pop(call, None)

    def _cancel(self, call: int) -> None:
        running = self._handlers.get(call)
        if running is not None:
            del self._handlers[call]  # here, as a task cancelled before its first step never gets to its `finally`
            running[0].cancel()

    def _reply(self, call: int, reply: Message) -> None:
        link, codec = self._link, self._station.codec
        if link.lost:
            return
        try:
            body = codec.encode(reply)
            link.send(frame_head(REPLY, call, 0, codec.name(reply), b"", len(body)), body)
        except (TypeError, ValueError, OverflowError, KeyError) as error:  # no message, a field of a wrong type, too large
            guard.log_defect("reply not sent", type(reply).__name__, "", error)
            body = codec.encode(Refused(Code.INTERNAL, f"{type(reply).__name__}: {error}"))
            link.send(frame_head(REPLY, call, 0, b"Refused", b"", len(body)), body)

    # --- the end -----------------------------------------------------------------------------------------------

    def link_lost(self, reason: str) -> None:
        """As Conversation: every call of ours fails at once, every handler of theirs is cancelled."""
        for future, _, _ in self._calls.values():
            if not future.done():
                future.set_exception(PeerUnavailable(f"{self._link.remote}: {reason}"))
        for number in list(self._handlers):
            self._cancel(number)

    def leave(self) -> None:
        """Take no new calls, and tell the peer so."""
        if not self._leaving and not self._link.lost:
            self._leaving = True
            self._link.send(frame_head(LEAVING, 0, 0, b"", b"", 0), b"")

    @property
    def busy(self) -> bool:
        """A handler runs, or a reply is not sent yet."""
        return bool(self._handlers)

    def close(self, reason: str) -> None:
        self._link.close(reason)
