"""What processes and the machine used: CPU time of process trees, proportional memory, and a fixed loop to scale figures by."""

import hashlib
import os
import time
from dataclasses import dataclass
from pathlib import Path

from bench.cluster import CLOCK_TICKS_PER_S, descendants

CALIBRATION_REFERENCE_S = 0.165
"""CPU seconds that `calibrate` takes on the machine for which the absolute targets were set."""
MD5_BYTES = 1 << 16
MD5_TIMES = 1200
BYTECODE_TIMES = 2_000_000


def cpu_s(roots: list[int]) -> float:
    """CPU seconds, user and system, of these processes and all below them, those that ended and were waited for included."""
    total = 0
    for pid in tree(roots):
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        total += sum(int(field) for field in fields[11:15])
    return total / CLOCK_TICKS_PER_S


def tree(roots: list[int]) -> list[int]:
    """These processes and all below them, each once."""
    return sorted({pid for root in roots for pid in descendants(root)})


def machine_cpu_s() -> float:
    """CPU seconds of the whole machine since it started, kernel threads and interrupts included; time stolen by others is not."""
    fields = Path("/proc/stat").read_text().splitlines()[0].split()[1:]
    user, nice, system, _idle, _iowait, irq, softirq = (int(field) for field in fields[:7])
    return (user + nice + system + irq + softirq) / CLOCK_TICKS_PER_S


@dataclass(slots=True)
class Memory:
    """Bytes of all processes of one side."""

    pss: int = 0
    rss: int = 0
    processes: int = 0


def memory(roots: list[int]) -> Memory:
    """Proportional memory (a page that n processes share counts 1/n for each) and resident memory."""
    found = Memory()
    for pid in tree(roots):
        try:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        values = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines if line.startswith(("Pss:", "Rss:"))}
        found.pss += values.get("Pss", 0)
        found.rss += values.get("Rss", 0)
        found.processes += 1
    return found


def calibrate() -> float:
    """CPU seconds of a fixed piece of work, half of it md5 and half of it bytecode: how quick this machine is at this moment."""
    block = bytes(MD5_BYTES)
    before = time.process_time()
    digest = hashlib.md5()
    for _ in range(MD5_TIMES):
        digest.update(block)
    total = 0
    for number in range(BYTECODE_TIMES):
        total += number & 7
    return time.process_time() - before


@dataclass(slots=True)
class Use:
    """Readings of one moment."""

    at: float
    cpu: float
    machine: float


def read(roots: list[int]) -> Use:
    """What was used until now."""
    return Use(time.monotonic(), cpu_s(roots), machine_cpu_s())


def wait_quiet(roots: list[int], idle_rate: float, longest_s: float, looks: int) -> bool:
    """Wait until these processes use no more CPU than when idle, for at most `longest_s`; whether that came.

    What a request leaves behind (rows to be written, files to be synced) is work for that request, done after its answer.
    `looks` in a row must be quiet, since a process may wait for a disk, or for more of the same work, in between.
    """
    limit = idle_rate * 1.5 + QUIET_RATE
    deadline = time.monotonic() + longest_s
    last = read(roots)
    quiet = 0
    while time.monotonic() < deadline:
        time.sleep(LOOK_S)
        current = read(roots)
        rate = (current.cpu - last.cpu) / (current.at - last.at)
        quiet = quiet + 1 if rate <= limit else 0
        if quiet >= looks:
            return True
        last = current
    return False


QUIET_RATE = 0.04
"""CPU seconds per second above the idle rate that still count as idle: one tick of the clock within one look."""
LOOK_S = 0.25


def free_bytes(path: Path) -> int:
    """Room left on the disk."""
    found = os.statvfs(path)
    return found.f_bavail * found.f_frsize
