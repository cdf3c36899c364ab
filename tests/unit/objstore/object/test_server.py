"""The messages of an object server, on a real directory."""

import asyncio
import os
from functools import partial
from itertools import count

import pytest

from objstore.formats.messages import (
    CommitPut,
    GetObject,
    ObjectFiles,
    PutObject,
    StatObject,
    Stored,
    Target,
)
from objstore.model.errors import Code, NodeError
from objstore.model.version import Version
from objstore.rpc.interface import Chunk
from tests.unit.objstore.object.rig import HASH, INDEX, NAME, TARGET, Node, Rig, at, large_version


async def refused(work) -> NodeError:
    with pytest.raises(NodeError) as caught:
        await work
    return caught.value


async def test_put_then_get(rig: Rig, node: Node) -> None:
    stored = await node.put(
        b"hello", 1, content_type="text/plain", headers={"expires": "x"}, user={"colour": "blue"}, system={"s": "1"}
    )
    assert stored == Stored(indexed=True, existed=False)
    reply = await node.get()
    assert reply.body == b"hello"
    assert (reply.version.headers, reply.version.user, reply.version.system) == ({"expires": "x"}, {"colour": "blue"}, {"s": "1"})
    assert reply.version.order == (at(1), at(1))
    row = rig.rows["obj"]
    assert (row.size, row.etag, row.content_type, row.timestamp, row.deleted) == (5, reply.version.etag, "text/plain", at(1), False)
    assert node.log.pending == 0


async def test_metadata_only_and_bodies_above_the_inline_limit_come_without_body(node: Node) -> None:
    await node.put(b"12345", 1)
    assert (await node.get(inline_max=-1)).body is None
    assert (await node.get(inline_max=4)).body is None
    assert (await node.get(inline_max=5)).body == b"12345"
    assert (await node.get(1, 3, inline_max=3)).body == b"234"


@pytest.mark.parametrize(
    ("start", "length", "expected"),
    [(0, -1, slice(None)), (-5, -1, slice(-5, None)), (65530, 20, slice(65530, 65550)), (65536, 65536, slice(65536, 131072)),
     (150_000, -1, slice(150_000, None)), (999_999, -1, slice(0, 0)), (-999_999, 3, slice(0, 3)), (5, 0, slice(0, 0))],
)  # fmt: skip
async def test_ranges(node: Node, start: int, length: int, expected: slice) -> None:
    body = os.urandom(150_001)
    await node.put(body, 1)
    assert (await node.get(start, length, inline_max=1 << 20)).body == body[expected]


async def test_empty_object(node: Node) -> None:
    await node.put(b"", 1)
    assert (await node.get()).body == b""
    assert await node.read(1, 0, 0) == b""


async def test_missing_object(node: Node) -> None:
    error = await refused(node.get())
    assert (error.code, error.timestamp) == (Code.NOT_FOUND, 0)


async def test_delete_leaves_a_tombstone_even_where_nothing_was(rig: Rig, node: Node) -> None:
    assert await node.delete(1) == Stored(indexed=True, existed=False)
    error = await refused(node.get())
    assert (error.code, error.timestamp) == (Code.NOT_FOUND, at(1))
    assert rig.rows["obj"].deleted
    await node.put(b"x", 2)
    assert (await node.delete(3)).existed
    await node.drained()
    assert [p.suffix for p in node.files()] == [".ts"]


async def test_an_older_change_never_replaces_a_newer_one(node: Node) -> None:
    await node.put(b"new", 5)
    for older in (node.put(b"old", 4), node.delete(4), node.post(4, {})):
        error = await refused(older)
        assert (error.code, error.timestamp) == (Code.NEWER_EXISTS, at(5))
    await node.delete(6)
    error = await refused(node.put(b"old", 5.5))
    assert (error.code, error.timestamp) == (Code.NEWER_EXISTS, at(6))


async def test_the_same_change_again_is_a_success(rig: Rig, node: Node) -> None:
    await node.put(b"x", 1)
    assert (await node.put(b"x", 1)).existed
    await node.post(2, {"a": "1"})
    await node.post(2, {"a": "1"})
    assert (await node.get()).version.user == {"a": "1"}
    await node.delete(3)
    assert (await node.delete(3)).indexed
    assert len(rig.rows) == 1


async def test_post_replaces_headers_and_user_metadata_wholesale(rig: Rig, node: Node) -> None:
    await node.put(b"x", 1, content_type="a/b", headers={"expires": "x"}, user={"old": "1"}, system={"keep": "me"})
    await node.post(2, {"new": "2"})
    version = (await node.get()).version
    assert (version.headers, version.user, version.system) == ({"x-delete-at": "9"}, {"new": "2"}, {"keep": "me"})
    assert (version.content_type, version.order, version.type_timestamp) == ("a/b", (at(1), at(2)), at(1))
    await node.post(3, {}, "c/d")
    await node.post(4, {"newer": "4"})
    version = (await node.get()).version
    assert (version.content_type, version.order, version.type_timestamp) == ("c/d", (at(1), at(4)), at(3))
    row = rig.rows["obj"]
    assert (row.timestamp, row.meta_timestamp, row.content_type) == (at(1), at(4), "c/d")


