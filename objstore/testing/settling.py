"""Bringing a cluster to rest: what a test broke is put right, the background jobs do their work, and nothing is left to do."""

import asyncio
from typing import TYPE_CHECKING

from objstore.formats.messages import NodeReport
from objstore.testing import checkers
from objstore.testing.failures import ClusterError

if TYPE_CHECKING:
    from objstore.testing.cluster import Cluster


async def restore(cluster: "Cluster") -> None:
    """As Cluster.restore."""
    await cluster.heal()
    members = [*cluster.nodes, *cluster.proxies]
    await cluster.skew_clock(members, 0.0)
    await cluster.heal_disks()
    await cluster.resume([name for name in members if cluster.state(name) == "paused"])
    await cluster.restart([name for name in members if cluster.state(name) == "down"])


async def round_of(cluster: "Cluster") -> list[str]:
    """One pass of every job on every node; then what is not settled. A node with a device that gave up is restarted."""
    try:
        await cluster.run_daemons(check=False)
    except ClusterError as error:  # a node is just being replaced
        return [str(error)]
    reports, _ = await _reports(cluster)
    broken = [report.node for report in reports if any(device.state != "ok" for device in report.devices)]
    await cluster.restart(broken)
    return await unsettled(cluster)


async def unsettled(cluster: "Cluster") -> list[str]:
    """As Cluster.unsettled."""
    members = [*cluster.nodes, *cluster.proxies]
    lines = [f"{name} is {cluster.state(name)}" for name in members if cluster.state(name) != "running"]
    reports, silent = await _reports(cluster)
    lines += silent
    for report in reports:
        for device in report.devices:
            if device.state != "ok":
                lines.append(f"{report.node}/{device.device} is not in use: {device.state}")
            if device.pending_updates:
                lines.append(f"{report.node}/{device.device} has {device.pending_updates} updates to deliver")
    return [*lines, *checkers.unsettled(await cluster.snapshot())]


async def _reports(cluster: "Cluster") -> tuple[list[NodeReport], list[str]]:
    """What the nodes that run say, and a line for each that does not answer."""
    running = [name for name in cluster.nodes if cluster.state(name) == "running"]
    found = await asyncio.gather(*(cluster.status(name) for name in running), return_exceptions=True)
    reports = [one for one in found if isinstance(one, NodeReport)]
    return reports, [str(one) for one in found if not isinstance(one, NodeReport)]
