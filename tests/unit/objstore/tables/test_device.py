"""Databases on a device: made whole, kept open within bounds, set aside when corrupt, found again after a crash."""

import asyncio
import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from objstore.formats.messages import Query
from objstore.model.errors import Code, NodeError
from objstore.tables.device import TableDevice
from objstore.tables.place import Place
from objstore.tables.reading import read_page
from tests.unit.objstore.tables.rig import NAME, PLACE, device_at, gone, merge, place_of, put, rows_of, write

FILE = f"containers/7/{PLACE.hash.hex()}.db"


async def listed(device: TableDevice, place: Place = PLACE, name: str = NAME) -> list[str]:
    database = await device.opened(place, name)
    assert database is not None
    found = await device.read(place, database, lambda c: read_page(c, place.kind, Query(1000)))
    return [item.name for item in found.rows]


async def test_a_write_makes_the_database_and_it_is_there_after_a_restart(tmp_path: Path) -> None:
    async with device_at(tmp_path) as device:
        assert await device.opened(PLACE, NAME) is None
        await device.apply(PLACE, merge(put("a", 1)))
    assert [path.name for path in (tmp_path / "containers/7").iterdir()] == [Path(FILE).name]  # checkpointed, no log left
    async with device_at(tmp_path) as device:
        assert await listed(device) == ["a"]


async def test_an_update_does_not_make_a_database(device: TableDevice, tmp_path: Path) -> None:
    with pytest.raises(NodeError) as raised:
        await device.apply(PLACE, write("update", 1))
    assert raised.value.code is Code.NOT_FOUND
    assert not (tmp_path / "containers").exists()


async def test_requests_that_wait_together_share_one_flush(device: TableDevice) -> None:
    await device.apply(PLACE, merge(put("first", 1)))
    before = device.committer.figures.groups
    changes = os.stat(device.path_of(PLACE) + "-wal").st_size
    await asyncio.gather(*(device.apply(PLACE, merge(put(f"o{i:03d}", 1))) for i in range(300)))
    assert device.committer.figures.groups - before <= 2  # the thread may have taken the first one alone
    assert os.stat(device.path_of(PLACE) + "-wal").st_size - changes < 40 * 4120  # not a page per row
    database = device.peek(PLACE)
    assert database is not None
    assert database.state.stats.object_count == 301


async def test_no_more_databases_are_open_than_allowed(tmp_path: Path) -> None:
    async with device_at(tmp_path, open_max=3) as device:
        names = [f"/a/c{i}" for i in range(8)]
        for name in names:
            await device.apply(place_of(name), merge(put("o", 1), name=name))
        still_open = [name for name in names if device.peek(place_of(name)) is not None]
        assert still_open == names[-3:]
        assert len(list((tmp_path / "containers/7").glob("*-wal"))) == 3
        for name in names:
            assert await listed(device, place_of(name), name) == ["o"]


async def test_the_least_recently_used_is_closed(tmp_path: Path) -> None:
    async with device_at(tmp_path, open_max=2) as device:
        for name in ("/a/1", "/a/2"):
            await device.apply(place_of(name), merge(put("o", 1), name=name))
        device.peek(place_of("/a/1"))
        await device.apply(place_of("/a/3"), merge(put("o", 1), name="/a/3"))
        assert device.peek(place_of("/a/2")) is None
        assert device.peek(place_of("/a/1")) is not None


async def test_a_long_listing_holds_up_neither_writes_nor_looks(device: TableDevice) -> None:
    await device.apply(PLACE, merge(*(put(f"o{i}", 1) for i in range(100))))
    database = await device.opened(PLACE, NAME)
    assert database is not None
    reading, go_on = threading.Event(), threading.Event()

    def slow(connection: object) -> int:
        connection.execute("SELECT * FROM row").fetchone()  # type: ignore[attr-defined]
        reading.set()
        go_on.wait(10)
        return 1

    task = asyncio.create_task(device.read(PLACE, database, slow))
    await asyncio.to_thread(reading.wait)
    await device.apply(PLACE, merge(put("new", 1)))
    assert database.state.stats.object_count == 101
    assert len(await listed(device)) == 101
    assert not task.done()
    go_on.set()
    assert await task == 1


async def test_listeners_hear_of_each_change(device: TableDevice) -> None:
    heard: list[Place] = []
    device.changed.append(heard.append)
    await device.apply(PLACE, merge(put("a", 1)))
    assert heard == [PLACE]


