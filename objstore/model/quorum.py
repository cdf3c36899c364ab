"""Quorum decisions without I/O: they take what replicas answered and say what to do next.

A write needs a majority W = floor(n/2) + 1 of the primaries; a read consults R = n - W + 1 of them, so that any read meets any
acknowledged write in at least one replica.
"""

from collections.abc import Iterable
from enum import Enum, auto

from objstore.model.lost import NONE, Lost


def majority(replicas: int) -> int:
    """Replicas that must hold a change before it is acknowledged."""
    return replicas // 2 + 1


def read_count(replicas: int) -> int:
    """Replicas that must answer before a read may believe what it sees."""
    return replicas - majority(replicas) + 1


class Write(Enum):
    """What to do about a write."""

    WAIT = auto()
    DONE = auto()
    """A majority holds it durably."""
    RETRY = auto()
    """No majority can take this timestamp, but one may take a later one: see `newer`."""
    FAILED = auto()


class WriteQuorum:
    """One attempt of a write at one timestamp over `replicas` primaries.

    Every primary ends in exactly one of stored, newer, refused or failed. `newer` is the newest timestamp met.
    """

    __slots__ = ("_open", "absent", "failed_count", "needed", "newer", "newer_count", "stored_count")

    def __init__(self, replicas: int, needed: int | None = None) -> None:
        self.needed = majority(replicas) if needed is None else needed
        self._open = replicas
        self.stored_count = 0
        self.newer_count = 0
        self.failed_count = 0
        self.absent = 0
        self.newer = 0

    def stored(self) -> None:
        self._open -= 1
        self.stored_count += 1

    def newer_exists(self, timestamp: int) -> None:
        self._open -= 1
        self.newer_count += 1
        self.newer = max(self.newer, timestamp)

    def not_found(self) -> None:
        """It lacks what the write builds on."""
        self._open -= 1
        self.absent += 1

    def failed(self) -> None:
        self._open -= 1
        self.failed_count += 1

    @property
    def open(self) -> int:
        """Primaries that have not ended yet."""
        return self._open

    def decide(self) -> Write:
        if self.stored_count >= self.needed:
            return Write.DONE
        if self.stored_count + self._open >= self.needed:
            return Write.WAIT
        if self.newer and self.stored_count + self._open + self.newer_count >= self.needed:
            return Write.RETRY
        return Write.FAILED


class Read(Enum):
    """What to do about a read."""

    ASK = auto()
    """Ask one more primary."""
    WAIT = auto()
    DONE = auto()
    """`newest` is what the object is."""
    COMPLETE = auto()
    """As DONE, once `lacking` hold it too: so few hold it that a later read might miss it."""
    UNAVAILABLE = auto()


NOTHING = (0, 0)
"""The order of an object that a replica never heard of."""


class ReadQuorum:
    """A read over `replicas` primaries, which are asked by index. An order is (timestamp, meta timestamp) of a version or of a
    tombstone, NOTHING when the replica has neither.

    At first as many are asked as a write needs, so that a healthy read also sees that a majority holds what it found.
    """

    __slots__ = ("_asked_count", "_enough", "_holding", "_replicas", "_wanted", "failures", "newest", "orders")

    def __init__(self, replicas: int) -> None:
        self.orders: dict[int, tuple[int, int]] = {}
        self.failures: set[int] = set()
        self.newest = NOTHING
        self._replicas = replicas
        self._wanted = majority(replicas)
        self._enough = read_count(replicas)
        self._asked_count = 0
        self._holding = 0  # how many hold the newest

    def asked(self) -> None:
        self._asked_count += 1

    def answered(self, index: int, order: tuple[int, int]) -> None:
        self.orders[index] = order
        if order == self.newest:
            self._holding += 1
        elif order > self.newest:
            self.newest = order
            self._holding = 1

    def failed(self, index: int) -> None:
        self.failures.add(index)

    @property
    def unanimous(self) -> bool:
        """All that answered have the same."""
        return self._holding == len(self.orders)

    @property
    def missing(self) -> int:
        """How many more must hold the newest before it is believed, of those that answered."""
        return min(self._wanted, len(self.orders)) - self._holding

    @property
    def agreed(self) -> bool:
        """A majority holds the newest."""
        return self._holding >= self._wanted

    @property
    def settled(self) -> tuple[int, int] | None:
        """What a majority holds, if it is not the newest: what is newer was neither acknowledged nor read when they answered."""
        orders = list(self.orders.values())
        return next((order for order in orders if order != self.newest and orders.count(order) >= self._wanted), None)

    @property
    def holders(self) -> list[int]:
        """Who holds the newest."""
        return [index for index, order in self.orders.items() if order == self.newest]

    @property
    def lacking(self) -> list[int]:
        """Who answered with something older."""
        return [index for index, order in self.orders.items() if order != self.newest]

    def decide(self, patient: bool = True) -> Read:
        """Not `patient`: what is pending hangs, so do without it where that is safe."""
        wanted = self._wanted
        answers = len(self.orders)
        pending = self._asked_count - answers - len(self.failures)
        may_ask = self._asked_count < self._replicas
        if self._holding >= wanted:
            if self.newest != NOTHING:
                return Read.DONE
            # Before "never heard of it" is believed, the others are asked: a disk may have been replaced by an empty one.
            if may_ask:
                return Read.ASK
            return Read.WAIT if pending and patient else Read.DONE
        if answers < wanted:
            if answers + pending < wanted and may_ask:
                return Read.ASK
            enough = answers >= self._enough
            if pending and (patient or not enough):
                return Read.WAIT
            if not enough:
                return Read.UNAVAILABLE
            # No majority: an even number of replicas, half of them down. What the other half holds counts, once all of it does.
            return Read.DONE if self.unanimous else Read.COMPLETE
        if may_ask:
            return Read.ASK
        return Read.WAIT if pending and patient else Read.COMPLETE


def outvoted(lost: Lost, orders: Iterable[tuple[int, int]], replicas: int) -> bool:
    """Whether what one replica lost was never acknowledged, nor read: a majority of sound ones holds something older. `orders` are
    theirs. One that never heard of the object proves nothing: it may be new or empty. Half of an even number is not enough: with
    that half down, readers were given what the other half had.
    """
    return sum(order != NOTHING and lost.beyond(*order) != NONE for order in orders) >= majority(replicas)
