"""What was asked for and what was promised: the truth that every state after a crash is compared with."""

from typing import NamedTuple

from objstore.formats.filenames import FileKind
from objstore.formats.messages import (
    CommitPut,
    DeleteObject,
    GetObject,
    Message,
    ObjectReply,
    OpenPut,
    PostObject,
    PutObject,
    ReadObject,
    Ready,
    Stored,
)
from objstore.model.errors import Code, NodeError
from objstore.model.rows import ObjectRow
from objstore.model.version import Version
from objstore.rpc.interface import Chunk
from objstore.runtime.interface import Change
from tests.faults.rig import INDEX, ObjectNode, Subject, at

INLINE_BYTES_MAX = 64 * 1024


class State(NamedTuple):
    """An object as a reader sees it; `timestamp` 0 when the device never heard of it."""

    timestamp: int = 0
    meta_timestamp: int = 0
    deleted: bool = False
    body: bytes = b""
    user: tuple[tuple[str, str], ...] = ()
    content_type: str = ""


ABSENT = State()
Truth = tuple[tuple[str, tuple[State, ...]], ...]
"""Per object (by row name), every state that a reader may see: the last acknowledged one, and what was under way since."""


class Ledger:
    """Per object the states it went through, in order, and which of them was the last to be promised."""

    def __init__(self) -> None:
        self.subjects: dict[str, Subject] = {}
        self._states: dict[str, list[State]] = {}
        self._promised: dict[str, int] = {}
        self._paths: dict[str, tuple[str, int]] = {}
        self.damaged: set[str] = set()
        """Objects whose file on the device rotted, or was set aside: found out by the first read, and listed all the same."""

    def add(self, subject: Subject) -> Subject:
        self.subjects[subject.row_name] = subject
        self._states[subject.row_name] = [ABSENT]
        self._promised[subject.row_name] = 0
        return subject

    def begin(self, subject: Subject, state: State, path: str) -> int:
        """A change is asked for; it will be durable in the file `path`."""
        states = self._states[subject.row_name]
        states.append(state)
        self._paths[path] = (subject.row_name, len(states) - 1)
        return len(states) - 1

    def promise(self, subject: Subject, number: int) -> None:
        self._promised[subject.row_name] = max(number, self._promised[subject.row_name])

    def durable(self, change: Change) -> None:
        """The disk says that a change is durable: from here on it counts as promised."""
        found = self._paths.get(change.path)
        if found is not None:
            self.promise(self.subjects[found[0]], found[1])

    def last(self, subject: Subject) -> State:
        """As of the last change asked for."""
        return self._states[subject.row_name][-1]

    def settle(self, subject: Subject, state: State) -> None:
        """The object was seen like this after everything ended: nothing else is possible any more."""
        self._states[subject.row_name].append(state)
        self._promised[subject.row_name] = len(self._states[subject.row_name]) - 1

    def truth(self) -> Truth:
        return tuple((name, tuple(states[self._promised[name] :])) for name, states in self._states.items())


