"""What is synced before an acknowledgement, and what a failed system call leads to.

Failures are injected into a real process by strace; where that cannot run, those tests are skipped, not passed.
"""

import asyncio
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from objstore.model.errors import Code, NodeError
from objstore.runtime.clock import SystemClock
from objstore.runtime.crashpoints import NoCrashPoints
from objstore.runtime.disk import RealDisk
from objstore.runtime.filesystem import RealFileSystem
from objstore.runtime.interface import OpenFile
from objstore.runtime.realfile import RealFile
from objstore.tables import schema
from objstore.tables.device import TableDevice
from tests.unit.objstore.tables.rig import KNOBS, NAME, PLACE, device_at, merge, put, rows_of

WRITER = """
import asyncio, sys
from pathlib import Path
from objstore.model.errors import NodeError
from tests.unit.objstore.tables.rig import PLACE, device_at, merge, put

async def main():
    async with device_at(Path(sys.argv[1])) as device:
        for i in range(12):
            try:
                await device.apply(PLACE, merge(put(f"o{i:02d}", 1)))
                print(f"o{i:02d}", "ok", flush=True)
            except NodeError as error:
                print(f"o{i:02d}", error.code, flush=True)
        print("device", device.disk.failed, flush=True)

asyncio.run(main())
"""


class Journal(RealFileSystem):
    """Writes down what is done to make files and names durable; fails the syncs it is told to."""

    def __init__(self, root: str) -> None:
        self.steps: list[str] = []
        self.failing: str | None = None
        super().__init__(root)
        self.steps.clear()

    def publish(self, file: OpenFile, path: str) -> None:
        assert isinstance(file, RealFile)
        self.steps.append(f"publish {path}")
        super().publish(file, path)

    def sync_directory(self, path: str) -> None:
        self.steps.append(f"sync {path}")
        if path == self.failing:
            raise OSError(5, "Input/output error")
        super().sync_directory(path)


async def test_a_new_database_is_acknowledged_when_its_name_is_durable(tmp_path: Path) -> None:
    journal = Journal(str(tmp_path))
    disk = RealDisk("d1", journal, knobs=KNOBS)
    device = TableDevice("d1", str(tmp_path), disk, SystemClock(), crash=NoCrashPoints())
    device.start()
    await device.apply(PLACE, merge(put("a", 1)))
    assert journal.steps[0] == f"publish {PLACE.path}"
    assert sorted(journal.steps[1:]) == ["sync ", "sync containers", f"sync {PLACE.directory}"]
    await device.stop()
    await disk.close()


async def test_a_name_that_cannot_be_synced_fails_the_device(tmp_path: Path) -> None:
    journal = Journal(str(tmp_path))
    journal.failing = PLACE.directory
    disk = RealDisk("d1", journal, knobs=KNOBS)
    device = TableDevice("d1", str(tmp_path), disk, SystemClock(), crash=NoCrashPoints())
    device.start()
    for _ in range(2):
        with pytest.raises(NodeError) as raised:
            await device.apply(PLACE, merge(put("a", 1)))
        assert raised.value.code is Code.DEVICE_FAILED
        journal.failing = None
    assert disk.failed is not None
    await device.stop()
    await disk.close()


async def test_a_log_is_moved_when_it_is_long_and_begun_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a reader it stays as short as is set; with one it grows, as far as that lasts."""
    limit, log = 64 * schema.PAGE_BYTES, tmp_path / f"{PLACE.path}-wal"
    monkeypatch.setattr(schema, "WAL_BYTES_MAX", limit)
    async with device_at(tmp_path) as device:

        async def longest(numbers: range) -> int:
            sizes = []
            for number in numbers:
                await device.apply(PLACE, merge(*(put(f"{number:03d}-{n}" + "x" * 200, 1) for n in range(5))))
                sizes.append(log.stat().st_size)
            return max(sizes)

        assert limit < await longest(range(200)) < 2 * limit
        database = await device.opened(PLACE, NAME)
        assert database is not None
        reader = schema.open_reader(database.path)
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM row").fetchone()
        assert await longest(range(200, 400)) > 2 * limit
        reader.close()
        await longest(range(400, 420))
        assert await longest(range(420, 600)) < 2 * limit
        assert len(rows_of(database)) == 3000


def can_trace() -> bool:
    if shutil.which("strace") is None:
        return False
    return subprocess.run(["strace", "-o", os.devnull, "true"], check=False, capture_output=True).returncode == 0


async def injected(tmp_path: Path, call: str, error: str, when: str) -> dict[str, str]:
    """What the writer said, with one system call failing."""
    if not can_trace():
        pytest.skip("not run: strace cannot trace here")
    root = Path(__file__).parents[4]
    inject = ["strace", "-f", "-qq", "-o", os.devnull, "-e", f"trace={call}", "-e", f"inject={call}:error={error}:when={when}"]
    process = await asyncio.create_subprocess_exec(
        *inject,
        sys.executable,
        "-c",
        WRITER,
        str(tmp_path),
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    said = (await asyncio.wait_for(process.communicate(), 30))[0].decode()
    return dict(line.split(" ", 1) for line in said.splitlines())


@pytest.mark.parametrize("when", ["4", "7"])
async def test_nothing_is_acknowledged_after_a_failed_sync(tmp_path: Path, when: str) -> None:
    said = await injected(tmp_path, "fdatasync", "EIO", when)
    outcomes = [said[f"o{i:02d}"] for i in range(12)]
    first = outcomes.index("device_failed")
    assert outcomes == ["ok"] * first + ["device_failed"] * (12 - first)
    assert said["device"] != "None"
    async with device_at(tmp_path) as device:
        await acknowledged(device, said)


async def test_a_full_disk_refuses_and_recovers(tmp_path: Path) -> None:
    said = await injected(tmp_path, "pwrite64", "ENOSPC", "30..33")
    outcomes = [said[f"o{i:02d}"] for i in range(12)]
    assert "no_space" in outcomes
    assert outcomes[-1] == "ok"
    assert said["device"] == "None"
    async with device_at(tmp_path) as device:
        await acknowledged(device, said)


async def acknowledged(device: TableDevice, said: dict[str, str]) -> None:
    database = await device.opened(PLACE, "/acc/con")
    assert database is not None
    found = {row.name for row in rows_of(database)}
    assert {name for name, outcome in said.items() if outcome == "ok"} <= found
    assert database.state.stats.object_count == len(found)
