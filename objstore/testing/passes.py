"""Passes of background jobs on request, in the processes that own the devices."""

import asyncio
from collections.abc import Iterable, Sequence

from objstore.app.daemons import DAEMONS
from objstore.formats.messages import Address, DaemonReport, NodeReport, NodeStatus, RunDaemon
from objstore.model.errors import NodeError
from objstore.rpc.client import RpcClient
from objstore.rpc.interface import PeerUnavailable
from objstore.testing.failures import ClusterError
from objstore.testing.layout import Member

Passes = dict[str, dict[str, dict[str, int]]]
"""node -> job -> figures."""
STATUS_TIMEOUT_S = 10.0


def address_of(member: Member) -> Address:
    """Where the process itself listens: no fault between nodes touches what a test asks."""
    return Address(member.bound_ip, member.port)


async def report_of(client: RpcClient, member: Member) -> NodeReport:
    """What a node says of itself. Raises ClusterError."""
    try:
        report = await client.call(address_of(member), NodeStatus(), timeout_s=STATUS_TIMEOUT_S)
    except (NodeError, PeerUnavailable) as error:
        raise ClusterError(f"{member.name} does not answer: {error}") from error
    assert isinstance(report, NodeReport)
    return report


async def run_passes(
    client: RpcClient, members: Sequence[Member], names: Sequence[str], timeout_s: float
) -> tuple[Passes, list[str]]:
    """One pass of each job on each node that has it; the figures, and a line for each pass that failed. Raises ClusterError for a
    job that no node has.
    """
    reports = await asyncio.gather(*(report_of(client, member) for member in members))
    has = {member.name: [daemon.name for daemon in report.daemons] for member, report in zip(members, reports, strict=True)}
    there = {name for jobs in has.values() for name in jobs}
    for name in names:
        if name not in there:
            raise ClusterError(f"no node has the job {name}; there are: {', '.join(in_order(there))}")
    passes: Passes = {member.name: {} for member in members}
    failures: list[str] = []
    for name in names or in_order(there):

        async def one(member: Member, name: str = name) -> None:
            try:
                passes[member.name][name] = await _run(client, member, name, timeout_s)
            except (NodeError, PeerUnavailable) as error:
                failures.append(f"{name} on {member.name}: {error}")

        await asyncio.gather(*(one(member) for member in members if name in has[member.name]))
    return passes, failures


async def _run(client: RpcClient, member: Member, name: str, timeout_s: float) -> dict[str, int]:
    answer = await client.call(address_of(member), RunDaemon(name), timeout_s=timeout_s)
    assert isinstance(answer, DaemonReport)
    return answer.figures


def in_order(names: Iterable[str]) -> list[str]:
    """Objects before containers before accounts, as what happens to the first is told to the next."""
    known = {name: place for place, name in enumerate(DAEMONS)}
    return sorted(names, key=lambda name: (known.get(name, len(known)), name))
