"""Whole operations over real servers, nothing broken."""

import asyncio
import hashlib

import pytest

from objstore.formats.messages import Query
from objstore.model.conditions import NO_CONDITIONS, Conditions
from objstore.model.errors import (
    BodyIncomplete,
    ChecksumMismatch,
    ContainerNotFound,
    ObjectNotFound,
    PreconditionFailed,
    RangeNotSatisfiable,
)
from objstore.model.ranges import ByteRange, Span
from objstore.proxy.bodies import InMemory
from objstore.proxy.operations import NewObject, ReadRequest, Upload
from objstore.proxy.store import ClusterStore
from tests.unit.objstore.proxy.cluster import ACCOUNT, OWNER, Cluster, get, head, named, put

LARGE = bytes(range(256)) * 4096 * 3  # 3 MiB


@pytest.mark.parametrize("body", [b"", b"small", bytes(65536), LARGE], ids=["empty", "small", "inline", "large"])
async def test_put_then_get_head_delete(cluster: Cluster, store: ClusterStore, body: bytes) -> None:
    name = named(cluster, "o")
    result = await put(store, name, body, user={"color": "red"}, headers={"content-language": "de"})
    assert (result.etag, result.size, result.listed) == (hashlib.md5(body).hexdigest(), len(body), True)
    assert await get(store, name) == body
    version = await head(store, name)
    assert (version.user, version.headers, version.content_type) == ({"color": "red"}, {"content-language": "de"}, "text/plain")
    held = await cluster.held(name, range(3))
    assert {(v.timestamp, data) for v, data in held if v} == {(result.timestamp, body)}
    await store.delete_object(OWNER, name, NO_CONDITIONS)
    with pytest.raises(ObjectNotFound):
        await get(store, name)
    with pytest.raises(ObjectNotFound):
        await store.delete_object(OWNER, name, NO_CONDITIONS)


@pytest.mark.parametrize("size", [10, 65536, 65537, 700_000])
async def test_a_body_of_unknown_length(cluster: Cluster, store: ClusterStore, size: int) -> None:
    name, body = named(cluster, "o"), bytes(size)

    async def chunks():
        for start in range(0, size, 1000):
            yield body[start : start + 1000]

    result = await store.put_object(OWNER, name, NewObject("a/b"), Upload(chunks(), None), NO_CONDITIONS)
    assert result.size == size
    assert await get(store, name) == body


@pytest.mark.parametrize("size", [100, 400_000])
async def test_a_wrong_body_is_not_stored(cluster: Cluster, store: ClusterStore, size: int) -> None:
    name = named(cluster, "o")
    with pytest.raises(ChecksumMismatch):
        await put(store, name, bytes(size), expected_etag="0" * 32)
    with pytest.raises(BodyIncomplete):
        upload = Upload(InMemory(bytes(size)), size + 1)
        await store.put_object(OWNER, name, NewObject("a/b"), upload, NO_CONDITIONS)
    with pytest.raises(ObjectNotFound):
        await head(store, name)
    assert not any(node.data_files() for node in cluster.nodes)


async def test_no_container(cluster: Cluster, store: ClusterStore) -> None:
    name = named(cluster, "o", "missing")
    for work in (put(store, name, b"x"), get(store, name), store.delete_object(OWNER, name, NO_CONDITIONS)):
        with pytest.raises(ContainerNotFound):
            await work
    await store.put_container(OWNER, ACCOUNT, "missing", {})
    await put(store, name, b"x")


@pytest.mark.parametrize("body", [bytes(range(100)), LARGE], ids=["inline", "large"])
async def test_ranges(cluster: Cluster, store: ClusterStore, body: bytes) -> None:
    name, size = named(cluster, "o"), len(body)
    await put(store, name, body)
    for wanted, part in (
        (ByteRange(2, 5), body[2:6]),
        (ByteRange(90, None), body[90:]),
        (ByteRange(None, 7), body[-7:]),
        (ByteRange(0, size + 100), body),
        (ByteRange(None, size + 5), body),
    ):
        assert await get(store, name, ranges=[wanted]) == part
    read = await store.open_object(OWNER, ReadRequest(name, NO_CONDITIONS, [ByteRange(50, 59), ByteRange(0, 1)]))
    assert read.spans == [Span(50, 10), Span(0, 2)]
    assert [b"".join([p async for p in read.body(s)]) for s in read.spans] == [body[50:60], body[:2]]
    for bad in (ByteRange(size, None), ByteRange(None, 0)):
        with pytest.raises(RangeNotSatisfiable) as caught:
            await get(store, name, ranges=[bad])
        assert caught.value.size == size


