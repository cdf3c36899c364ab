"""What may happen to what one node sends another, and what follows for the bytes of one connection: decisions, without a socket."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

PIECE_BYTES = 1 << 14
FLIPPED = 0x10


@dataclass(slots=True)
class Rule:
    """For all that one node sends another, over connections of either's making.

    `lost`: it never arrives. `refused`: the sender's connections are reset. `delay_s`, `bytes_per_s` (0: no limit): it arrives
    later, in order. `cut_after`, `flip_after` (-1: never): a connection is reset after so many bytes from now on, or the next bit
    after them is turned over; that happens to the first `cuts`, or `flips`, connections that get so far.
    """

    lost: bool = False
    refused: bool = False
    delay_s: float = 0.0
    bytes_per_s: float = 0.0
    cut_after: int = -1
    cuts: int = 0
    flip_after: int = -1
    flips: int = 0

    @property
    def passes(self) -> bool:
        """Nothing happens to it."""
        return not (self.lost or self.refused or self.delay_s or self.bytes_per_s or self.cuts or self.flips)


class Cut(Exception):
    """The connection is to be reset, after the bytes given so far."""


@dataclass(slots=True)
class Stream:
    """One direction of one connection. Times are monotonic seconds. What is None in the queue is the end of the stream."""

    rule: Rule
    holed: bool = False
    """Bytes were lost: once others follow, the connection cannot go on."""
    seen: int = 0
    """Bytes since the rule was set."""
    queued_bytes: int = 0
    _queue: deque[tuple[float, bytes | None]] = field(default_factory=deque)
    _free_at: float = 0.0

    def set_rule(self, rule: Rule) -> None:
        """From now on. What waits for its time leaves at once where nothing delays it any more, and is lost where all is."""
        self.rule = rule
        self.seen = 0
        self._free_at = 0.0
        if rule.lost and self._queue:
            self.holed = True
            self._queue.clear()
            self.queued_bytes = 0
        elif not rule.delay_s and not rule.bytes_per_s:
            self._queue = deque((0.0, data) for _, data in self._queue)

    @property
    def broken(self) -> bool:
        """Bytes are missing in it, and it would deliver what comes next."""
        return self.holed and not self.rule.lost

    def take(self, data: bytes | None, now: float) -> None:
        """Bytes arrived from the sender, or their end. Raises Cut; what came before the cut is queued then."""
        rule = self.rule
        if rule.lost:
            self.holed = True
            return
        cut = False
        if data is not None:
            if rule.flips and (at := self._offset(rule.flip_after, len(data))) >= 0:
                rule.flips -= 1
                data = flipped(data, at)
            if rule.cuts and (end := self._offset(rule.cut_after, len(data))) >= 0:
                rule.cuts -= 1
                data, cut = data[:end], True
            self.seen += len(data)
        for piece in _pieces(data, bool(rule.bytes_per_s)):
            self._queue.append((self._due(piece, now), piece))
            self.queued_bytes += len(piece or b"")
        if cut:
            raise Cut

    def _offset(self, after: int, size: int) -> int:
        """Where among the next `size` bytes the byte number `after` stands; -1 when it is not among them."""
        at = after - self.seen
        return at if after >= 0 and 0 <= at < size else -1

    def _due(self, piece: bytes | None, now: float) -> float:
        due = now + self.rule.delay_s
        if self.rule.bytes_per_s:
            self._free_at = max(self._free_at, now) + len(piece or b"") / self.rule.bytes_per_s
            due = self._free_at + self.rule.delay_s
        return due

    def give(self, now: float) -> Iterator[bytes | None]:
        """What is due, in order."""
        while self._queue and self._queue[0][0] <= now:
            _, data = self._queue.popleft()
            self.queued_bytes -= len(data or b"")
            yield data

    @property
    def next_due(self) -> float | None:
        """When the next bytes are due, None when nothing waits."""
        return self._queue[0][0] if self._queue else None


def flipped(data: bytes, at: int) -> bytes:
    """`data` with one bit of one byte turned over."""
    return data[:at] + bytes([data[at] ^ FLIPPED]) + data[at + 1 :]


def _pieces(data: bytes | None, small: bool) -> Iterator[bytes | None]:
    if data is None or not small:
        yield data
        return
    for start in range(0, len(data), PIECE_BYTES):
        yield data[start : start + PIECE_BYTES]
