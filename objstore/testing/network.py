"""The network between the nodes of a cluster under test: every connection passes through here, where a test can break it.

In the rings stand addresses on which this proxy listens, one per node; the nodes are bound to others. Who calls is known by the
address the call comes from. The proxy has a thread of its own, so that it works while a test blocks; callers that are no nodes
are never disturbed.
"""

import asyncio
import contextlib
import socket
import struct
import threading
from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any, TypeVar, cast

import uvloop

from objstore.app.supervisor import listen_on
from objstore.testing.layout import Member
from objstore.testing.linkrules import Cut, Rule, Stream

T = TypeVar("T")
QUEUE_BYTES_MAX = 1 << 20
CALL_TIMEOUT_S = 10.0
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
OUTSIDE = ""


class Network:
    """Started by the constructor; `close` ends it. Its methods may be called from any thread."""

    def __init__(self) -> None:
        self.connections: Counter[tuple[str, str]] = Counter()
        """Made so far: (caller, called)."""
        self._loop = uvloop.new_event_loop()
        self._names: dict[str, str] = {}
        self._ips: dict[str, str] = {}
        self._rules: dict[tuple[str, str], Rule] = {}
        self._listeners: dict[str, asyncio.AbstractServer] = {}
        self._links: set[_Link] = set()
        self._thread = threading.Thread(target=self._loop.run_forever, name="objstore-network", daemon=True)
        self._thread.start()

    # --- from any thread ---------------------------------------------------------------------------------------

    def add(self, member: Member) -> None:
        """Know a member's addresses."""
        self._names[member.bound_ip] = member.name
        self._ips[member.name] = member.ip

    def open(self, member: Member) -> None:
        """Listen for a node that serves now. Raises OSError."""
        self._run(self._open(member))

    def shut(self, member: Member) -> None:
        """Refuse connections to a node that is gone."""
        self._call(lambda: self._shut(member.name))

    def change(self, sender: str, receiver: str, **what: Any) -> None:
        """Change fields of the rule for what `sender` sends `receiver`; open connections obey at once."""
        self._call(lambda: self._set(sender, receiver, replace(self.rule(sender, receiver), **what)))

    def heal(self) -> None:
        """Nothing is disturbed any more. Connections that lost bytes end."""
        self._call(self._heal)

    def close(self) -> None:
        """End all connections, and the thread."""
        self._run(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(CALL_TIMEOUT_S)
        self._loop.close()

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(CALL_TIMEOUT_S)

    def _call(self, fn: Callable[[], None]) -> None:
        async def call() -> None:
            fn()

        self._run(call())

    # --- in the network's thread -------------------------------------------------------------------------------

    def rule(self, sender: str, receiver: str) -> Rule:
        """The rule in force."""
        return self._rules.get((sender, receiver)) or Rule()

    def name_of(self, ip: str) -> str:
        """Who calls from this address; OUTSIDE for nobody of the cluster."""
        return self._names.get(ip, OUTSIDE)

    async def _open(self, member: Member) -> None:
        if member.name not in self._listeners:
            listener = listen_on(member.ip, member.port, at_once=False)
            self._listeners[member.name] = await self._loop.create_server(lambda: _Near(self, member), sock=listener)

    def _shut(self, name: str) -> None:
        listener = self._listeners.pop(name, None)
        if listener is not None:
            listener.close()

    def _set(self, sender: str, receiver: str, rule: Rule) -> None:
        self._rules[sender, receiver] = rule
        for link in list(self._links):
            link.rule_changed(sender, receiver, rule)

    def _heal(self) -> None:
        for sender, receiver in list(self._rules):
            self._set(sender, receiver, Rule())
        self._rules.clear()

    async def _end(self) -> None:
        for name in list(self._listeners):
            self._shut(name)
        for link in list(self._links):
            link.reset()
        await asyncio.sleep(0.001)  # the loop closes what was reset, in its next turn

    async def connect(self, link: "_Link", member: Member) -> None:
        """Reach the node that the caller wants, as the caller."""
        source = self._ips.get(link.caller)
        local = (source, 0) if source else None
        try:
            await self._loop.create_connection(lambda: _Far(link), member.bound_ip, member.port, local_addr=local)
        except OSError:
            link.reset()

    def start(self, link: "_Link", member: Member) -> None:
        """A caller has connected."""
        self.connections[link.caller, link.called] += 1
        self._links.add(link)
        link.connecting = self._loop.create_task(self.connect(link, member))

    def forget(self, link: "_Link") -> None:
        self._links.discard(link)


class _Flow:
    """One direction of a connection: from the transport it reads to the one it writes."""

    def __init__(self, link: "_Link", rule: Rule) -> None:
        self.stream = Stream(rule)
        self.source: asyncio.Transport | None = None
        self.sink: asyncio.Transport | None = None
        self._link = link
        self._timer: asyncio.TimerHandle | None = None
        self._sink_full = False

    def take(self, data: bytes | None) -> None:
        """Bytes arrived, or the end of the connection they came from."""
        stream, sink = self.stream, self.sink
        if sink is not None and sink.is_closing():
            return
        if data is not None and sink is not None and stream.next_due is None and stream.rule.passes:
            sink.write(data)
            return
        try:
            stream.take(data, self._link.now())
        except Cut:
            reset(self.source)
            stream.take(None, self._link.now())
        self.pump()

    def pump(self) -> None:
        """Send what is due, and come back for the rest."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self.sink is None or self.sink.is_closing():
            return
        if self.stream.broken:
            self._link.reset()
            return
        now = self._link.now()
        for data in self.stream.give(now):
            if data is None:
                self.sink.close()
                return
            self.sink.write(data)
        if (due := self.stream.next_due) is not None:
            self._timer = self._link.loop.call_later(max(0.0, due - now), self.pump)
        self.throttle()

    def sink_is(self, full: bool) -> None:
        self._sink_full = full
        self.throttle()

    def throttle(self) -> None:
        """Read no more than can be passed on."""
        source = self.source
        if source is None or source.is_closing():
            return
        full = self._sink_full or self.stream.queued_bytes > QUEUE_BYTES_MAX or self.sink is None
        if full and source.is_reading():
            source.pause_reading()
        elif not full and not source.is_reading():
            source.resume_reading()

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()


class _Link:
    """A caller's connection to a node, in two halves."""

    def __init__(self, network: Network, caller: str, called: str) -> None:
        self.caller = caller
        self.called = called
        self.loop = asyncio.get_running_loop()
        self.there = _Flow(self, network.rule(caller, called))
        self.back = _Flow(self, network.rule(called, caller))
        self.connecting: asyncio.Task[None] | None = None
        self.over = False
        self._network = network
        self._closed = 0

    def now(self) -> float:
        return self.loop.time()

    def rule_changed(self, sender: str, receiver: str, rule: Rule) -> None:
        for flow, ends in ((self.there, (self.caller, self.called)), (self.back, (self.called, self.caller))):
            if ends == (sender, receiver):
                flow.stream.set_rule(rule)
                flow.pump()
        if rule.refused and (sender, receiver) == (self.caller, self.called):
            self.reset()

    def lost(self, flow: _Flow) -> None:
        """The side that `flow` reads from is gone: its end is passed on behind what it sent, unless that is lost as well."""
        self._closed += 1
        flow.take(None)
        if self._closed == 2:
            self.there.stop()
            self.back.stop()
            self._network.forget(self)

    def reset(self) -> None:
        """Both sides see a reset."""
        self.over = True
        if self.connecting is not None:
            self.connecting.cancel()
        self.there.stop()
        self.back.stop()
        reset(self.there.source)
        reset(self.back.source)
        self._network.forget(self)


def reset(transport: asyncio.Transport | None) -> None:
    """Close it so that the other end sees a reset, not an end."""
    if transport is not None and not transport.is_closing():
        with contextlib.suppress(OSError):
            transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        transport.abort()


class _Half(asyncio.Protocol):
    """What both sides' protocols do: `reads` is the flow of what arrives here, `writes` of what leaves here."""

    reads: _Flow
    writes: _Flow
    link: _Link

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        made = cast(asyncio.Transport, transport)
        made.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.reads.source = made
        self.writes.sink = made
        self.reads.throttle()
        self.writes.throttle()
        self.writes.pump()

    def data_received(self, data: bytes) -> None:
        self.reads.take(data)

    def pause_writing(self) -> None:
        self.writes.sink_is(full=True)

    def resume_writing(self) -> None:
        self.writes.sink_is(full=False)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the protocol's signature
        self.link.lost(self.reads)


class _Near(_Half):
    """The caller's side."""

    def __init__(self, network: Network, member: Member) -> None:
        self._network = network
        self._member = member

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        caller = self._network.name_of(transport.get_extra_info("peername")[0])
        self.link = _Link(self._network, caller, self._member.name)
        self.reads, self.writes = self.link.there, self.link.back
        super().connection_made(transport)
        if self.reads.stream.rule.refused:
            self.link.reset()
        else:
            self._network.start(self.link, self._member)


class _Far(_Half):
    """The called node's side."""

    def __init__(self, link: _Link) -> None:
        self.link = link
        self.reads, self.writes = link.back, link.there

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        if self.link.over:
            reset(self.reads.source)