async def test_post_replaces_metadata_only(cluster: Cluster, store: ClusterStore) -> None:
    name = named(cluster, "o")
    made = await put(store, name, b"body", user={"a": "1"}, headers={"content-encoding": "x"})
    await store.post_object(OWNER, name, NewObject("", {"cache-control": "no"}, {"b": "2"}), None)
    version = await head(store, name)
    assert (version.user, version.headers, version.content_type) == ({"b": "2"}, {"cache-control": "no"}, "text/plain")
    assert (version.timestamp, version.etag) == (made.timestamp, made.etag)
    await store.post_object(OWNER, name, NewObject(""), "new/type")
    assert (await head(store, name)).content_type == "new/type"
    rows = (await store.list_container(OWNER, ACCOUNT, "c", Query(10))).rows
    assert [(row.name, row.content_type) for row in rows] == [(name.object, "new/type")]
    with pytest.raises(ObjectNotFound):
        await store.post_object(OWNER, named(cluster, "no"), NewObject(""), None)


async def test_conditions(cluster: Cluster, store: ClusterStore) -> None:
    name = named(cluster, "o")
    create = Conditions(if_none_match=frozenset("*"))
    for _ in range(2):
        upload = Upload(InMemory(b"x"), 1)
        try:
            made = await store.put_object(OWNER, name, NewObject("a/b"), upload, create)
        except PreconditionFailed:
            break
    else:
        raise AssertionError("created twice")
    wrong = Conditions(if_match=frozenset({"0" * 32}))
    with pytest.raises(PreconditionFailed) as caught:
        await store.open_object(OWNER, ReadRequest(name, wrong))
    assert caught.value.etag == made.etag
    assert caught.value.version is not None
    with pytest.raises(PreconditionFailed):
        await store.delete_object(OWNER, name, wrong)
    await store.delete_object(OWNER, name, Conditions(if_match=frozenset({made.etag})))


async def test_expired_objects_are_gone(cluster: Cluster, store: ClusterStore) -> None:
    name = named(cluster, "o")
    await put(store, name, b"x", headers={"x-delete-at": str(int(cluster.clock.now()) - 1)})
    with pytest.raises(ObjectNotFound):
        await get(store, name)
    read = await store.open_object(OWNER, ReadRequest(name, NO_CONDITIONS, open_expired=True))
    assert b"".join([piece async for piece in read.body()]) == b"x"


async def test_a_listing_shows_what_was_written(cluster: Cluster, store: ClusterStore) -> None:
    names = [named(cluster, text) for text in ("b", "a", "d/e", "d/f")]
    for name in names:
        await put(store, name, b"12345")
    await store.delete_object(OWNER, names[0], NO_CONDITIONS)
    listing = await store.list_container(OWNER, ACCOUNT, "c", Query(100))
    assert [row.name for row in listing.rows] == sorted(name.object for name in names[1:])
    assert (listing.view.stats.object_count, listing.view.stats.bytes_used) == (3, 15)
    folded = await store.list_container(OWNER, ACCOUNT, "c", Query(100, delimiter="/"))
    assert [row.name for row in folded.rows] == [names[1].object, "d/"]


async def test_64_concurrent_puts_leave_equal_replicas(cluster: Cluster) -> None:
    stores = [cluster.stores[0], cluster.store()]
    name = named(cluster, "o")
    results = await asyncio.gather(
        *(put(stores[i % 2], name, b"%d" % i * (20_000 if i % 8 == 0 else 1)) for i in range(64)), return_exceptions=True
    )
    done = [result.timestamp for result in results if not isinstance(result, BaseException)]
    assert len(done) > 32
    for store in stores:
        await store.nodes.stop()
    held = await cluster.held(name, range(3))
    assert len({(version.timestamp, data) for version, data in held if version}) == 1
    newest = held[0][0]
    assert newest is not None
    assert newest.timestamp == max(done)
