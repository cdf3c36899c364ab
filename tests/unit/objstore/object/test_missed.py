"""An object that went to quarantine is not missing: the device says that it was damaged, until something takes its place."""

import asyncio
import hashlib
import threading
from collections.abc import Awaitable
from typing import Any

import pytest

from objstore.formats.messages import DeleteObject, PutObject, Ready, RestoreQuarantine, StatObject
from objstore.model.errors import Code, NodeError
from objstore.model.lost import Lost
from objstore.model.version import Version
from objstore.object.files import Files
from objstore.object.removal import Removal
from objstore.runtime.crashpoints import NoCrashPoints
from tests.unit.objstore.object.rig import HASH, NAME, TARGET, Node, Rig, at
from tests.unit.objstore.object.test_damage import entries, flip


async def refusal(work: Awaitable[object]) -> tuple[Code, int]:
    with pytest.raises(NodeError) as caught:
        await work
    return caught.value.code, caught.value.timestamp


async def damaged(node: Node, second: float = 1) -> None:
    """Put an object, damage it, and have it found."""
    await node.put(b"body", second)
    flip(node.data_file(), 2)
    assert await refusal(node.get()) == (Code.CORRUPT, at(second))
    assert node.files() == []


async def test_it_is_not_said_to_be_missing_whatever_is_asked(rig: Rig, node: Node) -> None:
    await damaged(node)
    for one in (node, None):
        if one is None:
            await node.stop()
            one = await rig.node()
        for work in (one.get(), one.get(inline_max=-1), one.post(2, {}), one.call(StatObject(TARGET, HASH, NAME))):
            assert await refusal(work) == (Code.CORRUPT, at(1))


@pytest.mark.parametrize("second", [1, 2])
async def test_a_good_copy_takes_its_place(rig: Rig, node: Node, second: float) -> None:
    """The same version, or a newer one."""
    await damaged(node)
    await node.put(b"body", second)
    assert (await node.get()).body == b"body"
    await node.stop()
    assert (await (await rig.node()).get()).body == b"body"


async def test_it_can_be_deleted(rig: Rig, node: Node) -> None:
    await damaged(node)
    assert (await node.delete(2)).existed
    assert await refusal(node.get()) == (Code.NOT_FOUND, at(2))
    assert not (await node.delete(3)).existed
    await node.stop()
    assert await refusal((await rig.node()).get()) == (Code.NOT_FOUND, at(3))


@pytest.mark.parametrize("restarts", [False, True])
async def test_it_is_missing_once_its_deletion_is_forgotten(rig: Rig, node: Node, restarts: bool) -> None:
    await damaged(node)
    await node.delete(2)
    assert await Removal(NoCrashPoints()).reclaim(node.device, 0, TARGET.partition, at(3)) == 1
    assert len(await entries(node)) == 1, "the damaged file is kept all the same"
    if restarts:
        await node.stop()
        node = await rig.node()
    assert await refusal(node.get()) == (Code.NOT_FOUND, 0)
    await damaged(node, 5)


async def test_forgetting_an_older_deletion_forgets_nothing_newer(node: Node) -> None:
    await damaged(node, 2)
    await node.call(DeleteObject(TARGET, HASH, NAME, at(1), None, True))
    assert await Removal(NoCrashPoints()).reclaim(node.device, 0, TARGET.partition, at(3)) == 1
    assert await refusal(node.get()) == (Code.CORRUPT, at(2))


async def test_a_change_must_be_later_than_what_was_damaged(node: Node) -> None:
    """Else it would be acknowledged, and not be what is read."""
    await damaged(node, 3)
    assert await refusal(node.put(b"older", 2)) == (Code.NEWER_EXISTS, at(3))
    assert await refusal(node.delete(2)) == (Code.NEWER_EXISTS, at(3))
    assert node.files() == []


async def test_an_older_version_is_taken_in_and_not_served(rig: Rig, node: Node) -> None:
    """Another replica had only that: a copy more, but not what counts."""
    await damaged(node, 3)
    version = Version(NAME, at(2), size=3, etag=hashlib.md5(b"old").hexdigest())
    await node.call(PutObject(TARGET, HASH, version, b"old", None, True))
    for one in (node, None):
        if one is None:
            await node.stop()
            one = await rig.node()
        assert len(one.files()) == 1
        for work in (one.get(), one.get(inline_max=-1), one.post(4, {}), one.call(StatObject(TARGET, HASH, NAME))):
            assert await refusal(work) == (Code.CORRUPT, at(3))
        assert await refusal(one.put(b"older", 2.5)) == (Code.NEWER_EXISTS, at(3))
    await one.put(b"newer", 5)
    assert (await one.get()).body == b"newer"


async def test_a_restored_file_is_there_again(rig: Rig, node: Node) -> None:
    await damaged(node)
    (entry,) = await entries(node)
    flip(node.root / "quarantine" / entry.id / entry.path.rpartition("/")[2], 2)
    assert await node.call(RestoreQuarantine("d1", entry.id)) == Ready()
    assert (await node.get()).body == b"body"
    await node.stop()
    assert (await (await rig.node()).get()).body == b"body"


