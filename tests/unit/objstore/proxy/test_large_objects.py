"""Static and dynamic large objects, and copies."""

import hashlib
import json
from dataclasses import replace

import msgspec
import pytest

from objstore.formats.messages import Query
from objstore.model.conditions import NO_CONDITIONS, Conditions
from objstore.model.errors import (
    AccessDenied,
    ChecksumMismatch,
    Conflict,
    InvalidInput,
    ManifestInvalid,
    ObjectNotFound,
    PreconditionFailed,
    RangeNotSatisfiable,
)
from objstore.model.manifest import DEPTH_MAX, Segment
from objstore.model.names import ObjectName
from objstore.model.ranges import ByteRange, Span
from objstore.proxy.operations import CopyRequest, NewObject, PutResult, ReadRequest
from objstore.proxy.store import ClusterStore
from tests.unit.objstore.proxy.cluster import ACCOUNT, OTHER, OWNER, Cluster, get, head, put

NEW = NewObject("a/b")


def name_of(text: str, container: str = "c") -> ObjectName:
    return ObjectName(ACCOUNT, container, text)


async def manifest(store: ClusterStore, text: str, *segments: Segment, **fields: object) -> PutResult:
    new: NewObject = msgspec.structs.replace(NEW, **fields)  # type: ignore[arg-type]
    return await store.put_manifest(OWNER, name_of(text), new, list(segments), NO_CONDITIONS)


def md5(text: str) -> str:
    return hashlib.md5(text.encode()).hexdigest()


@pytest.fixture
async def parts(store: ClusterStore) -> list[PutResult]:
    """Objects s0, s1, s2 of 10 a, 10 b, 100,000 c."""
    return [await put(store, name_of(f"s{i}"), data) for i, data in enumerate((b"a" * 10, b"b" * 10, b"c" * 100_000))]


async def test_a_manifest_reads_as_its_segments(store: ClusterStore, parts: list[PutResult]) -> None:
    result = await manifest(store, "m", Segment("/c/s0"), Segment("/c/s1", span="2-4"), Segment("", data=b"xyz"), Segment("/c/s2"))
    whole = b"a" * 10 + b"bbb" + b"xyz" + b"c" * 100_000
    etag = md5(parts[0].etag + f"{parts[1].etag}:2-4;" + md5("xyz") + parts[2].etag)
    assert (result.etag, result.size) == (etag, len(whole))
    assert await get(store, name_of("m")) == whole
    for first, last in ((0, 0), (9, 13), (12, 17), (5, 50_000), (len(whole) - 1, None)):
        end = len(whole) if last is None else last + 1
        assert await get(store, name_of("m"), ranges=[ByteRange(first, last)]) == whole[first:end]
    read = await store.open_object(OWNER, ReadRequest(name_of("m"), NO_CONDITIONS, head=True))
    assert (read.size, read.etag, read.manifest) == (len(whole), etag, "slo")
    with pytest.raises(RangeNotSatisfiable):
        await get(store, name_of("m"), ranges=[ByteRange(len(whole), None)])


async def test_what_is_stored_is_what_is_shown(store: ClusterStore, parts: list[PutResult]) -> None:
    result = await manifest(store, "m", Segment("/c/s0"), Segment("/c/s1", span="-4"))
    document = await get(store, name_of("m"), raw_manifest=True)
    shown = json.loads(document)
    assert [(e["name"], e["bytes"], e["hash"], e.get("range")) for e in shown] == [
        ("/c/s0", 10, parts[0].etag, None),
        ("/c/s1", 10, parts[1].etag, "6-9"),
    ]
    version = await head(store, name_of("m"))
    assert version.etag == hashlib.md5(document).hexdigest()
    (row,) = (await store.list_container(OWNER, ACCOUNT, "c", Query(9, prefix="m"))).rows
    assert (row.size, row.etag) == (14, f"{version.etag}; slo_etag={result.etag}")  # type: ignore[union-attr]
    assert [s.path for s in await store.read_manifest(OWNER, name_of("m"))] == ["/c/s0", "/c/s1"]
    with pytest.raises(InvalidInput):
        await store.read_manifest(OWNER, name_of("s0"))


