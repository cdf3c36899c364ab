"""Listings that no single answer of a container server can hold."""

import asyncio
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from objstore.formats.messages import ListTable, MergeObjectRows, Message, ObjectPage, Query, Stats, TableInfo
from objstore.model.rows import ObjectRow
from objstore.placement.places import Placement
from objstore.proxy.listings import _KeptPages
from objstore.proxy.store import ClusterStore
from objstore.rpc.interface import CallContext, Handler
from tests.unit.objstore.proxy.cluster import ACCOUNT, OWNER, Cluster, Node

LONG = "n" * 1000
COUNT = 2500


async def add(cluster: Cluster, rows: list[ObjectRow], nodes: tuple[int, ...] = (0, 1, 2)) -> None:
    """Give rows to the container's replicas."""
    place = Placement(cluster.rings).container(ACCOUNT, "c")
    for node in nodes:
        target = next(replica.target for replica in place.replicas if replica.address == cluster.nodes[node].address)
        await cluster.ask(node, MergeObjectRows(target, place.hash, place.name, rows))


def row(name: str, deleted: bool = False) -> ObjectRow:
    return ObjectRow(name, 1 << 50, deleted, 1, "etag", "text/plain", 1 << 50, 1 << 50)


@pytest.mark.parametrize("reverse", [False, True])
async def test_a_page_is_as_long_as_was_asked_for(cluster: Cluster, store: ClusterStore, reverse: bool) -> None:
    names = [f"{i:04}{LONG}" for i in range(COUNT)]
    await add(cluster, [row(name) for name in names])
    listing = await store.list_container(OWNER, ACCOUNT, "c", Query(10_000, reverse=reverse))
    assert [row.name for row in listing.rows] == (names[::-1] if reverse else names)
    listing = await store.list_container(OWNER, ACCOUNT, "c", Query(COUNT - 1, reverse=reverse))
    assert len(listing.rows) == COUNT - 1


@pytest.mark.parametrize("limit", [1, 10_000])
@pytest.mark.parametrize("delimiter", ["", "/"])
async def test_what_lies_behind_many_tombstones_is_listed(
    cluster: Cluster, store: ClusterStore, limit: int, delimiter: str
) -> None:
    await add(cluster, [row(f"a/{i:04}{LONG}", True) for i in range(COUNT)] + [row("a/z")])
    listing = await store.list_container(OWNER, ACCOUNT, "c", Query(limit, delimiter=delimiter))
    assert [row.name for row in listing.rows] == (["a/"] if delimiter else ["a/z"])


async def test_what_lies_behind_many_tombstones_is_listed_of_replicas_that_differ(cluster: Cluster, store: ClusterStore) -> None:
    tombstones = [row(f"a/{i:05}", True) for i in range(4 * COUNT)]
    await add(cluster, tombstones)
    for node in range(3):
        await add(cluster, [row(f"b{node}")], (node, (node + 1) % 3))
    for _ in range(3):
        for limit in (1, 10_000):
            listing = await store.list_container(OWNER, ACCOUNT, "c", Query(limit))
            assert [row.name for row in listing.rows] == ["b0", "b1", "b2"][:limit]


class Told:
    """What nodes said to ListTable."""

    def __init__(self, cluster: Cluster) -> None:
        self.answers: list[tuple[ListTable, ObjectPage]] = []
        for node in cluster.nodes:
            self._watch(node.dispatcher.handlers)

    def _watch(self, handlers: dict[type[Message], Handler]) -> None:
        handler = handlers[ListTable]

        async def watched(request: Message, context: CallContext) -> Message:
            reply = await handler(request, context)
            assert isinstance(request, ListTable)
            assert isinstance(reply, ObjectPage)
            self.answers.append((request, reply))
            return reply

        handlers[ListTable] = watched

    def of_page(self) -> list[ObjectPage]:
        """The answers for which a page was read."""
        return [reply for _, reply in self.answers if reply.digest]


