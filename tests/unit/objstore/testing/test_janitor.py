"""What cleans up behind a test process, however that ended."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from objstore.testing import janitor
from objstore.testing.processes import Janitor


@pytest.fixture
def stubborn() -> Iterator[subprocess.Popen[bytes]]:
    """A process that would stay for ever: stopped, and nobody's group is orphaned by our death."""
    process = subprocess.Popen(["sleep", "600"], start_new_session=True)
    process.send_signal(signal.SIGSTOP)
    yield process
    process.kill()
    process.wait()


def test_it_kills_what_it_watches_and_removes_the_directory(tmp_path: Path, stubborn: subprocess.Popen[bytes]) -> None:
    directory = tmp_path / "cluster"
    (directory / "node1").mkdir(parents=True)
    cleaner = Janitor(str(directory), keep=False)
    cleaner.watch(stubborn.pid)
    cleaner.finish()
    assert stubborn.wait(5) == -signal.SIGKILL
    assert not directory.exists()


@pytest.mark.parametrize("late", [False, True])
def test_the_directory_stays_on_request(tmp_path: Path, stubborn: subprocess.Popen[bytes], late: bool) -> None:
    cleaner = Janitor(str(tmp_path), keep=not late)
    cleaner.watch(stubborn.pid)
    if late:
        cleaner.keep()
    cleaner.finish()
    assert stubborn.wait(5) == -signal.SIGKILL
    assert tmp_path.exists()


def test_it_works_when_its_owner_is_killed(tmp_path: Path, stubborn: subprocess.Popen[bytes]) -> None:
    directory = tmp_path / "cluster"
    directory.mkdir()
    code = f"""
import os, signal, time
from objstore.testing.processes import Janitor
cleaner = Janitor({str(directory)!r}, keep=False)
cleaner.watch({stubborn.pid})
os.kill(os.getpid(), signal.SIGKILL)
"""
    root = Path(__file__).resolve().parents[4]
    subprocess.run([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(root)}, check=False)
    assert stubborn.wait(5) == -signal.SIGKILL
    deadline = time.monotonic() + 5
    while directory.exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_number_that_another_process_has_now_is_left_alone(stubborn: subprocess.Popen[bytes]) -> None:
    janitor._end({stubborn.pid: "1"})
    assert stubborn.poll() is None
    janitor._end({stubborn.pid: janitor._start_time(stubborn.pid)})
    assert stubborn.wait(5) == -signal.SIGKILL
