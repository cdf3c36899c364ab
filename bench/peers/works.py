"""What is measured: kinds of work, and how much of each in a full and in a quick run."""

from dataclasses import dataclass

KIB, MIB = 1 << 10, 1 << 20
SMALL = 4 * KIB
KINDS = ("put", "overwrite", "get", "head", "delete")
"""In this order each finds what it needs."""
CHANGES = ("put", "overwrite", "delete")
READ_LOOKS, READ_QUIET_S = 2, 2.0
NAMES = {"put": "PUT", "overwrite": "overwrite", "get": "GET", "head": "HEAD", "delete": "DELETE", "list": "list"}


@dataclass(frozen=True, slots=True)
class Work:
    """One kind of request, with the size of the object (names in a listing, for `list`), over this many connections."""

    kind: str
    size: int
    connections: int

    @property
    def key(self) -> str:
        """As the file of figures has it."""
        return f"{self.kind}-{self.size}-{self.connections}"

    @property
    def label(self) -> str:
        """As a person reads it, without the connections."""
        return label(self.kind, self.size)


def label(kind: str, size: int) -> str:
    """`PUT 4 KiB`, `list 1,000`."""
    return f"{NAMES[kind]} {size:,}" if kind == "list" else f"{NAMES[kind]} {size_label(size)}"


def size_label(size: int) -> str:
    """`4 KiB`."""
    for unit, name in ((1 << 30, "GiB"), (MIB, "MiB"), (KIB, "KiB")):
        if size >= unit and size % unit == 0:
            return f"{size // unit} {name}"
    return f"{size} B"


@dataclass(frozen=True, slots=True)
class Scale:
    """How much."""

    name: str
    seconds: float
    rounds: int
    keys: int
    connections: tuple[int, ...]
    sizes: tuple[int, ...]
    listings: tuple[int, ...]
    big: int
    quiet_s: float
    """The longest wait after a load for what it left behind."""
    quiet_looks: int
    """How many quarters of a second without work end that wait after a change; SeaweedFS looks for what it has to delete once a
    second. After a read two are enough."""
    settle_s: float
    """The longest wait for all to be idle, before the first load."""
    idle_s: float
    """How long the idle rate is looked at."""
    free: int
    """Bytes of disk that must be free."""
    kinds: tuple[str, ...] = KINDS

    def count(self, size: int) -> int:
        """The most requests of one load: what a disk and a signature's 15 minutes allow."""
        return int(self.seconds * (6000 if size <= SMALL else 3000 if size < MIB else 75))

    def looks(self, work: Work) -> int:
        """How many looks must be quiet after this work."""
        return self.quiet_looks if work.kind in CHANGES else READ_LOOKS

    def quiet(self, work: Work) -> float:
        """The longest wait after this work."""
        return self.quiet_s if work.kind in CHANGES else min(self.quiet_s, READ_QUIET_S)

    def stages(self) -> list[list[list[Work]]]:
        """What is measured in one stage, in all its rounds, before anything larger is: what was written last is what a machine's
        memory holds, and small reads are to find theirs there in every round. A stage is made of groups of works that belong
        together, since each of them needs what the ones before it left.
        """
        kinds = [[[Work(kind, size, n) for kind in self.kinds] for n in self.connections] for size in self.sizes]
        lists = [[Work("list", names, n)] for names in self.listings for n in self.connections]
        return [kinds[0], lists, *kinds[1:], [[Work("put", self.big, 1), Work("get", self.big, 1)]]]


FULL = Scale(
    "full", 2.0, 3, 100_000, (1, 16, 64), (SMALL, 64 * KIB, MIB), (1000, 10_000), 1024 * MIB, 6.0, 5, 120.0, 40.0, 60 << 30
)
QUICK = Scale(
    "quick", 0.5, 1, 300, (16,), (SMALL,), (1000,), 64 * MIB, 2.0, 5, 12.0, 3.0, 8 << 30, ("put", "get", "head", "delete")
)
