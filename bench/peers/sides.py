"""What the measurement knows of a side: a server that starts and stops, and an API to ask it by."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from bench.peers.dialects import Dialect


class Server(Protocol):
    """A cluster of 4 storage nodes with 3 replicas that listens on 127.0.0.1 alone."""

    name: str
    title: str
    durability: str
    """What an answer to a PUT means, in a sentence."""
    setup: str
    """How it was started, in a sentence."""

    def start(self, where: Path) -> None:
        """Start with an empty store below `where`; returns when requests are answered."""

    def stop(self) -> None:
        """End every process that was started."""

    def roots(self) -> list[int]:
        """The processes that were started; the others stand below them."""

    def daemons(self) -> list[int]:
        """Those of them that no request passes through, where they are processes of their own."""

    def check(self) -> None:
        """Raises NotStarted when one of them has ended."""

    def dialects(self) -> dict[str, Dialect]:
        """The APIs to measure, by the name of the API."""


@dataclass(frozen=True, slots=True)
class Side:
    """One column of the table: a server asked through one API."""

    name: str
    title: str
    server: Server
    dialect: Dialect
