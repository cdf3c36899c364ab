"""What every Disk promises."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from objstore.model.errors import Code, NodeError
from objstore.runtime.interface import Change, Disk
from tests.contract.implementations import DISKS


@pytest.fixture(params=DISKS)
async def disk(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Disk]:
    async with DISKS[request.param](tmp_path) as made:
        yield made


def content(disk: Disk, path: str) -> bytes:
    file = disk.fs.open(path)
    try:
        return file.pread(1000, 0)
    finally:
        file.close()


async def test_commit(disk: Disk) -> None:
    await disk.commit(Change("objects/1/a.data", b"body", {"meta": b"m"}))
    file = disk.fs.open("objects/1/a.data")
    assert (file.pread(10, 0), file.get_attribute("meta")) == (b"body", b"m")
    file.close()
    assert disk.failed is None


async def test_many_at_once(disk: Disk) -> None:
    await asyncio.gather(*(disk.commit(Change(f"objects/{n % 5}/{n}", b"%d" % n)) for n in range(200)))
    found = [name for part in range(5) for name in disk.fs.list_directory(f"objects/{part}")]
    assert sorted(found) == sorted(map(str, range(200)))
    assert all(content(disk, f"objects/{n % 5}/{n}") == b"%d" % n for n in range(200))


async def test_changes_of_one_name_keep_their_order(disk: Disk) -> None:
    await asyncio.gather(*(disk.commit(Change("objects/1/a", b"%d" % n)) for n in range(50)))
    assert content(disk, "objects/1/a") == b"49"


async def test_a_temporary_file_as_content(disk: Disk) -> None:
    file = await disk.run(disk.fs.create_temp)
    await disk.run(lambda: file.write(b"streamed"))
    await disk.commit(Change("objects/1/a", file))
    assert content(disk, "objects/1/a") == b"streamed"


async def test_superseded_files_vanish(disk: Disk) -> None:
    await disk.commit(Change("objects/1/old", b""))
    await disk.commit(Change("objects/1/new", b"", unlink=["objects/1/old", "objects/1/missing"]))
    for _ in range(100):
        if disk.fs.list_directory("objects/1") == ["new"]:
            break
        await asyncio.sleep(0.01)
    assert disk.fs.list_directory("objects/1") == ["new"]


async def test_run(disk: Disk) -> None:
    results = await asyncio.gather(*(disk.run(lambda n=n: n * n) for n in range(20)))  # type: ignore[misc]
    assert results == [n * n for n in range(20)]
    with pytest.raises(ZeroDivisionError):
        await disk.run(lambda: 1 // 0)


async def test_space_in_reserve(disk: Disk) -> None:
    disk.require_space(1)
    with pytest.raises(NodeError) as refused:
        disk.require_space(1 << 60)
    assert refused.value.code == Code.NO_SPACE


async def test_closed(disk: Disk) -> None:
    await disk.close()
    await disk.close()
    with pytest.raises(NodeError) as refused:
        await disk.commit(Change("objects/1/a", b""))
    assert refused.value.code == Code.DEVICE_FAILED
    with pytest.raises(NodeError):
        await disk.run(lambda: 1)


async def test_what_was_committed_can_be_settled(disk: Disk) -> None:
    await disk.settle()
    await disk.commit(Change("objects/1/a.data", b"body", {"meta": b"m"}))
    await asyncio.gather(disk.settle(), disk.settle())
    file = disk.fs.open("objects/1/a.data")
    assert file.pread(9, 0) == b"body"
    file.close()
