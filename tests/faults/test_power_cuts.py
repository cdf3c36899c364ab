"""Real power cuts: a cluster under load on a loop-mounted ext4 that is shut down under it, again and again.

Needs root, loop devices and mkfs.ext4; where these are missing nothing is passed, but skipped with the reason.
"""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from tests.faults.figures import Count
from tests.faults.loopfs import run

ROOT = Path(__file__).resolve().parents[2]
CUTS = 200
SECONDS = 90.0
CUTS_OF_CONTROL = 10
CONTROL_ATTEMPTS_MAX = 5

pytestmark = pytest.mark.xdist_group("power cuts")


@cache
def missing() -> str:
    """Why power cannot be cut here; "" when it can."""
    try:
        done = cutting("--probe")
    except OSError as error:
        return f"not run: {error}"
    return "" if done.returncode == 0 else done.stdout.strip() or done.stderr.strip()[-300:]


def cutting(*options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.faults.cutting", *options]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=SECONDS + 120, check=False)


def skip_if_missing() -> None:
    if missing():
        pytest.skip(f"power cuts: {missing()}")


def cut(*options: str) -> tuple[dict[str, int], list[str]]:
    """Figures and problems of one run."""
    skip_if_missing()
    done = cutting(*options)
    assert done.returncode == 0, done.stdout + done.stderr
    said = json.loads(done.stdout)
    return said["figures"], said["problems"]


@pytest.mark.parametrize(("setting", "share"), [("right", 0.7), ("direct", 0.3)])
def test_nothing_acknowledged_is_lost(setting: str, share: float, count: Count) -> None:
    figures, problems = cut("--cuts", str(int(CUTS * share)), "--seconds", str(SECONDS * share), "--setting", setting)
    count("power cuts", **figures)
    assert figures["cuts"] >= CUTS * share / 4, "the machine is too slow to say anything"
    assert figures["objects"] > figures["cuts"] and figures["rows"] > figures["cuts"]
    assert not problems, "\n".join(problems)


@pytest.mark.parametrize(
    ("setting", "symptom"),
    [
        ("files", "lost objects"),
        ("directories", "lost objects"),
        ("rows", "lost rows"),
        ("quorum", "lost objects"),
        ("settled", "lost objects"),
    ],
)
def test_a_wrong_setting_loses(setting: str, symptom: str, count: Count) -> None:
    """Files not synced, directories not synced, SQLite's synchronous=NORMAL, one of three replicas is enough, a journal that
    forgets too early. What a cut meets of it is chance: a row without its object (`wrong`) shows it as well, and a few more cuts do
    if the first ones do not.
    """
    seen, problems = 0, []
    for seed in range(1, CONTROL_ATTEMPTS_MAX + 1):
        figures, problems = cut("--cuts", str(CUTS_OF_CONTROL), "--setting", setting, "--seed", str(seed))
        seen = figures[symptom] + figures["wrong"]
        if seen:
            break
    count("power cut controls", **{"wrong settings": 1, "seen": int(seen > 0)})
    assert seen > 0, problems


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
def test_nothing_stays_mounted(end: signal.Signals, tmp_path: Path) -> None:
    skip_if_missing()
    command = [sys.executable, "-m", "tests.faults.cutting", "--cuts", "1000", str(tmp_path)]
    image = tmp_path / "image"
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        assert eventually(lambda: loops_of(image))
        process.send_signal(end)
    assert eventually(lambda: not loops_of(image))


def loops_of(image: Path) -> str:
    return run("losetup", "-j", str(image))


def eventually(condition: Callable[[], object]) -> bool:
    deadline = time.monotonic() + 20
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True
