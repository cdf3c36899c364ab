"""Start a development cluster for a measurement, account for its CPU time and memory, and stop it."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
READY_TIMEOUT_S = 60.0
CLOCK_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def free_port() -> int:
    """A port of 127.0.0.1 that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass(frozen=True, slots=True)
class Processes:
    """All processes of the machine at one moment."""

    children: dict[int, list[int]]
    ticks: dict[int, int]
    """User and system time, with that of children that ended and were waited for."""

    def below(self, roots: list[int]) -> list[int]:
        """These processes and all below them, each once."""
        found: set[int] = set()
        queue = [root for root in roots if root in self.ticks]
        while queue:
            pid = queue.pop()
            if pid not in found:
                found.add(pid)
                queue.extend(self.children.get(pid, []))
        return sorted(found)


def scan() -> Processes:
    """Look at all processes once: sides of 70 processes are looked at four times a second, on the cores that serve."""
    children: dict[int, list[int]] = {}
    ticks: dict[int, int] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                fields = Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            children.setdefault(int(fields[1]), []).append(int(entry))
            ticks[int(entry)] = sum(map(int, fields[11:15]))
    return Processes(children, ticks)


def descendants(pid: int) -> list[int]:
    """`pid` and every process below it."""
    return scan().below([pid])


@dataclass(slots=True)
class Cluster:
    """A running cluster: where it answers, and its top process."""

    port: int
    process: "subprocess.Popen[bytes]"
    data: Path

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def cpu_s(self) -> float:
        """CPU seconds, user and system, of all processes since they started."""
        total = 0
        for pid in descendants(self.process.pid):
            try:
                fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            total += int(fields[11]) + int(fields[12])
        return total / CLOCK_TICKS_PER_S

    def cpu_by_process(self) -> dict[str, float]:
        """CPU seconds by process title and pid."""
        found = {}
        for pid in descendants(self.process.pid):
            try:
                fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                title = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()[-60:]
            except OSError:
                continue
            found[f"{pid} {title}"] = (int(fields[11]) + int(fields[12])) / CLOCK_TICKS_PER_S
        return found

    def memory_bytes(self) -> dict[int, tuple[int, int]]:
        """pid -> (resident now, resident at its highest), bytes."""
        found = {}
        for pid in descendants(self.process.pid):
            try:
                lines = Path(f"/proc/{pid}/status").read_text().splitlines()
            except OSError:
                continue
            values = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines if line.startswith("Vm") and "kB" in line}
            found[pid] = (values.get("VmRSS", 0), values.get("VmHWM", 0))
        return found


def wait_ready(endpoint: str, process: "subprocess.Popen[bytes]") -> None:
    """Wait for the health check. Raises RuntimeError when the cluster ends or takes too long."""
    deadline = time.monotonic() + READY_TIMEOUT_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"the cluster ended with code {process.returncode}")
        try:
            with urllib.request.urlopen(f"{endpoint}/healthcheck", timeout=1) as answer:
                if answer.status == 200:
                    return
        except OSError:
            time.sleep(0.05)
    raise RuntimeError(f"the cluster was not ready within {READY_TIMEOUT_S:.0f} s")


@contextmanager
def running(
    nodes: int = 4, workers: int = 1, data: Path | None = None, environment: Mapping[str, str] | None = None
) -> Iterator[Cluster]:
    """A development cluster with its data in a fresh directory that is removed afterwards. `environment` is added to its own."""
    with tempfile.TemporaryDirectory(prefix="objstore-bench-") as temporary:
        where = data or Path(temporary)
        port = free_port()
        command = [str(ROOT / "bin" / "objstore"), "dev", "--data", str(where / "cluster"), "--port", str(port)]
        command += ["--nodes", str(nodes), "--workers", str(workers)]
        log = (where / "cluster.log").open("wb")
        surroundings = {**os.environ, **(environment or {})}
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, start_new_session=True, env=surroundings)
        cluster = Cluster(port, process, where)
        try:
            wait_ready(cluster.endpoint, process)
            yield cluster
        except BaseException:
            sys.stderr.write((where / "cluster.log").read_text(errors="replace")[-3000:])
            raise
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                for pid in descendants(process.pid):
                    os.kill(pid, signal.SIGKILL)
            log.close()
