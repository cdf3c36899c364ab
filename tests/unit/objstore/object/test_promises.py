"""What a device promises to writers under conditions, and what it then refuses."""

import asyncio
import os

import pytest

from objstore.formats.messages import (
    CommitPut,
    DeleteObject,
    GiveBack,
    PostObject,
    Prepare,
    Promised,
    PushObject,
    PutObject,
    Ready,
    Stored,
)
from objstore.model.errors import Code, NodeError
from objstore.model.version import ORIGIN, Version
from objstore.object.files import place_of
from objstore.object.promises import parse_promise, promise_path
from tests.unit.objstore.object.rig import HASH, INDEX, NAME, TARGET, Node, Rig, at, large_version
from tests.unit.objstore.object.test_damage import flip


async def prepare(node: Node, second: float, members: int = 0) -> Version | None:
    reply = await node.call(Prepare(TARGET, HASH, NAME, at(second), members))
    assert isinstance(reply, Promised) and not reply.member
    return reply.version


async def refused(node: Node, request) -> tuple[Code, int]:
    with pytest.raises(NodeError) as caught:
        await node.call(request)
    return caught.value.code, caught.value.timestamp


def put_of(second: float, *, pushed: bool = False, settled: bool = False) -> PutObject:
    return PutObject(TARGET, HASH, Version(NAME, at(second), size=1, etag="e"), b"x", INDEX, pushed, settled=settled)


def changes(second: float) -> list:
    return [
        put_of(second),
        DeleteObject(TARGET, HASH, NAME, at(second), INDEX),
        PostObject(TARGET, HASH, NAME, at(second), {}, {"a": "1"}, None, INDEX),
    ]


def promises(node: Node) -> list[str]:
    return sorted(os.listdir(node.root / "promises")) if (node.root / "promises").exists() else []


async def gone(node: Node) -> None:
    """The files of promises go behind the answer."""
    for _ in range(200):
        if not promises(node):
            return
        await asyncio.sleep(0.005)
    raise AssertionError(promises(node))


async def test_the_answer_tells_what_is_there(node: Node) -> None:
    assert await prepare(node, 1) is None
    await node.put(b"x", 2)
    await node.post(3, {"a": "1"})
    found = await prepare(node, 4)
    assert found is not None and (found.order, found.user, found.deleted) == ((at(2), at(3)), {"a": "1"}, False)
    await node.delete(5)
    found = await prepare(node, 6)
    assert found is not None and (found.timestamp, found.deleted) == (at(5), True)


async def test_no_promise_below_what_is_there_or_was_promised(node: Node) -> None:
    await node.put(b"x", 2)
    assert await refused(node, Prepare(TARGET, HASH, NAME, at(2), 0)) == (Code.NEWER_EXISTS, at(2))
    await prepare(node, 5)
    assert await refused(node, Prepare(TARGET, HASH, NAME, at(4), 0)) == (Code.NEWER_EXISTS, at(5))
    assert (await refused(node, Prepare(TARGET, HASH, NAME, at(100), 0)))[0] is Code.TOO_FAR_AHEAD


async def test_no_promise_about_what_is_damaged(node: Node) -> None:
    await node.put(b"y" * 100, 1)
    flip(node.data_file(), 5)
    with pytest.raises(NodeError):
        await node.get()
    code, _ = await refused(node, Prepare(TARGET, HASH, NAME, at(4), 0))
    assert code is Code.CORRUPT and promises(node) == []


async def test_changes_below_a_promise_are_refused_and_those_above_keep_it(node: Node) -> None:
    await node.put(b"x", 1)
    await prepare(node, 5)
    for request in changes(4):
        assert await refused(node, request) == (Code.NEWER_EXISTS, at(5))
    exchange = await node.open_put(b"z" * 100, 100)
    await exchange.send(CommitPut(large_version(b"z" * 100, 4), INDEX))
    with pytest.raises(NodeError) as caught:
        await exchange.receive()
    assert (caught.value.code, caught.value.timestamp) == (Code.NEWER_EXISTS, at(5))
    for second, request in zip((5, 6, 7), (put_of(5), changes(6)[2], changes(7)[1]), strict=True):
        assert isinstance(await node.call(request), Stored)
        assert len(node.device.promises) == 0
        await gone(node)
        await prepare(node, second + 0.5)


@pytest.mark.parametrize("restarted", [False, True])
async def test_a_promise_that_is_given_back_leaves_those_before_it(rig: Rig, node: Node, restarted: bool) -> None:
    """Whoever was promised 3 decides on what was there; nothing from before may come in because a later one gave up."""
    await prepare(node, 3)
    await prepare(node, 5)
    if restarted:
        await node.stop()
        node = await rig.node()
    await node.call(GiveBack(TARGET, HASH, at(5)))
    for request in changes(2)[:2]:
        assert await refused(node, request) == (Code.NEWER_EXISTS, at(3))
    assert isinstance(await node.call(put_of(3)), Stored)
    await gone(node)
    await node.stop()


