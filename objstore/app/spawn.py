"""Starting one process of the store: its command line, the descriptors it inherits, the socket that says when it is to end.

The supervisor and the testing harness start processes alike, so that what is tested is what runs.
"""

import os
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import IO

from objstore.app.children import Kind

PROGRAM = ("-m", "objstore.app.process")
ALLOCATOR = {"MALLOC_ARENA_MAX": "1"}
"""For glibc, which else gives each thread an arena of its own: half of what a storage node took was free in one of ten. Threads
that hold the interpreter's lock one at a time have nothing to gain by them. What the environment says already stays.
"""


@dataclass(frozen=True, slots=True)
class Launch:
    """What to start. `listeners` are bound sockets, inherited; whoever made them closes them. `takeover`: a predecessor still
    has the devices. `output` takes its log, `errors` what it prints before the log begins, by default as this process's own.
    `environment` is added to this process's own.
    """

    kind: Kind
    name: str
    config: str
    slot: int = 0
    listeners: Sequence[socket.socket] = ()
    takeover: bool = False
    program: Sequence[str] = PROGRAM
    output: IO[bytes] | None = None
    errors: IO[bytes] | None = None
    environment: Mapping[str, str] | None = None


def spawn(launch: Launch) -> "tuple[subprocess.Popen[bytes], socket.socket]":
    """The running process, and our end of its control socket: it says `prepared` and `ready` there, a line each, and ends when
    this end is closed. Raises OSError.
    """
    ours, theirs = socket.socketpair()
    command = [sys.executable, "-P", *launch.program, launch.kind, "--config", launch.config, "--name", launch.name]
    command += ["--slot", str(launch.slot), "--control-fd", str(theirs.fileno())]
    listeners = [listener.fileno() for listener in launch.listeners]
    command += ["--listen-fds", ",".join(map(str, listeners))]
    if launch.takeover:
        command += ["--takeover"]
    try:
        with theirs:
            # A process group of its own: Ctrl-C reaches the supervisor alone, which ends its children in order.
            process = subprocess.Popen(  # noqa: S603 - our own interpreter, our own module
                command,
                stdin=subprocess.DEVNULL,
                stdout=launch.output,
                stderr=launch.errors,
                pass_fds=[theirs.fileno(), *listeners],
                process_group=0,
                env=_environment(launch.environment or {}),
            )
    except BaseException:
        ours.close()
        raise
    return process, ours


def _environment(added: Mapping[str, str]) -> dict[str, str]:
    """The child finds the code where this process found it."""
    import objstore

    root = os.path.dirname(os.path.dirname(os.path.abspath(objstore.__file__)))
    inherited = os.environ.get("PYTHONPATH", "")
    paths = [root, *(path for path in inherited.split(os.pathsep) if path and path != root)]
    return {**ALLOCATOR, **os.environ, "PYTHONPATH": os.pathsep.join(paths), **added}
