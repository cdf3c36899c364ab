"""A real deployment on loopback addresses: a proxy-and-auth node and storage nodes, each its own `objstore serve`, made by the
commands an operator uses. Nodes can be killed with SIGKILL and started again.
"""

import os
import random
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

from bench.cluster import descendants, free_port
from tests.cluster.swift import Swift

ROOT = Path(__file__).resolve().parents[2]
START_TIMEOUT_S = 40.0
STOP_TIMEOUT_S = 40.0


def command(*arguments: str | Path, cwd: Path | None = None) -> str:
    """Run one of the project's commands; returns what it printed. Raises RuntimeError with its error line."""
    program = ROOT / "bin" / str(arguments[0])
    done = subprocess.run([program, *map(str, arguments[1:])], capture_output=True, text=True, cwd=cwd, timeout=60)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(map(str, arguments))}: exit {done.returncode}: {done.stderr.strip()}")
    return done.stdout


def wait_for(condition: Callable[[], bool], timeout_s: float, what: str) -> None:
    """Poll until true. Raises RuntimeError naming `what` after `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise RuntimeError(f"not within {timeout_s:.0f} s: {what}")
        time.sleep(0.1)


class Deployment:
    """`storage` nodes of one device each, in a zone each, and one proxy node. Not started by the constructor."""

    def __init__(self, root: Path, storage: int = 4, replicas: int = 3, workers: int = 1) -> None:
        self.root = root
        self.port = free_port()
        # Addresses of our own, so that several deployments can run side by side.
        net = f"127.{random.SystemRandom().randrange(16, 250)}.{random.SystemRandom().randrange(1, 250)}"
        self.names = [f"storage{n + 1}" for n in range(storage)]
        self.ips = {name: f"{net}.{n + 10}" for n, name in enumerate(self.names)}
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self._prepare(replicas, workers)

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def _prepare(self, replicas: int, workers: int) -> None:
        self.root.mkdir(parents=True, exist_ok=True)
        command("objstore", "secret", "new", self.root / "secret")
        rings = self.root / "rings"
        rings.mkdir()
        for ring in ("account", "container", "object"):
            builder = rings / f"{ring}.builder"
            command("ring-builder", builder, "create", "6", str(replicas), "1")
            for zone, name in enumerate(self.names):
                command("ring-builder", builder, "add", f"r1z{zone + 1}-{self.ips[name]}:6200/disk", "100")
            command("ring-builder", builder, "rebalance")
        cluster = '[cluster]\nsecret_file = "../secret"\nrings_dir = "../rings"\nhash_prefix = "tests"\n'
        for name in self.names:
            home = self.root / name
            (home / "devices" / "disk").mkdir(parents=True)
            (home / "node.toml").write_text(
                f'{cluster}[node]\nname = "{name}"\nip = "{self.ips[name]}"\nports = [6200]\n'
                'roles = ["account", "container", "object", "daemons"]\ndevices_root = "devices"\nstate_dir = "state"\n'
            )
            command("objstore", "device", "init", home / "devices" / "disk", "--config", home / "node.toml")
        home = self.root / "proxy"
        home.mkdir()
        (home / "node.toml").write_text(
            f'{cluster}[node]\nname = "proxy"\nip = "127.0.0.1"\nroles = ["proxy", "auth"]\nstate_dir = "state"\n'
            f'[proxy]\nbind = "127.0.0.1"\nport = {self.port}\nworkers = {workers}\n[auth]\ndevelopment = true\n'
        )

    def start(self, *names: str) -> None:
        """Start the named nodes (all when none is named) and wait until they answer."""
        chosen = names or (*self.names, "proxy")
        for name in chosen:
            log = (self.root / name / "log").open("ab")
            config = self.root / name / "node.toml"
            self.processes[name] = subprocess.Popen(
                [ROOT / "bin" / "objstore", "serve", "--config", config],
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            log.close()
        for name in chosen:
            if name != "proxy":
                wait_for(lambda name=name: self._answers(name), START_TIMEOUT_S, f"{name} answers")  # type: ignore[misc]
        if "proxy" in chosen:
            wait_for(self._healthy, START_TIMEOUT_S, "the proxy is healthy")

    def _answers(self, name: str) -> bool:
        if self.processes[name].poll() is not None:
            raise RuntimeError(f"{name} ended: {self.log(name)[-2000:]}")
        with socket.socket() as probe:
            return probe.connect_ex((self.ips[name], 6200)) == 0

    def _healthy(self) -> bool:
        if self.processes["proxy"].poll() is not None:
            raise RuntimeError(f"the proxy ended: {self.log('proxy')[-2000:]}")
        try:
            with urllib.request.urlopen(f"{self.endpoint}/healthcheck", timeout=2) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def kill(self, *names: str) -> None:
        """SIGKILL the named nodes, supervisor and workers in one go (all when none is named)."""
        chosen = names or tuple(self.processes)
        pids = [pid for name in chosen for pid in descendants(self.processes[name].pid)]
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        for name in chosen:
            self.processes.pop(name).wait(10)

    def stop(self) -> None:
        """End all nodes in order. Raises RuntimeError when one leaves a process behind."""
        running = {name: (process, descendants(process.pid)) for name, process in self.processes.items()}
        for process, _ in running.values():
            process.send_signal(signal.SIGTERM)
        left = []
        for name, (process, pids) in running.items():
            try:
                process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                left.append(name)
            for pid in pids:
                if Path(f"/proc/{pid}").exists():
                    os.kill(pid, signal.SIGKILL)
                    left.append(f"{name} pid {pid}")
        self.processes.clear()
        if left:
            raise RuntimeError(f"processes left behind: {left}")

    def log(self, name: str) -> str:
        """What a node printed so far."""
        return (self.root / name / "log").read_text(errors="replace")

    def objstore(self, *arguments: str) -> str:
        """An operator command on this cluster."""
        return command("objstore", *arguments, "--config", self.root / "proxy" / "node.toml")

    def swift(self) -> Swift:
        """A client of the first development user."""
        return Swift(self.endpoint)

    def device(self, name: str) -> Path:
        """A storage node's device directory."""
        return self.root / name / "devices" / "disk"


def pending(deployment: Deployment) -> int:
    """Updates that the nodes still have to deliver, from `objstore status`. Raises RuntimeError when it names none."""
    figures = [
        line.split("pending=")[1].split()[0] for line in deployment.objstore("status", "--plain").splitlines() if "pending=" in line
    ]
    if not figures:
        raise RuntimeError("status says nothing about pending updates")
    return sum(map(int, figures))
