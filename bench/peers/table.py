"""The tables of a report, for a terminal and for a document."""

from collections.abc import Callable
from dataclasses import dataclass

from bench.peers.figures import SWIFT, Report
from bench.peers.targets import micro, verdicts
from bench.peers.works import Work

CONNECTIONS = 16
MISSING = "–"
NOISE = "in the noise"
"""Less was used than when idle: background jobs hide what the load cost."""
VERDICT = {True: "holds", False: "does not", None: "not known"}


@dataclass(frozen=True, slots=True)
class Grid:
    """A table with a title."""

    title: str
    header: list[str]
    rows: list[list[str]]

    def plain(self) -> str:
        """Columns in line."""
        widths = [max(len(row[at]) for row in [self.header, *self.rows]) for at in range(len(self.header))]
        lines = [
            "  ".join(
                cell.ljust(width) if not at else cell.rjust(width) for at, (cell, width) in enumerate(zip(row, widths, strict=True))
            )
            for row in [self.header, *self.rows]
        ]
        return "\n".join([self.title, "-" * len(lines[0]), *lines])

    def markdown(self) -> str:
        """A table of Markdown."""
        rule = ["---", *("---:" for _ in self.header[1:])]
        return "\n".join([f"**{self.title}**", "", *(f"| {' | '.join(row)} |" for row in [self.header, rule, *self.rows])])


def grids(report: Report) -> list[Grid]:
    """All tables, in the order in which they are read."""
    found = [
        cpu_grid(report),
        rate_grid(report),
        latency_grid(report),
        machine_grid(report),
        memory_grid(report),
        target_grid(report),
    ]
    return [grid for grid in found if grid.rows]


def at_table_connections(report: Report) -> list[Work]:
    """The works that stand in the tables of one number of connections; the large object has one connection alone."""
    works = report.works()
    many = max({work.connections for work in works if work.size != report.big}, default=1)
    shown = CONNECTIONS if any(work.connections == CONNECTIONS for work in works) else many
    return [work for work in works if work.connections == shown or work.size == report.big]


def cpu_grid(report: Report) -> Grid:
    """CPU per request; for Swift, whose daemons are processes of their own, also without these."""
    header, rows = [""], [[work.label] for work in at_table_connections(report)]
    for side in report.sides:
        columns = {"cpu_us": report.title(side)}
        if side == SWIFT:
            columns["serving_us"] = "Swift less daemons"
        for key, title in columns.items():
            header.append(title)
            for row, work in zip(rows, at_table_connections(report), strict=True):
                row.append(cell(report, work, side, key, micro))
    title = f"CPU time per request, all server processes, {CONNECTIONS} connections (large object: one)"
    return Grid(title, header, rows)


def rate_grid(report: Report) -> Grid:
    """Requests per second over each number of connections."""
    rows = []
    for work in report.works():
        rows.append([f"{work.label}, {work.connections}", *(cell(report, work, side, "rate", number) for side in report.sides)])
    return Grid("Requests per second, by connections", ["", *titles(report)], rows)


def latency_grid(report: Report) -> Grid:
    """Three percentiles in a cell."""
    rows = []
    for work in at_table_connections(report):
        cells = []
        for side in report.sides:
            found = [report.median(work, side, key) for key in ("p50_s", "p99_s", "p999_s")]
            cells.append(" / ".join(milli(value) for value in found if value is not None) or absence(report, work, side))
        rows.append([work.label, *cells])
    title = f"Latency in ms, p50 / p99 / p99.9, {CONNECTIONS} connections (10,000 names through S3: of a page of 1,000)"
    return Grid(title, ["", *titles(report)], rows)


def machine_grid(report: Report) -> Grid:
    """What the whole machine spent on a PUT, kernel threads included."""
    works = [work for work in at_table_connections(report) if work.kind in ("put", "overwrite")]
    rows = [[work.label, *(cell(report, work, side, "machine_us", micro) for side in report.sides)] for work in works]
    title = "CPU time of the whole machine per PUT, kernel threads included, less the load client and what it uses when idle"
    return Grid(title, ["", *titles(report)], rows)


def memory_grid(report: Report) -> Grid:
    """Memory and the rate at which each uses CPU when nothing is asked."""
    rows = []
    for server, title in report.servers().items():
        found = report.found["memory"].get(server, {})
        both = [f"{found[when]['pss'] / 2**20:,.0f} MiB" if when in found else MISSING for when in ("idle", "end")]
        count = f"{report.found['requests'].get(server, 0):,}"
        processes = f"{found['idle']['processes']}" if "idle" in found else MISSING
        rows.append([title, *both, count, processes, f"{report.found['idle'].get(server, 0) * 100:.1f} %"])
    header = ["", "idle", "at the end", "requests until then", "processes", "CPU when idle"]
    return Grid("Memory of all processes (PSS), and CPU when nothing is asked", header, rows)


def target_grid(report: Report) -> Grid:
    """Every target with its verdict."""
    rows = [[one.what, one.side, one.ours, one.wanted, VERDICT[one.holds]] for one in verdicts(report)]
    return Grid(
        f"Targets (absolute figures divided by the calibration factor {report.factor:.2f})", ["", "side", "is", "to be", ""], rows
    )


def titles(report: Report) -> list[str]:
    """The sides' names."""
    return [report.title(side) for side in report.sides]


def cell(report: Report, work: Work, side: str, key: str, write: Callable[[float], str]) -> str:
    """A median, or why there is none."""
    value = report.median(work, side, key)
    if value is None:
        return absence(report, work, side)
    return write(value) if value > 0 else NOISE


def absence(report: Report, work: Work, side: str) -> str:
    """What stands where there is no figure."""
    return "failed" if side in report.found["failures"].get(work.key, {}) else MISSING


def number(value: float) -> str:
    """With as many digits as mean something."""
    return f"{value:,.0f}" if value >= 20 else f"{value:.2g}"


def milli(value: float) -> str:
    """Seconds as milliseconds."""
    return f"{value * 1e3:,.0f}" if value >= 0.02 else f"{value * 1e3:.1f}"


def failures(report: Report) -> list[str]:
    """One line for everything that could not be measured."""
    return [
        f"{key}, {side}: {why.splitlines()[0]}" for key, sides in report.found["failures"].items() for side, why in sides.items()
    ]


def settings(report: Report) -> list[str]:
    """How each side was set up."""
    seen = {
        side["server"]: f"{side['title'].partition(' (')[0]}: {side['setup']}. {side['durability']}."
        for side in report.found["sides"].values()
    }
    return list(seen.values())


def terminal(found: dict[str, object]) -> str:
    """All of it, for a terminal."""
    report = Report(found)
    scale = report.found["scale"]
    words = [
        f"{scale['name']}: {scale['rounds']} round(s) of {scale['seconds']:g} s, reads over {scale['keys']:,} objects, "
        f"calibration factor {report.factor:.2f}",
        *settings(report),
    ]
    texts = ["\n".join(words), *(grid.plain() for grid in grids(report))]
    if report.found["failures"]:
        texts.append("\n".join(["Not measured", *failures(report)]))
    return "\n\n".join(texts)
