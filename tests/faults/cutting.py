"""`python -m tests.faults.cutting`: cuts the power of a loaded cluster again and again; prints its figures as JSON, or why not.

Each cut is one forked process: it starts the cluster on what the last cut has left, looks at it, and loads it; after a random
moment the file system is shut down under it and the process killed.
"""

import argparse
import asyncio
import contextlib
import json
import logging
import os
import random
import select
import signal
import sys
import tempfile
import time
from pathlib import Path

from tests.faults.cutload import SETTINGS, Known, Truth, learn, live, write_of
from tests.faults.loopfs import LoopFileSystem, NotHere, die_with_parent, enter_namespace, probe

SIZE_MIB = 128
START_TIMEOUT_S = 60.0
LOAD_S = (0.01, 0.15)
SILENCE_MAX_S = 0.1


class Cutter:
    """A file system, the truth about what is on it, and the figures."""

    def __init__(self, directory: Path, setting: str, seed: int) -> None:
        self.fs = LoopFileSystem(directory, SIZE_MIB)
        self.truth: Truth = {}
        self.figures = {"cuts": 0, "objects": 0, "deletions": 0, "rows": 0, "lost objects": 0, "lost rows": 0, "wrong": 0}
        self.problems: list[str] = []
        self._recent: set[str] = set()
        self._unread = b""
        self._setting = setting
        self._rng = random.Random(seed)
        self._seed = seed

    def cycle(self, number: int) -> None:
        """One life that ends in a cut."""
        pid, pipe = self._fork(self._seed * 1000 + number, load=True)
        try:
            if self._read(pipe, START_TIMEOUT_S, until="ready"):
                self._recent = {key for key, known in self.truth.items() if known.since}
                self._read(pipe, self._rng.uniform(*LOAD_S))
            else:
                self.problems.append("the cluster did not start")
            _silence(pid)
            self.fs.cut()
        finally:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        self._read(pipe, START_TIMEOUT_S)
        os.close(pipe)
        self.figures["cuts"] += 1
        self.fs.restart()

    def last_look(self) -> None:
        """At everything that was ever promised."""
        self._recent = set(self.truth)
        pid, pipe = self._fork(0, load=False)
        self._read(pipe, START_TIMEOUT_S)
        os.close(pipe)
        _, status = os.waitpid(pid, 0)
        if status:
            self.problems.append(f"the last look ended with {status}")

    def _fork(self, seed: int, *, load: bool) -> tuple[int, int]:
        self._unread = b""
        reader, writer = os.pipe()
        pid = os.fork()
        if pid:
            os.close(writer)
            return pid, reader
        status = 1
        try:
            die_with_parent()
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            os.close(reader)
            logging.disable(logging.CRITICAL)

            def say(*words: object) -> None:
                os.write(writer, " ".join(map(str, words)).encode() + b"\n")

            try:
                asyncio.run(live(self.fs.path, self._setting, self.truth, self._recent, seed, say, load=load))
                status = 0
            except Exception as error:
                say("wrong", "-", f"the cluster ended: {error!r}")
        finally:
            os._exit(status)

    def _read(self, pipe: int, timeout_s: float, until: str = "") -> bool:
        """Take in lines until `until` (True), or the end or the time (False)."""
        deadline = time.monotonic() + timeout_s
        while True:
            while b"\n" in self._unread:
                line, _, self._unread = self._unread.partition(b"\n")
                if until and line == until.encode():
                    return True
                self._take(line.decode())
            wait_s = deadline - time.monotonic()
            if wait_s <= 0 or not select.select([pipe], [], [], wait_s)[0]:
                return False
            data = os.read(pipe, 1 << 16)
            if not data:
                return False
            self._unread += data

    def _take(self, line: str) -> None:
        word, key, rest = (*line.split(" ", 2), "", "")[:3]
        if word in ("asked", "acked", "seen"):
            learn(self.truth, line)
            self._recent.add(key)
            if word == "acked":
                self._count(key, rest)
        elif word in ("lost-object", "lost-row", "wrong"):
            self.figures[{"lost-object": "lost objects", "lost-row": "lost rows"}.get(word, "wrong")] += 1
            self.problems.append(line)
            self.truth[key] = Known(since=[])  # told once
            self._recent.discard(key)

    def _count(self, key: str, rest: str) -> None:
        tag, *listed = rest.split(" ")
        self.figures["deletions" if write_of(key, int(tag)).deletes else "objects"] += 1
        self.figures["rows"] += bool(listed)


def _silence(pid: int) -> None:
    """Keep the cluster from acknowledging anything from now on; syncs under way stay under way. A live process would hear of a sync
    that the cut meets: where the aborted journal has let go of its transaction already, ext4 finds nothing to wait for and answers
    0. Without power nobody hears that.
    """
    os.kill(pid, signal.SIGSTOP)
    deadline = time.monotonic() + SILENCE_MAX_S
    while time.monotonic() < deadline:
        with open(f"/proc/{pid}/stat") as file:  # of the main thread: the event loop, which alone acknowledges
            if file.read().rpartition(")")[2].split()[0] in "TZX":
                return


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--probe", action="store_true")
    parser.add_argument("--setting", choices=SETTINGS, default="right")
    parser.add_argument("--cuts", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=90.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("directory", nargs="?", help="an empty directory to work in; a temporary one where not given")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    with contextlib.ExitStack() as stack:
        directory = options.directory or stack.enter_context(tempfile.TemporaryDirectory(prefix="objstore-cuts-"))
        try:
            enter_namespace()
            if options.probe:
                probe(Path(directory))
                print("{}")
                return 0
            cutter = Cutter(Path(directory), options.setting, options.seed)
        except NotHere as error:
            print(f"not run: {error}")
            return 3
        deadline = time.monotonic() + options.seconds
        try:
            for number in range(options.cuts):
                if time.monotonic() > deadline:
                    break
                cutter.cycle(number)
            cutter.last_look()
        finally:
            cutter.fs.close()
    print(json.dumps({"figures": cutter.figures, "problems": cutter.problems[:20]}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
