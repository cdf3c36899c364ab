"""Real storage processes under the real supervisor: their end, their replacement, and who may speak to them."""

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

from objstore.app.cli import run
from objstore.app.configfile import load_config
from objstore.app.devcluster import DEVICE, prepare
from objstore.runtime.device import DeviceInUse, open_device
from objstore.runtime.unixsockets import connected_beside, peer_of

ROOT = Path(__file__).resolve().parents[4]
PATIENCE_S = 30.0
DRIVER = """
import sys
from objstore.app.devcluster import DevCluster
from objstore.app.supervisor import Supervisor
supervisor = Supervisor(DevCluster(sys.argv[1], 1, -1).specs(0))
supervisor.open_listeners()
sys.exit(supervisor.run())
"""


class Node:
    """One storage node of a development cluster, without a proxy."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        cluster = prepare(str(directory), 1, 1, 1, fresh=False)
        os.close(cluster.lock_fd)
        self.output = directory / "output"
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-c", DRIVER, str(directory)],
                stdout=output,
                stderr=output,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
            )
        self.wait(lambda: len(self.pids()) == 1)

    def text(self) -> str:
        return self.output.read_text()

    def pids(self) -> list[int]:
        """Of every process that became ready."""
        return [int(pid) for pid in re.findall(r" ready pid=(\d+)", self.text())]

    def wait(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < deadline, self.text()
            time.sleep(0.02)

    @property
    def port(self) -> int:
        """Where it listens for other nodes."""
        return load_config(str(self.directory / "conf" / "node1.toml")).node.ports[0]

    def owned(self) -> bool:
        """Whether a process has the device."""
        identity = (self.directory / "node1" / "devices" / DEVICE / "identity.json").read_text()
        cluster = re.findall(r'"cluster": "(\w+)"', identity)[0]
        try:
            open_device(str(self.directory / "node1" / "devices" / DEVICE), cluster, DEVICE).close()
        except DeviceInUse:
            return True
        return False


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    running = Node(tmp_path)
    yield running
    if running.process.poll() is None:
        running.process.send_signal(signal.SIGTERM)
        try:
            running.process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            running.process.kill()


def test_a_killed_supervisor_takes_its_processes_along(node: Node) -> None:
    assert node.owned()
    node.process.kill()
    node.process.wait()
    node.wait(lambda: not node.owned())
    assert " ending" in node.text(), "in order, although nobody waits any more"


def test_a_killed_process_is_replaced_and_owns_the_device_again(node: Node) -> None:
    os.kill(node.pids()[0], signal.SIGKILL)
    node.wait(lambda: len(node.pids()) == 2)
    assert node.owned()


def test_hangup_hands_the_device_over(node: Node) -> None:
    node.process.send_signal(signal.SIGHUP)
    node.wait(lambda: len(node.pids()) == 2)
    node.wait(lambda: not Path(f"/proc/{node.pids()[0]}").exists())
    assert node.owned()
    assert node.text().index(" ending") < node.text().rindex(" ready ")


def test_nobody_is_refused_while_it_is_replaced(node: Node) -> None:
    """By TCP and by the Unix socket beside: the supervisor holds both."""
    ip, port = load_config(str(node.directory / "conf" / "node1.toml")).node.ip, node.port
    node.process.send_signal(signal.SIGHUP)
    listeners = set()
    while len(node.pids()) < 2 or Path(f"/proc/{node.pids()[0]}").exists():
        assert node.process.poll() is None
        with socket.create_connection((ip, port), PATIENCE_S):
            pass
        beside = connected_beside(ip, port)
        assert beside is not None
        with beside:
            listeners.add(peer_of(beside)[0])
        time.sleep(0.01)
    assert listeners >= set(node.pids())
    node.process.send_signal(signal.SIGTERM)
    node.wait(lambda: node.process.poll() is not None)
    assert connected_beside(ip, port) is None


def test_commands_reach_it_with_the_secret_alone(node: Node, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = ["--data", str(tmp_path)]
    assert run(["status", *data]) == 0
    assert "node1" in capsys.readouterr().out
    assert run(["daemon", "object-updater", "--once", *data]) == 0
    assert "object-updater sent=0" in capsys.readouterr().out
    assert run(["daemon", "object-polisher", "--once", *data]) == 1
    assert run(["quarantine", "list", *data]) == 0
    assert run(["locate", "AUTH_a/c/o", *data]) == 1
    assert "no device that answers holds anything" in capsys.readouterr().err

    secret = tmp_path / "secret"
    secret.write_text("w" * 64)
    assert run(["status", *data]) == 1
    err = capsys.readouterr().err
    assert "does not answer" in err
    assert "Traceback" not in err


def test_a_daemon_runs_here_when_the_node_is_down(node: Node, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    node.process.send_signal(signal.SIGTERM)
    assert node.process.wait(PATIENCE_S) == 0
    assert run(["daemon", "object-updater", "--once", "--data", str(tmp_path)]) == 0
    assert "object-updater sent=0" in capsys.readouterr().out
    assert not node.owned()
