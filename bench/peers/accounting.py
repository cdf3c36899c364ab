"""What processes and the machine used: CPU time of process trees, proportional memory, and a fixed loop to scale figures by."""

import hashlib
import os
import time
from dataclasses import dataclass
from pathlib import Path

from bench.cluster import CLOCK_TICKS_PER_S, Processes, scan

CALIBRATION_REFERENCE_S = 0.165
"""CPU seconds that `calibrate` takes on the machine for which the absolute targets were set."""
MD5_BYTES = 1 << 16
MD5_TIMES = 1200
BYTECODE_TIMES = 2_000_000


def cpu_s(roots: list[int], processes: Processes) -> float:
    """CPU seconds, user and system, of these processes and all below them."""
    return sum(processes.ticks[pid] for pid in processes.below(roots)) / CLOCK_TICKS_PER_S


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
    for pid in scan().below(roots):
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


def free_bytes(path: Path) -> int:
    """Room left on the disk."""
    found = os.statvfs(path)
    return found.f_bavail * found.f_frsize
