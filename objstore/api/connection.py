"""One client connection: aiohttp's protocol, with our head filter, our error answers, and a watch over slow clients."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Protocol, cast

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http_parser import RawRequestMessage
from aiohttp.streams import StreamReader
from aiohttp.web_protocol import RequestHandler

from objstore.api.limits import EdgeLimits
from objstore.api.request import Request
from objstore.api.utf8headers import HeadFilter, NameCodec, Parser

_BUSY = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nRetry-After: 1\r\nConnection: close\r\n\r\n"
_TOO_SLOW = b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
LINGER_S = 5.0
"""How long the rest of an unwanted body is read, so that the client sees our answer before the connection closes."""


class Outcome:
    """What aiohttp wants to know of a response that we sent ourselves."""

    __slots__ = ("keep_alive", "reset")

    def __init__(self, keep_alive: bool, reset: bool = False) -> None:
        self.keep_alive = keep_alive
        self.reset = reset


class Application(Protocol):
    """What answers requests. Neither method raises anything but CancelledError."""

    async def handle(self, request: Request) -> Outcome: ...

    async def refuse(self, request: Request, error: BaseException) -> Outcome:
        """Answer what the parser would not take."""


class Connection(RequestHandler):
    """See the module. Everything of HTTP/1.1 framing stays aiohttp's."""

    __slots__ = ("_filter", "_limits", "_phase", "_phase_bytes", "_phase_since")

    def __init__(self, server: "EdgeServer", limits: EdgeLimits, codec: NameCodec, **options: Any) -> None:
        super().__init__(server, **options)
        self._limits = limits
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

    async def finish_response(self, request: Any, resp: Any, start_time: float | None) -> tuple[Any, bool]:  # noqa: ARG002
        """aiohttp: the handler has returned. The response is out already."""
        return resp, resp.reset

    def handle_error(self, *_: Any, **__: Any) -> Any:
        """aiohttp: the handler raised, which ours does not."""
        raise ConnectionAbortedError

    def _make_error_handler(self, err_info: Any) -> Callable[[Any], Awaitable[Any]]:
        """aiohttp: the parser refused what came."""
        application = cast(EdgeServer, self._manager).application

        async def handler(request: Any) -> Any:
            return await application.refuse(request, err_info.exc)

        return handler

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
            request_factory=cast(Any, self._request),
            access_log=None,
            auto_decompress=False,
            keepalive_timeout=limits.idle_timeout_s,
            lingering_time=LINGER_S,
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

    def _request(
        self,
        message: RawRequestMessage,
        payload: StreamReader,
        connection: Connection,
        writer: AbstractStreamWriter,
        task: "asyncio.Task[None]",  # noqa: ARG002 - aiohttp's signature
    ) -> Request:
        return Request(message, payload, connection, writer, self._codec)

    @property
    def full(self) -> bool:
        return len(self._connections) > self._limits.connections_max

    def open_connections(self) -> list[Connection]:
        return cast(list[Connection], [c for c in self.connections if c.transport is not None])

    def watch(self, now: float) -> None:
        """See Connection.watch."""
        for connection in self.open_connections():
            connection.watch(now)
