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
from objstore.runtime.interface import Clock, Rng
from objstore.runtime.knobs import Knobs
from objstore.runtime.net import Listener

logger = logging.getLogger("objstore.rpc")
BACKLOG = 1024
LOGGED_REFUSALS_MAX = 256
LAST_BYTES_S = 1.0  # for peers to take the last replies


class RpcServer:
    """One listener. For one event loop."""

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
    ) -> None:
        """Raises ValueError for a secret below 32 bytes."""
        self.counters = RpcCounters()
        self._credentials = Credentials(secret, node_name, fingerprint)
        self._rng = rng
        self._station = Station(clock, knobs or Knobs(), Codec(), self.counters, dispatcher)
        self._listeners: list[asyncio.Server] = []
        self._links: set[Link] = set()
        self._none_left: asyncio.Event | None = None
        self._conversations: dict[Link, CallConnection | StreamConnection] = {}
        self._refusals: set[tuple[str, str]] = set()
        self._stopping = False

    async def start(self, ip: str, port: int) -> None:
        """Listen; may be called for several addresses. Raises OSError (address in use, not ours)."""
        loop = asyncio.get_running_loop()
        self._listeners.append(await loop.create_server(self._accept, ip, port, backlog=BACKLOG))

    async def adopt(self, listener: Listener) -> None:
        """Serve on a socket that listens already; closing ours does not close its other holders'."""
        loop = asyncio.get_running_loop()
        self._listeners.append(await loop.create_server(self._accept, sock=listener, backlog=BACKLOG))

    @property
    def ports(self) -> list[int]:
        """The ports listened on: the real ones, where 0 was asked for."""
        return [sock.getsockname()[1] for listener in self._listeners for sock in listener.sockets]

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
        link = Link(handshake, self._authenticated, self._ended, self._station.knobs, self.counters)
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
