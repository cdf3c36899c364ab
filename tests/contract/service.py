"""A small node to call: every way a handler can behave, and a record of what became of each call."""

import asyncio
from collections import Counter

from objstore.formats.messages import (
    CommitPut,
    DaemonReport,
    End,
    ListQuarantine,
    Message,
    ObjectFiles,
    OpenPut,
    ReadObject,
    Ready,
    Refused,
    RevokeLease,
    RunDaemon,
    Stored,
    Target,
)
from objstore.model.errors import Code, NodeError
from objstore.model.version import Version
from objstore.rpc.interface import CallContext, Chunk, Dispatcher, Exchange, PeerUnavailable

TARGET = Target("sda", 1)
HASH = b"h" * 16
CHUNK = bytes(range(256)) * 256
FOREVER_S = 1000.0


def commit(timestamp: int) -> CommitPut:
    return CommitPut(Version("/a/c/o", timestamp), None)


class Service:
    """RunDaemon: `name` says what to do. OpenPut: counts the bytes. ReadObject: sends `length` bytes of CHUNKs."""

    def __init__(self) -> None:
        self.dispatcher = Dispatcher()
        self.dispatcher.on(RunDaemon, self.run)
        self.dispatcher.on(RevokeLease, self.revoke)
        self.dispatcher.on(ListQuarantine, self.quarantine, self.quarantine_now)
        self.dispatcher.on_stream(OpenPut, self.upload)
        self.dispatcher.on_stream(ReadObject, self.download)
        self.ends: Counter[str] = Counter()
        self.contexts: list[CallContext] = []
        self.revoked: list[str] = []
        self.received = 0
        self.sent = 0
        self.gate = asyncio.Event()
        self.running = asyncio.Event()

    async def run(self, request: Message, context: CallContext) -> Message:
        assert isinstance(request, RunDaemon)
        self.contexts.append(context)
        self.running.set()
        action, _, argument = request.name.partition(" ")
        try:
            if action == "sleep":
                await asyncio.sleep(float(argument))
            elif action == "wait":
                await self.gate.wait()
            elif action == "refuse":
                raise NodeError(Code.NEWER_EXISTS, "there is a newer one", 77)
            elif action == "defect":
                raise RuntimeError("a defect")
            elif action == "call-back":
                await context.peer.call(RevokeLease("container", argument), timeout_s=2)
            elif action == "nonsense":
                return None  # type: ignore[return-value]
        except asyncio.CancelledError:
            self.ends["cancelled"] += 1
            raise
        self.ends["done"] += 1
        return DaemonReport({request.name: int(argument) if argument.isdigit() else 0})

    async def revoke(self, request: Message, context: CallContext) -> Message:
        assert isinstance(request, RevokeLease)
        self.revoked.append(request.name)
        return Ready()

    async def quarantine(self, request: ListQuarantine, _context: CallContext) -> Message:
        """What `quarantine_now` leaves to it."""
        return ObjectFiles(None, ["after a wait"])

    def quarantine_now(self, request: ListQuarantine, _context: CallContext) -> Message | None:
        """The device says whether it answers at once, refuses, or has a defect."""
        if request.device == "refuse":
            raise NodeError(Code.NEWER_EXISTS, "there is a newer one", 77)
        if request.device == "defect":
            raise RuntimeError("a defect")
        return ObjectFiles(None, ["at once"]) if request.device == "now" else None

    async def upload(self, request: Message, exchange: Exchange, context: CallContext) -> None:
        assert isinstance(request, OpenPut)
        self.contexts.append(context)
        try:
            if request.name == "refuse":
                raise NodeError(Code.NO_SPACE, "full")
            if request.name == "defect":
                raise RuntimeError("a defect")
            await exchange.send(Ready())
            if request.name == "slow":
                await self.gate.wait()
            while isinstance(event := await exchange.receive(), Chunk):
                self.received += len(event.data)
            assert isinstance(event, CommitPut)
            while event.version.timestamp < 100:  # something newer is there: try a later timestamp
                await exchange.send(Refused(Code.NEWER_EXISTS, "newer", 99))
                again = await exchange.receive()
                assert isinstance(again, CommitPut)
                event = again
            await exchange.send(Stored(indexed=True))
            self.ends["stored"] += 1
        except PeerUnavailable:
            self.ends["left"] += 1
            raise

    async def download(self, request: Message, exchange: Exchange, context: CallContext) -> None:
        assert isinstance(request, ReadObject)
        try:
            await exchange.send(Ready())
            left = request.length
            while left > 0:
                piece = CHUNK[:left]
                await exchange.send_chunk(piece)
                self.sent += len(piece)
                left -= len(piece)
                if request.start and self.sent >= request.start:
                    raise NodeError(Code.CORRUPT, "checksum")
            await exchange.send(End())
            self.ends["sent"] += 1
        except PeerUnavailable:
            self.ends["left"] += 1
            raise


def put(name: str = "/a/c/o") -> OpenPut:
    return OpenPut(TARGET, HASH, name, -1)


def read(length: int, corrupt_at: int = 0) -> ReadObject:
    return ReadObject(TARGET, HASH, 1, corrupt_at, length)
