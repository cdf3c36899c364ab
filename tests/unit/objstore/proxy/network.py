"""A network in one process: real messages through the real codec, and faults by address."""

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from objstore.formats.messages import Address, Message, Refused
from objstore.model.errors import Code, NodeError
from objstore.rpc.codec import Codec
from objstore.rpc.interface import CallContext, CallsAsTasks, Chunk, Dispatcher, Exchange, PeerTimeout, PeerUnavailable
from objstore.rpc.local import LocalExchange, local_pair
from objstore.runtime.interface import Clock


@dataclass
class Faults:
    """What is wrong with one address."""

    down: bool = False
    """Connections are refused."""
    hung: bool = False
    """Requests arrive nowhere, and nothing is ever answered."""
    deaf: bool = False
    """Requests are executed, replies are lost."""
    delay_s: float = 0.0
    delayed: type[Message] = Message
    """What takes `delay_s` longer."""
    chunks_until_cut: int | None = None
    """Streams from it break after so many chunks."""
    refuse: dict[type[Message], Code] = field(default_factory=dict)


class Network:
    """Connects dispatchers by address."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.codec = Codec()
        self.nodes: dict[Address, Dispatcher] = {}
        self.faults: dict[Address, Faults] = {}
        self.calls: Counter[tuple[Address, str]] = Counter()
        self.tasks: set[asyncio.Task[None]] = set()
        self.clients_cut: set[str] = set()
        """Clients that no node can call back."""

    def fault(self, address: Address) -> Faults:
        return self.faults.setdefault(address, Faults())

    def heal(self) -> None:
        self.faults.clear()

    def count(self, method: str) -> int:
        return sum(count for (_, name), count in self.calls.items() if name == method)

    def client(self, name: str, dispatcher: Dispatcher) -> "Client":
        return Client(self, name, dispatcher)

    def copied(self, message: Message) -> Message:
        return self.codec.decode(self.codec.name(message), self.codec.encode(message))


class CallBack:
    """A client as the nodes see it."""

    def __init__(self, network: Network, name: str, dispatcher: Dispatcher) -> None:
        self._network = network
        self._name = name
        self._dispatcher = dispatcher

    @property
    def alive(self) -> bool:
        return True

    async def call(self, request: Message, *, timeout_s: float) -> Message:
        if self._name in self._network.clients_cut:
            await asyncio.sleep(timeout_s)
            raise PeerTimeout("no way back")
        handler = self._dispatcher.handlers[type(request)]
        return await handler(self._network.copied(request), CallContext("", timeout_s, self))


class Client(CallsAsTasks):
    """Caller over the network. Each client is one peer to all nodes."""

    def __init__(self, network: Network, name: str, dispatcher: Dispatcher) -> None:
        self._network = network
        self._peer = CallBack(network, name, dispatcher)

    async def _reach(self, address: Address, timeout_s: float, request: Message) -> tuple[Dispatcher, Faults]:
        self._network.calls[address, type(request).__name__] += 1
        faults = self._network.faults.get(address) or Faults()
        if faults.down or address not in self._network.nodes:
            raise PeerUnavailable(f"{address} is down")
        if faults.hung:
            await asyncio.sleep(timeout_s)
            raise PeerTimeout("no answer")
        if faults.delay_s and isinstance(request, faults.delayed):
            await asyncio.sleep(faults.delay_s)
        if type(request) in faults.refuse:
            raise NodeError(faults.refuse[type(request)])
        return self._network.nodes[address], faults

    async def call(self, address: Address, request: Message, *, timeout_s: float, txn: str = "") -> Message:
        try:
            async with asyncio.timeout(timeout_s):
                return await self._call(address, request, timeout_s, txn)
        except TimeoutError:
            raise PeerTimeout("no answer in time") from None

    async def _call(self, address: Address, request: Message, timeout_s: float, txn: str) -> Message:
        await asyncio.sleep(0)
        dispatcher, faults = await self._reach(address, timeout_s, request)
        context = CallContext(txn, self._network.clock.monotonic() + timeout_s, self._peer)
        reply = await dispatcher.handlers[type(request)](self._network.copied(request), context)
        if faults.deaf:
            await asyncio.sleep(timeout_s)
            raise PeerTimeout("the answer was lost")
        if isinstance(reply, Refused):
            raise NodeError(Code(reply.code), reply.text, reply.timestamp)
        return self._network.copied(reply)

    async def open(self, address: Address, request: Message, *, timeout_s: float, txn: str = "") -> Exchange:
        faults = self._network.faults.get(address) or Faults()
        if faults.hung:  # the kernel accepts for a stopped process; nobody answers
            self._network.calls[address, type(request).__name__] += 1
            near, _ = local_pair(timeout_s)
            return near
        dispatcher, faults = await self._reach(address, timeout_s, request)
        near, far = local_pair(timeout_s)
        context = CallContext(txn, self._network.clock.monotonic() + timeout_s, self._peer)
        handler = dispatcher.stream_handlers[type(request)]
        task = asyncio.create_task(_serve(handler, self._network.copied(request), far, context))
        self._network.tasks.add(task)
        task.add_done_callback(self._network.tasks.discard)
        return Cut(near, faults.chunks_until_cut) if faults.chunks_until_cut is not None else near


async def _serve(handler: Callable[..., object], request: Message, exchange: LocalExchange, context: CallContext) -> None:
    try:
        await handler(request, exchange, context)  # type: ignore[misc]
        await exchange.finish()
    except PeerUnavailable:
        pass
    except NodeError as error:
        await exchange.refuse(error)


class Cut:
    """An exchange that breaks after receiving some chunks."""

    def __init__(self, inner: LocalExchange, chunks: int) -> None:
        self._inner = inner
        self._left = chunks

    async def receive(self) -> Message | Chunk:
        item = await self._inner.receive()
        if isinstance(item, Chunk):
            if self._left <= 0:
                self._inner.abort()
                raise PeerUnavailable("cut")
            self._left -= 1
        return item

    async def send(self, message: Message) -> None:
        await self._inner.send(message)

    async def send_chunk(self, data: bytes | memoryview) -> None:
        await self._inner.send_chunk(data)

    async def refuse(self, error: Exception) -> None:
        await self._inner.refuse(error)

    async def finish(self) -> None:
        await self._inner.finish()

    def abort(self) -> None:
        self._inner.abort()
