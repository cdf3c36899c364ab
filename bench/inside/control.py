"""The socket on which a measured process is told what to do: a line comes, a line of JSON goes back."""

import json
import os
import socket
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from bench.inside import WHERE

THREAD = "bench-control"


def directory() -> Path:
    """Where everything of this cluster's measurement is."""
    return Path(os.environ[WHERE])


def serve(commands: Mapping[str, Callable[[], Any]]) -> None:
    """Answer from a thread for as long as the process lives. Nothing but this thread calls `commands`."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(directory() / str(os.getpid())))
    listener.listen()

    def run() -> None:
        while True:
            connection, _ = listener.accept()
            with connection:
                word = connection.makefile("rb").readline().decode().strip()
                connection.sendall(json.dumps(commands[word]()).encode() + b"\n")

    threading.Thread(target=run, name=THREAD, daemon=True).start()