@pytest.mark.parametrize("delimiter", ["", "/"])
async def test_of_replicas_that_agree_one_reads_the_page(cluster: Cluster, store: ClusterStore, delimiter: str) -> None:
    await add(cluster, [row("a"), row("b", True), row("c")])
    told = Told(cluster)
    listing = await store.list_container(OWNER, ACCOUNT, "c", Query(10, delimiter=delimiter))
    assert [row.name for row in listing.rows] == ["a", "c"]
    (page,) = told.of_page()
    assert [(reply.table, bool(reply.digest)) for _, reply in told.answers if reply is not page] == [(page.table, False)]


async def test_of_replicas_whose_tables_differ_elsewhere_both_read_the_page(cluster: Cluster, store: ClusterStore) -> None:
    await add(cluster, [row("a"), row("c")])
    for node in range(3):
        await add(cluster, [row(f"z{node}")], (node,))
    told = Told(cluster)
    listing = await store.list_container(OWNER, ACCOUNT, "c", Query(2))
    assert [row.name for row in listing.rows] == ["a", "c"]
    page, other = told.of_page()
    assert page.table != other.table
    assert page.digest == other.digest
    assert len(told.answers) == 3, "and nothing was merged"
    listing = await store.list_container(OWNER, ACCOUNT, "c", Query(10))
    assert len(listing.rows) >= 4, "two of the three rows that only one replica has"


@pytest.mark.parametrize("nodes", [(0, 1), (1, 2), (2, 0)])
async def test_what_two_replicas_have_is_listed_whoever_is_asked(
    cluster: Cluster, store: ClusterStore, nodes: tuple[int, int]
) -> None:
    await add(cluster, [row("a"), row("b")])
    for number in range(3):
        await add(cluster, [row(f"c{number}"), msgspec.structs.replace(row("b", True), timestamp=2 << 50)], nodes)
        listing = await store.list_container(OWNER, ACCOUNT, "c", Query(10))
        assert [row.name for row in listing.rows] == ["a", *(f"c{i}" for i in range(number + 1))]


@pytest.mark.parametrize("delimiter", ["", "/"])
async def test_a_page_that_is_asked_for_again_is_not_read_again(cluster: Cluster, store: ClusterStore, delimiter: str) -> None:
    await add(cluster, [row("a"), row("b", True), row("c"), row("d/1"), row("d/2")])
    query = Query(2, delimiter=delimiter)
    first = await store.list_container(OWNER, ACCOUNT, "c", query)
    told = Told(cluster)
    for _ in range(3):
        again = await store.list_container(OWNER, ACCOUNT, "c", query)
        assert (again.rows, again.view) == (first.rows, first.view)
    assert len(told.answers) == 6, "as many replicas as ever"
    assert told.of_page() == []
    for other, names in ((Query(2, marker="c", delimiter=delimiter), ["d/"]), (Query(1, delimiter=delimiter), ["a"])):
        listing = await store.list_container(OWNER, ACCOUNT, "c", other)
        assert [row.name for row in listing.rows] == (names if delimiter or names == ["a"] else ["d/1", "d/2"])


async def test_what_changed_on_one_replica_alone_is_listed_though_the_page_was_kept(cluster: Cluster, store: ClusterStore) -> None:
    await add(cluster, [row("a")])
    for number, nodes in enumerate(((0, 1), (1, 2), (2, 0), (0, 1))):
        for _ in range(3):
            await store.list_container(OWNER, ACCOUNT, "c", Query(10))
        await add(cluster, [row(f"b{number}")], nodes)
        listing = await store.list_container(OWNER, ACCOUNT, "c", Query(10))
        assert [row.name for row in listing.rows] == ["a", *(f"b{i}" for i in range(number + 1))]
    await add(cluster, [row("a", True)], (1, 2))
    listing = await store.list_container(OWNER, ACCOUNT, "c", Query(10))
    assert [row.name for row in listing.rows] == ["b0", "b1", "b2", "b3"]


