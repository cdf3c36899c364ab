"""Calls on a connection: many at once, in both directions, answered in any order."""

import asyncio
import math
from dataclasses import dataclass, field
from functools import partial

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
    ChunkMemory,
    Event,
    Frame,
    ProtocolError,
    frame_head,
)
from objstore.rpc.interface import CallContext, Dispatcher, Done, Handler, Outcome, PeerTimeout, PeerUnavailable
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
    memory: ChunkMemory = field(default_factory=ChunkMemory)


class _Call:
    """One of ours that has no outcome yet."""

    __slots__ = ("_connection", "deadline", "done", "method", "number")

    def __init__(self, connection: "CallConnection", number: int, done: Done, method: str, deadline: float) -> None:
        self._connection = connection
        self.number = number
        self.done = done
        self.method = method
        self.deadline = deadline

    def cancel(self) -> None:
        """As Begun."""
        self._connection.give_up(self)


def _settle(future: "asyncio.Future[Message]", outcome: Outcome | BaseException) -> None:
    if future.done():
        return
    if isinstance(outcome, Message):
        future.set_result(outcome)
    else:
        future.set_exception(outcome)


class CallConnection:
    """The conversation of calls on one link. It is the Peer that handlers see."""

    def __init__(self, link: Link, station: Station) -> None:
        self._link = link
        self._station = station
        self._loop = asyncio.get_running_loop()
        self._calls: dict[int, _Call] = {}
        self._last_call = 0
        self._crowded = False
        """The last call was not alone, so the next one will hardly be: calls that go together cost less."""
        self._handlers: dict[int, tuple[asyncio.Task[None], float, bool]] = {}
        self._sweep_at = math.inf
        self._sweep_timer: asyncio.TimerHandle | None = None
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
    def ready(self) -> bool:
        """They may be made at once, too."""
        link = self._link
        return not (link.paused or self._peer_leaving or link.closing)

    @property
    def node(self) -> str:
        """The name the other side gave in the handshake."""
        return self._link.node

    # --- calling -----------------------------------------------------------------------------------------------

    async def call(self, request: Message, *, timeout_s: float, txn: str = "") -> Message:
        """As Caller.call. Raises NodeError busy when too many calls are in flight."""
        link = self._link
        if link.paused:
            started = self._station.clock.monotonic()
            await link.drain(timeout_s)
            timeout_s -= self._station.clock.monotonic() - started
        future: asyncio.Future[Message] = self._loop.create_future()
        begun = self.begin(request, partial(_settle, future), timeout_s=timeout_s, txn=txn)
        try:
            return await future
        finally:
            begun.cancel()

    def begin(self, request: Message, done: Done, *, timeout_s: float, txn: str = "") -> "_Call":
        """As Caller.begin, whether the link is paused or not."""
        station, calls = self._station, self._calls
        self._last_call = number = (self._last_call + 1) & 0xFFFFFFFF
        deadline = station.clock.monotonic() + timeout_s
        call = _Call(self, number, done, type(request).__name__, deadline)
        refusal = self._send(request, number, timeout_s, txn)
        self._crowded = bool(calls)
        calls[number] = call
        station.counters.in_flight += 1
        if refusal is not None:
            self._loop.call_soon(self._end, call, refusal)
        elif deadline < self._sweep_at:
            self._sweep_by(deadline)
        return call

    def _send(self, request: Message, number: int, timeout_s: float, txn: str) -> NodeError | PeerUnavailable | None:
        """Queue a request; returns why it cannot be."""
        link, station = self._link, self._station
        if link.lost:
            return PeerUnavailable(f"{link.remote}: connection lost")
        if timeout_s <= 0:
            return PeerTimeout(f"{link.remote}: no time left for {type(request).__name__}")
        if len(self._calls) >= station.knobs.calls_in_flight_max:
            return NodeError(Code.BUSY, f"too many calls in flight to {link.remote}")
        name, body = station.codec.pack(request)
        timeout_ms = int(timeout_s * 1000) if timeout_s < TIMEOUT_S_MAX else TIMEOUT_MS_MAX
        try:
            head = frame_head(REQUEST, number, timeout_ms, name, txn.encode()[:TXN_BYTES_MAX], len(body))
            link.send(head, body, alone=not (self._calls or self._crowded))
        except ValueError as error:
            return NodeError(Code.BAD_REQUEST, f"{type(request).__name__}: {error}")
        return None

    def _end(self, call: "_Call", outcome: Outcome) -> None:
        """A call has its outcome: whoever waits for it hears of it, and of no other."""
        if self._calls.pop(call.number, None) is None:
            return
        counters = self._station.counters
        counters.in_flight -= 1
        word = "ok"
        if isinstance(outcome, NodeError):
            word = outcome.code
        elif isinstance(outcome, PeerUnavailable):
            word = "timeout" if isinstance(outcome, PeerTimeout) else "unavailable"
        counters.calls[call.method, word] += 1
        call.done(outcome)

    def give_up(self, call: "_Call") -> None:
        """The outcome is not wanted; see Begun.cancel."""
        if self._calls.pop(call.number, None) is None:
            return
        counters = self._station.counters
        counters.in_flight -= 1
        counters.calls[call.method, "cancelled"] += 1
        self._send_cancel(call)

    def _send_cancel(self, call: "_Call") -> None:
        if not self._link.lost:
            self._link.send(frame_head(CANCEL, call.number, 0, b"", b"", 0), b"")

    def _answered(self, frame: Frame) -> None:
        call = self._calls.get(frame.call)
        if call is None:
            return  # it was given up meanwhile
        outcome: Outcome
        try:
            outcome = self._station.codec.decode(frame.name, frame.body)
            if type(outcome) is Refused:
                outcome = guard.node_error(outcome)
        except ProtocolError as error:
            outcome = PeerUnavailable(f"{self._link.remote}: reply to {call.method}: {error}")
        self._end(call, outcome)

    # --- deadlines ---------------------------------------------------------------------------------------------

    def _sweep_by(self, deadline: float) -> None:
        """One timer per connection, for the earliest deadline, instead of one per call. As most calls are given the same time, it
        hardly ever moves: by then there are later calls. A deadline may be a tick late.
        """
        if self._sweep_timer is not None:
            self._sweep_timer.cancel()
        self._sweep_at = deadline
        wait_s = max(deadline - self._station.clock.monotonic(), self._station.knobs.deadline_tick_s)
        self._sweep_timer = self._loop.call_later(wait_s, self._sweep)

    def _sweep(self) -> None:
        self._sweep_at, self._sweep_timer = math.inf, None
        now = self._station.clock.monotonic()
        for call in [call for call in self._calls.values() if call.deadline <= now]:
            if call.number in self._calls:  # the outcome of one may end another
                self._send_cancel(call)
                self._end(call, PeerTimeout(f"{self._link.remote}: no answer to {call.method} in time"))
        for call_number, (_, deadline, _) in list(self._handlers.items()):
            if deadline <= now:  # its caller gave up
                self._cancel(call_number)
        deadlines = [call.deadline for call in self._calls.values()] + [running[1] for running in self._handlers.values()]
        if deadlines and (earliest := min(deadlines)) < self._sweep_at:  # what was ended may have begun another
            self._sweep_by(earliest)

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
        lasting = type(request) in station.dispatcher.lasting
        context = CallContext(frame.txn.decode(errors="replace"), deadline, self, lasting)
        at_once = station.dispatcher.at_once.get(type(request))
        if at_once is not None and not self._link.paused:
            reply = guard.at_once(at_once, request, context)
            if reply is not None:
                outcome = reply.code if isinstance(reply, Refused) else "ok"
                station.counters.calls[type(request).__name__, outcome] += 1
                self._reply(frame.call, reply)
                return
        task = self._loop.create_task(self._answer(frame.call, handler, request, context))
        self._handlers[frame.call] = (task, deadline, lasting)
        if deadline < self._sweep_at:
            self._sweep_by(deadline)

    async def _answer(self, call: int, handler: Handler, request: Message, context: CallContext) -> None:
        counters = self._station.counters
        counters.in_flight += 1
        outcome = "cancelled"
        try:
            reply = await guard.answer(handler, request, context)
            if call not in self._handlers:
                return  # a lasting one, whose caller has left
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
            task, _, lasting = running
            if not lasting:
                task.cancel()

    def _reply(self, call: int, reply: Message) -> None:
        link, codec = self._link, self._station.codec
        if link.lost:
            return
        try:
            name, body = codec.pack(reply)
            link.send(frame_head(REPLY, call, 0, name, b"", len(body)), body, alone=len(self._handlers) < 2)
        except (TypeError, ValueError, OverflowError, KeyError) as error:  # no message, a field of a wrong type, too large
            guard.log_defect("reply not sent", type(reply).__name__, "", error)
            body = codec.encode(Refused(Code.INTERNAL, f"{type(reply).__name__}: {error}"))
            link.send(frame_head(REPLY, call, 0, b"Refused", b"", len(body)), body)

    # --- the end -----------------------------------------------------------------------------------------------

    def link_lost(self, reason: str) -> None:
        """As Conversation: every call of ours fails at once, every handler of theirs is cancelled."""
        if self._sweep_timer is not None:
            self._sweep_timer.cancel()
        for call in list(self._calls.values()):
            self._end(call, PeerUnavailable(f"{self._link.remote}: {reason}"))
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
