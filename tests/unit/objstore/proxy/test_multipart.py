"""Multipart uploads on whole clusters in one process: what an upload's parts survive, and what the collector may take."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from objstore.formats.messages import Query
from objstore.model import parts as model
from objstore.model.checksums import ChecksumAlgorithm, ChecksumType
from objstore.model.conditions import NO_CONDITIONS, Conditions
from objstore.model.errors import (
    AccessDenied,
    Code,
    ContainerNotFound,
    NodeError,
    ObjectNotFound,
    PartMissing,
    PartTooSmall,
    PreconditionFailed,
    UploadNotFound,
)
from objstore.model.names import ObjectName
from objstore.model.rows import ObjectRow
from objstore.proxy import multipart
from objstore.proxy.bodies import InMemory
from objstore.proxy.operations import NewObject, Upload, WantedPart
from objstore.proxy.store import ClusterStore
from tests.unit.objstore.proxy.cleaned import CleaningCluster, cleaning
from tests.unit.objstore.proxy.cluster import ACCOUNT, OTHER, OWNER, RESELLER, get, head, named, put

HIDDEN = model.hidden_account(ACCOUNT)
DAY = 86_400.0


@pytest.fixture
async def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[CleaningCluster]:
    monkeypatch.setattr(multipart, "PART_BYTES_MIN", 1)
    async with cleaning(tmp_path) as cluster:
        await cluster.store().put_container(OWNER, ACCOUNT, "c", {})
        yield cluster


@pytest.fixture
def store(cluster: CleaningCluster) -> ClusterStore:
    return cluster.stores[0]


async def upload(store: ClusterStore, name: ObjectName, id_: str, number: int, body: bytes, **facts: str) -> WantedPart:
    incoming = Upload(InMemory(body), len(body), lambda: {key.replace("_", "-"): value for key, value in facts.items()})
    result = await store.put_part(OWNER, name, id_, number, incoming, None)
    return WantedPart(number, result.etag)


async def begun(store: ClusterStore, name: ObjectName, *bodies: bytes) -> tuple[str, list[WantedPart]]:
    id_ = await store.begin_upload(OWNER, name, NewObject("text/x", user={"a": "b"}), None, None)
    return id_, [await upload(store, name, id_, number, body) for number, body in enumerate(bodies, start=1)]


async def whole(store: ClusterStore, name: ObjectName, *bodies: bytes) -> str:
    id_, wanted = await begun(store, name, *bodies)
    await store.complete_upload(OWNER, name, id_, wanted, NO_CONDITIONS)
    return id_


async def hidden(cluster: CleaningCluster) -> list[str]:
    """The names of what is kept of uploads."""
    table = cluster.nodes[0].cleaner._placement.container(HIDDEN, "c")
    page = await cluster.nodes[0].cleaner._lister.page(table, Query(1000), "")
    return [row.name for row in page.rows]


async def collect(cluster: CleaningCluster, abandoned_s: float = 7 * DAY, grace_s: float = 3600.0) -> dict[str, int]:
    return dict(await cluster.nodes[0].cleaner.parts.collect(ACCOUNT, "c", abandoned_s, grace_s))


async def test_parts_become_one_object(cluster: CleaningCluster, store: ClusterStore) -> None:
    name = named(cluster, "o")
    id_, wanted = await begun(store, name, b"one ", b"two ", b"three")
    with pytest.raises(ObjectNotFound):
        await get(store, name)
    done = await store.complete_upload(OWNER, name, id_, wanted, NO_CONDITIONS)
    assert await get(store, name) == b"one two three"
    version = await head(store, name)
    assert (version.content_type, version.user, done.size) == ("text/x", {"a": "b"}, 13)
    assert done.etag.endswith("-3")
    (row,) = (await store.list_container(OWNER, ACCOUNT, "c", Query(10))).rows
    assert isinstance(row, ObjectRow) and (row.size, row.etag) == (13, done.etag)


async def test_a_part_that_comes_late_changes_nothing(cluster: CleaningCluster, store: ClusterStore) -> None:
    """It was on its way when the upload was completed."""
    name = named(cluster, "o")
    id_, wanted = await begun(store, name, b"one ", b"two")
    arrived, go = asyncio.Event(), asyncio.Event()

    async def slowly() -> AsyncIterator[bytes]:
        arrived.set()
        await go.wait()
        yield b"xxx"

    late = asyncio.create_task(store.put_part(OWNER, name, id_, 2, Upload(slowly(), 3), None))
    await arrived.wait()
    await store.complete_upload(OWNER, name, id_, wanted, NO_CONDITIONS)
    go.set()
    await late
    assert await get(store, name) == b"one two"


async def test_of_two_with_one_number_the_later_counts(cluster: CleaningCluster, store: ClusterStore) -> None:
    name = named(cluster, "o")
    id_, (old,) = await begun(store, name, b"old")
    new = await upload(store, name, id_, 1, b"new")
    with pytest.raises(PartMissing):
        await store.complete_upload(OWNER, name, id_, [old], NO_CONDITIONS)
    await store.complete_upload(OWNER, name, id_, [new], NO_CONDITIONS)
    assert await get(store, name) == b"new"


@pytest.mark.parametrize("kind", [ChecksumType.COMPOSITE, ChecksumType.FULL_OBJECT])
async def test_a_whole_without_all_checksums_is_not_made(cluster: CleaningCluster, store: ClusterStore, kind: ChecksumType) -> None:
    name = named(cluster, "o")
    id_ = await store.begin_upload(OWNER, name, NewObject(""), ChecksumAlgorithm.CRC32, kind)
    first = await upload(store, name, id_, 1, b"x", checksum_crc32="AAAAAA==")
    second = await upload(store, name, id_, 2, b"y")
    with pytest.raises(PartMissing):
        await store.complete_upload(OWNER, name, id_, [first, second], NO_CONDITIONS)
    done = await store.complete_upload(OWNER, name, id_, [first], NO_CONDITIONS)
    assert done.version.system["checksum-type"] == kind


async def test_small_parts_are_refused(cluster: CleaningCluster, store: ClusterStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(multipart, "PART_BYTES_MIN", 3)
    name = named(cluster, "o")
    id_, wanted = await begun(store, name, b"xx", b"y")
    with pytest.raises(PartTooSmall) as caught:
        await store.complete_upload(OWNER, name, id_, wanted, NO_CONDITIONS)
    assert caught.value.number == 1
    await store.complete_upload(OWNER, name, id_, wanted[1:], NO_CONDITIONS)


async def test_rights(cluster: CleaningCluster, store: ClusterStore) -> None:
    name = named(cluster, "o")
    id_, wanted = await begun(store, name, b"x")
    for work in (
        store.begin_upload(OTHER, name, NewObject(""), None, None),
        store.put_part(OTHER, name, id_, 1, Upload(InMemory(b"y"), 1), None),
        store.list_parts(OTHER, name, id_),
        store.list_uploads(OTHER, ACCOUNT, "c", Query(10)),
        store.complete_upload(OTHER, name, id_, wanted, NO_CONDITIONS),
        store.abort_upload(OTHER, name, id_),
    ):
        with pytest.raises(AccessDenied):
            await work
    for who in (OWNER, RESELLER):
        with pytest.raises(AccessDenied):
            await store.list_container(who, HIDDEN, "c", Query(10))
    await store.complete_upload(OWNER, name, id_, wanted, NO_CONDITIONS)
    await store.post_container(OWNER, ACCOUNT, "c", {"acl:read": "test2:tester2"})
    assert await get(store, name, OTHER) == b"x", "who may read the object may read its parts"


async def test_conditions_are_those_of_the_whole(cluster: CleaningCluster, store: ClusterStore) -> None:
    name = named(cluster, "o")
    await put(store, name, b"there")
    id_, wanted = await begun(store, name, b"x")
    with pytest.raises(PreconditionFailed):
        await store.complete_upload(OWNER, name, id_, wanted, Conditions(if_none_match=frozenset({"*"})))
    assert await get(store, name) == b"there"
    await store.complete_upload(OWNER, name, id_, wanted, NO_CONDITIONS)


async def test_what_is_not_open(cluster: CleaningCluster, store: ClusterStore) -> None:
    name = named(cluster, "o")
    with pytest.raises(UploadNotFound):
        await store.list_parts(OWNER, name, "0123456789abcdef")
    id_, wanted = await begun(store, name, b"x")
    await store.abort_upload(OWNER, name, id_)
    for work in (
        store.put_part(OWNER, name, id_, 1, Upload(InMemory(b"y"), 1), None),
        store.list_parts(OWNER, name, id_),
        store.complete_upload(OWNER, name, id_, wanted, NO_CONDITIONS),
        store.abort_upload(OWNER, name, id_),
    ):
        with pytest.raises(UploadNotFound):
            await work
    with pytest.raises(ContainerNotFound):
        await store.begin_upload(OWNER, ObjectName(ACCOUNT, "none", "o"), NewObject(""), None, None)


async def test_with_one_node_down(cluster: CleaningCluster, store: ClusterStore) -> None:
    name = named(cluster, "o")
    id_, wanted = await begun(store, name, b"one ", b"two")
    cluster.down(2)
    await store.complete_upload(OWNER, name, id_, wanted, NO_CONDITIONS)
    cluster.network.heal()
    cluster.down(0)
    assert await get(cluster.store(), name) == b"one two"


# --- the collector -----------------------------------------------------------------------------------------------


async def test_nothing_goes_that_is_needed(cluster: CleaningCluster, store: ClusterStore) -> None:
    await whole(store, named(cluster, "kept"), b"one ", b"two")
    await begun(store, named(cluster, "open"), b"x")
    before = await hidden(cluster)
    cluster.clock.passed_s = 6 * DAY
    assert await collect(cluster) == {"ended": 0, "removed": 0, "failed": 0}
    assert await hidden(cluster) == before
    assert await get(cluster.store(), named(cluster, "kept")) == b"one two"


@pytest.mark.parametrize("change", ["deleted", "overwritten", "aborted", "not named"])
async def test_what_nothing_needs_goes_after_the_grace(cluster: CleaningCluster, store: ClusterStore, change: str) -> None:
    name = named(cluster, "o")
    if change == "aborted":
        id_, _ = await begun(store, name, b"one ", b"two")
        cluster.clock.passed_s = 2 * 3600.0
        await store.abort_upload(OWNER, name, id_)
    elif change == "not named":
        id_, wanted = await begun(store, name, b"one ", b"two", b"three")
        await store.complete_upload(OWNER, name, id_, wanted[:1], NO_CONDITIONS)
    else:
        await whole(store, name, b"one ", b"two")
        cluster.clock.passed_s = 2 * 3600.0
        if change == "deleted":
            await store.delete_object(OWNER, name, NO_CONDITIONS)
        else:
            await whole(store, name, b"new")
    before = await hidden(cluster)
    assert (await collect(cluster))["removed"] == 0, "somebody may be reading"
    assert await hidden(cluster) == before
    cluster.clock.passed_s += 3700.0
    assert (await collect(cluster))["removed"] == 2
    if change in ("overwritten", "not named"):
        assert await get(cluster.store(), name) == (b"new" if change == "overwritten" else b"one ")
    else:
        assert await hidden(cluster) == []


async def test_uploads_that_nobody_goes_on_with_end(cluster: CleaningCluster, store: ClusterStore) -> None:
    name = named(cluster, "o")
    id_, _ = await begun(store, name, b"x")
    cluster.clock.passed_s = 8 * DAY
    assert (await collect(cluster))["ended"] == 1
    with pytest.raises(UploadNotFound):
        await store.list_parts(OWNER, name, id_)
    cluster.clock.passed_s += 3700.0
    assert (await collect(cluster))["removed"] == 1
    assert await hidden(cluster) == []


async def test_a_completion_under_way_keeps_its_parts(cluster: CleaningCluster, store: ClusterStore) -> None:
    """It read the record; then the upload is aborted; then it is done."""
    name = named(cluster, "o")
    id_, wanted = await begun(store, name, b"one ", b"two")
    read, go = asyncio.Event(), asyncio.Event()
    parts = store._multipart._parts

    async def slowly(bucket: object, id_: str) -> object:
        found = await parts(bucket, id_)  # type: ignore[arg-type]
        read.set()
        await go.wait()
        return found

    store._multipart._parts = slowly  # type: ignore[method-assign, assignment]
    completing = asyncio.create_task(store.complete_upload(OWNER, name, id_, wanted, NO_CONDITIONS))
    await read.wait()
    await store.abort_upload(OWNER, name, id_)
    assert (await collect(cluster))["removed"] == 0
    go.set()
    await completing
    cluster.clock.passed_s = 3700.0
    assert (await collect(cluster))["removed"] == 0
    assert await get(cluster.store(), name) == b"one two"


async def test_what_cannot_be_found_out_is_left(cluster: CleaningCluster, store: ClusterStore) -> None:
    name = named(cluster, "o")
    await whole(store, name, b"one ", b"two")
    await store.delete_object(OWNER, name, NO_CONDITIONS)
    cluster.clock.passed_s = 3700.0
    place = cluster.place(name)
    for number in (0, 1):
        device = cluster.nodes[number].object._devices["d1"]

        def refuse(found: object, _files: object, hash_: bytes = place.hash) -> None:
            if found.hash == hash_:  # type: ignore[attr-defined]
                raise NodeError(Code.DEVICE_FAILED, "unreadable")

        device.require_sound = refuse  # type: ignore[method-assign, assignment]
    assert await collect(cluster) == {"ended": 0, "removed": 0, "failed": 1}
    assert len(await hidden(cluster)) == 2


def test_names() -> None:
    name = model.part_name("a/b", "0123456789abcdef", 7, "00000000000000ff")
    assert model.upload_of(name) == ("a/b", "0123456789abcdef")
    assert model.record_of(model.record_name("a\n/b", "0123456789abcdef")) == ("a\n/b", "0123456789abcdef")
    assert model.holder_of(HIDDEN) == ACCOUNT and model.holder_of(ACCOUNT) == ""
    row = ObjectRow(name, 5, False, 9, "etag; crc32=AAAAAA==")
    assert model.part_of(row) == model.Part(7, "etag", 9, name, "crc32=AAAAAA==", 5)
    assert model.valid_id("0123456789abcdef") and not model.valid_id("0123456789ABCDEF")
