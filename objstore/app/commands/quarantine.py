"""`objstore quarantine list` and `restore`."""

import sys
import time

from objstore.app.commands.client import Cluster, on_cluster, table
from objstore.app.failure import Failure
from objstore.formats.messages import (
    Address,
    ListQuarantine,
    NodeReport,
    QuarantineList,
    Ready,
    RestoreQuarantine,
)
from objstore.model.errors import NodeError

HEADING = ("DEVICE", "ENTRY", "SINCE", "STATE", "NAME", "REASON", "FILE")


def show(device: str | None, config: str | None, data: str | None) -> int:
    """One line per quarantined file. Exit code 1 when a node does not answer."""

    async def work(cluster: Cluster) -> tuple[list[tuple[str, ...]], list[str]]:
        rows: list[tuple[str, ...]] = []
        found, silent = await _devices(cluster, device)
        for label, (address, name) in found.items():
            answer = await cluster.ask(address, ListQuarantine(name), QuarantineList)
            for entry in answer.entries:
                since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(entry.time_s))
                state = "superseded" if entry.superseded else "missed"
                rows.append((label, entry.id, since, state, entry.name or "?", entry.reason, entry.path))
        return rows, silent

    rows, silent = on_cluster(config, data, work)
    print(
        table(HEADING, rows)
        if rows
        else "nothing is in quarantine"
        if not silent
        else "nothing is in quarantine where nodes answer"
    )
    for line in silent:
        print(f"objstore: {line}", file=sys.stderr)
    return 1 if silent else 0


def restore(device: str, entry: str, config: str | None, data: str | None) -> int:
    """Put one file back. Raises Failure when it is not there, still does not verify, or is not wanted any more."""

    async def work(cluster: Cluster) -> None:
        ((address, name),) = (await _devices(cluster, device))[0].values()
        try:
            await cluster.ask(address, RestoreQuarantine(name, entry), Ready)
        except NodeError as error:
            raise Failure(f"{device}: {entry}: {error.text or error.code}") from error

    on_cluster(config, data, work)
    print(f"{entry} is back in place on {device}")
    return 0


async def _devices(cluster: Cluster, wanted: str | None) -> tuple[dict[str, tuple[Address, str]], list[str]]:
    """(node/device -> where it is, a line for each node that does not answer); of one device alone when it is `wanted`.

    Raises Failure when the one wanted is not there.
    """
    found = {}
    silent = []
    for address, report in (await cluster.reports()).items():
        if not isinstance(report, NodeReport):
            silent.append(f"{address.ip}:{address.port} does not answer: {report}")
        else:
            found.update({f"{report.node}/{one.device}": (address, one.device) for one in report.devices if one.state == "ok"})
    if wanted is None:
        return found, silent
    if wanted not in found:
        raise Failure(f"no device {wanted} answers; those that do: {', '.join(sorted(found)) or 'none'}")
    return {wanted: found[wanted]}, []
