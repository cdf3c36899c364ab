"""Line charts as SVG: both scales logarithmic, for light and dark."""

import math
from html import escape

from bench.growth.curves import Curve, figure
from bench.peers.plots import STYLE, short

WIDTH, HEIGHT = 860, 380
LEFT, RIGHT, TOP, BOTTOM = 70, 24, 84, 44
COLOURS = ("#2f6fde", "#e0793a", "#1f9d76", "#9b59b6", "#c0392b", "#7f8c8d")
LEGEND_COLUMN = 260


def draw(curve: Curve) -> str:
    """The SVG."""
    sizes = curve.sizes()
    costs = [cost for points in curve.series.values() for _, cost in points]
    across = Scale(sizes[0], sizes[-1], LEFT, WIDTH - RIGHT)
    up = Scale(10.0 ** math.floor(math.log10(min(costs))), 10.0 ** math.ceil(math.log10(max(costs))), HEIGHT - BOTTOM, TOP)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" role="img">',
        f"<title>{escape(curve.title)}</title><style>{STYLE}</style>",
        f'<rect class="page" width="{WIDTH}" height="{HEIGHT}" rx="6"/>',
        f'<text class="title" x="16" y="26">{escape(curve.title)}</text>',
        f'<text class="quiet" x="{LEFT}" y="{HEIGHT - 10}">{escape(curve.size)}, against {escape(curve.cost)}</text>',
    ]
    for tick in across.ticks():
        x = across.place(tick)
        parts.append(f'<line class="line" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}"/>')
        parts.append(f'<text class="quiet" x="{x:.1f}" y="{HEIGHT - BOTTOM + 15}" text-anchor="middle">{short(tick)}</text>')
    for tick in up.ticks():
        y = up.place(tick)
        parts.append(f'<line class="line" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text class="quiet" x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{short(tick)}</text>')
    for number, (name, points) in enumerate(curve.series.items()):
        parts += series(number, name, [(across.place(size), up.place(cost), figure(cost)) for size, cost in points])
    return "\n".join([*parts, "</svg>", ""])


def series(number: int, name: str, places: list[tuple[float, float, str]]) -> list[str]:
    """A line, its points with their figures, and its place in the legend."""
    colour = COLOURS[number % len(COLOURS)]
    x, y = 16 + number % 3 * LEGEND_COLUMN, 46 + number // 3 * 17
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y, _ in places)
    parts = [
        f'<rect x="{x}" y="{y - 10}" width="11" height="11" rx="2" fill="{colour}"/>',
        f'<text x="{x + 16}" y="{y}">{escape(name)}</text>',
        f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>',
    ]
    for at, (x_there, y_there, text) in enumerate(places):
        parts.append(f'<circle cx="{x_there:.1f}" cy="{y_there:.1f}" r="3" fill="{colour}"/>')
        if at in (0, len(places) - 1):
            anchor = "start" if at == 0 else "end"
            parts.append(f'<text class="quiet" x="{x_there:.1f}" y="{y_there - 7:.1f}" text-anchor="{anchor}">{text}</text>')
    return parts


class Scale:
    """Logarithmic, from a value at one place to a value at another."""

    def __init__(self, low: float, high: float, first: float, last: float) -> None:
        self._low, self._high = math.log10(low), math.log10(max(high, low * 10))
        self._first, self._last = first, last

    def place(self, value: float) -> float:
        """Of a value."""
        return self._first + (math.log10(value) - self._low) / (self._high - self._low) * (self._last - self._first)

    def ticks(self) -> list[float]:
        """Powers of ten."""
        return [10.0**power for power in range(math.ceil(self._low - 1e-9), math.floor(self._high + 1e-9) + 1)]
