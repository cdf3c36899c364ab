"""The object-auditor on real servers: damage is found without a reader, set aside, and made good from another replica (F31-F37)."""

import asyncio
import logging
import os
import shutil
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from objstore.formats.filenames import FileKind, file_name
from objstore.model.conditions import NO_CONDITIONS
from objstore.model.timestamps import from_ticks, ticks_of
from objstore.object.examining import PIECE_BYTES
from objstore.proxy.operations import NewObject
from objstore.proxy.store import ClusterStore
from tests.unit.objstore.object.audited import AUDITOR, CHUNK, LARGE, expect_made_good, only_file, partition_of, repaired
from tests.unit.objstore.object.replicas import equal, tree
from tests.unit.objstore.object.test_damage import XATTR, flip
from tests.unit.objstore.proxy.cluster import OWNER, Cluster, get, head, named, put, running


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Cluster]:
    async with running(tmp_path, count=4) as cluster:
        await cluster.store().put_container(OWNER, "AUTH_test", "c", {})
        yield cluster


@pytest.fixture
def store(cluster: Cluster) -> ClusterStore:
    return cluster.stores[0]


async def test_what_is_good_is_read_and_left_alone(cluster: Cluster, store: ClusterStore) -> None:
    bodies = {"o1-": b"", "o2-": b"small", "o3-": bytes(PIECE_BYTES), "o4-": LARGE}
    for text, body in bodies.items():
        await put(store, named(cluster, text), body)
    await store.post_object(OWNER, named(cluster, "o4-"), NewObject("", user={"a": "b"}), None)
    gone = named(cluster, "o5-")
    await put(store, gone, b"to be deleted")
    await store.delete_object(OWNER, gone, NO_CONDITIONS)
    before = await equal(cluster, 0, 1, 2)
    figures = await cluster.nodes[0].run(AUDITOR)
    assert figures == {
        "files": 6,
        "bytes": sum(map(len, bodies.values())),
        **dict.fromkeys(("corrupt", "misplaced", "strange", "rows_missing", "dark", "orphans", "errors"), 0),
        "rows": 5,
    }
    assert await equal(cluster, 0, 1, 2) == before


@pytest.mark.parametrize("chunk", [0, 3, 4, 11, 12], ids="chunk{}".format)
async def test_a_flipped_bit_in_any_chunk(cluster: Cluster, store: ClusterStore, chunk: int) -> None:
    """F31: pieces of several chunks are read, and none is left out."""
    name = named(cluster, "o")
    await put(store, name, LARGE)
    flip(only_file(cluster.nodes[0]), chunk * CHUNK + 20)
    await expect_made_good(cluster, name, LARGE)


@pytest.mark.parametrize("numbers", [(0, 1), (1, 2), (0, 2)])
async def test_two_damaged_copies_of_three(cluster: Cluster, store: ClusterStore, numbers: tuple[int, int]) -> None:
    """F31: the one that is left makes both good."""
    name = named(cluster, "o")
    await put(store, name, b"small")
    for number in numbers:
        flip(only_file(cluster.nodes[number]), 2)
    for number in numbers:
        await cluster.nodes[number].run(AUDITOR)
        await repaired(cluster.nodes[number])
    await equal(cluster, 0, 1, 2)
    assert {held for _, held in await cluster.held(name, range(3))} == {b"small"}


async def test_the_only_good_copy_is_damaged_too(cluster: Cluster, store: ClusterStore) -> None:
    """Nothing is deleted: three files in quarantine, no object."""
    name = named(cluster, "o")
    await put(store, name, b"small")
    for node in cluster.nodes[:3]:
        flip(only_file(node), 2)
    for node in cluster.nodes[:3]:
        await node.run(AUDITOR)
        await repaired(node)
        assert node.object.report("d1")[1] == 1 and not node.data_files()
        assert len(list(node.root.glob("quarantine/*/*.data"))) == 1


def spoil_metadata(path: Path) -> None:
    value = bytearray(os.getxattr(path, XATTR))
    value[40] ^= 1
    os.setxattr(path, XATTR, bytes(value))


