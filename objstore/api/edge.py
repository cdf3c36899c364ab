"""The public edge: which API answers a request, transaction ids, the access log, and the last line of defence.

Requests are routed by the bytes of their target: `/v1/` is Swift, `/auth`, `/info`, `/healthcheck` and `/metrics` are pages, all
else belongs to the API that is given for it, and so does what that one claims by a signature of its own.
"""

import logging
from typing import Protocol

from aiohttp import HttpVersion10, HttpVersion11
from aiohttp.http_exceptions import BadHttpMethod, LineTooLong

from objstore.api.accesslog import AccessEvents, AccessLog
from objstore.api.connection import GONE, EdgeServer, Outcome
from objstore.api.dates import http_date
from objstore.api.limits import EdgeLimits
from objstore.api.pages import Pages, error_page
from objstore.api.reply import Reply, send
from objstore.api.request import Request
from objstore.api.utf8headers import HeadTooLarge, NameCodec
from objstore.model.errors import StoreError
from objstore.runtime.interface import Clock, Rng

WATCH_EVERY_S = 1.0
CUT_TIMEOUT_S = 0.2
"""How long the requests that draining cut may take to clean up."""
TXNS_AT_ONCE = 64
UNREAD_BYTES_MAX = 65_536
"""A connection whose client still owes more of an unwanted body is closed after the answer."""

_LOG = logging.getLogger("objstore.api")
_PAGES = frozenset({"/info", "/healthcheck", "/metrics", "/auth", "*"})
METHODS = frozenset({"GET", "HEAD", "PUT", "POST", "DELETE", "COPY", "OPTIONS"})


class Api(Protocol):
    """One HTTP API over the store."""

    async def handle(self, request: Request) -> Reply:
        """Raises StoreError, which goes to `error_reply`."""

    def error_reply(self, request: Request, error: StoreError) -> Reply:
        """The response to a failure."""


class EdgeMetrics(Protocol):
    """Where the edge counts."""

    def request(self, method: str, status: int, seconds: float, bytes_in: int, bytes_out: int) -> None:
        """One request is over; status 499 when the client left before its answer was sent."""


class OtherApi(Api, Protocol):
    """The API of all other paths."""

    def claims(self, request: Request) -> bool:
        """Whether a request is its own whatever its path."""


class NothingElse:
    """The API of every path that no other one claims: there is nothing there."""

    def claims(self, request: Request) -> bool:  # noqa: ARG002 - every API has it
        return False

    async def handle(self, request: Request) -> Reply:  # noqa: ARG002 - every API has it
        return error_page(404)

    def error_reply(self, request: Request, error: StoreError) -> Reply:  # noqa: ARG002
        return error_page(400, error.text)


