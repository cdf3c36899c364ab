"""Measuring inside the servers' processes, without a line about it in the servers: a folder on PYTHONPATH holds a `sitecustomize`,
which Python imports before anything else. It starts what `OBJSTORE_BENCH_INSIDE` names and listens on a socket of its own.
"""

import json
import os
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

ROOT = Path(__file__).resolve().parents[2]
HOOK = ROOT / "bench" / "inside" / "hook"
WHAT = "OBJSTORE_BENCH_INSIDE"
WHERE = "OBJSTORE_BENCH_INSIDE_DIR"
ANSWER_TIMEOUT_S = 20.0


@dataclass(frozen=True, slots=True)
class Inside:
    """What is inside the processes of one cluster: their sockets, named by process, and what they write are in `directory`."""

    what: Literal["sampler", "counter"]
    directory: Path

    @property
    def environment(self) -> dict[str, str]:
        """For the processes to be measured, and whoever starts them."""
        return {WHAT: self.what, WHERE: str(self.directory), "PYTHONPATH": f"{HOOK}{os.pathsep}{ROOT}"}

    def ask(self, pid: int, command: str) -> Any:
        """What process `pid` answers. Raises OSError when it is not measured."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(ANSWER_TIMEOUT_S)
            connection.connect(str(self.directory / str(pid)))
            connection.sendall(command.encode() + b"\n")
            return json.loads(connection.makefile("rb").readline())


@contextmanager
def inside(what: Literal["sampler", "counter"]) -> Iterator[Inside]:
    """With a directory of its own, which is removed afterwards."""
    with tempfile.TemporaryDirectory(prefix="inside-") as directory:
        yield Inside(what, Path(directory))
