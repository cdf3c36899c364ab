"""What this store is to reach beside its peers, and whether a run shows that it does.

The ratios bind; absolute figures are scaled by the calibration of the same run.
"""

from dataclasses import dataclass

from bench.peers.figures import OURS, SEAWEED, SWIFT, Report
from bench.peers.works import SMALL, Work

GIB = 1 << 30
MEMORY_MAX = 400 << 20
RATE_CONNECTIONS = (16, 64)


@dataclass(frozen=True, slots=True)
class Target:
    """CPU µs per request at most, scaled, and how many times less than each peer at least."""

    kind: str
    size: int
    connections: int
    cpu_us: float
    than_swift: float
    than_seaweed: float


TARGETS = (
    Target("get", SMALL, 16, 130, 30, 4),
    Target("head", SMALL, 16, 115, 30, 4),
    Target("put", SMALL, 16, 590, 30, 3),
    Target("delete", SMALL, 16, 700, 20, 2),
    Target("list", 1000, 16, 3000, 5, 5),
    Target("get", GIB, 1, 700_000, 4, 2),
    Target("put", GIB, 1, 5_000_000, 2, 5),
)


@dataclass(frozen=True, slots=True)
class Verdict:
    """One figure beside what it is to be. `holds` is None where one of the sides was not measured."""

    what: str
    side: str
    ours: str
    wanted: str
    holds: bool | None


def verdicts(report: Report) -> list[Verdict]:
    """All of them, in the order of the targets."""
    found = []
    for target in TARGETS:
        for side in OURS:
            found += cpu_verdicts(report, target, side)
    for connections in RATE_CONNECTIONS:
        for target in TARGETS:
            if target.size != GIB:
                found += rate_verdicts(report, Work(target.kind, target.size, connections))
    return found + memory_verdicts(report)


def cpu_verdicts(report: Report, target: Target, side: str) -> list[Verdict]:
    """The absolute figure, then the two ratios. A shorter run's large object is smaller: the limit shrinks with it.

    That to Swift must hold with its daemons and without: a round of theirs that falls into a load is not what a request costs.
    """
    size = report.big if target.size == GIB else target.size
    limit = target.cpu_us * size / target.size
    work = Work(target.kind, size, target.connections)
    mine = report.median(work, side, "cpu_us")
    if mine is None:
        return []
    scaled = mine / report.factor
    title = report.title(side)
    found = [Verdict(f"{work.label}, CPU scaled", title, micro(scaled), f"at most {micro(limit)}", scaled <= limit)]
    for peer, wanted in ((SWIFT, target.than_swift), (SEAWEED, target.than_seaweed)):
        theirs = report.median(work, peer, "cpu_us")
        what = f"{work.label}, CPU of {report.title(peer)}"
        if theirs is None or theirs <= 0 or mine <= 0:
            found.append(Verdict(what, title, "not measured", f"at least {wanted:g} times ours", None))
            continue
        ratio = theirs / mine if mine else float("inf")
        is_ = f"{ratio:.1f} times ours"
        if peer == SWIFT and mine:
            serving = (report.median(work, peer, "serving_us") or 0.0) / mine
            is_ += f" ({serving:.1f} without its daemons)"
            ratio = min(ratio, serving)
        found.append(Verdict(what, title, is_, f"at least {wanted:g} times ours", ratio >= wanted))
    return found


def rate_verdicts(report: Report, work: Work) -> list[Verdict]:
    """Requests per second, above both peers."""
    found = []
    theirs = [report.median(work, peer, "rate") for peer in (SWIFT, SEAWEED)]
    known = [rate for rate in theirs if rate is not None]
    for side in OURS:
        mine = report.median(work, side, "rate")
        if mine is not None:
            best = f"above {max(known):,.0f}" if known else "above both"
            holds = mine > max(known) if len(known) == len(theirs) else None
            found.append(Verdict(f"{work.label}, req/s at {work.connections}", report.title(side), f"{mine:,.0f}", best, holds))
    return found


def memory_verdicts(report: Report) -> list[Verdict]:
    """Memory of all processes, idle and at the end: below the limit and below both peers."""
    found = []
    for when in ("idle", "end"):
        mine = report.memory("ours", when)
        if mine is None:
            continue
        known = [value for value in (report.memory(peer, when) for peer in (SWIFT, SEAWEED)) if value is not None]
        limit = min([MEMORY_MAX, *known])
        holds = mine <= limit if len(known) == 2 or mine > limit else None
        text = f"at most {MEMORY_MAX >> 20} MiB, less than both"
        found.append(Verdict(f"memory, {when}", "objstore", f"{mine / 2**20:,.0f} MiB", text, holds))
    return found


def micro(value: float) -> str:
    """Microseconds as a person writes them."""
    if value >= 1_000_000:
        return f"{value / 1e6:.2f} s"
    return f"{value / 1e3:.1f} ms" if value >= 10_000 else f"{value:,.0f} µs"
