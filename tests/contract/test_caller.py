"""What every Caller promises: calls and streams, and every way they end."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest
from crc32c import crc32c

from objstore.formats.messages import (
    Address,
    DaemonReport,
    End,
    GetObject,
    ListQuarantine,
    Message,
    ObjectFiles,
    Ready,
    RunDaemon,
    Stored,
)
from objstore.model.errors import Code, NodeError
from objstore.rpc.interface import CHUNK_BYTES_MAX, Begun, Caller, Chunk, Exchange, PeerTimeout, PeerUnavailable
from tests.contract.implementations import CALLERS
from tests.contract.service import CHUNK, HASH, TARGET, Service, commit, put, read

MIB = 1 << 20


class Node:
    """The service under one caller."""

    def __init__(self, caller: Caller, address: Address, service: Service) -> None:
        self.caller = caller
        self.address = address
        self.service = service

    async def call(self, name: str, timeout_s: float = 5, txn: str = "") -> Message:
        return await self.caller.call(self.address, RunDaemon(name), timeout_s=timeout_s, txn=txn)

    async def open(self, request: Message, timeout_s: float = 5) -> Exchange:
        return await self.caller.open(self.address, request, timeout_s=timeout_s)


@pytest.fixture(params=CALLERS)
async def node(request: pytest.FixtureRequest) -> AsyncIterator[Node]:
    service = Service()
    async with CALLERS[request.param](service.dispatcher) as (caller, address):
        yield Node(caller, address, service)


async def eventually(condition: Callable[[], bool]) -> None:
    for _ in range(300):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("never became true")


# --- calls -----------------------------------------------------------------------------------------------------


async def test_call(node: Node) -> None:
    assert await node.call("echo 5") == DaemonReport({"echo 5": 5})


async def test_many_at_once_answered_in_any_order(node: Node) -> None:
    delays = [0.05, 0.0, 0.03, 0.01] * 25
    replies = await asyncio.gather(*(node.call(f"sleep {delay}") for delay in delays))
    assert replies == [DaemonReport({f"sleep {delay}": 0}) for delay in delays]


async def test_refusal(node: Node) -> None:
    with pytest.raises(NodeError) as refused:
        await node.call("refuse")
    assert (refused.value.code, refused.value.text, refused.value.timestamp) == (Code.NEWER_EXISTS, "there is a newer one", 77)


async def test_a_defect_is_internal_and_logged_once(node: Node, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(NodeError) as refused:
        await node.call("defect", txn="tx1")
    assert refused.value.code == Code.INTERNAL and "a defect" not in refused.value.text
    records = [record for record in caplog.records if record.name == "objstore.rpc"]
    assert [(record.txn, record.method) for record in records] == [("tx1", "RunDaemon")]
    assert "a defect" in records[0].error and "service.py" in records[0].where
    assert await node.call("echo 1")


async def test_nobody_answers_this(node: Node) -> None:
    request = GetObject(TARGET, HASH, "/a/c/o")
    with pytest.raises(NodeError) as refused:
        await node.caller.call(node.address, request, timeout_s=5)
    assert refused.value.code == Code.BAD_REQUEST
    exchange = await node.open(request)
    with pytest.raises(NodeError) as refused:
        await exchange.receive()
    assert refused.value.code == Code.BAD_REQUEST
    await exchange.finish()


async def test_deadline_cancels_the_handler(node: Node) -> None:
    with pytest.raises(PeerTimeout):
        await asyncio.wait_for(node.call("wait", timeout_s=0.1), 2)
    await eventually(lambda: node.service.ends["cancelled"] == 1)


@pytest.mark.parametrize("timeout_s", [0.0, -1.0])
async def test_no_time_left(node: Node, timeout_s: float) -> None:
    with pytest.raises(PeerTimeout):
        await node.call("echo", timeout_s=timeout_s)
    with pytest.raises(PeerTimeout):
        await node.open(put(), timeout_s=timeout_s)
    assert node.service.contexts == []


async def test_cancelling_cancels_the_handler(node: Node) -> None:
    call = asyncio.ensure_future(node.call("wait"))
    await node.service.running.wait()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    await eventually(lambda: node.service.ends["cancelled"] == 1)
    assert await node.call("echo 1")


async def test_context(node: Node) -> None:
    before = asyncio.get_running_loop().time()
    await node.call("echo", timeout_s=7, txn="tx42")
    context = node.service.contexts[0]
    assert context.txn == "tx42" and context.peer.alive
    assert before + 6 < context.deadline < before + 8.5, "both are the system's monotonic clock"


async def test_call_back(node: Node) -> None:
    await node.call("call-back /a/c")
    assert node.service.revoked == ["/a/c"]


async def test_call_back_later_over_the_same_peer(node: Node) -> None:
    await node.call("echo")
    await node.call("echo")
    first, second = node.service.contexts
    assert first.peer is second.peer, "a lease's holder is known by it"


# --- calls that nobody awaits ------------------------------------------------------------------------------------


class Heard:
    """What `begin` told."""

    def __init__(self) -> None:
        self.outcomes: list[object] = []

    def begin(self, node: Node, name: str, timeout_s: float = 5) -> Begun:
        begun = node.caller.begin(node.address, RunDaemon(name), self.outcomes.append, timeout_s=timeout_s)
        assert self.outcomes == [], "never before it returns"
        return begun

    async def outcome(self) -> object:
        await eventually(lambda: bool(self.outcomes))
        await asyncio.sleep(0.01)
        assert len(self.outcomes) == 1
        return self.outcomes[0]


@pytest.mark.parametrize("warm", [False, True])
async def test_begun(node: Node, warm: bool) -> None:
    if warm:
        await node.call("echo 1")
    heard = Heard()
    begun = heard.begin(node, "echo 5")
    assert await heard.outcome() == DaemonReport({"echo 5": 5})
    begun.cancel()
    assert len(heard.outcomes) == 1


async def test_begun_and_refused(node: Node) -> None:
    await node.call("echo 1")
    heard = Heard()
    heard.begin(node, "refuse")
    outcome = await heard.outcome()
    assert isinstance(outcome, NodeError) and (outcome.code, outcome.timestamp) == (Code.NEWER_EXISTS, 77)


@pytest.mark.parametrize("timeout_s", [0.1, 0.0])
async def test_begun_and_not_answered(node: Node, timeout_s: float) -> None:
    await node.call("echo 1")
    heard = Heard()
    heard.begin(node, "wait", timeout_s)
    assert isinstance(await heard.outcome(), PeerTimeout)
    await eventually(lambda: node.service.ends["cancelled"] == (timeout_s > 0))


@pytest.mark.parametrize("warm", [False, True])
async def test_begun_and_given_up(node: Node, warm: bool) -> None:
    if warm:
        await node.call("echo 1")
        node.service.running.clear()
    heard = Heard()
    begun = heard.begin(node, "wait")
    await node.service.running.wait()
    begun.cancel()
    begun.cancel()
    await eventually(lambda: node.service.ends["cancelled"] == 1)
    assert heard.outcomes == []
    assert await node.call("echo 1")


@pytest.mark.parametrize(("name", "said"), [("now", "at once"), ("later", "after a wait")])
async def test_answers_that_need_no_wait(node: Node, name: str, said: str) -> None:
    reply = await node.caller.call(node.address, ListQuarantine(name), timeout_s=5)
    assert reply == ObjectFiles(None, [said])


@pytest.mark.parametrize(("name", "code"), [("refuse", Code.NEWER_EXISTS), ("defect", Code.INTERNAL)])
async def test_failures_that_need_no_wait(node: Node, name: str, code: Code) -> None:
    with pytest.raises(NodeError) as refused:
        await node.caller.call(node.address, ListQuarantine(name), timeout_s=5)
    assert refused.value.code is code


# --- streams ---------------------------------------------------------------------------------------------------


async def test_upload(node: Node) -> None:
    exchange = await node.open(put())
    assert await exchange.receive() == Ready()
    for _ in range(40):
        await exchange.send_chunk(CHUNK)
    await exchange.send(commit(100))
    assert await exchange.receive() == Stored(indexed=True)
    await exchange.finish()
    exchange.abort()
    assert node.service.received == 40 * len(CHUNK) and node.service.ends["stored"] == 1


async def test_commit_is_tried_again_without_the_body(node: Node) -> None:
    exchange = await node.open(put())
    await exchange.receive()
    await exchange.send_chunk(b"body")
    for _ in range(3):
        await exchange.send(commit(50))
        with pytest.raises(NodeError) as refused:
            await exchange.receive()
        assert (refused.value.code, refused.value.timestamp) == (Code.NEWER_EXISTS, 99)
    await exchange.send(commit(100))
    assert await exchange.receive() == Stored(indexed=True)
    await exchange.finish()
    assert node.service.received == 4


async def download(node: Node, length: int) -> bytes:
    exchange = await node.open(read(length))
    assert await exchange.receive() == Ready()
    pieces = []
    while isinstance(event := await exchange.receive(), Chunk):
        assert len(event.data) <= CHUNK_BYTES_MAX
        pieces.append(event.data)
    assert event == End()
    await exchange.finish()
    return b"".join(pieces)


@pytest.mark.parametrize("length", [0, 1, len(CHUNK) + 1, 5 * MIB])
async def test_download(node: Node, length: int) -> None:
    body = await download(node, length)
    assert body == (CHUNK * (length // len(CHUNK) + 1))[:length]


async def test_many_streams_one_after_the_other_and_at_once(node: Node) -> None:
    for _ in range(30):
        assert len(await download(node, 10)) == 10
    assert list(map(len, await asyncio.gather(*(download(node, 3 * MIB) for _ in range(8))))) == [3 * MIB] * 8


async def test_large_pieces_are_split(node: Node) -> None:
    exchange = await node.open(put())
    await exchange.receive()
    body = bytearray(b"x" * (3 * MIB + 5))
    await exchange.send_chunk(memoryview(body))
    body[:] = bytes(len(body))  # the sender's buffer is its own again
    await exchange.send(commit(100))
    assert await exchange.receive() == Stored(indexed=True)
    await exchange.finish()
    assert node.service.received == len(body)


async def test_refused_at_once(node: Node) -> None:
    for name, code in (("refuse", Code.NO_SPACE), ("defect", Code.INTERNAL)):
        exchange = await node.open(put(name))
        with pytest.raises(NodeError) as refused:
            await exchange.receive()
        assert refused.value.code == code
        await exchange.finish()
    assert len(await download(node, 5)) == 5


async def test_refused_while_sending(node: Node) -> None:
    """The sender learns of it at its next receive; what was under way comes to nothing."""
    exchange = await node.open(put("refuse"))
    try:
        for _ in range(3):
            await exchange.send_chunk(CHUNK)
    except PeerUnavailable:
        pass  # it may see the end of the stream first ...
    with pytest.raises(NodeError) as refused:  # ... but never misses the reason
        await exchange.receive()
    assert refused.value.code == Code.NO_SPACE
    await exchange.finish()
    assert len(await download(node, 5)) == 5


async def test_refused_in_the_middle(node: Node) -> None:
    exchange = await node.open(read(5 * MIB, corrupt_at=MIB))
    assert await exchange.receive() == Ready()
    got = 0
    with pytest.raises(NodeError) as refused:
        while isinstance(event := await exchange.receive(), Chunk):
            got += len(event.data)
    assert refused.value.code == Code.CORRUPT and got == MIB
    await exchange.finish()


async def test_the_caller_aborts(node: Node) -> None:
    upload = await node.open(put())
    await upload.receive()
    await upload.send_chunk(CHUNK)
    upload.abort()
    upload.abort()
    await eventually(lambda: node.service.ends["left"] == 1)
    reading = await node.open(read(1 << 40))
    await reading.receive()
    reading.abort()
    await eventually(lambda: node.service.ends["left"] == 2)
    for use in (upload.receive, reading.receive):
        with pytest.raises(PeerUnavailable):
            await use()
    with pytest.raises(PeerUnavailable):
        await upload.send_chunk(b"x")


async def test_leaving_without_an_end_aborts_the_other_side(node: Node) -> None:
    exchange = await node.open(put())
    await exchange.receive()
    await exchange.finish()
    await eventually(lambda: node.service.ends["left"] == 1)
    assert len(await download(node, 5)) == 5


async def test_a_slow_receiver_bounds_the_sender(node: Node) -> None:
    exchange = await node.open(read(1 << 40))
    await exchange.receive()
    await asyncio.sleep(0.1)
    stuck_at = node.service.sent
    await asyncio.sleep(0.1)
    assert node.service.sent == stuck_at, "the sender waits"
    # Both ends' buffers and what the kernel holds of a loopback connection, nothing like the body.
    assert stuck_at < 32 * MIB
    for _ in range(1000):
        await exchange.receive()
    assert node.service.sent > stuck_at
    exchange.abort()


async def test_no_progress_in_time(node: Node) -> None:
    waiting = await node.open(put(), timeout_s=0.1)
    await waiting.receive()
    with pytest.raises(PeerTimeout):
        await waiting.receive()
    await eventually(lambda: node.service.ends["left"] == 1)
    sending = await node.open(put("slow"), timeout_s=0.2)
    with pytest.raises(PeerTimeout):
        for _ in range(10_000):
            await sending.send_chunk(CHUNK)
    node.service.gate.set()


async def test_a_chunk_knows_its_checksum(node: Node) -> None:
    exchange = await node.open(read(10))
    await exchange.receive()
    chunk = await exchange.receive()
    assert isinstance(chunk, Chunk) and chunk.crc == crc32c(chunk.data)
    exchange.abort()


async def test_to_abort_ends_a_wait_under_way(node: Node) -> None:
    exchange = await node.open(put())
    await exchange.receive()
    waiting = asyncio.create_task(exchange.receive())  # type: ignore[arg-type]
    await asyncio.sleep(0.05)
    exchange.abort()
    with pytest.raises(PeerUnavailable):
        await asyncio.wait_for(waiting, 1)