async def test_each_problem_is_told(store: ClusterStore, parts: list[PutResult]) -> None:
    await put(store, name_of("empty"), b"")
    bad = [
        Segment("/c/s0", etag="0" * 32, size=9),
        Segment("/c/none"),
        Segment("/nowhere/x"),
        Segment("/c/empty"),
        Segment("/c/s1", span="10-"),
        Segment("/c/s2"),
    ]
    with pytest.raises(ManifestInvalid) as caught:
        await manifest(store, "m", *bad)
    assert caught.value.problems == [
        ("/c/s0", "Size Mismatch"),
        ("/c/s0", "Etag Mismatch"),
        ("/c/none", "404 Not Found"),
        ("/nowhere/x", "404 Not Found"),
        ("/c/empty", "Too Small; each segment must be at least 1 byte."),
        ("/c/s1", "Unsatisfiable Range"),
    ]
    for shape in ([], [Segment("", data=b"x")], [Segment("/c/m"), Segment("/c/s0")], [Segment("/c/s0")] * 1001):
        with pytest.raises(InvalidInput):
            await manifest(store, "m", *shape)
    with pytest.raises(ObjectNotFound):
        await head(store, name_of("m"))


async def test_the_etag_a_client_expects(store: ClusterStore, parts: list[PutResult]) -> None:
    with pytest.raises(ChecksumMismatch):
        await manifest(store, "m", Segment("/c/s0"), expected_etag=md5("else"))
    assert (await manifest(store, "m", Segment("/c/s0"), expected_etag=md5(parts[0].etag))).etag == md5(parts[0].etag)
    create = Conditions(if_none_match=frozenset("*"))
    with pytest.raises(PreconditionFailed):
        await store.put_manifest(OWNER, name_of("m"), NEW, [Segment("/c/s0")], create)


async def test_manifests_of_manifests(store: ClusterStore, parts: list[PutResult]) -> None:
    inner = await manifest(store, "inner", Segment("/c/s0", span="5-9"), Segment("", data=b"--"), Segment("/c/s1"))
    whole = b"aaaaa--bbbbbbbbbb"
    outer = await manifest(store, "outer", Segment("/c/inner", etag=inner.etag, size=17), Segment("/c/inner", span="4-8"))
    assert await get(store, name_of("outer")) == whole + whole[4:9]
    assert outer.etag == md5(inner.etag + f"{inner.etag}:4-8;")
    for start in range(22):
        assert await get(store, name_of("outer"), ranges=[ByteRange(start, start + 4)]) == (whole + whole[4:9])[start : start + 5]
    name = "outer"
    for depth in range(DEPTH_MAX - 1):
        try:
            await manifest(store, f"deep{depth}", Segment(f"/c/{name}"))
        except ManifestInvalid as error:
            assert depth == DEPTH_MAX - 2
            assert "deep" in error.problems[0][1]
        else:
            name = f"deep{depth}"
            assert await get(store, name_of(name)) == whole + whole[4:9]


async def test_parts_by_number(store: ClusterStore, parts: list[PutResult]) -> None:
    await manifest(store, "m", Segment("/c/s0"), Segment("/c/s1"))
    read = await store.open_object(OWNER, ReadRequest(name_of("m"), NO_CONDITIONS, part_number=2))
    assert (read.spans, read.parts, read.size) == ([Span(10, 10)], 2, 20)
    assert await get(store, name_of("m"), part_number=2) == b"b" * 10
    with pytest.raises(RangeNotSatisfiable) as caught:
        await get(store, name_of("m"), part_number=3)
    assert (caught.value.parts, caught.value.size, caught.value.manifest) == (2, 20, "slo")
    assert await get(store, name_of("s0"), part_number=1) == b"a" * 10


async def test_a_segment_that_changed_or_may_not_be_read(store: ClusterStore, parts: list[PutResult]) -> None:
    await store.put_container(OWNER, ACCOUNT, "segments", {})
    await put(store, name_of("x", "segments"), b"secret")
    await manifest(store, "m", Segment("/segments/x"))
    await store.post_container(OWNER, ACCOUNT, "c", {"acl:read": "test2"})
    with pytest.raises(Conflict):
        await get(store, name_of("m"), OTHER)
    await store.post_container(OWNER, ACCOUNT, "segments", {"acl:read": "test2"})
    assert await get(store, name_of("m"), OTHER) == b"secret"
    await put(store, name_of("x", "segments"), b"change")
    with pytest.raises(Conflict):
        await get(store, name_of("m"))
    assert (await head(store, name_of("m"))).system["manifest-size"] == "6"


