"""Crash points: off by default, deadly where asked for."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from objstore.runtime.committer import CRASH_POINTS
from objstore.runtime.crashpoints import NoCrashPoints, crash_points_from

ROOT = Path(__file__).parents[4]
COMMIT = """
import asyncio, os, sys
from objstore.runtime.crashpoints import crash_points_from
from objstore.runtime.committer import CRASH_POINTS
from objstore.runtime.disk import RealDisk
from objstore.runtime.filesystem import RealFileSystem
from objstore.runtime.interface import Change
from objstore.runtime.journal import open_journal
from objstore.runtime.knobs import Knobs

async def main():
    fs = RealFileSystem(sys.argv[1])
    journal = open_journal(fs, Knobs(), None) if sys.argv[2] == "journal" else None
    disk = RealDisk("sda", fs, journal=journal, crash=crash_points_from(os.environ, CRASH_POINTS))
    for number in range(3):
        await disk.commit(Change(f"objects/1/{number}", b"body"))
        print(number, flush=True)
        await disk.settle()
    await disk.close()

asyncio.run(main())
"""


JOURNALED = ("disk.journal_synced", "disk.all_synced", "disk.settled")


def test_off_by_default() -> None:
    points = crash_points_from({}, ["a", "b"])
    points.reach("a")
    assert isinstance(points, NoCrashPoints) and list(points.names()) == ["a", "b"]


@pytest.mark.parametrize("text", ["c", "a:0", "a:x", ":1"])
def test_wrong_settings_are_refused(text: str) -> None:
    with pytest.raises(ValueError):
        crash_points_from({"OBJSTORE_CRASH_AT": text}, ["a", "b"])


def test_an_unlisted_point_is_a_defect() -> None:
    with pytest.raises(ValueError, match="not listed"):
        crash_points_from({"OBJSTORE_CRASH_AT": "a:5"}, ["a"]).reach("b")


@pytest.mark.parametrize("point", CRASH_POINTS)
def test_each_point_of_a_commit_is_reached(tmp_path: Path, point: str) -> None:
    """The process dies at the second change: the first is there and was acknowledged, the third never began."""
    environment = os.environ | {"OBJSTORE_CRASH_AT": f"{point}:2"}
    way = "journal" if point in JOURNALED else "direct"
    command = [sys.executable, "-c", COMMIT, str(tmp_path), way]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == -9, done.stderr
    acknowledged = done.stdout.split()
    assert acknowledged in (["0"], ["0", "1"])
    found = sorted(os.listdir(tmp_path / "objects/1"))
    assert set(acknowledged) <= set(found) <= {"0", "1"}
    named = CRASH_POINTS.index(point) >= CRASH_POINTS.index("disk.named")
    assert ("1" in found) == named
