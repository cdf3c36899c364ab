"""The supervisor with real processes and signals. It runs in a process of its own; its children are stand-ins."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from objstore.app.children import Spec
from objstore.app.supervisor import Supervisor
from objstore.runtime.unixsockets import bound_beside

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[3]
PATIENCE_S = 20.0
DRIVER = """
import sys
from objstore.app.children import Spec
from objstore.app.supervisor import Supervisor
specs = [Spec(name, kind, config, slot=n, bank=8, drain_timeout_s=0.2) for n, (name, kind, config) in enumerate(SPECS)]
def announce(event, child):
    print("announce", event, child.spec.name, flush=True)
def on_ready():
    print("all ready", flush=True)
sys.exit(Supervisor(specs, announce=announce, on_ready=on_ready, program=(CHILD,), settle_s=0.1).run())
"""


class Running:
    """A supervisor under test and what it and its children print."""

    def __init__(self, tmp_path: Path, specs: list[tuple[str, str, str]]) -> None:
        self.output = tmp_path / "output"
        code = DRIVER.replace("SPECS", repr(specs)).replace("CHILD", repr(str(HERE / "fake_child.py")))
        with self.output.open("wb") as output:
            environment = {**os.environ, "PYTHONPATH": str(ROOT)}
            self.process = subprocess.Popen(
                [sys.executable, "-c", code], stdout=output, stderr=output, env=environment, cwd=tmp_path
            )

    def text(self) -> str:
        return self.output.read_text()

    def pids(self, name: str) -> list[int]:
        """Of each start of this child, in order."""
        return [int(pid) for pid in re.findall(rf"^started {name} (\d+)", self.text(), re.MULTILINE)]

    def wait(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < deadline, self.text()
            time.sleep(0.01)

    def wait_ready(self) -> None:
        self.wait(lambda: "all ready" in self.text())

    def end(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE_S)

    def all_pids(self) -> list[int]:
        return [int(pid) for pid in re.findall(r"^started \S+ (\d+)", self.text(), re.MULTILINE)]


def alive(pid: int) -> bool:
    """Running, and not merely waiting to be reaped."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Callable[..., Running]]:
    made: list[Running] = []

    def start(*specs: tuple[str, str, str]) -> Running:
        made.append(Running(tmp_path, list(specs)))
        return made[-1]

    yield start
    for running in made:
        if running.process.poll() is None:
            running.process.kill()
            running.process.wait()
        for pid in running.all_pids():
            if alive(pid):
                os.kill(pid, signal.SIGKILL)


Start = Callable[..., Running]


def test_a_killed_child_comes_back(run: Start) -> None:
    running = run(("node", "storage", "good"), ("proxy", "public", "good"))
    running.wait_ready()
    os.kill(running.pids("node")[0], signal.SIGKILL)
    running.wait(lambda: len(running.pids("node")) == 2)
    assert "announce ended node" in running.text()
    assert len(running.pids("proxy")) == 1
    assert running.end() == 0
    assert not any(alive(pid) for pid in running.all_pids())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_all_in_order(run: Start, number: signal.Signals) -> None:
    running = run(("node", "storage", "good"), ("proxy", "public", "good"))
    running.wait_ready()
    running.process.send_signal(number)
    assert running.process.wait(PATIENCE_S) == 0
    assert re.findall(r"^ended \S+", running.text(), re.MULTILINE) == ["ended proxy", "ended node"]


def test_nothing_survives_a_supervisor_that_was_killed(run: Start) -> None:
    running = run(("node", "storage", "good"), ("proxy", "public", "good"))
    running.wait_ready()
    running.process.kill()
    running.process.wait()
    running.wait(lambda: not any(alive(pid) for pid in running.all_pids()))
    assert "orphaned node" in running.text()


def test_a_child_that_ignores_the_order_is_killed(run: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    running = run(("node", "storage", "stubborn"))
    running.wait_ready()
    running.process.send_signal(signal.SIGTERM)
    time.sleep(0.1)
    started = time.monotonic()
    running.process.send_signal(signal.SIGTERM)
    assert running.process.wait(PATIENCE_S) == 0
    assert time.monotonic() - started < 4.0, "the second order does not wait for the margin"
    assert not alive(running.pids("node")[0])


def test_a_child_that_cannot_start_ends_all_with_code_1(run: Start) -> None:
    running = run(("node", "storage", "good"), ("bad", "storage", "failing"))
    assert running.process.wait(PATIENCE_S) == 1
    assert "cannot start" in running.text()
    assert not any(alive(pid) for pid in running.all_pids())


def test_hangup_replaces_every_process(run: Start) -> None:
    running = run(("node1", "storage", "good"), ("node2", "storage", "good"), ("proxy", "public", "good"))
    running.wait_ready()
    running.process.send_signal(signal.SIGHUP)
    running.wait(lambda: all(len(running.pids(name)) == 2 for name in ("node1", "node2", "proxy")))
    running.wait(lambda: running.text().count("announce ended") == 3)
    text = running.text()
    order = [line for line in text.splitlines() if re.match(r"(started|ended) proxy", line)]
    assert [line.split()[0] for line in order] == ["started", "started", "ended"], "the new worker runs before the old one ends"
    slots = [line.split()[3] for line in order if line.startswith("started")]
    assert slots == ["2", "10"]
    assert running.end() == 0


def test_unix_sockets_stand_beside_the_ports_of_storage_processes(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as probe, socket.socket() as second:
        for one in (probe, second):
            one.bind(("127.0.0.1", 0))
        first, other = probe.getsockname(), second.getsockname()
    supervisor = Supervisor([Spec("node", "storage", "", (first,)), Spec("proxy", "public", "", (other,))])
    supervisor.open_listeners()
    with pytest.raises(OSError, match="in use"):
        bound_beside(*first)
    bound_beside(*other).close()
    supervisor.close_listeners()
    with bound_beside(*first):  # somebody else has the name now
        again = Supervisor([Spec("node", "storage", "", (first,))])
        again.open_listeners()
        assert list(again.listeners) == [first]
        again.close_listeners()
    assert capsys.readouterr().err.count("no Unix socket beside 127.0.0.1") == 1


def test_the_supervisor_is_lean() -> None:
    """It holds no event loop library and nothing of the store."""
    code = "import sys, objstore.app.supervisor; print(*sorted(sys.modules))"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    modules = set(done.stdout.split())
    assert not modules & {"aiohttp", "uvloop", "asyncio", "objstore.proxy", "objstore.object", "objstore.api"}
