"""One client connection: aiohttp's protocol, with our head filter, our error answers, and a watch over slow clients.

aiohttp reads: it parses, holds a client back that sends more than is read, and closes what idles. What happens between a request
and the next one is ours: aiohttp's own way takes a task, a response object and a writer with features of its own for each.
"""

import asyncio
from typing import Any, Protocol, cast

from aiohttp import web
from aiohttp.http_parser import RawRequestMessage
from aiohttp.streams import StreamReader
from aiohttp.web_protocol import ERROR, PayloadAccessError, RequestHandler, RequestPayloadError, _ErrInfo

from objstore.api.limits import EdgeLimits
from objstore.api.request import BodyStalled, Request
from objstore.api.utf8headers import BodyMalformed, HeadFilter, NameCodec, Parser
from objstore.model.octets import Octets

_BUSY = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nRetry-After: 1\r\nConnection: close\r\n\r\n"
_OVER = PayloadAccessError()
_TOO_SLOW = b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
LINGER_S = 5.0
"""How long the rest of an unwanted body is read, so that the client sees our answer before the connection closes."""
UNSENT_BYTES_MAX = 65_536
"""After so many bytes, whoever writes waits for a client that does not read them."""


class Outcome:
    """What becomes of the connection after a response. `reset`: the response is not whole, and nothing can follow it."""

    __slots__ = ("keep_alive", "reset")

    def __init__(self, keep_alive: bool, reset: bool = False) -> None:
        self.keep_alive = keep_alive
        self.reset = reset


GONE = Outcome(False, True)
"""The client left before its answer was sent."""


class Writer:
    """Bytes on their way to the client."""

    __slots__ = ("_connection", "_unsent", "output_size")

    def __init__(self, connection: "Connection") -> None:
        self._connection = connection
        self._unsent = 0
        self.output_size = 0
        """How many there were."""

    async def write(self, data: Octets) -> None:
        """Waits while the client reads too slowly. Raises ConnectionResetError when it is gone."""
        transport = self._connection.transport
        if transport is None or transport.is_closing():
            raise ConnectionResetError("the client is gone")
        transport.write(data)
        self.output_size += len(data)
        self._unsent += len(data)
        if self._unsent > UNSENT_BYTES_MAX:
            self._unsent = 0
            await self._connection.drained()


class Application(Protocol):
    """What answers requests. Neither method raises anything but CancelledError."""

    async def handle(self, request: Request) -> Outcome: ...

    async def refuse(self, request: Request, error: BaseException) -> Outcome:
        """Answer what the parser would not take."""


