"""Plain bar charts as SVG, written by hand: groups of horizontal bars, a linear or a logarithmic scale, for light and dark."""

import math
from dataclasses import dataclass
from html import escape

WIDTH, LEFT, RIGHT = 860, 150, 90
TOP, BAR, GAP, LEGEND, BOTTOM = 52, 13, 12, 24, 30
STYLE = """
  text { font: 12px system-ui, -apple-system, "Segoe UI", Helvetica, Arial, sans-serif; fill: #1f2328; }
  .title { font-size: 15px; font-weight: 600; }
  .quiet { fill: #59636e; font-size: 11px; }
  .line { stroke: #d1d9e0; stroke-width: 1; }
  .page { fill: #ffffff; }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3; } .quiet { fill: #9198a1; } .line { stroke: #3d444d; } .page { fill: #0d1117; }
  }
"""


@dataclass(frozen=True, slots=True)
class Chart:
    """What to draw. A value of None leaves a place for the bar and says so."""

    title: str
    subtitle: str
    series: list[tuple[str, str]]
    """Name and colour."""
    groups: list[tuple[str, list[float | None], list[str]]]
    """Label, a value for each series, and what to write at its bar."""
    logarithmic: bool = True


def draw(chart: Chart) -> str:
    """The SVG."""
    height_of_group = len(chart.series) * BAR + GAP
    plot_top = TOP + LEGEND
    height = plot_top + len(chart.groups) * height_of_group + BOTTOM
    low, high = limits(chart)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" role="img">',
        f"<title>{escape(chart.title)}</title><style>{STYLE}</style>",
        f'<rect class="page" width="{WIDTH}" height="{height}" rx="6"/>',
        f'<text class="title" x="16" y="26">{escape(chart.title)}</text>',
        f'<text class="quiet" x="16" y="44">{escape(chart.subtitle)}</text>',
        *legend(chart),
    ]
    bottom = height - BOTTOM
    for tick in ticks(low, high, chart.logarithmic):
        x = place(tick, low, high, chart.logarithmic)
        parts.append(f'<line class="line" x1="{x:.1f}" x2="{x:.1f}" y1="{plot_top}" y2="{bottom}"/>')
        parts.append(f'<text class="quiet" x="{x:.1f}" y="{bottom + 16}" text-anchor="middle">{short(tick)}</text>')
    for at, (label, values, texts) in enumerate(chart.groups):
        top = plot_top + at * height_of_group + GAP / 2
        middle = top + len(chart.series) * BAR / 2 + 4
        parts.append(f'<text x="{LEFT - 10}" y="{middle:.1f}" text-anchor="end">{escape(label)}</text>')
        for number, (value, text) in enumerate(zip(values, texts, strict=True)):
            y = top + number * BAR
            end = LEFT if value is None else max(LEFT + 1.0, place(value, low, high, chart.logarithmic))
            colour = chart.series[number][1]
            parts.append(f'<rect x="{LEFT}" y="{y:.1f}" width="{end - LEFT:.1f}" height="{BAR - 2}" rx="2" fill="{colour}"/>')
            parts.append(f'<text class="quiet" x="{end + 5:.1f}" y="{y + BAR - 3:.1f}">{escape(text)}</text>')
    return "\n".join([*parts, "</svg>", ""])


def legend(chart: Chart) -> list[str]:
    """A square and a name for each series, on one line."""
    parts, x = [], LEFT
    for name, colour in chart.series:
        parts.append(f'<rect x="{x}" y="{TOP + 2}" width="11" height="11" rx="2" fill="{colour}"/>')
        parts.append(f'<text x="{x + 16}" y="{TOP + 12}">{escape(name)}</text>')
        x += 36 + 7 * len(name)
    return parts


def limits(chart: Chart) -> tuple[float, float]:
    """Where the scale begins and ends: at powers of ten, or at nothing and a little above the highest."""
    values = [value for _, row, _ in chart.groups for value in row if value is not None]
    low, high = min(values, default=1.0), max(values, default=10.0)
    if not chart.logarithmic:
        return 0.0, high * 1.05
    begin, end = math.floor(math.log10(low) - 0.05), math.ceil(math.log10(high))
    return 10.0**begin, 10.0 ** max(end, begin + 1)


def place(value: float, low: float, high: float, logarithmic: bool) -> float:
    """The x of a value."""
    if logarithmic:
        share = (math.log10(max(value, low)) - math.log10(low)) / (math.log10(high) - math.log10(low))
    else:
        share = (value - low) / (high - low)
    return LEFT + share * (WIDTH - LEFT - RIGHT)


def ticks(low: float, high: float, logarithmic: bool) -> list[float]:
    """Where lines stand: powers of ten, or four or five round numbers."""
    if logarithmic:
        return [10.0**power for power in range(round(math.log10(low)), round(math.log10(high)) + 1)]
    step = 10.0 ** math.floor(math.log10(high / 4))
    step *= next(times for times in (1, 2, 5, 10) if high / (step * times) <= 5)
    return [step * number for number in range(int(high / step) + 1)]


def short(value: float) -> str:
    """A tick's number."""
    for size, name in ((1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:g}{name}"
    return f"{value:g}"