class Edge:
    """One worker's HTTP front. `make_server` gives what its listener needs, `serve_clock` runs beside it, `drain` ends it."""

    def __init__(
        self,
        swift: Api,
        pages: Pages,
        clock: Clock,
        rng: Rng,
        metrics: EdgeMetrics,
        limits: EdgeLimits | None = None,
        other: OtherApi | None = None,
        access: AccessLog | None = None,
    ) -> None:
        """`other` answers paths that are neither Swift's nor pages."""
        self._swift = swift
        self._pages = pages
        self._other: OtherApi = other or NothingElse()
        self._clock = clock
        self._rng = rng
        self._metrics = metrics
        self._limits = limits or EdgeLimits()
        self._access = access or AccessEvents()
        self._codec = NameCodec(rng)
        self._server: EdgeServer | None = None
        self._date = (0, "")
        self._txns: list[str] = []
        self.draining = False

    def make_server(self) -> EdgeServer:
        """The protocol factory for `loop.create_server`; call it inside the running loop, once."""
        self._server = EdgeServer(self, self._limits, self._codec)
        return self._server

    async def serve_clock(self) -> None:
        """Watch over slow clients, until cancelled."""
        while True:
            await self._clock.sleep(WATCH_EVERY_S)
            if self._server is not None:
                self._server.watch(self._clock.monotonic())

    async def drain(self, timeout_s: float) -> None:
        """End without losing a request. From now on every response closes its connection; idle connections get a grace in
        which their next request is still answered; what is unfinished after `timeout_s` is cut. The listener must be closed
        (or left to other workers) first.
        """
        self.draining = True
        if self._server is None:
            return
        start = self._clock.monotonic()
        while connections := self._server.open_connections():
            passed = self._clock.monotonic() - start
            if passed >= timeout_s:
                break
            if passed >= self._limits.drain_grace_s:
                for connection in connections:
                    if connection.idle:
                        connection.force_close()
            await self._clock.sleep(0.05)
        await self._server.shutdown(CUT_TIMEOUT_S)

    async def handle(self, request: Request) -> Outcome:
        """Answer one request. See `connection.Application`."""
        started = self._clock.monotonic()
        request.txn = self._next_txn()
        if not request.path.startswith("/"):
            request.strip_origin()
        api = self._api_of(request)
        status, sent, outcome = 499, 0, GONE
        try:
            try:
                reply = _refusal(request) or await api.handle(request)
                status, sent, outcome = await self._answer(request, reply)
            except StoreError as error:
                if request.responded:
                    status = 503
                    self._cut(request, error)
                else:
                    status, sent, outcome = await self._answer(request, api.error_reply(request, error))
        except ConnectionError:
            pass  # the client is gone: there is nobody to answer
        except Exception as error:
            _LOG.exception("request failed", extra={"txn": request.txn, "method": request.method})
            status = 500
            if request.responded:
                self._cut(request, error)
            else:
                outcome = await self._last_words(request)
        self._account(request, status, sent, self._clock.monotonic() - started)
        return outcome

    async def refuse(self, request: Request, error: BaseException) -> Outcome:
        """Answer what the parser refused. See `connection.Application`."""
        request.txn = self._next_txn()
        request.version, request.keep_alive, request.path = HttpVersion11, False, "-"
        if isinstance(error, BadHttpMethod):
            reply = error_page(405)
        elif isinstance(error, HeadTooLarge):
            reply = error_page(431, "Request header too large")
        elif isinstance(error, LineTooLong):
            reply = error_page(400, "Request line or header field too long")
        else:
            reply = error_page(400, "Malformed request")
        try:
            status, sent, outcome = await self._answer(request, reply)
        except ConnectionError:
            status, sent, outcome = 499, 0, GONE
        self._account(request, status, sent, 0.0)
        return outcome

    def _next_txn(self) -> str:
        """As new_txn, but one question to the system serves many requests."""
        if not self._txns:
            digits = self._rng.token_bytes(11 * TXNS_AT_ONCE).hex()
            self._txns = [f"tx{digits[at : at + 21]}" for at in range(0, len(digits), 22)]
        return self._txns.pop()

    def _api_of(self, request: Request) -> Api:
        path = request.path
        if self._other.claims(request):
            return self._other
        if path.startswith("/v1/") or path == "/v1":
            return self._swift
        if path in _PAGES or path.startswith("/auth/"):
            return self._pages
        return self._other

    async def _answer(self, request: Request, reply: Reply) -> tuple[int, int, Outcome]:
        keep_alive = request.keep_alive and not reply.close and not self.draining and self._can_follow(request)
        if reply.content_length is None and request.version < HttpVersion11:
            keep_alive = False  # only the end of the connection tells where the body ends
        try:
            sent = await send(reply, request, self._now(), keep_alive)
        finally:
            if reply.done is not None:
                await reply.done()
        return reply.status, sent, Outcome(keep_alive)

    @staticmethod
    def _can_follow(request: Request) -> bool:
        """Whether another request can follow on the connection."""
        if request.upgrade or request.broken or request.awaits_continue or request.connection.failed:
            return False
        if not request.unread:
            return True
        size = request.payload_size
        return size is not None and size - request.bytes_received <= UNREAD_BYTES_MAX

    def _cut(self, request: Request, error: Exception) -> None:
        _LOG.warning("response cut short", extra={"txn": request.txn, "reason": str(error) or type(error).__name__})
        request.connection.abort()

    async def _last_words(self, request: Request) -> Outcome:
        try:
            await self._answer(request, error_page(500, "Internal error", [("X-Content-Type-Options", "nosniff")]))
        except ConnectionError:
            pass
        return Outcome(False)

    def _now(self) -> str:
        seconds = int(self._clock.now())
        if seconds != self._date[0]:
            self._date = (seconds, http_date(seconds))
        return self._date[1]

    def _account(self, request: Request, status: int, sent: int, seconds: float) -> None:
        """One access-log line and one count."""
        self._metrics.request(request.method, status, seconds, request.bytes_received, sent)
        self._access.request(request, status, sent, seconds)


def _refusal(request: Request) -> Reply | None:
    """The answer to what no API takes: other methods (no tunnels, no TRACE), targets that are no paths of this host, HTTP/0.9."""
    if request.version < HttpVersion10:
        reply = error_page(400, "Bad HTTP version")
    elif request.method not in METHODS:
        reply = error_page(405, fields=[("Allow", ", ".join(sorted(METHODS)))])
    elif request.path.startswith("/") or (request.path == "*" and request.method == "OPTIONS"):
        return None
    else:
        reply = error_page(400, "Bad request target")
    reply.close = True
    return reply
