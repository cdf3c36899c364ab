"""`objstore dev` as a person uses it: the printed lines work, Ctrl-C leaves nothing, data stays, small clusters work."""

import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bench.cluster import descendants, free_port, wait_ready
from tests.cluster.deployment import ROOT, wait_for
from tests.cluster.swift import Swift


class Dev:
    """One run of `objstore dev`."""

    def __init__(self, data: Path, port: int, *options: str) -> None:
        self.out = data.parent / f"out-{time.monotonic_ns()}"
        self.endpoint = f"http://127.0.0.1:{port}"
        command = [ROOT / "bin" / "objstore", "dev", "--data", data, "--port", str(port), *options]
        with self.out.open("wb") as out:
            self.process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, start_new_session=True)

    def wait(self) -> None:
        wait_ready(self.endpoint, self.process)
        deadline = time.monotonic() + 20
        while "curl" not in self.out.read_text() and time.monotonic() < deadline:
            time.sleep(0.05)

    def end(self) -> list[int]:
        """Ctrl-C; returns the processes that are still there, which must be none."""
        pids = descendants(self.process.pid)
        self.process.send_signal(signal.SIGINT)
        assert self.process.wait(30) == 0, self.out.read_text()[-2000:]
        left = [pid for pid in pids if Path(f"/proc/{pid}").exists()]
        for pid in left:
            os.kill(pid, signal.SIGKILL)
        return left

    def abandon(self) -> None:
        """After a test that failed: whatever still runs goes at once."""
        if self.process.poll() is None:
            for pid in descendants(self.process.pid):
                os.kill(pid, signal.SIGKILL)
            self.process.wait(10)


Start = Callable[..., Dev]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts clusters, and leaves none behind when a test fails."""
    started: list[Dev] = []

    def begin(data: Path, port: int, *options: str) -> Dev:
        started.append(Dev(data, port, *options))
        return started[-1]

    yield begin
    for dev in started:
        dev.abandon()


@pytest.mark.parametrize("nodes", [1, 2, 4])
def test_small_clusters_keep_their_data_over_a_restart(start: Start, tmp_path: Path, nodes: int) -> None:
    body = os.urandom(200_000)
    dev = start(tmp_path / "data", free_port(), "--nodes", str(nodes))
    dev.wait()
    swift = Swift(dev.endpoint)
    assert swift.request("PUT", "/kept").status == 201
    assert swift.request("PUT", "/kept/body", body).status == 201
    # The answer needs a majority; the last replica may be a moment later.
    wait_for(lambda: len(list((tmp_path / "data").rglob("*.data"))) == min(nodes, 3), 10, "every replica is written")
    assert dev.end() == []

    dev = start(tmp_path / "data", free_port())
    dev.wait()
    assert Swift(dev.endpoint).request("GET", "/kept/body").body == body
    assert dev.end() == []


def test_the_printed_lines_work_as_printed(start: Start, tmp_path: Path) -> None:
    dev = start(tmp_path / "data", free_port())
    dev.wait()
    text = re.sub(r"\x1b\[[0-9;]*m", "", dev.out.read_text())
    lines = [line.strip().lstrip("$ ") for line in text.splitlines()]
    commands = [line for line in lines if line.startswith(("curl ", "swift "))]
    assert len(commands) >= 2, text
    (tmp_path / "README.md").write_text("something to upload")
    environment = {**os.environ, "PATH": f"{ROOT / '.venv' / 'bin'}:{os.environ['PATH']}"}
    for line in commands:
        done = subprocess.run(["bash", "-ec", line], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
    assert dev.end() == []


def test_a_killed_process_is_started_again(start: Start, tmp_path: Path) -> None:
    dev = start(tmp_path / "data", free_port())
    dev.wait()
    swift = Swift(dev.endpoint)
    assert swift.request("PUT", "/c").status == 201
    for pid in descendants(dev.process.pid)[1:]:
        os.kill(pid, signal.SIGKILL)
        time.sleep(0.2)
    deadline = time.monotonic() + 30
    status = 0
    while status != 201 and time.monotonic() < deadline:
        try:
            status = Swift(dev.endpoint).request("PUT", "/c/o", b"x").status
        except (OSError, RuntimeError):
            time.sleep(0.2)
    assert status == 201
    assert dev.end() == []


def test_a_port_in_use_and_another_cluster_shape_are_plain_errors(start: Start, tmp_path: Path) -> None:
    port = free_port()
    dev = start(tmp_path / "data", port, "--nodes", "1")
    dev.wait()
    second = start(tmp_path / "other", port)
    assert second.process.wait(20) == 1
    assert "in use" in second.out.read_text()
    assert "Traceback" not in second.out.read_text()
    again = start(tmp_path / "data", free_port())
    assert again.process.wait(20) == 1, "two clusters on one data directory"
    assert dev.end() == []
    shape = start(tmp_path / "data", free_port(), "--nodes", "3")
    assert shape.process.wait(20) == 1
    assert "--fresh" in shape.out.read_text()
