"""Deletions of what has expired: only of an object that still has that very x-delete-at, and not before its time."""

import pytest

from objstore.formats.messages import DeleteObject, Stored
from objstore.model.errors import Code, NodeError
from tests.unit.objstore.object.rig import HASH, INDEX, NAME, NOW_S, TARGET, Node, Rig, at
from tests.unit.objstore.object.test_damage import code_of, flip

OVER = int(NOW_S) - 10


async def expire(node: Node, second: float, delete_at: int) -> Stored:
    reply = await node.call(DeleteObject(TARGET, HASH, NAME, at(second), INDEX, expected_delete_at=delete_at))
    assert isinstance(reply, Stored)
    return reply


async def test_the_object_that_is_meant(node: Node, rig: Rig) -> None:
    await node.put(b"x", -100, headers={"x-delete-at": str(OVER)})
    assert (await expire(node, -50, OVER)).existed
    assert await code_of(node.get()) is Code.NOT_FOUND
    assert rig.rows["obj"].deleted
    assert (await expire(node, -50, OVER)).indexed, "again: the same deletion"


@pytest.mark.parametrize("headers", [{}, {"x-delete-at": str(OVER + 1)}])
async def test_another_one(node: Node, headers: dict[str, str]) -> None:
    await node.put(b"x", -100, headers=headers)
    with pytest.raises(NodeError) as caught:
        await expire(node, -50, OVER)
    assert (caught.value.code, caught.value.timestamp) == (Code.NEWER_EXISTS, at(-100))
    assert (await node.get()).body == b"x"


async def test_a_post_counts(node: Node) -> None:
    """It replaces the x-delete-at; it may also give one to an object that had none."""
    await node.put(b"x", -100, headers={"x-delete-at": str(OVER)})
    await node.post(-90, {})  # with an x-delete-at of 9
    assert await code_of(expire(node, -50, OVER)) is Code.NEWER_EXISTS
    assert (await expire(node, -50, 9)).existed


async def test_something_newer(node: Node) -> None:
    await node.put(b"x", -40, headers={"x-delete-at": str(OVER)})
    assert await code_of(expire(node, -50, OVER)) is Code.NEWER_EXISTS


async def test_nothing_there(node: Node) -> None:
    """The deletion is written all the same: replicas that missed it will ask."""
    assert not (await expire(node, -50, OVER)).existed
    assert len(node.files(".ts")) == 1


async def test_a_clock_that_does_not_show_that_second_yet(node: Node) -> None:
    await node.put(b"x", -100, headers={"x-delete-at": str(int(NOW_S) + 60)})
    assert await code_of(expire(node, -50, int(NOW_S) + 60)) is Code.TOO_FAR_AHEAD
    assert (await node.get()).body == b"x"


async def test_damaged_metadata_is_set_aside(node: Node) -> None:
    user = {str(i): "v" * 100 for i in range(90)}
    await node.put(b"x", -100, headers={"x-delete-at": str(OVER)}, user=user)
    flip(node.data_file(), 600)
    assert await code_of(expire(node, -50, OVER)) is Code.CORRUPT
    assert (await expire(node, -50, OVER)).indexed
