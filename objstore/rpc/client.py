"""The calling side: one connection per peer for all calls, and a pool of connections for streams."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from objstore.formats.messages import Address, Message
from objstore.rpc.codec import Codec
from objstore.rpc.connection import CallConnection, Station
from objstore.rpc.counters import RpcCounters
from objstore.rpc.exchange import StreamConnection
from objstore.rpc.handshake import MODE_CALLS, MODE_STREAM, NONCE_BYTES, ClientHandshake, Credentials, Session
from objstore.rpc.interface import Begun, CallsAsTasks, Dispatcher, Done, Exchange, PeerTimeout, PeerUnavailable
from objstore.rpc.link import Conversation, Link
from objstore.rpc.sameuser import SameUser
from objstore.runtime.interface import Clock, Rng
from objstore.runtime.knobs import Knobs
from objstore.runtime.unixsockets import connected_beside

logger = logging.getLogger("objstore.rpc")


class _Dropped(PeerUnavailable):
    """The other side ended a connection before it was authenticated, without a reason."""


@dataclass(slots=True)
class _Peer:
    """What is known of one address."""

    address: Address
    calls: CallConnection | None = None
    connecting: "asyncio.Task[CallConnection] | None" = None
    idle: list[StreamConnection] = field(default_factory=list)
    streams: int = 0
    refused_until: float = 0.0
    refusal_delay_s: float = 0.0
    refusal: str = ""
    logged: str = ""


class RpcClient(CallsAsTasks):
    """Caller over sockets, for one event loop. Connections are made on first use and again after a loss."""

    def __init__(
        self,
        secret: bytes,
        node_name: str,
        fingerprint: bytes,
        clock: Clock,
        rng: Rng,
        *,
        connect_timeout_s: float = 1.0,
        dispatcher: Dispatcher | None = None,
        knobs: Knobs | None = None,
        local_ip: str = "",
        same_user: SameUser | None = None,
    ) -> None:
        """`dispatcher` answers calls that servers make back. `local_ip`: where TCP connections come from, unless the kernel is to
        choose. `same_user`: who is spoken to by a Unix socket. Raises ValueError for a secret below 32 bytes.
        """
        self.counters = RpcCounters()
        self._credentials = Credentials(secret, node_name, fingerprint)
        self._rng = rng
        self._connect_timeout_s = connect_timeout_s
        self._local_ip = local_ip
        self._same_user = same_user or SameUser()
        self._station = Station(clock, knobs or Knobs(), Codec(), self.counters, dispatcher or Dispatcher())
        self._peers: dict[Address, _Peer] = {}
        self._links: set[Link] = set()
        self._none_left: asyncio.Event | None = None
        self._closed = False

    # --- Caller ------------------------------------------------------------------------------------------------

    async def call(self, address: Address, request: Message, *, timeout_s: float, txn: str = "") -> Message:
        """As Caller."""
        peer = self._peers.get(address)
        connection = peer.calls if peer is not None else None
        if connection is None or not connection.usable:
            started = self._station.clock.monotonic()
            try:
                connection = await self._connected(self._peer(address), timeout_s)
            except PeerUnavailable as error:
                outcome = "timeout" if isinstance(error, PeerTimeout) else "unavailable"
                self.counters.calls[type(request).__name__, outcome] += 1
                raise
            timeout_s -= self._station.clock.monotonic() - started
        return await connection.call(request, timeout_s=timeout_s, txn=txn)

    def begin(self, address: Address, request: Message, done: Done, *, timeout_s: float, txn: str = "") -> Begun:
        """As Caller."""
        peer = self._peers.get(address)
        connection = peer.calls if peer is not None else None
        if connection is None or not connection.ready:
            return super().begin(address, request, done, timeout_s=timeout_s, txn=txn)
        return connection.begin(request, done, timeout_s=timeout_s, txn=txn)

    async def open(self, address: Address, request: Message, *, timeout_s: float, txn: str = "") -> Exchange:
        """As Caller. Raises PeerUnavailable when too many streams to this peer are open."""
        if timeout_s <= 0:
            raise PeerTimeout(f"{_text(address)}: no time left for {type(request).__name__}")
        peer = self._peer(address)
        if peer.streams >= self._station.knobs.streams_per_peer_max:
            raise PeerUnavailable(f"too many streams to {_text(address)}")
        peer.streams += 1
        try:
            connection = await self._stream_connection(peer, timeout_s)
            exchange = connection.open(request, timeout_s, txn)
        except BaseException:
            peer.streams -= 1
            raise
        return exchange

    async def close(self) -> None:
        """Drop all connections. Calls under way raise PeerUnavailable."""
        self._closed = True
        for peer in self._peers.values():
            if peer.connecting is not None:
                peer.connecting.cancel()
        for link in list(self._links):
            link.close("closed", at_once=True)
        if self._links:
            self._none_left = asyncio.Event()
            await self._none_left.wait()

    # --- connecting --------------------------------------------------------------------------------------------

    def _peer(self, address: Address) -> _Peer:
        peer = self._peers.get(address)
        if peer is None:
            peer = self._peers[address] = _Peer(address)
        return peer

    def known_down(self, address: Address) -> bool:
        """A connection to it failed so lately that a call now fails at once."""
        peer = self._peers.get(address)
        return peer is not None and self._station.clock.monotonic() < peer.refused_until

    async def _connected(self, peer: _Peer, timeout_s: float) -> CallConnection:
        if peer.connecting is None:
            self._check(peer)
            peer.connecting = asyncio.get_running_loop().create_task(self._connect_calls(peer))
            peer.connecting.add_done_callback(_retrieved)
        connecting = peer.connecting
        try:
            # Shared by all who wait: one of them giving up must not end it for the others.
            return await asyncio.wait_for(asyncio.shield(connecting), timeout_s)
        except TimeoutError:
            raise PeerTimeout(f"{_text(peer.address)}: not connected in time") from None
        except asyncio.CancelledError:
            if connecting.cancelled():  # by `close`, not by the caller
                raise PeerUnavailable("this client is closed") from None
            raise

    async def _connect_calls(self, peer: _Peer) -> CallConnection:
        try:
            conversation = await self._connect(peer, MODE_CALLS)
            assert isinstance(conversation, CallConnection)
            peer.calls = conversation
            return conversation
        finally:
            peer.connecting = None

    async def _stream_connection(self, peer: _Peer, timeout_s: float) -> StreamConnection:
        while peer.idle:
            connection = peer.idle.pop()
            if connection.alive:
                return connection
        self._check(peer)
        try:
            conversation = await asyncio.wait_for(self._connect(peer, MODE_STREAM), timeout_s)
        except TimeoutError:
            raise PeerTimeout(f"{_text(peer.address)}: not connected in time") from None
        assert isinstance(conversation, StreamConnection)
        conversation.on_idle = lambda connection: self._stream_idle(peer, connection)
        return conversation

    def _stream_idle(self, peer: _Peer, connection: StreamConnection) -> None:
        """An exchange ended, or an idle connection was lost."""
        if connection in peer.idle:
            peer.idle.remove(connection)
            return
        peer.streams -= 1
        if not connection.alive or self._closed:
            return
        knobs, idle = self._station.knobs, sum(len(one.idle) for one in self._peers.values())
        if len(peer.idle) < knobs.idle_streams_per_peer_max and idle < knobs.idle_streams_max:
            peer.idle.append(connection)
        else:
            connection.close("enough idle connections")

    def _check(self, peer: _Peer) -> None:
        if self._closed:
            raise PeerUnavailable("this client is closed")
        if self._station.clock.monotonic() < peer.refused_until:
            raise PeerUnavailable(f"{_text(peer.address)}: {peer.refusal} (a moment ago)")

    async def _connect(self, peer: _Peer, mode: int) -> Conversation:
        """A new authenticated connection. Raises PeerUnavailable, PeerTimeout; remembers a failure for a short while."""
        try:
            conversation = await self._by_unix(peer, mode) or await self._by_tcp(peer, mode)
        except TimeoutError:
            raise self._remember(peer, "no connection in time", late=True) from None
        except OSError as error:
            # The event loop's own text for the usual case is its call's arguments.
            refused = isinstance(error, ConnectionRefusedError)
            raise self._remember(peer, "connection refused" if refused else error.strerror or str(error)) from error
        except PeerUnavailable as error:
            self._remember(peer, str(error).removeprefix(f"{_text(peer.address)}: "))
            raise
        peer.refused_until = peer.refusal_delay_s = 0.0
        peer.logged = ""
        return conversation

    async def _by_unix(self, peer: _Peer, mode: int) -> Conversation | None:
        """None where TCP is to be tried: the peer is on another host, or cannot be reached in this way."""
        connection = connected_beside(peer.address.ip, peer.address.port)
        if connection is None:
            return None
        if not self._same_user.admits(connection, _text(peer.address)):
            connection.close()
            return None

        async def connect(make: Callable[[], Link]) -> None:
            link = make()
            # Shielded: given up half-way, uvloop would close the descriptor behind the socket's back.
            await asyncio.shield(asyncio.get_running_loop().create_unix_connection(lambda: link, sock=connection))

        try:
            return await self._made(peer, mode, connect)
        except _Dropped:
            return None

    async def _by_tcp(self, peer: _Peer, mode: int) -> Conversation:
        ip, port = peer.address

        async def connect(make: Callable[[], Link]) -> None:
            local = (self._local_ip, 0) if _same_family(self._local_ip, ip) else None
            async with asyncio.timeout(self._connect_timeout_s):
                await asyncio.get_running_loop().create_connection(make, ip, port, local_addr=local)

        return await self._made(peer, mode, connect)

    async def _made(self, peer: _Peer, mode: int, connect: Callable[[Callable[[], Link]], Awaitable[None]]) -> Conversation:
        """What became of the link that `connect` connects, authenticated. Raises PeerUnavailable, and what `connect` does."""
        ready: asyncio.Future[Conversation] = asyncio.get_running_loop().create_future()
        made: list[Link] = []

        def authenticated(link: Link, session: Session) -> Conversation:  # noqa: ARG001 - Link's signature
            conversation: Conversation
            if mode == MODE_CALLS:
                conversation = CallConnection(link, self._station)
            else:
                conversation = StreamConnection(link, self._station, accepts=False)
            if not ready.done():
                ready.set_result(conversation)
            return conversation

        def ended(link: Link, reason: str, refused: bool) -> None:
            self._unlink(link)
            if refused and peer.logged != reason:
                peer.logged = reason
                logger.error("handshake refused", extra={"peer": _text(peer.address), "error": reason})
            if not ready.done():
                error = _Dropped if link.dropped else PeerUnavailable
                ready.set_exception(error(f"{_text(peer.address)}: {reason}"))

        def make() -> Link:
            handshake = ClientHandshake(self._credentials, self._rng.token_bytes(NONCE_BYTES), mode)
            link = Link(handshake, authenticated, ended, self._station.knobs, self.counters)
            self._links.add(link)
            made.append(link)
            return link

        usable = False
        try:
            await connect(make)
            conversation = await ready
            if self._closed:
                raise PeerUnavailable("this client is closed")
            usable = True
        finally:
            if not usable:
                ready.cancel()
                for link in made:
                    link.abandon("given up")
                    self._unlink(link)
        return conversation

    def _unlink(self, link: Link) -> None:
        self._links.discard(link)
        if self._none_left is not None and not self._links:
            self._none_left.set()

    def _remember(self, peer: _Peer, reason: str, *, late: bool = False) -> PeerUnavailable:
        knobs = self._station.knobs
        # An attempt that is refused at once costs next to nothing, and the peer may be back any moment.
        limit_s = knobs.refusal_memory_max_s if late else knobs.refusal_memory_min_s
        peer.refusal_delay_s = min(max(2 * peer.refusal_delay_s, knobs.refusal_memory_min_s), limit_s)
        # Spread, so that all nodes do not come back to a restarted peer in the same moment.
        peer.refused_until = self._station.clock.monotonic() + peer.refusal_delay_s * (0.75 + 0.5 * self._rng.random())
        peer.refusal = reason
        text = f"{_text(peer.address)}: {reason}"
        return PeerTimeout(text) if late else PeerUnavailable(text)


def _text(address: Address) -> str:
    return f"[{address.ip}]:{address.port}" if ":" in address.ip else f"{address.ip}:{address.port}"


def _same_family(local_ip: str, ip: str) -> bool:
    """Whether a connection to `ip` can come from `local_ip`; not from none."""
    return bool(local_ip) and (":" in local_ip) == (":" in ip)


def _retrieved(task: "asyncio.Task[CallConnection]") -> None:
    """The exception was seen even when all who waited have given up."""
    if not task.cancelled():
        task.exception()
