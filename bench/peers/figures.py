"""The figures of a run as they are read: medians over its rounds."""

import statistics
from typing import Any

from bench.peers.accounting import CALIBRATION_REFERENCE_S
from bench.peers.works import NAMES, Work

OURS = ("ours", "ours-s3")
SWIFT, SEAWEED = "swift", "seaweed-fsync"


class Report:
    """What one run left, with names for what is in it."""

    def __init__(self, found: dict[str, Any]) -> None:
        self.found = found
        self.sides: list[str] = list(found["sides"])

    @property
    def big(self) -> int:
        """The size of the large object."""
        return int(self.found["scale"]["big"])

    @property
    def factor(self) -> float:
        """How many times longer the fixed loop took than on the machine that the targets are for."""
        return float(statistics.median(self.found["calibration"])) / CALIBRATION_REFERENCE_S

    def title(self, side: str) -> str:
        """A side's name for a person; also of one that was not measured."""
        known = self.found["sides"].get(side)
        return str(known["title"]) if known else {"swift": "Swift", "seaweed-fsync": "SeaweedFS, fsync"}.get(side, side)

    def servers(self) -> dict[str, str]:
        """Server -> its name for a person, each once."""
        return {side["server"]: side["title"].partition(" (")[0] for side in self.found["sides"].values()}

    def works(self) -> list[Work]:
        """What was measured, or tried, in the order of the plan."""
        keys = {*self.found["slices"], *(key for key in self.found["failures"] if key.count("-") == 2)}
        works = [Work(kind, int(size), int(connections)) for kind, size, connections in (key.split("-") for key in keys)]
        kinds = list(NAMES)
        return sorted(works, key=lambda work: (work.kind == "list", work.size, kinds.index(work.kind), work.connections))

    def rounds(self, work: Work, side: str) -> list[dict[str, float]]:
        """The figures of each round."""
        found: list[dict[str, float]] = self.found["slices"].get(work.key, {}).get(side, [])
        return found

    def median(self, work: Work, side: str, name: str) -> float | None:
        """The median of one figure; None when there is none."""
        rounds = self.rounds(work, side)
        return statistics.median(one[name] for one in rounds) if rounds else None

    def memory(self, server: str, when: str) -> float | None:
        """Proportional memory in bytes."""
        found = self.found["memory"].get(server, {}).get(when)
        return float(found["pss"]) if found else None
