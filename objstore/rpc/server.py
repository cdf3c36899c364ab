"""The answering side: listens, authenticates, and hands requests to the Dispatcher."""

import asyncio
import logging

from objstore.rpc.codec import Codec
from objstore.rpc.connection import CallConnection, Station
from objstore.rpc.counters import RpcCounters
from objstore.rpc.exchange import StreamConnection
from objstore.rpc.handshake import MODE_CALLS, NONCE_BYTES, Credentials, ServerHandshake, Session
from objstore.rpc.interface import Dispatcher
from objstore.rpc.link import Conversation, Link
from objstore.rpc.sameuser import SameUser
from objstore.runtime import unixsockets
from objstore.runtime.interface import Clock, Rng
from objstore.runtime.knobs import Knobs
from objstore.runtime.net import Listener

logger = logging.getLogger("objstore.rpc")
BACKLOG = 1024
LOGGED_REFUSALS_MAX = 256
LAST_BYTES_S = 1.0  # for peers to take the last replies


class RpcServer:
    """Any number of listeners. For one event loop."""

    def __init__(
        self,
        dispatcher: Dispatcher,
        secret: bytes,
        node_name: str,
        fingerprint: bytes,
        clock: Clock,
        rng: Rng,
        *,
        knobs: Knobs | None = None,
        same_user: SameUser | None = None,
    ) -> None:
        """`same_user`: who may come by a Unix socket. Raises ValueError for a secret below 32 bytes."""
        self.counters = RpcCounters()
        self._credentials = Credentials(secret, node_name, fingerprint)
        self._rng = rng
        self._station = Station(clock, knobs or Knobs(), Codec(), self.counters, dispatcher)
        self._same_user = same_user or SameUser()
        self._listeners: list[asyncio.Server] = []
        self._links: set[Link] = set()
        self._none_left: asyncio.Event | None = None
        self._conversations: dict[Link, CallConnection | StreamConnection] = {}
        self._refusals: set[tuple[str, str]] = set()
        self._stopping = False

    async def start(self, ip: str, port: int, *, unix: bool = True) -> None:
        """Listen, with a Unix socket beside it; may be called for several addresses. Raises OSError (address in use, not ours)."""
        loop = asyncio.get_running_loop()
        self._listeners.append(await loop.create_server(self._accept, ip, port, backlog=BACKLOG))
        if not unix:
            return
        try:
            await self.adopt(unixsockets.bound_beside(ip, self.ports[-1]))
        except OSError as error:
            logger.warning("no Unix socket", extra={"address": f"{ip}:{self.ports[-1]}", "error": error.strerror})

    async def adopt(self, listener: Listener) -> None:
        """Serve on a socket, TCP or Unix, that is bound already; closing ours does not close its other holders'."""
        loop = asyncio.get_running_loop()
        if unixsockets.is_unix(listener):
            made = await loop.create_unix_server(self._accept, sock=listener, backlog=BACKLOG)
        else:
            made = await loop.create_server(self._accept, sock=listener, backlog=BACKLOG)
        self._listeners.append(made)

    @property
    def ports(self) -> list[int]:
        """The TCP ports listened on: the real ones, where 0 was asked for."""
        sockets = [sock for listener in self._listeners for sock in listener.sockets]
        return [sock.getsockname()[1] for sock in sockets if not unixsockets.is_unix(sock)]

    async def stop(self, drain_s: float) -> None:
        """Stop listening, let what runs end within `drain_s`, then close all connections."""
        self._stopping = True
        for listener in self._listeners:
            listener.close()
        for conversation in self._conversations.values():
            conversation.leave()
        deadline = self._station.clock.monotonic() + drain_s
        while self._busy() and self._station.clock.monotonic() < deadline:
            await self._station.clock.sleep(min(0.02, drain_s))
        for link in list(self._links):
            link.close("stopped", at_once=self._busy())
        for listener in self._listeners:
            await listener.wait_closed()
        if self._links:
            self._none_left = asyncio.Event()
            asyncio.get_running_loop().call_later(LAST_BYTES_S, self._abort_all)
            await self._none_left.wait()

    def _abort_all(self) -> None:
        for link in list(self._links):
            link.close("stopped", at_once=True)

    def _busy(self) -> bool:
        return any(conversation.busy for conversation in self._conversations.values())

    def _accept(self) -> Link:
        handshake = ServerHandshake(self._credentials, self._rng.token_bytes(NONCE_BYTES))
        link = Link(handshake, self._authenticated, self._ended, self._station.knobs, self.counters, self._same_user.admits)
        if self._stopping or len(self._links) >= self._station.knobs.connections_max:
            link.reject("stopping" if self._stopping else "too many connections")
        self._links.add(link)
        return link

    def _authenticated(self, link: Link, session: Session) -> Conversation:
        conversation: CallConnection | StreamConnection
        if session.mode == MODE_CALLS:
            conversation = CallConnection(link, self._station)
        else:
            conversation = StreamConnection(link, self._station, accepts=True)
        self._conversations[link] = conversation
        return conversation

    def _ended(self, link: Link, reason: str, refused: bool) -> None:
        self._links.discard(link)
        if self._none_left is not None and not self._links:
            self._none_left.set()
        self._conversations.pop(link, None)
        if refused:
            key = (link.remote.rpartition(":")[0], reason)
            if key not in self._refusals:  # a misconfigured node comes back every few seconds: one line is enough
                if len(self._refusals) >= LOGGED_REFUSALS_MAX:
                    self._refusals.clear()
                self._refusals.add(key)
                logger.error("handshake refused", extra={"peer": link.remote, "error": reason})
