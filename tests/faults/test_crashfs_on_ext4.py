"""What ext4 leaves after a power cut is among the states that CrashFS lists: the model is never the weaker one."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.figures import Count
from tests.faults.test_power_cuts import ROOT, skip_if_missing

ROUNDS = 150

pytestmark = pytest.mark.xdist_group("power cuts")


def compare(directory: Path, *options: str) -> tuple[int, list[str]]:
    """How many rounds could be compared, and what was wrong."""
    skip_if_missing()
    command = [sys.executable, "-m", "tests.faults.comparing", "--rounds", str(ROUNDS), *options, str(directory)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    said = json.loads(done.stdout)
    return said["rounds"], said["problems"]


def test_ext4_does_nothing_that_crashfs_does_not_know(tmp_path: Path, count: Count) -> None:
    rounds, found = compare(tmp_path)
    count("CrashFS compared with ext4", **{"rounds": rounds, "states not known": len(found)})
    assert rounds > ROUNDS * 0.8
    assert not found, "\n".join(found[:5])


def test_a_model_that_loses_nothing_is_found_out(tmp_path: Path, count: Count) -> None:
    _, found = compare(tmp_path, "--weak")
    count("crash controls", **{"wrong settings": 1, "seen": int(len(found) > ROUNDS / 10)})
    assert len(found) > ROUNDS / 10