async def test_put_after_post_drops_what_was_posted(node: Node) -> None:
    await node.put(b"x", 1)
    await node.post(2, {"a": "1"}, "p/q")
    error = await refused(node.put(b"y", 1.5))
    assert (error.code, error.timestamp) == (Code.NEWER_EXISTS, at(2))
    await node.put(b"y", 3, content_type="a/b")
    version = (await node.get()).version
    assert (version.user, version.content_type, version.order) == ({}, "a/b", (at(3), at(3)))
    await node.drained()
    assert len(node.files()) == 1


async def test_post_to_nothing(node: Node) -> None:
    assert (await refused(node.post(1, {}))).code is Code.NOT_FOUND
    await node.delete(2)
    error = await refused(node.post(3, {}))
    assert (error.code, error.timestamp) == (Code.NOT_FOUND, at(2))


async def test_a_timestamp_far_ahead_of_the_clock_is_refused(node: Node) -> None:
    await node.put(b"x", 29)
    assert (await refused(node.put(b"x", 31))).code is Code.TOO_FAR_AHEAD
    assert (await refused(node.delete(31))).code is Code.TOO_FAR_AHEAD
    assert (await refused(node.post(31, {}))).code is Code.TOO_FAR_AHEAD


async def test_nonsense_is_refused(node: Node) -> None:
    version = Version(NAME, at(1), size=2)
    for request in (
        PutObject(TARGET, HASH, version, b"one too many", INDEX),
        PutObject(TARGET, b"short", version, b"12", INDEX),
        PutObject(TARGET, HASH, Version("/acc/con/", at(1), size=2), b"12", INDEX),
        PutObject(TARGET, HASH, Version(NAME, 0, size=2), b"12", INDEX),
        PutObject(TARGET, HASH, Version(NAME, at(1), deleted=True, size=2), b"12", INDEX),
    ):
        assert (await refused(node.call(request))).code is Code.BAD_REQUEST
    assert (await refused(node.call(GetObject(Target("d7", 12), HASH, NAME)))).code is Code.DEVICE_FAILED
    assert node.files() == []


async def test_stat_names_the_files(node: Node) -> None:
    assert await node.call(StatObject(TARGET, HASH, NAME)) == ObjectFiles(None, [])
    await node.put(b"x", 1)
    await node.post(2, {"a": "b"})
    found = await node.call(StatObject(TARGET, HASH, NAME))
    assert isinstance(found, ObjectFiles)
    assert found.version is not None
    assert found.version.user == {"a": "b"}
    assert [node.root / path for path in found.files] == node.files()
    await node.delete(3)
    found = await node.call(StatObject(TARGET, HASH, NAME))
    assert isinstance(found, ObjectFiles)
    assert found.version == Version(NAME, at(3), deleted=True)


@pytest.mark.parametrize("size", [1, 65536, 1_500_000, 5 << 20])
async def test_large_put_and_streamed_read(rig: Rig, node: Node, size: int) -> None:
    body = os.urandom(size)
    assert (await node.put_large(body, 1)).indexed
    assert rig.rows["obj"].size == size
    assert await node.read(1, 0, size) == body
    start = size // 3
    assert await node.read(1, start, size - start) == body[start:]
    assert (await node.get(inline_max=0)).version.size == size


async def test_upload_of_unknown_size(node: Node) -> None:
    body = os.urandom(700_000)
    exchange = await node.open_put(body, -1, piece=99_999)
    await exchange.send(CommitPut(large_version(body, 1), INDEX))
    assert isinstance(await exchange.receive(), Stored)
    assert await node.read(1, 0, len(body)) == body


async def test_commit_can_be_repeated_with_a_later_timestamp(node: Node) -> None:
    await node.put(b"there", 5)
    body = os.urandom(100_000)
    exchange = await node.open_put(body, len(body))
    await exchange.send(CommitPut(large_version(body, 4), INDEX))
    error = await refused(exchange.receive())
    assert (error.code, error.timestamp) == (Code.NEWER_EXISTS, at(5))
    await exchange.send(CommitPut(large_version(body, 6), INDEX))
    assert isinstance(await exchange.receive(), Stored)
    assert await node.read(6, 0, len(body)) == body


async def test_an_upload_without_commit_leaves_nothing(node: Node) -> None:
    exchange = await node.open_put(os.urandom(1_200_000), 2_000_000)
    exchange.abort()
    await node.server.stop()
    assert node.files() == []
    assert list(node.root.glob("tmp/*")) == []


@pytest.mark.parametrize(("size", "sent"), [(100, 99), (100, 101), (-1, 99)])
async def test_an_upload_of_another_length_is_refused(node: Node, size: int, sent: int) -> None:
    exchange = await node.open_put(b"x" * sent, size)
    with pytest.raises(NodeError) as caught:
        await exchange.send(CommitPut(large_version(b"x" * 100, 1), INDEX))
        await exchange.receive()
    assert caught.value.code is Code.BAD_REQUEST
    assert node.files() == []


