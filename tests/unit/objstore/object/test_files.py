import asyncio
import random
import shutil
from collections.abc import Callable
from typing import TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from objstore.formats.filenames import FileKind, FileName, file_name
from objstore.model.errors import Code, NodeError
from objstore.object.files import NOTHING, Files, Place, choose, list_partition
from objstore.object.partitionindex import PartitionIndex
from tests.unit.objstore.object.rig import HASH, Node, at

T = TypeVar("T")
D, M, X = FileKind.DATA, FileKind.META, FileKind.TOMBSTONE
PLACE = Place("objects/12", HASH)


def files(*names: tuple[int, FileKind]) -> list[FileName]:
    return [FileName(HASH, timestamp, kind) for timestamp, kind in names]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ([], NOTHING),
        ([(1, D)], Files(1)),
        ([(1, D), (2, D), (3, D)], Files(3)),
        ([(1, D), (2, X)], Files(2, True)),
        ([(3, D), (2, X)], Files(3)),
        ([(2, D), (2, X)], Files(2, True)),
        ([(2, D), (3, M)], Files(2, False, 3)),
        ([(2, D), (3, M), (5, M), (4, M)], Files(2, False, 5)),
        ([(2, D), (2, M)], Files(2)),
        ([(2, D), (1, M)], Files(2)),
        ([(2, X), (3, M)], Files(2, True)),
        ([(1, D), (2, X), (3, M)], Files(2, True)),
        ([(3, M)], Files(0, False, 3)),
    ],
)
def test_what_counts(names: list[tuple[int, FileKind]], expected: Files) -> None:
    assert choose(files(*names))[0] == expected


@given(st.lists(st.tuples(st.integers(1, 9), st.sampled_from(FileKind)), unique=True), st.randoms())
def test_the_outcome_depends_on_the_set_of_names_alone(names: list[tuple[int, FileKind]], rng: random.Random) -> None:
    chosen, obsolete = choose(files(*names))
    shuffled = list(names)
    rng.shuffle(shuffled)
    assert choose(files(*shuffled))[0] == chosen
    left = [name for name in files(*names) if name not in obsolete]
    assert choose(left) == (chosen, [])
    assert len(left) + len(obsolete) == len(names)
    assert [PLACE.path(n.timestamp, n.kind) for n in sorted(left, key=lambda n: n.kind is M)] == chosen.paths(PLACE)


class CountedDisk:
    """A disk whose reads can be held back."""

    def __init__(self, node: Node) -> None:
        self._disk = node.disk
        self.runs = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.fs = node.fs
        self.failed = None

    async def run(self, fn: Callable[[], T]) -> T:
        self.runs += 1
        result = await self._disk.run(fn)
        await self.gate.wait()
        return result


def plant(node: Node, directory: str, hash_: bytes, second: float = 1) -> None:
    path = node.root / directory
    path.mkdir(parents=True, exist_ok=True)
    (path / file_name(hash_, at(second), D)).write_bytes(b"")


async def test_a_partition_is_listed_once_however_many_ask(node: Node) -> None:
    plant(node, "objects/12", HASH)
    disk = CountedDisk(node)
    index = PartitionIndex(disk)
    assert index.get(PLACE) is None
    assert await asyncio.gather(*(index.find(PLACE) for _ in range(5))) == [Files(at(1))] * 5
    assert index.get(PLACE) == Files(at(1))
    assert index.get(Place("objects/12", b"?" * 16)) == NOTHING
    assert disk.runs == 1


async def test_a_change_during_the_listing_wins(node: Node) -> None:
    plant(node, "objects/12", HASH)
    disk = CountedDisk(node)
    disk.gate.clear()
    index = PartitionIndex(disk)
    loading = asyncio.ensure_future(index.find(PLACE))
    await asyncio.sleep(0.05)
    index.put(PLACE, Files(at(9)))
    index.put(Place("objects/12", b"n" * 16), Files(at(8)))
    disk.gate.set()
    assert await loading == Files(at(9))
    assert index.get(Place("objects/12", b"n" * 16)) == Files(at(8))
    assert index.entries == 3


