"""What the disk does by itself meanwhile: `python -m bench.probe FILE` writes 4 KiB and syncs, again and again, until it is ended.

Prints a line for each time: when it began (seconds of the monotonic clock, the same in all processes) and how long it took.
"""

import os
import statistics
import subprocess
import sys
import time
from bisect import bisect_left
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bench.cluster import ROOT

PAUSE_S = 0.01
STALL_S_MIN = 0.05
STALL_MEDIANS = 5


@dataclass(slots=True)
class Stalls:
    """When the disk kept the probe waiting for much longer than usual: intervals one after the other, from and to."""

    median_s: float = 0.0
    longest_s: float = 0.0
    intervals: list[tuple[float, float]] = field(default_factory=list)

    def overlap(self, start: float, end: float) -> bool:
        """Whether any was between these times."""
        before = bisect_left(self.intervals, (end, 0.0))
        return before > 0 and self.intervals[before - 1][1] > start


def stalls_of(times: list[tuple[float, float]]) -> Stalls:
    """Of (start, duration) pairs."""
    if not times:
        return Stalls()
    median = statistics.median(taken for _, taken in times)
    limit = max(STALL_S_MIN, STALL_MEDIANS * median)
    return Stalls(median, max(taken for _, taken in times), [(at, at + taken) for at, taken in times if taken > limit])


@contextmanager
def probing(directory: Path) -> Iterator[Stalls]:
    """The stalls are known when the block has ended."""
    found = Stalls()
    with (directory / "probe.out").open("w+") as out:
        command = [sys.executable, "-m", "bench.probe", str(directory / "probe.data")]
        process = subprocess.Popen(command, stdout=out, cwd=ROOT)
        try:
            yield found
        finally:
            process.terminate()
            process.wait(10)
            out.seek(0)
            lines = out.read().rpartition("\n")[0].splitlines()  # the last may have been cut
            stalls = stalls_of([(float(at), float(taken)) for at, taken in (line.split() for line in lines)])
            found.median_s, found.longest_s, found.intervals = stalls.median_s, stalls.longest_s, stalls.intervals


def main() -> None:
    """Until a signal ends it."""
    file = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT, 0o600)
    block = os.urandom(4096)
    while True:
        begun = time.monotonic()
        os.pwrite(file, block, 0)
        os.fdatasync(file)
        print(f"{begun:.6f} {time.monotonic() - begun:.6f}", flush=True)
        time.sleep(PAUSE_S)


if __name__ == "__main__":
    main()