async def test_settings_of_a_page_that_was_kept_are_those_of_now(cluster: Cluster, store: ClusterStore) -> None:
    await add(cluster, [row("a")])
    await store.list_container(OWNER, ACCOUNT, "c", Query(10))
    await store.post_container(OWNER, ACCOUNT, "c", {"user:colour": "red"})
    listing = await store.list_container(OWNER, ACCOUNT, "c", Query(10))
    assert listing.view.settings.values["user:colour"].value == "red"


async def test_pages_are_kept_up_to_a_limit(cluster: Cluster) -> None:
    place = Placement(cluster.rings).container(ACCOUNT, "c")
    kept = _KeptPages(2500)
    pages = {Query(i): ObjectPage(TableInfo(None, Stats(), 0.0), [row(LONG)], b"", "", table=bytes([i + 1])) for i in range(5)}
    for query, page in pages.items():
        kept.put(place, query, page)
        kept.get(place, Query(0))
    assert [kept.get(place, query) for query in pages] == [pages[Query(0)], None, None, None, pages[Query(4)]]
    for _ in range(5):
        kept.put(place, Query(4), pages[Query(4)])
    assert kept.get(place, Query(0)) is not None, "the same page takes its place once"
    kept.put(place, Query(4), msgspec.structs.replace(pages[Query(4)], table=b""))
    assert kept.get(place, Query(4)) is None, "a page of a table that is not known"
    kept.put(place, Query(9), msgspec.structs.replace(pages[Query(4)], rows=[], packed=bytes(3000)))
    assert kept.get(place, Query(9)) is None, "too large"
    assert kept.get(place, Query(0)) is not None


@pytest.mark.parametrize("old", [(0,), (1, 2), (0, 1, 2)])
async def test_replicas_of_an_earlier_release_tell_the_digest_of_the_page(
    cluster: Cluster, store: ClusterStore, old: tuple[int, ...]
) -> None:
    await add(cluster, [row("a"), row("c")])
    for number in old:
        _make_old(cluster.nodes[number].dispatcher.handlers)
    for turn in range(3):
        told = Told(cluster)
        listing = await store.list_container(OWNER, ACCOUNT, "c", Query(10))
        assert [row.name for row in listing.rows] == ["a", "c"]
        assert len(told.answers) <= 3, f"{turn}: equal pages were merged"


def _make_old(handlers: dict[type[Message], Handler]) -> None:
    handler = handlers[ListTable]

    async def old(request: Message, context: CallContext) -> Message:
        assert isinstance(request, ListTable)
        reply = await handler(msgspec.structs.replace(request, table_only=False, known=b""), context)
        return msgspec.structs.replace(reply, table=b"")

    handlers[ListTable] = old


class JournalingNode(Node):
    journal = True


class JournalingCluster(Cluster):
    node = JournalingNode


@contextmanager
def locked(paths: list[str]) -> Iterator[None]:
    """Databases that somebody else keeps from being written."""
    others = [sqlite3.connect(path, isolation_level=None) for path in paths]
    try:
        for other in others:
            other.execute("BEGIN IMMEDIATE")
        yield
    finally:
        for other in others:
            other.close()


async def test_rows_that_wait_for_databases_in_use_are_listed_whoever_is_asked(tmp_path: Path) -> None:
    """Two replicas acknowledged a row that is in no table: the digests of all three tables are equal."""
    cluster = JournalingCluster(tmp_path, 4, 3)
    for node in cluster.nodes:
        await node.start()
    store = cluster.store()
    try:
        await store.put_container(OWNER, ACCOUNT, "c", {})
        await add(cluster, [row("a"), row("b")])
        await store.list_container(OWNER, ACCOUNT, "c", Query(10))
        with locked([str(path) for number in (0, 1) for path in cluster.nodes[number].root.glob("containers/*/*.db")]):
            await asyncio.gather(*(add(cluster, [row("c")], (number,)) for number in (0, 1)))
            for _ in range(3):
                listing = await store.list_container(OWNER, ACCOUNT, "c", Query(10))
                assert [row.name for row in listing.rows] == ["a", "b", "c"]
    finally:
        await cluster.stop()