async def test_a_promise_outlives_a_restart(rig: Rig, node: Node) -> None:
    await prepare(node, 3)
    await prepare(node, 5)
    await node.stop()
    again = await rig.node()
    assert await refused(again, put_of(4)) == (Code.NEWER_EXISTS, at(5))
    assert len(promises(again)) == 2
    await again.call(put_of(5))
    await again.stop()
    assert promises(again) == []


async def test_of_two_files_the_later_promise_counts(rig: Rig, node: Node) -> None:
    await prepare(node, 3)
    await node.stop()
    (node.root / promise_path(node.place, at(9))).touch()
    (node.root / "promises" / "what is this").touch()
    again = await rig.node()
    assert await refused(again, put_of(8)) == (Code.NEWER_EXISTS, at(9))


async def test_copies_wait_for_the_promise_unless_a_majority_has_them(node: Node) -> None:
    await prepare(node, 5)
    assert await refused(node, put_of(4, pushed=True)) == (Code.PROMISED, at(5))
    await node.call(put_of(4, pushed=True, settled=True))
    assert len(node.device.promises) == 1 and (await node.get()).version.timestamp == at(4)


async def test_what_was_lost_here_comes_back_below_a_promise(node: Node) -> None:
    await node.put(b"y" * 100, 2)
    place = node.place
    await prepare(node, 5)
    flip(node.data_file(), 5)
    with pytest.raises(NodeError):
        await node.get()
    assert node.device.promises.get(place) == at(5)
    assert await refused(node, put_of(3, pushed=True)) == (Code.PROMISED, at(5))
    await node.call(put_of(2, pushed=True))
    assert (await node.get()).version.timestamp == at(2)


async def test_given_back(node: Node) -> None:
    await prepare(node, 5)
    assert isinstance(await node.call(GiveBack(TARGET, HASH, at(4))), Ready)
    assert promises(node) != [], "that is another promise"
    await node.call(GiveBack(TARGET, HASH, at(5)))
    assert promises(node) == []
    await node.call(put_of(1))


async def test_forgotten_when_nobody_can_come_back_for_it(node: Node) -> None:
    await prepare(node, 5)
    assert await node.device.promises.forget(lambda _, ballot: ballot < at(5)) == 0
    assert await node.device.promises.forget(lambda _, ballot: ballot < at(6)) == 1
    await node.call(put_of(1))


async def test_other_primaries(node: Node) -> None:
    for request in (Prepare(TARGET, HASH, NAME, at(1), 7), PutObject(TARGET, HASH, put_of(1).version, b"x", INDEX, members=7)):
        assert (await refused(node, request))[0] is Code.OTHER_RING
    assert promises(node) == node.files() == []


async def test_proposed_anew_with_all_its_posts(rig: Rig, node: Node) -> None:
    other = await rig.node("two")
    await node.put(b"x", 1, content_type="a/b", user={"a": "1"})
    await node.post(2, {"a": "2"}, "c/d")
    await other.put(b"old", 0)

    def push(expected: tuple[int, int] | None, restamp: float) -> PushObject:
        address = other.address
        return PushObject(TARGET, HASH, NAME, address.ip, address.port, TARGET, INDEX, expected, at(restamp) if restamp else 0)

    assert await refused(node, push((at(1), at(1)), 5)) == (Code.NEWER_EXISTS, at(2))
    await node.call(push((at(1), at(2)), 5))
    found = (await other.get()).version
    assert (found.order, found.user, found.content_type, found.system[ORIGIN]) == ((at(5), at(5)), {"a": "2"}, "c/d", str(at(1)))
    assert found.origin == at(1)
    assert (await refused(node, push((at(1), at(2)), 4)))[0] is Code.NEWER_EXISTS, "newer there"
    assert (await refused(node, push((at(1), at(2)), 0)))[0] is Code.NEWER_EXISTS, "newer there"
    await node.call(push(None, 0))


@pytest.mark.parametrize("policy", [0, 3])
def test_names_of_promises(policy: int) -> None:
    place = place_of(policy, 12, HASH)
    name = promise_path(place, at(3)).removeprefix("promises/")
    assert parse_promise(name) == (place, at(3))
    for wrong in ("", "x", name + ",", name.replace(",12,", ",012,"), name.upper(), name[:-1], name.replace("objects", "object")):
        with pytest.raises(ValueError, match="not a promise"):
            parse_promise(wrong)