async def test_a_damaged_file_that_cannot_be_set_aside_leaves_no_room(node: Node) -> None:
    """Whoever asks must not take it for a replica that can be completed: it would say that it has that version already."""
    await node.put(b"body", 1)
    flip(node.data_file(), 2)
    (node.root / "quarantine").write_bytes(b"in the way")
    assert await refusal(node.get()) == (Code.CORRUPT, 0)
    assert len(node.files()) == 1


async def spoil(node: Node, suffix: str) -> None:
    (path,) = node.files(suffix)
    path.unlink()
    path.mkdir()
    assert (await refusal(node.get()))[0] is Code.CORRUPT


@pytest.mark.parametrize("restarts", [False, True])
async def test_deletions_and_metadata_are_missed_too(rig: Rig, node: Node, restarts: bool) -> None:
    async def lost() -> tuple[Code, Lost]:
        nonlocal node
        if restarts:
            await node.stop()
            node = await rig.node()
        with pytest.raises(NodeError) as caught:
            await node.get()
        return caught.value.code, caught.value.lost

    await node.put(b"body", 1)
    await node.post(2, {"a": "b"})
    await node.drained()
    await spoil(node, ".meta")
    assert await lost() == (Code.CORRUPT, Lost(data=at(1), meta=at(2))), "what is still here must not be forgotten either"
    await node.delete(3)
    assert await refusal(node.get()) == (Code.NOT_FOUND, at(3))
    await node.drained()
    await spoil(node, ".ts")
    assert await lost() == (Code.CORRUPT, Lost(deletion=at(3)))
    version = Version(NAME, at(1), size=3, etag=hashlib.md5(b"old").hexdigest())
    await node.call(PutObject(TARGET, HASH, version, b"old", None, True))
    assert await lost() == (Code.CORRUPT, Lost(data=at(1), deletion=at(3)))
    await node.call(DeleteObject(TARGET, HASH, NAME, at(3), None, True))
    assert await refusal(node.get()) == (Code.NOT_FOUND, at(3))


async def test_nobody_hears_that_it_is_missing_while_it_is_moved(node: Node) -> None:
    await node.put(b"body", 1)
    flip(node.data_file(), 2)
    move, heard = node.device.quarantine.move, []
    moved, go = threading.Event(), threading.Event()

    def slowly(*args: Any, **more: Any) -> str:
        id_ = move(*args, **more)
        moved.set()
        assert go.wait(10)
        return id_

    node.device.quarantine.move = slowly
    reader = asyncio.create_task(refusal(node.get()))
    assert await asyncio.to_thread(moved.wait, 10)
    others = [asyncio.create_task(refusal(node.get())) for _ in range(4)]
    await asyncio.sleep(0.02)
    go.set()
    heard = await asyncio.gather(reader, *others)
    assert set(heard) == {(Code.CORRUPT, at(1))}


async def test_what_leaves_with_its_partition_is_not_missed_when_that_comes_back(rig: Rig, node: Node) -> None:
    await damaged(node)
    assert await Removal(NoCrashPoints()).reclaim(node.device, 0, TARGET.partition, at(3)) == 0
    assert await refusal(node.get()) == (Code.CORRUPT, at(1)), "the partition is still here"
    await node.put(b"other", 2, name="/a/c/other", hash_=bytes(16))
    await Removal(NoCrashPoints()).remove(node.device, 0, TARGET.partition, {}, 0)
    assert await refusal(node.get()) == (Code.CORRUPT, at(1)), "some of it is"
    held = {bytes(16): Files(at(2))}
    assert await Removal(NoCrashPoints()).remove(node.device, 0, TARGET.partition, held, 0) == 1
    for one in (node, None):
        if one is None:
            await node.stop()
            one = await rig.node()
        assert await refusal(one.get()) == (Code.NOT_FOUND, 0)


async def test_what_was_superseded_is_not_restored(node: Node) -> None:
    """It would come back, and replication would bring it to all."""
    await damaged(node)
    await node.delete(2)
    assert await Removal(NoCrashPoints()).reclaim(node.device, 0, TARGET.partition, at(3)) == 1
    (entry,) = await entries(node)
    assert entry.superseded
    flip(node.root / "quarantine" / entry.id / entry.path.rpartition("/")[2], 2)
    assert await refusal(node.call(RestoreQuarantine("d1", entry.id))) == (Code.NEWER_EXISTS, at(1))
    assert await refusal(node.get()) == (Code.NOT_FOUND, 0)
    assert len(await entries(node)) == 1


async def test_a_file_of_another_object_was_never_this_one(node: Node) -> None:
    await node.put(b"right", 1)
    await node.put(b"wrong", 2, name="/a/c/other", hash_=bytes(16))
    (source,) = (path for path in node.files() if path.name.startswith(bytes(16).hex()))
    source.rename(source.with_name(source.name.replace(bytes(16).hex(), HASH.hex())))
    node.device.index.forget(node.place.directory)
    assert await refusal(node.get()) == (Code.CORRUPT, 0)
    assert (await node.get()).body == b"right"


async def test_many_readers_hear_the_same(node: Node) -> None:
    await node.put(b"body", 1)
    flip(node.data_file(), 2)
    heard = await asyncio.gather(*(refusal(node.get()) for _ in range(8)))
    assert set(heard) == {(Code.CORRUPT, at(1))}
