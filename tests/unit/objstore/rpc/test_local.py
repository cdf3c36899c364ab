"""The short cut takes our own addresses only, and copies nothing."""

import pytest

from objstore.formats.messages import Address, DaemonReport, RunDaemon
from objstore.rpc.interface import Chunk, PeerUnavailable
from objstore.rpc.local import LocalFirst, local_pair
from tests.contract.service import Service
from tests.unit.objstore.rpc.nodes import Nodes


async def test_other_addresses_go_over_the_network(nodes: Nodes) -> None:
    here, there = Service(), Service()
    far = await nodes.server(there.dispatcher)
    near = Address("127.0.0.1", 1)
    caller = LocalFirst({near}, here.dispatcher, nodes.client())
    for address in (near, far):
        assert await caller.call(address, RunDaemon("echo 5"), timeout_s=5, txn="tx1") == DaemonReport({"echo 5": 5})
    assert [len(here.contexts), len(there.contexts)] == [1, 1]
    assert here.contexts[0].txn == there.contexts[0].txn == "tx1"


async def test_nothing_is_copied() -> None:
    near, far = local_pair(5)
    data = b"x" * 100_000
    await near.send_chunk(data)
    chunk = await far.receive()
    assert isinstance(chunk, Chunk) and chunk.data is data
    report = DaemonReport({"a": 1})
    await far.send(report)
    assert await near.receive() is report


async def test_an_abort_ends_both_sides() -> None:
    near, far = local_pair(5)
    near.abort()
    for end in (near, far):
        with pytest.raises(PeerUnavailable):
            await end.receive()
        with pytest.raises(PeerUnavailable):
            await end.send(RunDaemon("x"))


async def test_what_was_sent_before_the_end_arrives() -> None:
    near, far = local_pair(5)
    await near.send(RunDaemon("last words"))
    await near.finish()
    assert await far.receive() == RunDaemon("last words")
    with pytest.raises(PeerUnavailable, match="ended"):
        await far.receive()
    with pytest.raises(PeerUnavailable, match="ended"):
        await far.send(RunDaemon("too late"))