async def test_a_commit_of_less_than_was_announced_is_refused(node: Node) -> None:
    """Its space was reserved in full: the file would be longer than the object."""
    exchange = await node.open_put(b"x" * 99, 100)
    await exchange.send(CommitPut(large_version(b"x" * 99, 1), INDEX))
    assert (await refused(exchange.receive())).code is Code.BAD_REQUEST
    assert node.files() == []


async def test_a_read_stream_of_a_version_that_is_gone(node: Node) -> None:
    await node.put(b"one", 1)
    await node.put(b"two", 2)
    error = await refused(node.read(1, 0, 3))
    assert (error.code, error.timestamp) == (Code.NOT_FOUND, at(2))
    assert (await refused(node.read(2, 0, 4))).code is Code.BAD_REQUEST


async def test_a_read_under_way_survives_the_next_put(node: Node) -> None:
    from objstore.formats.messages import ReadObject, Ready

    body = os.urandom(6 << 20)
    await node.put_large(body, 1)
    exchange = await node.wire.open(node.address, ReadObject(TARGET, HASH, at(1), 0, len(body)), timeout_s=5.0)
    assert isinstance(await exchange.receive(), Ready)
    await node.put(b"next", 2)
    pieces = []
    while isinstance(piece := await exchange.receive(), Chunk):
        pieces.append(piece.data)
    assert b"".join(pieces) == body


async def test_metadata_larger_than_the_attribute(node: Node) -> None:
    user = {f"{i:03}" + "k" * 120: "v" * 250 for i in range(90)}
    body = os.urandom(70_000)
    await node.put(body, 1, user=user)
    assert (await node.get(69_999)).version.user == user
    assert (await node.get(69_000, 500)).body == body[69_000:69_500]
    assert node.data_file().stat().st_size > 90_000
    await node.post(2, dict(sorted(user.items(), reverse=True)))
    assert (await node.get()).version.user == user


async def test_large_checksum_table_and_metadata_in_the_trailer(node: Node) -> None:
    body = os.urandom(1 << 16) * 800
    exchange = await node.open_put(body, len(body))
    version = Version(NAME, at(1), size=len(body), user={str(i): "v" * 200 for i in range(90)})
    await exchange.send(CommitPut(version, INDEX))
    assert isinstance(await exchange.receive(), Stored)
    assert (await node.get(inline_max=-1)).version.user == version.user
    assert await node.read(1, 50_000_000, 100_000) == body[50_000_000:50_100_000]


async def test_concurrent_puts_of_one_object_end_with_the_newest(rig: Rig, node: Node) -> None:
    results = await asyncio.gather(*(node.put(b"%d" % i, i / 100) for i in (5, 3, 9, 1, 7, 2, 8)), return_exceptions=True)
    accepted = [r for r in results if isinstance(r, Stored)]
    assert accepted
    assert all(r.code is Code.NEWER_EXISTS for r in results if isinstance(r, NodeError))
    assert (await node.get()).body == b"9"
    assert rig.rows["obj"].timestamp == at(0.09)
    await node.drained()
    assert len(node.files()) == 1


async def test_what_was_stored_is_there_after_a_restart(rig: Rig, node: Node) -> None:
    await node.put(b"x", 1)
    await node.post(2, {"a": "1"})
    await node.stop()
    again = await rig.node()
    reply = await again.get()
    assert (reply.body, reply.version.user) == (b"x", {"a": "1"})
    assert (await refused(again.put(b"y", 1.5))).code is Code.NEWER_EXISTS


async def test_a_change_goes_on_when_its_caller_goes_away(node: Node) -> None:
    call = asyncio.ensure_future(node.put(b"x", 1))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    call.cancel()
    await node.server.stop()
    assert (await node.get()).body == b"x"


async def test_a_device_whose_log_cannot_be_read_is_refused(rig: Rig, node: Node) -> None:
    await node.put(b"x", 1)
    node.server._unusable.clear()
    await node.stop()
    (node.root / "pending" / "000000000009.log").mkdir()
    again = await rig.node()
    for work in (again.get(), again.put(b"y", 2)):
        assert (await refused(work)).code is Code.DEVICE_FAILED


async def test_slow_reads_go_to_the_threads(node: Node) -> None:
    await node.put(b"x", 1)
    times = iter([0.0, 1.0, 2.0, 9.0])
    node.device._clock = FakeMonotonic(times)
    node.device._waits = partial(next, count())
    runs = 0
    run = node.disk.run

    async def counted(fn):
        nonlocal runs
        runs += 1
        return await run(fn)

    node.disk.run = counted  # type: ignore[method-assign]
    for expected in (0, 1, 2):
        assert (await node.get()).body == b"x"
        assert runs == expected
    node.device._clock = rig_clock(node)
    assert (await node.get()).body == b"x"
    assert runs == 2


class FakeMonotonic:
    def __init__(self, times) -> None:
        self._times = times

    def monotonic(self) -> float:
        return next(self._times)


def rig_clock(node: Node):
    return node.server.updates._clock
