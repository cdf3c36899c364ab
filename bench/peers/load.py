"""Runs the load client: requests in, what it measured out. A wrong status or a wrong body ends the run."""

import hashlib
import json
import os
import struct
import subprocess
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.peers import install
from bench.peers.dialects import Body

BLOCK = 1 << 20
CLIENT_TIMEOUT_S = 600.0


class WrongAnswer(RuntimeError):
    """A server answered something else than it had to."""


@dataclass(slots=True)
class Result:
    """What one load measured."""

    requests: int
    seconds: float
    p50_s: float
    p99_s: float
    p999_s: float
    bytes: int
    reconnects: int
    client_cpu_s: float

    @property
    def rate(self) -> float:
        """Requests per second."""
        return self.requests / self.seconds if self.seconds else 0.0

    def as_dict(self) -> dict[str, float]:
        """For the file of figures."""
        return {**asdict(self), "rate": self.rate}


@dataclass(frozen=True, slots=True)
class Load:
    """What to send, and what to get."""

    heads: list[bytes]
    statuses: tuple[int, ...]
    sent: Body | None = None
    wanted: Body | None = None
    """What every answer must carry; None: anything."""


class Client:
    """The load client with its files in a directory of their own."""

    def __init__(self, where: Path) -> None:
        self._where = where
        self._block = os.urandom(BLOCK)
        (where / "block").write_bytes(self._block)

    def body(self, length: int) -> Body:
        """A body of `length` bytes: one block, or the beginning of it, over and over."""
        digest = hashlib.sha256()
        left = length
        while left:
            part = min(left, BLOCK)
            digest.update(self._block[:part])
            left -= part
        return Body(str(self._where / "block"), length, digest.hexdigest())

    def run(self, what: str, port: int, connections: int, seconds: float, load: Load) -> Result:
        """Send the requests, each once, until there are no more or the time is over. Raises WrongAnswer."""
        with tempfile.NamedTemporaryFile(prefix="requests-", dir=self._where) as file:
            for head in load.heads:
                file.write(struct.pack("<I", len(head)) + head)
            file.flush()
            return self._run(what, port, connections, seconds, load, file.name)

    def _run(self, what: str, port: int, connections: int, seconds: float, load: Load, requests: str) -> Result:
        sent = load.sent.length if load.sent else 0
        wanted = load.wanted.length if load.wanted else -1
        numbers = [str(port), str(connections), f"{seconds:.3f}", requests, str(self._where / "block"), str(sent), str(wanted)]
        command = [install.client(), *numbers, ",".join(map(str, load.statuses))]
        done = subprocess.run(command, capture_output=True, text=True, timeout=CLIENT_TIMEOUT_S + seconds, check=False)
        if done.returncode not in (0, 1):
            raise WrongAnswer(f"{what}: {install.last_line(done.stderr)}")
        found = json.loads(done.stdout)
        if done.returncode:
            raise WrongAnswer(
                f"{what}: statuses {found['statuses']}, expected {load.statuses}; {found['wrong_body']} wrong bodies\n{done.stderr}"
            )
        return Result(**{name: found[name] for name in Result.__dataclass_fields__})
