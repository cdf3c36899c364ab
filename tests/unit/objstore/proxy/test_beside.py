"""A row whose database is on its object's own device becomes durable with the object, by one write."""

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from objstore.formats.messages import MergeObjectRows, Query
from objstore.model.errors import InsufficientStorage
from objstore.model.names import ObjectName
from objstore.proxy.store import ClusterStore
from objstore.tables import heldrows
from tests.unit.objstore.proxy.cluster import ACCOUNT, NO_CONDITIONS, OWNER, Cluster, Node, get, put


class Journaled(Node):
    journal = True


class Journals(Cluster):
    node = Journaled


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is written just because time passes."""
    monkeypatch.setattr(heldrows, "HOLD_S", 600.0)


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Cluster]:
    """One node, so that every row is beside its object."""
    (tmp_path / "a").mkdir()
    cluster = await started(tmp_path / "a")
    yield cluster
    await cluster.stop()


async def started(root: Path) -> Cluster:
    cluster = Journals(root, 1, 1)
    await cluster.nodes[0].start()
    return cluster


@pytest.fixture
async def store(cluster: Cluster) -> ClusterStore:
    store = cluster.store()
    await store.put_container(OWNER, ACCOUNT, "c", {})
    return store


async def listed(store: ClusterStore) -> list[str]:
    listing = await store.list_container(OWNER, ACCOUNT, "c", Query(100))
    return [row.name for row in listing.rows]


async def test_one_write_makes_both_durable(cluster: Cluster, store: ClusterStore) -> None:
    (node,) = cluster.nodes
    await put(store, ObjectName(ACCOUNT, "c", "first"), b"x")
    merge = node.dispatcher.handlers.pop(MergeObjectRows)
    before = node.disk.figures.changes
    for number in range(4):
        result = await put(store, ObjectName(ACCOUNT, "c", f"o{number}"), b"x")
        assert result.listed
    await store.delete_object(OWNER, ObjectName(ACCOUNT, "c", "o3"), NO_CONDITIONS)
    assert node.disk.figures.changes - before == 5
    assert node.object._devices["d1"].log.pending == 0
    assert await listed(store) == ["first", "o0", "o1", "o2"]
    node.dispatcher.handlers[MergeObjectRows] = merge


@pytest.mark.parametrize("settled", [False, True])
async def test_rows_are_there_after_a_crash(cluster: Cluster, store: ClusterStore, tmp_path: Path, settled: bool) -> None:
    names = [f"o{number}" for number in range(4)]
    for name in [*names, "gone"]:
        await put(store, ObjectName(ACCOUNT, "c", name), name.encode())
    await store.delete_object(OWNER, ObjectName(ACCOUNT, "c", "gone"), NO_CONDITIONS)
    if settled:
        await cluster.nodes[0].disk.settle()
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    again = await started(tmp_path / "b")
    store = again.store()
    assert await listed(store) == names
    assert [await get(store, ObjectName(ACCOUNT, "c", name)) for name in names] == [name.encode() for name in names]
    await again.stop()


async def test_what_the_journal_does_not_take_has_its_row_sent(cluster: Cluster, store: ClusterStore) -> None:
    (node,) = cluster.nodes
    body = bytes(node.disk.note_bytes_max + 1)
    assert (await put(store, ObjectName(ACCOUNT, "c", "large"), body)).listed
    assert await listed(store) == ["large"]


async def test_a_device_without_room_leaves_no_row(cluster: Cluster, store: ClusterStore, monkeypatch: pytest.MonkeyPatch) -> None:
    (node,) = cluster.nodes

    def full(*_: object) -> None:
        raise OSError(28, "no space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(node.disk.fs, "publish", full)
        with pytest.raises(InsufficientStorage):
            await put(store, ObjectName(ACCOUNT, "c", "refused"), b"x")
    assert await listed(store) == []
