"""`objstore status`: every node of the rings."""

import sys
import time

from objstore.app.commands.client import Cluster, on_cluster, size_text, table
from objstore.formats.messages import NodeReport

HEADING = ("NODE", "ADDRESS", "UP", "DEVICE", "STATE", "USED", "FREE", "PENDING", "QUARANTINED")
PLAIN_FIELDS = ("node", "address", "up_s", "device", "state", "bytes_total", "bytes_free", "pending", "quarantined")


DAEMON_HEADING = ("NODE", "DAEMON", "STATE", "PASSES", "FAILED", "LAST PASS", "ENDED", "FIGURES OF THE LAST PASS")


def run_daemons(config: str | None, data: str | None) -> int:
    """Print what every background job does. Exit code 1 when a node does not answer, or a job's passes fail."""
    rows, problems = on_cluster(config, data, collect_daemons)
    print(table(DAEMON_HEADING, rows))
    for line in problems:
        print(f"objstore: {line}", file=sys.stderr)
    return 1 if problems else 0


async def collect_daemons(cluster: Cluster) -> tuple[list[tuple[str, ...]], list[str]]:
    """A row per background job of each process, and what is wrong."""
    rows: list[tuple[str, ...]] = []
    problems: list[str] = []
    for address, report in (await cluster.reports()).items():
        if not isinstance(report, NodeReport):
            problems.append(f"{address.ip}:{address.port} does not answer: {report}")
            continue
        for one in report.daemons:
            state = "idle"
            if one.busy:
                state = f"{one.done} of {one.total}" if one.total else "busy"
            ended = f"{_duration(max(0, int(time.time() - one.last_end_s)))} ago" if one.last_end_s else "-"
            figures = " ".join(f"{name}={count}" for name, count in one.figures.items() if count) or "-"
            last = f"{one.last_pass_s:.1f} s" if one.last_end_s else "-"
            rows.append((report.node, one.name, state, str(one.passes), str(one.failures), last, ended, figures))
            if one.failures and one.failures == one.passes:
                problems.append(f"{report.node}: every pass of the {one.name} failed; see its log")
    return rows, problems


def run(config: str | None, data: str | None, plain: bool) -> int:
    """Print the table. Exit code 1 when a node does not answer, a device is refused, or rings differ."""
    rows, rings, problems = on_cluster(config, data, collect)
    if plain:
        for row in rows:
            print(" ".join(f"{key}={_plain(value)}" for key, value in zip(PLAIN_FIELDS, row, strict=True)))
    else:
        print(table(HEADING, [_readable(row) for row in rows]))
        print()
        print(f"rings  {rings}")
    for line in problems:
        print(f"objstore: {line}", file=sys.stderr)
    return 1 if problems else 0


Row = tuple[str, str, int, str, str, int, int, int, int]


async def collect(cluster: Cluster) -> tuple[list[Row], str, list[str]]:
    """A row per device (or per process that does not answer), the rings in use, and what is wrong."""
    rows: list[Row] = []
    problems: list[str] = []
    for address, report in (await cluster.reports()).items():
        where = f"{address.ip}:{address.port}"
        if not isinstance(report, NodeReport):
            rows.append(("?", where, 0, "?", "down", 0, 0, 0, 0))
            problems.append(f"{where} does not answer: {report}")
            continue
        up_s = max(0, int(time.time() - report.started_s))
        for device in report.devices:
            rows.append(
                (
                    *(report.node, where, up_s, device.device, device.state, device.bytes_total, device.bytes_free),
                    *(device.pending_updates, device.quarantined),
                )
            )
            if device.state != "ok":
                problems.append(f"{report.node}/{device.device}: {device.state}")
        differing = [name for name, ours in cluster.rings.digests.items() if report.rings.get(name) != ours]
        if differing:
            problems.append(
                f"{report.node} uses other rings than this command: {', '.join(differing)}; copy them and send it SIGHUP"
            )
    # The first digits of each ring file's md5: nodes that show others are named among the problems.
    rings = ", ".join(f"{name} {digest}" for name, digest in cluster.rings.digests.items())
    return rows, rings, problems


def _readable(row: Row) -> tuple[str, ...]:
    node, where, up_s, device, state, total, free, pending, quarantined = row
    if state == "down":
        return (node, where, "-", device, state, "-", "-", "-", "-")
    return (node, where, _duration(up_s), device, state, size_text(total - free), size_text(free), str(pending), str(quarantined))


def _plain(value: object) -> str:
    text = str(value)
    return text if text and " " not in text else f'"{text}"'


def _duration(seconds: int) -> str:
    for unit, length in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds // length} {unit}"
    return f"{seconds} s"
