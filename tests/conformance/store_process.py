"""Starts a development cluster for a conformance run, waits until it is healthy, and stops all of it again."""

import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from types import TracebackType

HEALTHY_TIMEOUT_S = 90.0
STOP_TIMEOUT_S = 30.0
POLL_S = 0.2
LOG_TAIL_LINES = 20


class StoreNotReady(Exception):
    """The store did not come up; the message says why and shows the end of its log."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def is_healthy(endpoint: str) -> bool:
    """True when GET /healthcheck answers 200."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"{endpoint}/healthcheck", timeout=5) as answer:
            return bool(answer.status == 200)
    except (OSError, urllib.error.URLError):
        return False


class StoreProcess:
    """`bin/objstore dev` in a process group of its own, as a context manager that gives its endpoint.

    Raises StoreNotReady when the cluster is not healthy after HEALTHY_TIMEOUT_S, or ends before.
    Leaving the context ends every process of the group.
    """

    def __init__(self, checkout: str, data_dir: str, log_path: str) -> None:
        self.checkout = checkout
        self.data_dir = data_dir
        self.log_path = log_path
        self.endpoint = ""
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> str:
        launcher = os.path.join(self.checkout, "bin", "objstore")
        if not os.path.exists(launcher):
            raise StoreNotReady(f"{launcher} does not exist; give --endpoint to test a store that already runs")
        port = free_port()
        self.endpoint = f"http://127.0.0.1:{port}"
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen(
                [launcher, "dev", "--data", self.data_dir, "--port", str(port)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            self.wait_until_healthy()
        except BaseException:
            self.stop()
            raise
        return self.endpoint

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    def wait_until_healthy(self) -> None:
        assert self.process is not None
        deadline = time.monotonic() + HEALTHY_TIMEOUT_S
        while not is_healthy(self.endpoint):
            code = self.process.poll()
            if code is not None:
                raise StoreNotReady(f"the store ended with exit code {code}; the end of {self.log_path}:\n{self.log_tail()}")
            if time.monotonic() > deadline:
                raise StoreNotReady(
                    f"no healthy store at {self.endpoint} after {HEALTHY_TIMEOUT_S:.0f} s; "
                    f"the end of {self.log_path}:\n{self.log_tail()}"
                )
            time.sleep(POLL_S)

    def log_tail(self) -> str:
        with open(self.log_path, encoding="utf-8", errors="replace") as log:
            return "".join(log.readlines()[-LOG_TAIL_LINES:])

    def stop(self) -> None:
        """SIGTERM to the leader, as a service manager would; then SIGKILL to whatever is left of the group."""
        if self.process is None:
            return
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                print(f"the store did not stop within {STOP_TIMEOUT_S:.0f} s of SIGTERM; killing it")
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()
        self.process = None
