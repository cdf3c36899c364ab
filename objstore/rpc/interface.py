"""What the layers above see of node-to-node calls. Implementations: sockets (`client.py`, `server.py`), the in-process short
cut (`local.py`), and the simulator's network.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol, TypeVar, cast

from objstore.formats.messages import Address, Message


class PeerUnavailable(Exception):
    """The peer could not be reached, the connection broke, or it failed authentication. The call may have been executed."""


class PeerTimeout(PeerUnavailable):
    """No answer within the deadline. The call may have been executed."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of a body, at most CHUNK_BYTES_MAX, with the crc32c that travelled with it (already verified on receipt)."""

    data: bytes
    crc: int


CHUNK_BYTES_MAX = 1 << 20


class Exchange(Protocol):
    """One streamed call, on a connection of its own, seen alike from both ends. Not for concurrent use in one direction.

    Leaving an exchange without a clean end (both sides' last message delivered) drops its connection.
    """

    async def send(self, message: Message) -> None:
        """Queue a message; waits while more than the high-water mark is unsent. Raises PeerUnavailable, or NodeError when the
        other side has refused meanwhile.
        """

    async def send_chunk(self, data: bytes | memoryview) -> None:
        """As `send`, for body bytes."""

    async def receive(self) -> Message | Chunk:
        """The next message or chunk. Raises NodeError for a refusal, PeerTimeout, PeerUnavailable."""

    async def refuse(self, error: Exception) -> None:
        """Server side: answer with a NodeError and end the exchange."""

    async def finish(self) -> None:
        """Both sides are done: give the connection back to the pool."""

    def abort(self) -> None:
        """Drop the connection; the other end sees PeerUnavailable. Safe to call twice and after finish."""


class Peer(Protocol):
    """The other end of the connection a request came over: it can be called back (lease revocation)."""

    @property
    def alive(self) -> bool: ...

    async def call(self, request: Message, *, timeout_s: float) -> Message:
        """As Caller.call, over this very connection."""


class CallContext(NamedTuple):
    """What a handler knows of its call beside the request."""

    txn: str
    deadline: float  # monotonic seconds on this node
    peer: Peer


class Caller(Protocol):
    """Calls other nodes. Cancelling a call tells the peer, which cancels the handler."""

    async def call(self, address: Address, request: Message, *, timeout_s: float, txn: str = "") -> Message:
        """One request, one reply. Raises NodeError (refusal), PeerTimeout, PeerUnavailable."""

    async def open(self, address: Address, request: Message, *, timeout_s: float, txn: str = "") -> Exchange:
        """Start a streamed call: the request is sent; `timeout_s` bounds each wait for progress, not the whole exchange."""


M = TypeVar("M", bound=Message)
Handler = Callable[[Message, CallContext], Awaitable[Message]]
StreamHandler = Callable[[Message, Exchange, CallContext], Awaitable[None]]


class Dispatcher:
    """Which handler answers which request. One per process; services register at wiring."""

    def __init__(self) -> None:
        self.handlers: dict[type[Message], Handler] = {}
        self.stream_handlers: dict[type[Message], StreamHandler] = {}

    def on(self, request: type[M], handler: Callable[[M, CallContext], Awaitable[Message]]) -> None:
        """Register the handler of a plain call: it is given messages of this type alone. Raises ValueError
        when there is one already.
        """
        if request in self.handlers:
            raise ValueError(f"two handlers for {request.__name__}")
        self.handlers[request] = cast(Handler, handler)

    def on_stream(self, request: type[M], handler: Callable[[M, Exchange, CallContext], Awaitable[None]]) -> None:
        """Register the handler of a streamed call: it is given messages of this type alone. Raises ValueError
        when there is one already.
        """
        if request in self.stream_handlers:
            raise ValueError(f"two handlers for {request.__name__}")
        self.stream_handlers[request] = cast(StreamHandler, handler)
