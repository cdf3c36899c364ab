"""A curve: what something costs at several sizes; whether it is flat, where it bends, how it goes on from there."""

import math
from dataclasses import dataclass, field

BEND = 1.35
"""A cost above so many times the lowest before it is more than a noisy machine does by itself."""

Points = list[tuple[int, float]]
"""Size and cost."""


@dataclass(slots=True)
class Curve:
    """Several costs over one size."""

    name: str
    """Also of the plot's file."""
    title: str
    size: str
    """What the size counts."""
    cost: str
    """Of what, in which unit."""
    series: dict[str, Points] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def add(self, series: str, size: int, cost: float) -> None:
        """One more point; said at once, so that one sees that it goes on."""
        self.series.setdefault(series, []).append((size, cost))
        print(f"  {size:>12,} {self.size}: {series:28} {figure(cost):>10} {self.cost}", flush=True)

    def sizes(self) -> list[int]:
        """All that stand in any series."""
        return sorted({size for points in self.series.values() for size, _ in points})

    def table(self) -> tuple[list[str], list[list[str]]]:
        """Head and rows: a row for each series, a column for each size, and where it bends."""
        sizes = self.sizes()
        rows = []
        for name, points in self.series.items():
            known = dict(points)
            rows.append([name, *(figure(known[size]) if size in known else "" for size in sizes), shape(points)])
        return [f"{self.cost} / {self.size}", *(f"{size:,}" for size in sizes), "shape"], rows


def figure(cost: float) -> str:
    """Three digits."""
    return f"{cost:,.0f}" if cost >= 99.95 else f"{cost:.3g}"


def bend(points: Points) -> int | None:
    """The place of the first point from which on all cost more than chance explains, beside the cheapest before it."""
    for at in range(1, len(points)):
        limit = BEND * min(cost for _, cost in points[:at])
        if all(cost > limit for _, cost in points[at:]):
            return at
    return None


def shape(points: Points) -> str:
    """In a few words. The exponent is that from the point before the bend to the last: 1 is proportional."""
    if len(points) < 2:
        return ""
    at = bend(points)
    if at is None:
        return f"falls to {points[-1][1] / points[0][1]:.2f} times" if points[-1][1] * BEND < points[0][1] else "flat"
    (first, low), (last, high) = points[at - 1], points[-1]
    exponent = math.log(high / low) / math.log(last / first)
    return f"{'flat to' if at > 1 else 'from'} {first:,}, then {high / low:.3g} times by {last:,} (n^{exponent:.2f})"