class Connection(RequestHandler):
    """See the module. Everything of HTTP/1.1 framing stays aiohttp's."""

    __slots__ = ("_codec", "_filter", "_limits", "_phase", "_phase_bytes", "_phase_since")

    def __init__(self, server: "EdgeServer", limits: EdgeLimits, codec: NameCodec, **options: Any) -> None:
        super().__init__(server, **options)
        self._limits = limits
        self._codec = codec
        self._filter = HeadFilter(cast(Parser, self._parser), codec, limits.line_bytes_max, limits.head_bytes_max)
        self._parser = cast(Any, self._filter)
        self._phase = ""
        self._phase_bytes = 0
        self._phase_since = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        server = cast(EdgeServer, self._manager)
        if server.full:
            cast(asyncio.Transport, transport).write(_BUSY)
            self.force_close()

    def resume_reading(self, resume_parser: bool = True) -> None:
        """aiohttp: a body has room again. It says so with every piece, and would feed the parser nothing each time."""
        if self._reading_paused:
            super().resume_reading(resume_parser)

    async def start(self) -> None:
        """aiohttp: answer one request after the other, until the connection ends."""
        while not self._force_close:
            if not self._messages:
                self._waiter = self._loop.create_future()
                try:
                    await self._waiter
                finally:
                    self._waiter = None
            message, payload = self._messages.popleft()
            if self._parser is not None:
                self._parser.message_consumed()
            if self._buffer_paused and len(self._messages) <= self._msg_queue_resume_size:
                self._resume_reading_if_drained()
            try:
                outcome = await self._answer(message, payload)
                if outcome.reset:
                    break
                if not payload.is_eof():
                    await self._linger(payload)
                payload.set_exception(_OVER)
            except BaseException:
                self.force_close()
                raise
            self._keepalive = outcome.keep_alive
            if not self._keepalive or self._close or self._force_close:
                break
            self._next_keepalive_close_time = close_time = self._loop.time() + self._keepalive_timeout
            if self._keepalive_handle is None:
                self._keepalive_handle = self._loop.call_at(close_time, self._process_keepalive)
        if not self._force_close:
            self._task_handler = None
            if self.transport is not None:
                self.transport.close()

    async def _answer(self, message: RawRequestMessage | _ErrInfo, payload: StreamReader) -> Outcome:
        application = cast(EdgeServer, self._manager).application
        self._request_in_progress = True
        try:
            request = Request(ERROR if isinstance(message, _ErrInfo) else message, payload, self, Writer(self), self._codec)
            self._current_request = cast(Any, request)
            if isinstance(message, _ErrInfo):  # the parser refused what came
                return await application.refuse(request, message.exc)
            return await application.handle(request)
        finally:
            self._current_request = None
            self._request_in_progress = False
            if self._handler_waiter is not None and not self._handler_waiter.done():
                self._handler_waiter.set_result(None)

    async def _linger(self, payload: StreamReader) -> None:
        """Read, and drop, what the client still sends of its body; give the connection up when that takes too long, or fails."""
        try:
            async with asyncio.timeout(LINGER_S):
                while not (payload.is_eof() or self._force_close):
                    await payload.readany()
        except TimeoutError:
            self.close()
        except (OSError, RuntimeError, RequestPayloadError, BodyMalformed, BodyStalled):
            self.force_close()

    async def drained(self) -> None:
        """Wait until the client has read enough. Raises ConnectionResetError when it is gone."""
        if self._paused:
            await self._drain_helper()

    def log_exception(self, *args: Any, **options: Any) -> None:
        """aiohttp's own log lines quote input and hold tracebacks; the edge writes its own."""

    def abort(self) -> None:
        """Drop the connection so that a response cut short does not look whole."""
        if self.transport is not None:
            self.transport.abort()

    @property
    def failed(self) -> bool:
        """Whether what the client sent behind its request was refused."""
        return self._filter.failed

    @property
    def client(self) -> str:
        """The peer's address, "" when it is gone or has none (a Unix socket)."""
        peer = self.peername
        return peer[0] if isinstance(peer, tuple) else ""

    @property
    def idle(self) -> bool:
        """Nothing asked, nothing begun."""
        return self._waiter is not None and not self._messages and not self._filter.mid_head

    def watch(self, now: float) -> None:
        """Called about once a second: give up on a client that is too slow at what it does since some calls."""
        phase, count = self._doing()
        if phase != self._phase:
            self._phase, self._phase_bytes, self._phase_since = phase, count, now
            return
        waited = now - self._phase_since
        if phase == "head" and waited >= self._limits.head_timeout_s:
            assert self.transport is not None
            self.transport.write(_TOO_SLOW)
            self.force_close()
        elif phase in ("body", "write") and waited >= self._limits.slow_window_s:
            if count - self._phase_bytes < self._limits.slow_bytes_min:
                self._give_up(phase)
            self._phase_bytes, self._phase_since = count, now

    def _doing(self) -> tuple[str, int]:
        """What the connection waits for its client for, and how many bytes of it have passed."""
        if self.transport is None:
            return "", 0
        request = cast("Request | None", self._current_request)
        if request is not None:
            if request.waiting:
                return "body", request.bytes_received
            if self.writing_paused:
                return "write", request.writer.output_size - self.transport.get_write_buffer_size()
            return "", 0
        return ("head", 0) if self._filter.mid_head and self._waiter is not None else ("", 0)

    def _give_up(self, phase: str) -> None:
        if phase == "write":
            self.abort()
        elif self._current_request is not None:
            cast(Request, self._current_request).stall()


class EdgeServer(web.Server):
    """The protocol factory of one worker's listener: pass it to `loop.create_server`."""

    def __init__(self, application: Application, limits: EdgeLimits, codec: NameCodec) -> None:
        super().__init__(
            cast(Any, application.handle),
            access_log=None,
            auto_decompress=False,
            keepalive_timeout=limits.idle_timeout_s,
            max_line_size=limits.line_bytes_max,
            max_field_size=limits.field_bytes_max,
            max_headers=limits.fields_max,
            read_bufsize=limits.read_buffer_bytes,
        )
        self.application = application
        self._limits = limits
        self._codec = codec

    def __call__(self) -> RequestHandler:
        return Connection(self, self._limits, self._codec, loop=self._loop, **self._kwargs)

    @property
    def full(self) -> bool:
        return len(self._connections) > self._limits.connections_max

    def open_connections(self) -> list[Connection]:
        return cast(list[Connection], [c for c in self.connections if c.transport is not None])

    def watch(self, now: float) -> None:
        """See Connection.watch."""
        for connection in self.open_connections():
            connection.watch(now)
