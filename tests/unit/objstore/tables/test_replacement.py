"""A crash at any step of putting a database in place, or removing one, loses nothing and leaves nothing half."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from objstore.tables.replacement import CRASH_POINTS
from tests.unit.objstore.tables.rig import put
from tests.unit.objstore.tables.syncrig import sync_rig

PASS = """
import asyncio, os, sys
from pathlib import Path
from objstore.runtime.crashpoints import crash_points_from
from objstore.tables import device, replacement
from tests.unit.objstore.tables.rig import put
from tests.unit.objstore.tables.syncrig import sync_rig

async def main():
    points = crash_points_from(os.environ, (*device.CRASH_POINTS, *replacement.CRASH_POINTS))
    async with sync_rig(Path(sys.argv[1]), 4, crash=points) as rig:
        for number in map(int, sys.argv[2]):
            await rig.nodes[number].merge(put(f"mine{number}", 2))
        await rig.replicate(3)

asyncio.run(main())
"""


def crash(root: Path, point: str, written: str = "") -> int:
    """One pass of node 3, after these nodes took in a row, which ends at the point; returns how."""
    top = Path(__file__).parents[4]
    environment = {**os.environ, "PYTHONPATH": str(top), "OBJSTORE_CRASH_AT": point}
    command = [sys.executable, "-c", PASS, str(root), written]
    return subprocess.run(command, cwd=top, env=environment, timeout=30, check=False).returncode


def left(root: Path, pattern: str) -> list[Path]:
    return list(root.glob(pattern))


ADOPTIONS = [f"{point}:{count}" for point in CRASH_POINTS if point.startswith("tables.adopt") for count in (1, 2)]


@pytest.mark.parametrize("existing", [False, True])
@pytest.mark.parametrize("point", ADOPTIONS)
async def test_a_crash_while_a_whole_database_is_put_in_place(tmp_path: Path, point: str, existing: bool) -> None:
    """All nodes are in the process that ends, so the receivers end with it."""
    rows = [put(f"o{i:04d}", 1) for i in range(1200)]
    async with sync_rig(tmp_path, 4, (3,)) as rig:
        await rig.nodes[3].write("create", 1)
        await rig.nodes[3].merge(*rows)
    assert await asyncio.to_thread(crash, tmp_path, point, "012" if existing else "") == -signal.SIGKILL
    async with sync_rig(tmp_path, 4) as rig:
        databases = await rig.databases()
        assert databases[3] == 1
        if existing:
            assert databases == [1, 1, 1, 1]
            for node in rig.nodes[:3]:
                assert f"mine{node.number}" in {row.name for row in await node.rows()}
        assert not left(tmp_path, "n?/tmp/*")
        assert (await rig.replicate(3))[0]["removed"] == 1
        await rig.replicate(0, 1, 2)
        expected = {*rows, *(put(f"mine{number}", 2) for number in range(3) if existing)}
        assert set(await rig.equal(0, 1, 2)) == expected
        assert len({(await node.state()).id for node in rig.nodes[:3]}) == 3


@pytest.mark.parametrize("point", ["tables.remove.unlinked:1"])
async def test_a_crash_while_a_database_is_removed(tmp_path: Path, point: str) -> None:
    async with sync_rig(tmp_path, 4, (3,)) as rig:
        await rig.nodes[3].merge(put("a", 1))
    assert await asyncio.to_thread(crash, tmp_path, point) == -signal.SIGKILL
    async with sync_rig(tmp_path, 4) as rig:
        assert await rig.equal(0, 1, 2) == [put("a", 1)]
        assert await rig.databases() == [1, 1, 1, 0]
        await rig.nodes[3].merge(put("b", 1))  # what was left beside it is not believed
        assert await rig.nodes[3].rows() == [put("b", 1)]
        await rig.replicate(3)
        assert await rig.equal(0, 1, 2) == [put("a", 1), put("b", 1)]
        assert await rig.databases() == [1, 1, 1, 0]
        assert not left(tmp_path, "n3/containers/*")