DAMAGE: dict[str, Callable[[Path], None]] = {
    "F32 metadata": spoil_metadata,
    "F33 lost metadata": lambda path: os.removexattr(path, XATTR),
    "F34 empty": lambda path: os.truncate(path, 0),
    "F34 short": lambda path: os.truncate(path, path.stat().st_size - 1),
    "F34 long": lambda path: os.truncate(path, path.stat().st_size + 1),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
@pytest.mark.parametrize("body", [b"small", LARGE], ids=["small", "large"])
async def test_damaged_data_files(cluster: Cluster, store: ClusterStore, damage: Callable[[Path], None], body: bytes) -> None:
    name = named(cluster, "o")
    await put(store, name, body)
    damage(only_file(cluster.nodes[0]))
    await expect_made_good(cluster, name, body)


@pytest.mark.parametrize("kind", ["meta", "ts"])
@pytest.mark.parametrize("damage", [spoil_metadata, DAMAGE["F33 lost metadata"]])
async def test_damaged_tombstones_and_metadata_files(
    cluster: Cluster, store: ClusterStore, damage: Callable[[Path], None], kind: str
) -> None:
    name = named(cluster, "o")
    await put(store, name, b"x")
    if kind == "ts":
        await store.delete_object(OWNER, name, NO_CONDITIONS)
    else:
        await store.post_object(OWNER, name, NewObject("", user={"a": "b"}), None)
    damage(only_file(cluster.nodes[1], kind))
    await expect_made_good(cluster, name, None if kind == "ts" else b"x", 1)  # type: ignore[arg-type]
    assert kind == "ts" or (await head(store, name)).user == {"a": "b"}


def present(path: Path | bytes) -> bool:
    """Something is there, a broken link perhaps."""
    return os.path.lexists(path)


def planted(directory: Path, name: bytes) -> bytes:
    """An empty file with a name that is no text."""
    path = os.fsencode(directory) + b"/" + name
    with open(path, "w"):
        return path


def replace_by(path: Path, kind: str) -> None:
    path.unlink()
    if kind == "directory":
        path.mkdir()
        (path / "inside").write_text("kept")
    elif kind == "symlink":
        path.symlink_to("/etc/hostname")
    elif kind == "fifo":
        os.mkfifo(path)
    else:
        with socket.socket(socket.AF_UNIX) as planted:
            here = os.getcwd()
            os.chdir(path.parent)  # the whole path would be too long
            try:
                planted.bind(path.name)
            finally:
                os.chdir(here)


@pytest.mark.parametrize("kind", ["directory", "symlink", "fifo", "socket"])
async def test_what_is_no_file_is_set_aside(cluster: Cluster, store: ClusterStore, kind: str) -> None:
    """F35: nothing of it is followed, opened for good, or deleted."""
    name = named(cluster, "o")
    await put(store, name, b"x")
    path = only_file(cluster.nodes[0])
    replace_by(path, kind)
    async with asyncio.timeout(5):
        await expect_made_good(cluster, name, b"x")
    (aside,) = cluster.nodes[0].root.glob("quarantine/*/*.data")
    assert (aside.is_dir() and (aside / "inside").read_text() == "kept") if kind == "directory" else present(aside)


@pytest.mark.parametrize("kind", ["file", "symlink"])
async def test_a_partition_that_is_no_directory_is_set_aside(
    cluster: Cluster, store: ClusterStore, tmp_path: Path, kind: str
) -> None:
    """F35: then the partition can be filled again."""
    name = named(cluster, "o")
    directory = cluster.nodes[0].root / "objects" / str(partition_of(cluster, name))
    directory.parent.mkdir()
    if kind == "file":
        directory.write_text("in the way")
    else:
        directory.symlink_to(tmp_path)
    await put(store, name, b"x")
    assert (await cluster.nodes[0].run(AUDITOR))["corrupt"] == 1
    await cluster.nodes[1].run("object-replicator")
    await equal(cluster, 0, 1, 2)
    assert present(cluster.nodes[0].root / "quarantine" / directory.name / directory.name)


async def test_a_misdirected_write(cluster: Cluster, store: ClusterStore) -> None:
    """F36: the sound file of one object under the name of another, newer than that one's own. Whoever finds it, no replica gives
    up its good copy because of it.
    """
    name, other = named(cluster, "b"), named(cluster, "a")
    await put(store, name, b"right")
    await put(store, other, b"wrong")
    place, elsewhere = cluster.place(name), cluster.place(other)
    root = cluster.nodes[0].root
    (source,) = root.glob(f"objects/*/{elsewhere.hash.hex()}.*")
    (there,) = root.glob(f"objects/*/{place.hash.hex()}.*")
    shutil.copy2(source, there.with_name(source.name.replace(elsewhere.hash.hex(), place.hash.hex())))
    cluster.nodes[0].object._devices["d1"].index.forget(f"objects/{there.parent.name}")
    figures = await expect_made_good(cluster, name, b"right")
    assert figures["misplaced"] == 1
    assert [node.object.report("d1")[1] for node in cluster.nodes] == [1, 0, 0, 0]
    assert await get(store, other) == b"wrong"


async def test_a_misdirected_write_met_by_the_replicator(cluster: Cluster, store: ClusterStore) -> None:
    name, other = named(cluster, "b"), named(cluster, "a")
    await put(store, name, b"right")
    await put(store, other, b"wrong")
    place, elsewhere = cluster.place(name), cluster.place(other)
    root = cluster.nodes[0].root
    (source,) = root.glob(f"objects/*/{elsewhere.hash.hex()}.*")
    (there,) = root.glob(f"objects/*/{place.hash.hex()}.*")
    shutil.copy2(source, there.with_name(source.name.replace(elsewhere.hash.hex(), place.hash.hex())))
    cluster.nodes[0].object._devices["d1"].index.forget(f"objects/{there.parent.name}")
    await cluster.nodes[0].run("object-replicator")
    for node in cluster.nodes[:3]:
        await repaired(node)
    assert [node.object.report("d1")[1] for node in cluster.nodes] == [1, 0, 0, 0]
    assert await get(store, name) == b"right"


async def test_a_file_in_the_wrong_partition_is_counted_and_left_alone(cluster: Cluster, store: ClusterStore) -> None:
    """A ring of another size makes every file look like this: it is no reason to set anything aside."""
    await put(store, named(cluster, "o"), b"x")
    path = only_file(cluster.nodes[0])
    wrong = path.parent.parent / str((int(path.parent.name) + 1) % 7)
    wrong.mkdir(exist_ok=True)
    moved = path.rename(wrong / path.name)
    figures = await cluster.nodes[0].run(AUDITOR)
    assert (figures["misplaced"], figures["corrupt"], figures["rows"]) == (1, 0, 0)
    assert moved.exists()


async def test_strange_names_are_counted_and_left_alone(
    cluster: Cluster, store: ClusterStore, caplog: pytest.LogCaptureFixture
) -> None:
    """F37, F40: once per directory in the log."""
    await put(store, named(cluster, "o"), b"x")
    directory = only_file(cluster.nodes[0]).parent
    strange = [directory / "0.tmp", directory / "README", directory / ("z" * 32 + ".data"), directory.parent / "007"]
    for path in strange:
        path.write_text("?")
    odd = directory.parent / "not-a-partition"
    odd.mkdir()
    bad = planted(directory, b"\xff\xfe")
    with caplog.at_level(logging.WARNING, "objstore.object"):
        figures = await cluster.nodes[0].run(AUDITOR)
    assert (figures["strange"], figures["files"], figures["corrupt"], figures["errors"]) == (6, 1, 0, 0)
    assert len([one for one in caplog.records if one.msg.startswith("names that are no object's")]) == 2
    assert all(path.exists() for path in strange) and odd.exists() and present(bad)


async def test_superseded_files_go_and_the_same_one_wins_everywhere(cluster: Cluster, store: ClusterStore) -> None:
    """F37: more than one data file, metadata older than the data, whatever the order in which they came."""
    name = named(cluster, "o")
    await put(store, name, b"old")
    for node in cluster.nodes[:3]:
        shutil.copytree(node.root / "objects", node.root / "kept")
    await store.post_object(OWNER, name, NewObject("", user={"a": "b"}), None)
    for node in cluster.nodes[:3]:
        shutil.copytree(node.root / "objects", node.root / "kept", dirs_exist_ok=True)
    await put(store, name, b"new")
    await equal(cluster, 0, 1, 2)
    for node in cluster.nodes[:3]:
        shutil.copytree(node.root / "kept", node.root / "objects", dirs_exist_ok=True)
        assert len(tree(node)) == 3
        figures = await node.run(AUDITOR)
        assert figures["files"] == 1 and figures["corrupt"] == 0
    assert len(await equal(cluster, 0, 1, 2)) == 1
    assert await get(store, name) == b"new"


async def test_files_of_the_future(cluster: Cluster, store: ClusterStore) -> None:
    """F37: a name with a time of its own and the metadata of another is set aside; what it hid comes back."""
    name = named(cluster, "o")
    await put(store, name, b"x")
    path = only_file(cluster.nodes[0])
    timestamp = (await head(store, name)).timestamp
    later = from_ticks(ticks_of(timestamp) + 10**11)
    shutil.copy2(path, path.with_name(file_name(cluster.place(name).hash, later, FileKind.DATA)))
    await expect_made_good(cluster, name, b"x")


async def test_metadata_of_a_later_release_is_left_alone(cluster: Cluster, store: ClusterStore) -> None:
    from crc32c import crc32c

    await put(store, named(cluster, "o"), b"x")
    path = only_file(cluster.nodes[0])
    rest = bytearray(os.getxattr(path, XATTR)[4:])
    rest[0] = 9
    os.setxattr(path, XATTR, crc32c(rest).to_bytes(4, "little") + rest)
    figures = await cluster.nodes[0].run(AUDITOR)
    assert (figures["errors"], figures["corrupt"]) == (1, 0) and path.exists()