class Client:
    """Changes objects on one node and keeps the ledger. Each method returns after the acknowledgement, or raises NodeError."""

    def __init__(self, node: ObjectNode, ledger: Ledger) -> None:
        self.node = node
        self.ledger = ledger

    async def _change(self, subject: Subject, state: State, kind: FileKind, request: Message) -> None:
        timestamp = state.meta_timestamp if kind is FileKind.META else state.timestamp
        number = self.ledger.begin(subject, state, subject.path(timestamp, kind))
        assert isinstance(await self.node.call(request), Stored)
        self.ledger.promise(subject, number)

    async def put(
        self, subject: Subject, body: bytes, second: float, user: dict[str, str] | None = None, *, pushed: bool = False
    ) -> None:
        version = version_of(subject, body, second, user or {})
        state = self._put_state(subject, version, body)
        request = PutObject(subject.target, subject.hash, version, body, INDEX, pushed)
        await self._change(subject, state, FileKind.DATA, request)

    async def put_large(
        self,
        subject: Subject,
        body: bytes,
        second: float,
        user: dict[str, str] | None = None,
        *,
        pushed: bool = False,
        announced: bool = True,
    ) -> None:
        version = version_of(subject, body, second, user or {})
        number = self.ledger.begin(subject, self._put_state(subject, version, body), subject.path(version.timestamp, FileKind.DATA))
        exchange = await self.node.open(OpenPut(subject.target, subject.hash, subject.name, len(body) if announced else -1))
        try:
            assert isinstance(await exchange.receive(), Ready)
            for start in range(0, len(body), 1 << 20):
                await exchange.send_chunk(body[start : start + (1 << 20)])
            await exchange.send(CommitPut(version, INDEX, pushed))
            assert isinstance(await exchange.receive(), Stored)
            self.ledger.promise(subject, number)
            await exchange.finish()
        finally:
            exchange.abort()

    def _put_state(self, subject: Subject, version: Version, body: bytes) -> State:
        """Pushed data goes below a newer POST, which applies to it."""
        before = self.ledger.last(subject)
        user, meta, content_type = tuple(sorted(version.user.items())), version.timestamp, version.content_type
        if not before.deleted and before.meta_timestamp > version.timestamp:
            user, meta, content_type = before.user, before.meta_timestamp, before.content_type or content_type
        return State(version.timestamp, meta, False, body, user, content_type)

    async def post(self, subject: Subject, second: float, user: dict[str, str], *, pushed: bool = False) -> None:
        before = self.ledger.last(subject)
        state = before._replace(meta_timestamp=at(second), user=tuple(sorted(user.items())))
        request = PostObject(subject.target, subject.hash, subject.name, at(second), {}, user, None, INDEX, 0, pushed)
        await self._change(subject, state, FileKind.META, request)

    async def delete(self, subject: Subject, second: float, *, pushed: bool = False) -> None:
        state = State(at(second), at(second), True)
        request = DeleteObject(subject.target, subject.hash, subject.name, at(second), INDEX, pushed)
        await self._change(subject, state, FileKind.TOMBSTONE, request)


def version_of(subject: Subject, body: bytes, second: float, user: dict[str, str]) -> Version:
    return Version(subject.name, at(second), size=len(body), etag=f"{len(body)}-{second}", content_type="a/b", user=user)


async def observed(node: ObjectNode, subject: Subject) -> State:
    """The object as it is read. Raises NodeError but for not_found."""
    try:
        reply = await node.call(GetObject(subject.target, subject.hash, subject.name, INLINE_BYTES_MAX))
    except NodeError as error:
        if error.code is not Code.NOT_FOUND:
            raise
        return State(error.timestamp, error.timestamp, True) if error.timestamp else ABSENT
    assert isinstance(reply, ObjectReply)
    version, body = reply.version, reply.body
    if body is None:
        body = await streamed(node, subject, version)
    user = tuple(sorted(version.user.items()))
    return State(version.timestamp, version.meta_timestamp, False, body, user, version.content_type)


async def look(node: ObjectNode, ledger: Ledger, subject: Subject) -> State:
    """As `observed`; one known to be damaged may be found so, again and again where nothing can be moved to quarantine."""
    for _ in range(2):
        try:
            return await observed(node, subject)
        except NodeError as error:
            if error.code is not Code.CORRUPT or subject.row_name not in ledger.damaged:
                raise
    return ABSENT


async def streamed(node: ObjectNode, subject: Subject, version: Version) -> bytes:
    """A whole body, as the proxy reads a large one."""
    exchange = await node.open(ReadObject(subject.target, subject.hash, version.timestamp, 0, version.size))
    try:
        assert isinstance(await exchange.receive(), Ready)
        pieces = []
        while isinstance(piece := await exchange.receive(), Chunk):
            pieces.append(piece.data)
        await exchange.finish()
    finally:
        exchange.abort()
    return b"".join(pieces)


def row_problem(row: ObjectRow | None, state: State) -> str:
    """What is wrong with the listing of an object in this state; "" for nothing."""
    if state == ABSENT:
        return "" if row is None else "listed, but the device never had it"
    if row is None:
        return "not listed"
    if (row.timestamp, row.deleted) != (state.timestamp, state.deleted):
        return f"listed at {row.timestamp} deleted={row.deleted}, is at {state.timestamp} deleted={state.deleted}"
    if not state.deleted and (row.size, row.meta_timestamp) != (len(state.body), state.meta_timestamp):
        return f"listed with {row.size} bytes at {row.meta_timestamp}, has {len(state.body)} at {state.meta_timestamp}"
    return ""
