"""What the layers above see of node-to-node calls. Implementations: sockets (`client.py`, `server.py`), the in-process short
cut (`local.py`), and the simulator's network.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, TypeVar, cast

from crc32c import crc32c

from objstore.formats.messages import Address, Message
from objstore.model.errors import NodeError
from objstore.model.octets import Octets
from objstore.runtime.interface import OpenFile


class PeerUnavailable(Exception):
    """The peer could not be reached, the connection broke, or it failed authentication. The call may have been executed."""


class PeerTimeout(PeerUnavailable):
    """No answer within the deadline. The call may have been executed."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of a body, at most CHUNK_BYTES_MAX, with its crc32c: the one that travelled with it (already verified on receipt),
    or for one that is to be sent, the one that the sender knows.
    """

    data: Octets
    crc: int

    @classmethod
    def of(cls, data: Octets) -> "Chunk":
        """A chunk to be sent more than once."""
        return cls(data, crc32c(data))


CHUNK_BYTES_MAX = 1 << 20


class FilePiece(NamedTuple):
    """A chunk that is sent straight from its file: `length` bytes, at most CHUNK_BYTES_MAX, from `start`. `crc` is the crc32c that
    they are to have; whether they do, the receiver finds out.
    """

    file: OpenFile
    start: int
    length: int
    crc: int


RunInThread = Callable[[Callable[[], Any]], Coroutine[Any, Any, Any]]
"""As Disk.run, for what may wait for a disk; when cancelled, it ends when the call does (`until_done`)."""


class Exchange(Protocol):
    """One streamed call, on a connection of its own, seen alike from both ends. Not for concurrent use in one direction.

    Leaving an exchange without a clean end (both sides' last message delivered) drops its connection.
    """

    async def send(self, message: Message) -> None:
        """Queue a message; waits while more than the high-water mark is unsent. Raises PeerUnavailable, or NodeError when the
        other side has refused meanwhile.
        """

    async def send_chunk(self, data: Octets | Chunk) -> None:
        """As `send`, for body bytes."""

    async def send_file(self, piece: FilePiece, run: RunInThread) -> None:
        """As `send`, for body bytes that nobody here looks at. Raises PeerUnavailable too when they cannot be read, or when the
        receiver has found that they are not what they should be: then the file is to be looked at. Of the last ones sent, that
        may come later, as PeerUnavailable or a finish that is not clean. Whatever this raises, the exchange is over.
        """

    async def receive(self) -> Message | Chunk:
        """The next message or chunk. Raises NodeError for a refusal, PeerTimeout, PeerUnavailable."""

    async def refuse(self, error: Exception) -> None:
        """Server side: answer with a NodeError and end the exchange."""

    async def finish(self) -> bool:
        """Both sides are done: give the connection back to the pool. Returns whether the other side got all of it, too."""

    def abort(self) -> None:
        """Drop the connection; the other end sees PeerUnavailable, and so does a wait under way here. Safe to call twice and after
        finish.
        """


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
    lasting: bool = False
    """The handler runs to its end although its caller has left, as it was registered to (see Dispatcher.on)."""


Outcome = Message | NodeError | PeerUnavailable
"""How a call can end."""
Done = Callable[[Outcome | BaseException], None]
"""Told how a call ended; a defect on our side of it comes as what was raised."""


class Begun(Protocol):
    """A call under way that nobody awaits."""

    def cancel(self) -> None:
        """Its outcome is not wanted any more, and `done` will not be called. Safe to call twice, and after the outcome."""


class Caller(Protocol):
    """Calls other nodes. Cancelling a call tells the peer, which cancels the handler."""

    def begin(self, address: Address, request: Message, done: Done, *, timeout_s: float, txn: str = "") -> Begun:
        """As `call`, without a task: `done` is given the outcome once, on the event loop, never before this returns."""

    async def call(self, address: Address, request: Message, *, timeout_s: float, txn: str = "") -> Message:
        """One request, one reply. Raises NodeError (refusal), PeerTimeout, PeerUnavailable."""

    async def open(self, address: Address, request: Message, *, timeout_s: float, txn: str = "") -> Exchange:
        """Start a streamed call: the request is sent; `timeout_s` bounds each wait for progress, not the whole exchange."""


class CallsAsTasks(ABC):
    """`begin` for callers that have just `call`."""

    @abstractmethod
    async def call(self, address: Address, request: Message, *, timeout_s: float, txn: str = "") -> Message:
        """As Caller."""

    def begin(self, address: Address, request: Message, done: Done, *, timeout_s: float, txn: str = "") -> Begun:
        """As Caller."""
        work = self.call(address, request, timeout_s=timeout_s, txn=txn)
        return _TaskCall(asyncio.get_running_loop().create_task(work), done)


class _TaskCall:
    __slots__ = ("_done", "_task")

    def __init__(self, task: "asyncio.Task[Message]", done: Done) -> None:
        self._task = task
        self._done: Done | None = done
        task.add_done_callback(self._ended)

    def cancel(self) -> None:
        """As Begun."""
        self._done = None
        self._task.cancel()

    def _ended(self, task: "asyncio.Task[Message]") -> None:
        if task.cancelled():
            error: BaseException | None = PeerUnavailable("the call was cancelled")
        else:
            error = task.exception()
        done, self._done = self._done, None
        if done is None:
            return
        done(task.result() if error is None else error)


M = TypeVar("M", bound=Message)
AtOnce = Callable[[Message, CallContext], Message | None]
Handler = Callable[[Message, CallContext], Awaitable[Message]]
StreamHandler = Callable[[Message, Exchange, CallContext], Awaitable[None]]


class Dispatcher:
    """Which handler answers which request. One per process; services register at wiring."""

    def __init__(self) -> None:
        self.handlers: dict[type[Message], Handler] = {}
        self.at_once: dict[type[Message], AtOnce] = {}
        self.lasting: set[type[Message]] = set()
        self.stream_handlers: dict[type[Message], StreamHandler] = {}

    def on(
        self,
        request: type[M],
        handler: Callable[[M, CallContext], Awaitable[Message]],
        at_once: Callable[[M, CallContext], Message | None] | None = None,
        *,
        lasting: bool = False,
    ) -> None:
        """Register the handler of a plain call: it is given messages of this type alone. `at_once` answers what needs no wait,
        without the cost of a task; where it returns None, the handler is asked. Raises ValueError when there is one already.

        `lasting`: a connection does not cancel the handler when the caller leaves. Other callers may: its context tells.
        """
        if request in self.handlers:
            raise ValueError(f"two handlers for {request.__name__}")
        self.handlers[request] = cast(Handler, handler)
        if at_once is not None:
            self.at_once[request] = cast(AtOnce, at_once)
        if lasting:
            self.lasting.add(request)

    def on_stream(self, request: type[M], handler: Callable[[M, Exchange, CallContext], Awaitable[None]]) -> None:
        """Register the handler of a streamed call: it is given messages of this type alone. Raises ValueError
        when there is one already.
        """
        if request in self.stream_handlers:
            raise ValueError(f"two handlers for {request.__name__}")
        self.stream_handlers[request] = cast(StreamHandler, handler)
