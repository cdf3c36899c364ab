"""What tests of the journal share."""

from objstore.runtime.interface import Change
from objstore.runtime.journal import Journal, open_journal
from objstore.runtime.knobs import Knobs

KNOBS = Knobs(
    reserve_bytes_min=1, reserve_percent=0.0, journal_segment_bytes_min=64 << 10, journal_segment_bytes_max=128 << 10,
    journal_segments_max=3, settle_s=60.0,
)  # fmt: skip


class Log:
    """A LogSink that needs all that it is told."""

    def __init__(self) -> None:
        self.held: list[bytes] = []
        self.durable: list[bytes] = []

    def append(self, records: list[bytes]) -> None:
        self.durable += records

    def hold(self, records: list[bytes]) -> None:
        self.held += records

    def spill(self) -> None:
        self.durable += self.held
        self.held = []

    adopt = append


def put(number: int, size: int = 10, **fields: object) -> Change:
    return Change(f"objects/{number % 3}/{number}.data", b"%d" % number * size, {"meta": b"m"}, **fields)  # type: ignore[arg-type]


def opened(fs: object, log: Log | None = None) -> Journal:
    journal = open_journal(fs, KNOBS, log, seed=7)  # type: ignore[arg-type]
    assert journal is not None
    return journal