async def test_a_failed_disk_takes_no_writes_but_still_reads(device: TableDevice) -> None:
    await device.apply(PLACE, merge(put("a", 1)))
    device.disk.fail("a sync failed")
    with pytest.raises(NodeError) as raised:
        await device.apply(PLACE, merge(put("b", 1)))
    assert raised.value.code is Code.DEVICE_FAILED
    assert await listed(device) == ["a"]


async def test_a_value_no_column_holds_fails_alone(device: TableDevice) -> None:
    await device.apply(PLACE, merge(put("first", 1)))
    bad = (merge(put("big", 1, size=1 << 70)), merge(put("lone \ud800", 1)), merge(put("a", 1, size=(1 << 63) - 1), put("b", 1)))
    outcomes = await asyncio.gather(
        *(device.apply(PLACE, operation) for operation in (merge(put("x", 1)), *bad, merge(put("y", 1)))), return_exceptions=True
    )
    codes = [outcome.code if isinstance(outcome, NodeError) else outcome for outcome in outcomes]
    assert codes == [None, Code.BAD_REQUEST, Code.BAD_REQUEST, Code.BAD_REQUEST, None]
    assert await listed(device) == ["first", "x", "y"]


# --- corruption -------------------------------------------------------------------------------------------------


async def damaged(tmp_path: Path, pages: slice | None) -> None:
    """A database of some pages in `tmp_path`, zeroed from one page on, or no database at all."""
    async with device_at(tmp_path) as device:
        await device.apply(PLACE, write("create", 1))
        await device.apply(PLACE, merge(*(put(f"o{i:04d}", 1) for i in range(500))))
    path = tmp_path / FILE
    data = bytearray(path.read_bytes())
    if pages is None:
        data[:] = b"no database" * 1000
    else:
        start, stop, _ = pages.indices(len(data) // 4096)
        data[start * 4096 : stop * 4096] = bytes((stop - start) * 4096)
    path.write_bytes(data)


def kept(tmp_path: Path) -> list[dict[str, str]]:
    return [json.loads(path.read_text()) for path in sorted((tmp_path / "quarantine").glob("*/record"))]


@pytest.mark.parametrize("pages", [None, slice(0, 1), slice(1, None)])
async def test_a_corrupt_database_is_set_aside_and_begun_anew(tmp_path: Path, pages: slice | None) -> None:
    await damaged(tmp_path, pages)
    async with device_at(tmp_path) as device:
        with pytest.raises(NodeError) as raised:
            await device.apply(PLACE, merge(put("new", 2)))
        assert raised.value.code is Code.CORRUPT
        assert not (tmp_path / FILE).exists()
        (record,) = kept(tmp_path)
        assert record["path"] == FILE
        assert len(list((tmp_path / "quarantine").glob("*/*.db"))) == 1
        await device.apply(PLACE, merge(put("new", 2)))
        assert await listed(device) == ["new"]
        database = await device.opened(PLACE, NAME)
        assert database is not None
        assert not database.state.settings.exists
        assert device.quarantined == 1


async def test_corruption_found_by_a_reader_is_set_aside_too(tmp_path: Path) -> None:
    await damaged(tmp_path, slice(6, 12))
    async with device_at(tmp_path) as device:
        database = await device.opened(PLACE, NAME)
        assert database is not None
        errors = await asyncio.gather(*(listed(device) for _ in range(3)), return_exceptions=True)
        codes = {error.code for error in errors if isinstance(error, NodeError)}
        # Who opens its connection when the file is already in quarantine finds none.
        assert len(errors) == 3 and Code.CORRUPT in codes and codes <= {Code.CORRUPT, Code.DEVICE_FAILED}
        assert len(kept(tmp_path)) == 1
        assert await device.opened(PLACE, NAME) is None
        await device.apply(PLACE, merge(put("new", 2)))
        assert await listed(device) == ["new"]


async def test_a_log_left_by_a_quarantined_database_is_not_replayed(tmp_path: Path) -> None:
    async with device_at(tmp_path) as device:
        await device.apply(PLACE, merge(put("old", 1)))
        log = (tmp_path / (FILE + "-wal")).read_bytes()
    (tmp_path / FILE).unlink()
    (tmp_path / (FILE + "-wal")).write_bytes(log)  # as a crash between the two renames of a quarantine leaves it
    async with device_at(tmp_path) as device:
        assert await device.opened(PLACE, NAME) is None
        await device.apply(PLACE, merge(put("new", 1)))
        assert await listed(device) == ["new"]


async def test_each_page_in_turn_zeroed_is_harmless_or_found_out(tmp_path: Path) -> None:
    """Every answer is either the truth or an error, and after an error the database works again."""
    sound = tmp_path / "sound"
    sound.mkdir()
    await damaged(sound, slice(0, 0))
    data = (sound / FILE).read_bytes()
    names = [f"o{i:04d}" for i in range(500)]
    found_out = 0
    for number in range(len(data) // 4096):
        root = tmp_path / str(number)
        (root / FILE).parent.mkdir(parents=True)
        (root / FILE).write_bytes(data[: number * 4096] + bytes(4096) + data[(number + 1) * 4096 :])
        async with device_at(root) as device:
            try:
                assert await listed(device) == names
                await device.apply(PLACE, merge(*(put(name, 2) for name in names)))
            except NodeError as error:
                assert error.code is Code.CORRUPT
                found_out += 1
                await device.apply(PLACE, merge(put("new", 2)))
                assert await listed(device) == ["new"]
            else:
                assert await listed(device) == names
    assert found_out > len(data) // 4096 - 5  # all that hold anything but free space and settings


@pytest.mark.parametrize("ending", ["", "-wal"])
async def test_another_databases_files_in_its_place_are_set_aside(tmp_path: Path, ending: str) -> None:
    other = place_of("/acc/other")
    async with device_at(tmp_path) as device:
        await device.apply(PLACE, merge(put("mine", 1)))
        await device.apply(other, merge(put("theirs", 1), name="/acc/other"))
        theirs = (tmp_path / (other.path + ending)).read_bytes()
    (tmp_path / (FILE + ending)).write_bytes(theirs)
    async with device_at(tmp_path) as device:
        with pytest.raises(NodeError) as raised:
            await listed(device)
        assert raised.value.code is Code.CORRUPT
        assert [record["path"] for record in kept(tmp_path)] == [FILE]
        assert await listed(device, other, "/acc/other") == ["theirs"]
        await device.apply(PLACE, merge(put("new", 1)))
        assert await listed(device) == ["new"]


async def test_a_link_or_directory_in_its_place_is_not_followed(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere.db"
    (tmp_path / "containers/7").mkdir(parents=True)
    (tmp_path / FILE).symlink_to(elsewhere)
    async with device_at(tmp_path) as device:
        with pytest.raises(NodeError) as raised:
            await device.apply(PLACE, merge(put("a", 1)))
        assert raised.value.code is Code.DEVICE_FAILED
    assert not elsewhere.exists()


async def test_another_process_that_holds_the_database_makes_us_busy_not_stuck(tmp_path: Path) -> None:
    async with device_at(tmp_path) as device:
        await device.apply(PLACE, merge(put("a", 1)))
        other = sqlite3.connect(tmp_path / FILE, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(NodeError) as raised:
            await asyncio.wait_for(device.apply(PLACE, merge(put("b", 1))), 5)
        assert raised.value.code is Code.BUSY
        assert await listed(device) == ["a"]
        other.execute("ROLLBACK")
        other.close()
        await device.apply(PLACE, merge(put("b", 1)))
        assert await listed(device) == ["a", "b"]


async def test_a_locked_database_can_be_opened_and_read(tmp_path: Path) -> None:
    async with device_at(tmp_path) as device:
        await device.apply(PLACE, merge(put("a", 1)))
    other = sqlite3.connect(tmp_path / FILE, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    async with device_at(tmp_path) as device:
        assert await listed(device) == ["a"]
    other.close()


# --- crashes ----------------------------------------------------------------------------------------------------

LOADER = """
import asyncio, os, sys
from pathlib import Path
from objstore.runtime.crashpoints import crash_points_from
from objstore.tables.device import CRASH_POINTS
from tests.unit.objstore.tables.rig import device_at, merge, place_of, put

async def load(device, worker):
    for i in range(100000):
        name = f"/a/c{i % 3}"
        await device.apply(place_of(name), merge(put(f"w{worker}-{i:05d}", 1, size=i), name=name))
        sys.stdout.write(f"{name} w{worker}-{i:05d} {i}\\n")
        sys.stdout.flush()

async def main():
    async with device_at(Path(sys.argv[1]), crash_points_from(os.environ, CRASH_POINTS)) as device:
        await asyncio.gather(*(load(device, worker) for worker in range(4)))

asyncio.run(main())
"""


TOUCH = LOADER.replace("await asyncio.gather(*(load(device, worker) for worker in range(4)))", "await device.apply(PLACE, touch)")
TOUCH = TOUCH.replace("place_of, put", "NAME, PLACE").replace("async def main", "touch = merge()\n\nasync def main")


async def acknowledged_are_there(tmp_path: Path, lines: list[str]) -> None:
    acknowledged: dict[str, dict[str, int]] = {}
    for line in lines:
        name, row, size = line.split()
        acknowledged.setdefault(name, {})[row] = int(size)
    async with device_at(tmp_path) as device:
        for name, rows in acknowledged.items():
            database = await device.opened(place_of(name), name)
            assert database is not None
            found = {row.name: row.size for row in rows_of(database)}
            assert rows.items() <= found.items()
            assert database.state.stats.object_count == len(found)
            assert database.state.stats.bytes_used == sum(found.values())
            assert await device.disk.run(lambda db=database: db.read(integrity)) == "ok"  # type: ignore[misc]


def integrity(connection: object) -> str:
    return str(connection.execute("PRAGMA integrity_check").fetchone()[0])  # type: ignore[attr-defined]


def loader(tmp_path: Path, code: str = LOADER, **environment: str) -> "subprocess.Popen[str]":
    root = Path(__file__).parents[4]
    return subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root), **environment},
    )


async def test_what_was_acknowledged_is_there_after_kill_9(tmp_path: Path) -> None:
    process = loader(tmp_path)
    assert process.stdout is not None
    lines = [process.stdout.readline() for _ in range(1500)]
    process.send_signal(signal.SIGKILL)
    lines += process.stdout.readlines()
    assert process.wait() == -signal.SIGKILL
    await acknowledged_are_there(tmp_path, [line for line in lines if line.endswith("\n")])


@pytest.mark.parametrize("point", ["tables.create.named:2", "tables.create.synced:1", "tables.commit.written:40"])
async def test_what_was_acknowledged_is_there_after_a_crash_at(tmp_path: Path, point: str) -> None:
    process = loader(tmp_path, OBJSTORE_CRASH_AT=point)
    lines = process.communicate(timeout=30)[0].splitlines()
    assert process.returncode == -signal.SIGKILL
    await acknowledged_are_there(tmp_path, lines)


@pytest.mark.parametrize("point", ["tables.quarantine.record:1", "tables.quarantine.moved:1"])
async def test_a_crash_in_quarantine_leaves_it_here_or_there(tmp_path: Path, point: str) -> None:
    await damaged(tmp_path, slice(0, 1))
    process = loader(tmp_path, TOUCH, OBJSTORE_CRASH_AT=point)
    assert await asyncio.to_thread(process.wait, 30) == -signal.SIGKILL
    async with device_at(tmp_path) as device:
        if "record" in point:
            with pytest.raises(NodeError):
                await device.apply(PLACE, merge())
        assert len(kept(tmp_path)) == len(list((tmp_path / "quarantine").glob("*/*.db"))) == 1
        await device.apply(PLACE, merge(put("new", 1), gone("old", 1)))
        assert await listed(device) == ["new"]


class FailTheDisk:
    """What somebody else's failed sync does to the device, in the middle of a group."""

    name = NAME
    creates = True

    def __init__(self, device: TableDevice) -> None:
        self._device = device

    def run(self, draft: object) -> None:
        self._device.disk.fail("a sync failed")


async def test_what_waits_when_a_sync_fails_is_refused(tmp_path: Path) -> None:
    async with device_at(tmp_path) as device:
        await device.apply(PLACE, merge(put("a", 1)))
        other = PLACE._replace(hash=b"o" * 16)
        results = await asyncio.gather(
            device.apply(PLACE, FailTheDisk(device)),
            device.apply(other, merge(put("b", 1), name="/acc/other")),
            return_exceptions=True,
        )
        assert isinstance(results[1], NodeError)
        assert results[1].code is Code.DEVICE_FAILED
        database = await device.opened(PLACE, NAME)  # what is there can be read
        assert database is not None
        assert database.state.stats.object_count == 1
