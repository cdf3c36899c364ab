"""Starts programs, each with a log of its own, and ends them by their process ids alone."""

import contextlib
import os
import random
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from bench.cluster import descendants

PORTS = range(20_000, 22_500)
"""Below the ports that the system gives to clients, so that none is taken between the choice and the start."""
GRPC_AHEAD = 10_000
"""SeaweedFS's second port is this much above the first; its S3 gateway relies on it."""
STOP_S = 3.0
POLL_S = 0.1


class NotStarted(RuntimeError):
    """A program ended, or did not answer in time."""


class Ports:
    """Gives out ports of 127.0.0.1 that are free, each once, with their second port free as well."""

    def __init__(self) -> None:
        self._left = random.sample(PORTS, len(PORTS))

    def take(self) -> int:
        """One port. Raises NotStarted when there is none."""
        while self._left:
            port = self._left.pop()
            if is_free(port) and is_free(port + GRPC_AHEAD):
                return port
        raise NotStarted(f"no port from {PORTS.start} to {PORTS.stop} is free")


def is_free(port: int) -> bool:
    """Whether one can listen there."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


class Processes:
    """The programs of one side."""

    def __init__(self, logs: Path, environment: dict[str, str]) -> None:
        self._logs = logs
        self._environment = {**os.environ, **environment}
        self._running: list[tuple[str, subprocess.Popen[bytes]]] = []

    def start(self, name: str, command: list[str]) -> None:
        """Start one program; what it prints goes to NAME.log."""
        with (self._logs / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                command,
                cwd=self._logs,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._running.append((name, process))

    def roots(self, part: str = "") -> list[int]:
        """The process ids of what was started, of those with `part` in their name."""
        return [process.pid for name, process in self._running if part in name]

    def check(self) -> None:
        """Raises NotStarted when a program has ended."""
        for name, process in self._running:
            if process.poll() is not None:
                tail = (self._logs / f"{name}.log").read_text(errors="replace")[-1500:]
                raise NotStarted(f"{name} ended with code {process.returncode}:\n{tail}")

    def wait_for(self, what: str, is_ready: Callable[[], bool], longest_s: float = 60.0) -> None:
        """Wait until `is_ready`. Raises NotStarted when it takes too long or a program ended."""
        deadline = time.monotonic() + longest_s
        while time.monotonic() < deadline:
            self.check()
            with contextlib.suppress(OSError):
                if is_ready():
                    return
            time.sleep(POLL_S)
        raise NotStarted(f"{what} was not ready within {longest_s:.0f} s")

    def stop(self) -> None:
        """Ask all to end, the last started first, and kill what is still there after a while."""
        known = {pid for root in self.roots() for pid in descendants(root)}
        for _, process in reversed(self._running):
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + STOP_S
        for _, process in self._running:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(0.1, deadline - time.monotonic()))
        for pid in [pid for pid in known if session_of(pid) in self.roots()]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for _, process in self._running:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(STOP_S)
        self._running.clear()


def session_of(pid: int) -> int:
    """The session of a process: that of the program that began it, unless its number is now another's. 0 when it has ended."""
    try:
        return os.getsid(pid)
    except ProcessLookupError:
        return 0
