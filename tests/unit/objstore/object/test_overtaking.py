"""Of versions that wait for their turn, only the newest is written, and each is answered as if it had been."""

import asyncio

import pytest

from objstore.formats.messages import Prepare, Stored
from objstore.model.errors import Code, NodeError
from objstore.runtime.interface import Change
from tests.unit.objstore.object.rig import HASH, NAME, TARGET, Node, at


async def puts(node: Node, seconds: list[float]) -> list[Stored | BaseException]:
    """Of bodies that say when, all behind one change under way."""
    async with node.device.locks.of(node.place):
        tasks = [asyncio.create_task(node.put(b"%g" % second, second)) for second in seconds]
        await asyncio.sleep(0.01)
    return await asyncio.gather(*tasks, return_exceptions=True)


async def test_many_that_wait_cost_one_flush(node: Node) -> None:
    await node.put(b"0", 0)
    before = node.disk.figures.changes
    assert await puts(node, [1, 2, 3, 4, 5]) == [Stored(True, True)] * 5
    assert (node.disk.figures.changes - before, (await node.get()).body) == (1, b"5")
    assert node.server._writer._overtaking._coming == {}


async def test_those_that_are_too_old_are_refused_all_the_same(node: Node) -> None:
    await node.put(b"2", 2)
    older, newer = await puts(node, [1, 3])
    assert isinstance(older, NodeError) and older.code is Code.NEWER_EXISTS
    assert isinstance(newer, Stored) and (await node.get()).body == b"3"


async def test_none_is_left_to_one_that_a_promise_came_between(node: Node) -> None:
    """Whoever got the promise was told that the older one is not there."""
    await node.put(b"0", 0)
    async with node.device.locks.of(node.place):
        first = asyncio.create_task(node.put(b"1", 1))
        await asyncio.sleep(0.01)
        promise = asyncio.create_task(node.call(Prepare(TARGET, HASH, NAME, at(2), 0)))
        await asyncio.sleep(0.01)
        later = asyncio.create_task(node.put(b"3", 3))
        await asyncio.sleep(0.01)
    await promise
    assert isinstance(await later, Stored)
    with pytest.raises(NodeError) as refused:
        await first
    assert refused.value.code is Code.NEWER_EXISTS


async def test_what_the_newest_fails_with_is_its_own(node: Node) -> None:
    async with node.device.locks.of(node.place):
        older = asyncio.create_task(node.put(b"1", 1))
        newer = asyncio.create_task(node.put(b"2", 2))
        await asyncio.sleep(0.01)
        commit = node.disk.commit

        async def refuse(_change: Change) -> None:
            node.disk.commit = commit
            raise NodeError(Code.NO_SPACE)

        node.disk.commit = refuse
    assert isinstance(await older, Stored)
    with pytest.raises(NodeError):
        await newer
    assert (await node.get()).body == b"1"


async def test_versions_that_keep_coming_do_not_keep_all_from_being_written(node: Node) -> None:
    await node.put(b"0", 0)
    before, tasks = node.disk.figures.changes, list[asyncio.Task[Stored]]()
    async with node.device.locks.of(node.place):
        tasks += [asyncio.create_task(node.put(b"x", 1 + n / 1000)) for n in range(20)]
        await asyncio.sleep(0.01)
    clock = asyncio.get_running_loop().time
    given_up, n = clock() + 20, 20
    while node.disk.figures.changes == before or sum(task.done() for task in tasks[:40]) <= 20:
        assert clock() < given_up, "nothing was written while newer versions came"
        tasks.append(asyncio.create_task(node.put(b"x", 1 + n / 1000)))
        n += 1
        await asyncio.sleep(0)  # one more in each round of the event loop, for as long as a disk's flush may take
    await asyncio.gather(*tasks, return_exceptions=True)
