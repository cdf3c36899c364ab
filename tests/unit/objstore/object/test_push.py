"""One replica completes another."""

import os

import pytest

from objstore.formats.messages import Pushed, PushObject
from objstore.model.errors import Code, NodeError
from tests.unit.objstore.object.rig import HASH, INDEX, NAME, TARGET, Node, Rig, at


@pytest.fixture
async def other(rig: Rig, node: Node) -> Node:
    return await rig.node("two")


async def push(source: Node, target: Node) -> Pushed:
    address = target.address
    reply = await source.call(PushObject(TARGET, HASH, NAME, address.ip, address.port, TARGET, INDEX))
    assert isinstance(reply, Pushed)
    return reply


def names(node: Node) -> list[str]:
    return [path.name for path in node.files()]


@pytest.mark.parametrize("size", [0, 100, 65536, 65537, 3 << 20])
async def test_data_and_metadata_arrive_with_their_timestamps(rig: Rig, node: Node, other: Node, size: int) -> None:
    body = os.urandom(size)
    await node.put(body, 1, content_type="a/b", system={"s": "1"})
    await node.post(2, {"a": "1"}, "c/d")
    await node.post(3, {"a": "2"})
    rig.containers.rows.clear()
    assert (await push(node, other)).timestamp == at(3)
    assert (await other.get(inline_max=0)).version == (await node.get(inline_max=0)).version
    assert await other.read(1, 0, size) == body
    assert names(other) == names(node)[-2:]
    row = rig.rows["obj"]
    assert (row.size, row.timestamp, row.meta_timestamp, row.content_type, row.type_timestamp) == (size, at(1), at(3), "c/d", at(2))
    await push(node, other)
    assert names(other) == names(node)[-2:]


async def test_a_tombstone_replaces_older_data(node: Node, other: Node) -> None:
    await other.put(b"old", 1)
    await other.post(4, {"late": "post"})
    await node.delete(3)
    assert (await push(node, other)).timestamp == at(3)
    with pytest.raises(NodeError) as caught:
        await other.get()
    assert (caught.value.code, caught.value.timestamp) == (Code.NOT_FOUND, at(3))


async def test_what_is_newer_there_stays(node: Node, other: Node) -> None:
    await other.put(b"newer", 5)
    for change in (node.put(b"old", 1), node.post(2, {"a": "1"}), node.delete(3)):
        await change
        await push(node, other)
        reply = await other.get()
        assert (reply.body, reply.version.user) == (b"newer", {})


@pytest.mark.parametrize("size", [10, 100_000])
async def test_newer_data_goes_below_a_still_newer_post(rig: Rig, node: Node, other: Node, size: int) -> None:
    await other.put(b"old", 1)
    await other.post(3, {"posted": "late"}, "p/q")
    body = os.urandom(size)
    await node.put(body, 2, content_type="a/b")
    await push(node, other)
    version = (await other.get(inline_max=0)).version
    assert await other.read(2, 0, size) == body
    assert (version.user, version.content_type, version.order) == ({"posted": "late"}, "p/q", (at(2), at(3)))
    assert rig.rows["obj"].content_type == "p/q"


async def test_what_was_accepted_from_a_clock_ahead_can_still_be_pushed(rig: Rig, node: Node, other: Node) -> None:
    await node.put(b"x", 29)
    rig.clock.now = lambda: 1_699_999_000.0  # type: ignore[method-assign]
    assert (await push(node, other)).timestamp == at(29)


async def test_nothing_to_push(node: Node, other: Node) -> None:
    with pytest.raises(NodeError) as caught:
        await push(node, other)
    assert caught.value.code is Code.NOT_FOUND


@pytest.mark.parametrize("size", [100, 2_000_000])
async def test_a_damaged_copy_is_not_pushed(node: Node, other: Node, size: int) -> None:
    await node.put_large(b"x" * size, 1)
    path = node.data_file()
    with path.open("r+b") as file:
        file.seek(size - 1)
        file.write(b"y")
    with pytest.raises(NodeError) as caught:
        await push(node, other)
    assert caught.value.code is Code.CORRUPT
    assert other.files() == []
    assert node.server.report("d1")[1] == 1


@pytest.mark.parametrize("size", [100, 2_000_000])
async def test_the_other_node_is_down(rig: Rig, node: Node, other: Node, size: int) -> None:
    await node.put_large(b"x" * size, 1)
    rig.wire.down.add(other.address)
    with pytest.raises(NodeError) as caught:
        await push(node, other)
    assert caught.value.code is Code.BUSY


async def test_the_other_devices_refusal_is_passed_on(node: Node, other: Node) -> None:
    await node.put(b"x", 1)
    other.disk.fail("for the test")
    with pytest.raises(NodeError) as caught:
        await push(node, other)
    assert caught.value.code is Code.DEVICE_FAILED