async def test_whoever_gives_up_waiting_leaves_the_listing_to_the_others(node: Node) -> None:
    disk = CountedDisk(node)
    disk.gate.clear()
    index = PartitionIndex(disk)
    first, second = asyncio.ensure_future(index.find(PLACE)), asyncio.ensure_future(index.find(PLACE))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.sleep(0)
    disk.gate.set()
    assert await second == NOTHING
    assert first.cancelled()


async def test_memory_is_bounded_by_entries(node: Node) -> None:
    for partition in range(6):
        for n in range(4):
            plant(node, f"objects/{partition}", bytes([n]) * 16)
    index = PartitionIndex(CountedDisk(node), entries_max=12)
    for partition in range(6):
        await index.find(Place(f"objects/{partition}", bytes(16)))
        assert index.entries <= 12
    assert index.get(Place("objects/0", bytes(16))) is None
    assert index.get(Place("objects/5", bytes(16))) == Files(at(1))
    index.get(Place("objects/4", bytes(16)))
    await index.find(Place("objects/1", bytes(16)))
    assert index.get(Place("objects/4", bytes(16))) == Files(at(1)), "the least recently used goes first"
    assert index.get(Place("objects/5", bytes(16))) is None
    for directory in list(index._partitions):
        index.forget(directory)
    assert index.entries == 0


async def test_a_growing_partition_counts(node: Node) -> None:
    index = PartitionIndex(CountedDisk(node), entries_max=10)
    for directory in ("objects/1", "objects/2"):
        await index.load(directory)
    for n in range(9):
        index.put(Place("objects/1", bytes([n]) * 16), Files(1))
    assert index.get(Place("objects/1", bytes(16))) is None, "it was the least recently listed"
    assert index.entries == 1


async def test_a_listing_that_fails_is_no_empty_partition(node: Node) -> None:
    (node.root / "objects").write_bytes(b"")
    index = PartitionIndex(CountedDisk(node))
    for _ in range(2):
        with pytest.raises(NodeError) as caught:
            await index.find(PLACE)
        assert caught.value.code is Code.DEVICE_FAILED


def test_a_large_partition_is_listed_in_one_go(tmp_path) -> None:
    from objstore.runtime.filesystem import RealFileSystem

    directory = tmp_path / "objects/12"
    directory.mkdir(parents=True)
    for n in range(2000):
        (directory / file_name(n.to_bytes(16, "big"), at(1), D)).touch()
    partition, leftovers, strange = list_partition(RealFileSystem(str(tmp_path)), "objects/12")
    assert (len(partition), leftovers, strange) == (2000, [], 0)


async def test_a_listing_that_was_forgotten_while_it_was_read_is_read_again(node: Node) -> None:
    """A file was moved to quarantine meanwhile: what the listing saw of it must not count as held."""
    plant(node, "objects/12", HASH)
    disk = CountedDisk(node)
    disk.gate.clear()
    index = PartitionIndex(disk)
    loading = asyncio.ensure_future(index.find(PLACE))
    await asyncio.sleep(0.05)
    for path in (node.root / "objects/12").iterdir():
        path.unlink()
    index.forget(PLACE.directory)
    later = asyncio.ensure_future(index.find(PLACE))
    disk.gate.set()
    assert await later == NOTHING
    assert await loading == NOTHING
    assert index.get(PLACE) == NOTHING


async def test_a_partition_that_goes_between_its_listing_and_its_sync_is_no_failed_device(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(node, "objects/12", HASH)
    fs, listed = node.fs, []
    list_directory = fs.list_directory

    def vanishing(path: str) -> list[str]:
        found = list_directory(path)
        if not listed:
            shutil.rmtree(node.root / path)
        listed.append(path)
        return found

    def sync_directory(path: str) -> None:
        raise FileNotFoundError(path)  # what opening it says; an open descriptor may hide it

    monkeypatch.setattr(fs, "list_directory", vanishing)
    monkeypatch.setattr(fs, "sync_directory", sync_directory)
    assert await PartitionIndex(node.disk).find(PLACE) == NOTHING
    assert node.disk.failed is None and len(listed) == 2
