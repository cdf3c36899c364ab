"""Bytes of a version as a stream that survives the loss of the replica it comes from."""

from collections.abc import AsyncGenerator
from contextlib import aclosing

from objstore.formats.messages import End, Message, ReadObject, Ready
from objstore.model.errors import NodeError, Unavailable
from objstore.model.octets import Octets
from objstore.model.ranges import Span
from objstore.model.version import Version
from objstore.placement.places import ObjectPlace, Replica
from objstore.proxy.nodes import Nodes
from objstore.rpc.interface import Chunk, Exchange, PeerTimeout, PeerUnavailable
from objstore.rpc.patience import Patience


class Body:
    """Reads spans of one version of one object from `sources`, best first. At the byte where one fails the next goes on, with
    the very same version; a source may be tried again as long as the body gets on.
    """

    def __init__(self, nodes: Nodes, place: ObjectPlace, version: Version, sources: tuple[Replica, ...], txn: str) -> None:
        self._nodes = nodes
        self._place = place
        self._version = version
        self._sources = sources
        self._txn = txn

    async def read(self, span: Span) -> AsyncGenerator[Octets, None]:
        """The bytes of `span`, each piece verified on its way. Raises Unavailable when no source can go on."""
        position, end = span
        end += position
        count, failed_in_a_row, turn = len(self._sources), 0, 0
        while position < end:
            source = self._sources[turn % count]
            turn += 1
            before = position
            try:
                # Once all have failed, perhaps all are merely slow: each gets one patient turn.
                hasty = failed_in_a_row < count and count > 1
                async with aclosing(self._from(source, Span(position, end - position), hasty)) as pieces:
                    async for piece in pieces:
                        position += len(piece)
                        yield piece
            except (NodeError, PeerUnavailable):
                failed_in_a_row = 1 if position > before else failed_in_a_row + 1
                if failed_in_a_row >= 2 * count:
                    raise Unavailable("no replica can send the rest of the object") from None

    async def _from(self, source: Replica, span: Span, hasty: bool) -> AsyncGenerator[Octets, None]:
        """From one source. Raises NodeError, PeerUnavailable when it ends before `span` does."""
        address, target = source
        knobs = self._nodes.knobs
        request = ReadObject(target, self._place.hash, self._version.timestamp, span.start, span.length)
        # The peer bounds its own waits by the same figure, so it must outlast a client that reads slowly.
        exchange = await self._nodes.open(address, request, self._txn, timeout_s=knobs.stream_timeout_s)
        watched = _Watched(exchange, knobs.stall_s if hasty else knobs.node_timeout_s)
        left = span.length
        try:
            if not isinstance(await watched.receive(), Ready):
                raise PeerUnavailable("a stream begins with Ready")
            while True:
                item = await watched.receive()
                if isinstance(item, End) and not left:
                    await exchange.finish()
                    return
                if not isinstance(item, Chunk) or len(item.data) > left:
                    raise PeerUnavailable("a stream that does not fit what was asked for")
                left -= len(item.data)
                yield item.data
        except PeerTimeout:
            self._nodes.failures.slow(address)
            raise
        finally:
            watched.stop()
            exchange.abort()


class _Watched:
    """What an exchange receives, with less patience than the exchange's own."""

    def __init__(self, exchange: Exchange, stall_s: float) -> None:
        self._exchange = exchange
        self._patience = Patience(stall_s, self._stalled)
        self._stood_still = False

    async def receive(self) -> Message | Chunk:
        """As Exchange. Raises PeerTimeout too when nothing came in time; the exchange is over then."""
        self._patience.begin()
        try:
            return await self._exchange.receive()
        except PeerUnavailable:
            if self._stood_still:
                raise PeerTimeout("the stream stands still") from None
            raise
        finally:
            self._patience.end()

    def _stalled(self) -> None:
        self._stood_still = True
        self._exchange.abort()

    def stop(self) -> None:
        """Watch no more."""
        self._patience.stop()


class InMemory:
    """Bytes that are here already, as a stream of a single piece; whoever can do better with the whole takes `data`."""

    __slots__ = ("_left", "data")

    def __init__(self, data: bytes) -> None:
        self.data = data
        self._left = data

    def __aiter__(self) -> "InMemory":
        return self

    async def __anext__(self) -> bytes:
        if not self._left:
            raise StopAsyncIteration
        piece, self._left = self._left, b""
        return piece
