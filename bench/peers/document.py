"""Writes a report into docs/performance.md, between its marks, and the plots beside it."""

from collections.abc import Callable

from bench.cluster import ROOT
from bench.peers.figures import Report
from bench.peers.plots import Chart, draw
from bench.peers.table import absence, at_table_connections, failures, grids, milli, number, settings
from bench.peers.targets import micro
from bench.peers.works import SMALL, Work

DOCUMENT = ROOT / "docs" / "performance.md"
PLOTS = ROOT / "docs" / "plots"
BEGIN = "<!-- bench-peers: from here on `make bench-peers` writes, with --write-docs -->"
END = "<!-- bench-peers: end -->"
COLOURS = {"ours": "#2f6fde", "ours-s3": "#86b3f7", "swift": "#e0793a", "seaweed-fsync": "#1f9d76", "seaweed": "#86cfb4"}
"""Told apart also by those who see no red or no green."""


def write(found: dict[str, object]) -> None:
    """The plots, and the section. Raises SystemExit when the marks are not there."""
    report = Report(found)
    text = DOCUMENT.read_text()
    if text.count(BEGIN) != 1 or text.count(END) != 1:
        raise SystemExit(f"{DOCUMENT.name} lacks the marks of the comparison")
    PLOTS.mkdir(exist_ok=True)
    images = []
    for name, chart in charts(report).items():
        if chart.groups:
            (PLOTS / f"{name}.svg").write_text(draw(chart))
            images.append(f"![{chart.title}](plots/{name}.svg)")
    before, _, rest = text.partition(BEGIN)
    after = rest.partition(END)[2]
    DOCUMENT.write_text(f"{before}{BEGIN}\n\n{section(report, images)}\n\n{END}{after}")
    print(f"written: {DOCUMENT.relative_to(ROOT)}, {PLOTS.relative_to(ROOT)}")


def section(report: Report, images: list[str]) -> str:
    """All between the marks."""
    scale, machine = report.found["scale"], report.found["machine"]
    rounds = f"{scale['rounds']} round{'s' if scale['rounds'] > 1 else ''} of {scale['seconds']:g} s"
    intro = (
        f"Measured on {report.found['when']}, {scale['name']} mode: {rounds}, small reads over {scale['keys']:,} objects, "
        f"{machine['cores']} cores with the load client on the same ones, Python {machine['python']}. "
        f"The fixed loop took {report.factor:.2f} times what it takes on the machine that the targets are for."
    )
    sides = "\n".join(f"* {line}" for line in settings(report))
    parts = [intro, sides, *images, *(grid.markdown() for grid in grids(report))]
    if report.found["failures"]:
        parts.append("\n".join(["Not measured:", "", *(f"* {line}" for line in failures(report))]))
    return "\n\n".join(parts)


def charts(report: Report) -> dict[str, Chart]:
    """File name -> chart."""
    works = [
        work for work in at_table_connections(report) if work.size != report.big and (work.size == SMALL or work.kind == "list")
    ]
    connections = works[0].connections if works else 0
    below = f"{connections} connections, logarithmic scale"
    return {
        "cpu": Chart(
            "CPU time per request, µs (less is better)", f"all server processes, {below}", *bars(report, works, "cpu_us", micro)
        ),
        "rate": Chart("Requests per second (more is better)", below, *bars(report, works, "rate", number)),
        "latency": Chart("99th percentile of latency, ms (less is better)", below, *bars(report, works, "p99_s", milli, 1e3)),
        "memory": memory_chart(report),
    }


def bars(
    report: Report, works: list[Work], key: str, text: Callable[[float], str], times: float = 1.0
) -> tuple[list[tuple[str, str]], list[tuple[str, list[float | None], list[str]]]]:
    """Series and groups of a chart: a group for each work, a bar for each side."""
    groups: list[tuple[str, list[float | None], list[str]]] = []
    for work in works:
        medians = [report.median(work, side, key) for side in report.sides]
        found = [None if one is None or one <= 0 else one for one in medians]
        texts = [absence(report, work, side) if one is None else text(one) for side, one in zip(report.sides, found, strict=True)]
        groups.append((work.label, [None if one is None else one * times for one in found], texts))
    return [(report.title(side), COLOURS[side]) for side in report.sides], groups


def memory_chart(report: Report) -> Chart:
    """Idle and at the end, a bar for each server."""
    groups: list[tuple[str, list[float | None], list[str]]] = []
    names = report.servers()
    for when, label in (("idle", "idle"), ("end", "at the end")):
        found = [report.memory(server, when) for server in names]
        values = [None if one is None else one / 2**20 for one in found]
        groups.append((label, values, ["" if one is None else f"{one:,.0f} MiB" for one in values]))
    return Chart(
        "Memory of all processes, MiB (less is better)",
        "proportional set size",
        [(title, COLOURS[server]) for server, title in names.items()],
        groups,
        False,
    )
