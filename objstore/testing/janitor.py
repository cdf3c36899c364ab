"""Ends a cluster and removes its files, also when the test process was killed: a program of its own that waits for that.

It is told by lines on its standard input: `pid N` for each process, `keep` when the files are to stay. At the end of the input,
however it came about, it kills these processes, stopped ones too, and removes the directory. It imports nothing of the store, and
is started without site packages: a few milliseconds.
"""

import os
import shutil
import signal
import sys
import time

WAIT_MAX_S = 10.0
POLL_S = 0.01


def main(directory: str) -> None:
    """Returns when all is clean."""
    keep = False
    started: dict[int, str] = {}
    for line in sys.stdin:
        word, _, number = line.strip().partition(" ")
        if word == "pid":
            started[int(number)] = _start_time(int(number))
        elif word == "keep":
            keep = True
    _end(started)
    if not keep:
        shutil.rmtree(directory, ignore_errors=True)


def _end(started: dict[int, str]) -> None:
    """A number may have been given to another process meanwhile: the time of its start tells them apart."""
    deadline = time.monotonic() + WAIT_MAX_S
    while time.monotonic() < deadline:
        alive = [pid for pid, when in started.items() if when and _start_time(pid) == when]
        if not alive:
            return
        for pid in alive:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        time.sleep(POLL_S)


def _start_time(pid: int) -> str:
    """In clock ticks since the machine's start (proc(5), field 22); "" for a process that has ended."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            fields = file.read().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in "ZX" else fields[19]


if __name__ == "__main__":
    main(sys.argv[1])