async def test_dynamic_large_objects(store: ClusterStore, parts: list[PutResult]) -> None:
    await put(store, name_of("d"), b"own", headers={"x-object-manifest": "c/s"})
    whole = b"a" * 10 + b"b" * 10 + b"c" * 100_000
    assert await get(store, name_of("d")) == whole
    assert await get(store, name_of("d"), raw_manifest=True) == b"own"
    assert await get(store, name_of("d"), ranges=[ByteRange(8, 11)]) == b"aabb"
    read = await store.open_object(OWNER, ReadRequest(name_of("d"), NO_CONDITIONS, [ByteRange(0, 1), ByteRange(3, 4)]))
    assert (read.spans, read.etag, read.size) == (None, md5("".join(part.etag for part in parts)), len(whole))
    with pytest.raises(PreconditionFailed):
        await store.open_object(OWNER, ReadRequest(name_of("d"), Conditions(if_match=frozenset({"own"}))))
    await store.put_container(OWNER, ACCOUNT, "open", {"acl:read": "test2"})
    await put(store, name_of("d", "open"), b"", headers={"x-object-manifest": "c/s"})
    with pytest.raises(AccessDenied):
        await get(store, name_of("d", "open"), OTHER)
    await put(store, name_of("e"), b"", headers={"x-object-manifest": "c/none%25"})
    assert await get(store, name_of("e")) == b""


def copying(source: str, target: str, **fields: object) -> CopyRequest:
    request = CopyRequest(name_of(source), name_of(target), NewObject(""), None, NO_CONDITIONS)
    return replace(request, **fields)  # type: ignore[arg-type]


async def test_copies(cluster: Cluster, store: ClusterStore, parts: list[PutResult]) -> None:
    await put(store, name_of("o"), b"0123456789", user={"a": "1", "b": "2"}, headers={"content-encoding": "x"})
    result = await store.copy_object(OWNER, copying("o", "p", new=NewObject("", user={"b": "3"})))
    version = await head(store, name_of("p"))
    assert (version.user, version.headers, version.content_type) == ({"a": "1", "b": "3"}, {"content-encoding": "x"}, "text/plain")
    assert (result.put.etag, result.source.user) == (md5("0123456789"), {"a": "1", "b": "2"})
    fresh = copying("o", "p", new=NewObject("", user={"c": "4"}), content_type="new/type", fresh_metadata=True)
    await store.copy_object(OWNER, fresh)
    version = await head(store, name_of("p"))
    assert (version.user, version.headers, version.content_type) == ({"c": "4"}, {}, "new/type")
    await store.copy_object(OWNER, copying("o", "p", ranges=[ByteRange(2, 4)]))
    assert await get(store, name_of("p")) == b"234"
    await store.copy_object(OWNER, copying("s2", "s2", new=NewObject("", user={"x": "y"})))
    assert (await head(store, name_of("s2"))).user == {"x": "y"}
    assert await get(store, name_of("s2")) == b"c" * 100_000
    with pytest.raises(ObjectNotFound):
        await store.copy_object(OWNER, copying("none", "p"))
    with pytest.raises(AccessDenied):
        await store.copy_object(OTHER, copying("o", "p"))


async def test_copies_of_large_objects(store: ClusterStore, parts: list[PutResult]) -> None:
    made = await manifest(store, "m", Segment("/c/s0"), Segment("/c/s1"), user={"a": "b"})
    await store.copy_object(OWNER, copying("m", "flat"))
    flat = await head(store, name_of("flat"))
    assert (flat.system, flat.size, flat.user) == ({}, 20, {"a": "b"})
    again = await store.copy_object(OWNER, copying("m", "m2", raw_manifest=True))
    assert again.put.etag == made.etag
    assert (await head(store, name_of("m2"))).content_type == "a/b"
    await store.copy_object(OWNER, copying("m", "part", part_number=2))
    assert await get(store, name_of("part")) == b"b" * 10
    other = replace(copying("m", "x", raw_manifest=True), target=ObjectName("AUTH_test2", "c2", "x"))
    await store.put_container(OTHER, "AUTH_test2", "c2", {"acl:write": "test:tester"})
    with pytest.raises(ManifestInvalid) as caught:
        await store.copy_object(OWNER, other)
    assert {what for _, what in caught.value.problems} == {"403 Forbidden"}
    await put(store, name_of("d"), b"own", headers={"x-object-manifest": "c/s"})
    await store.copy_object(OWNER, copying("d", "d2", raw_manifest=True))
    assert (await head(store, name_of("d2"))).headers == {"x-object-manifest": "c/s"}
    await store.copy_object(OWNER, copying("d", "d3", ranges=[ByteRange(0, 14)]))
    version = await head(store, name_of("d3"))
    assert (version.headers, version.size) == ({}, 15)
