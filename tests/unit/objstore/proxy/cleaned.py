"""A cluster whose nodes delete by themselves, and whose clocks a test sets."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

from objstore.account.reaper import AccountReaper
from objstore.container.expirer import ObjectExpirer
from objstore.container.reviver import ContainerReviver
from objstore.formats.messages import ListTable, MergeObjectRows, ObjectPage, Query, StatTable, TableInfo
from objstore.model.errors import Code
from objstore.model.names import ObjectName
from objstore.model.policy import ONE_POLICY, Policies
from objstore.model.rows import ObjectRow
from objstore.placement.places import Placement, Rings
from objstore.proxy.cleaning import Cleaner
from objstore.proxy.knobs import ProxyKnobs
from objstore.proxy.store import ClusterStore
from objstore.rpc.interface import Dispatcher
from objstore.runtime.clock import SystemClock
from objstore.runtime.interface import Worker
from objstore.tables.turns import Turns
from tests.unit.objstore.proxy.cluster import QUICK, Cluster, Node
from tests.unit.objstore.proxy.network import Network

PATIENT = replace(QUICK, node_timeout_s=10.0, straggler_grace_s=2.0)
"""What is down says so at once; nothing else is given up because the machine is busy."""


class SetClock(SystemClock):
    """Ahead of the system's by `ahead_s`; the monotonic clock too by `passed_s`, as if that much time had gone by."""

    def __init__(self) -> None:
        self.ahead_s = 0.0
        self.passed_s = 0.0

    def now(self) -> float:
        return super().now() + self.ahead_s + self.passed_s

    def monotonic(self) -> float:
        return super().monotonic() + self.passed_s


class CleaningNode(Node):
    """With an object-expirer, a container-reviver and an account-reaper."""

    def __init__(self, number: int, root: Path, network: Network, clock: SystemClock, rings: Rings) -> None:
        super().__init__(number, root, network, clock, rings)
        self.object._writer._container_wait_s = 10.0
        self.is_trusted = True
        self.reaper_delay_s = 0.0
        caller, own = network.client(f"cleaner{number}", Dispatcher()), [self.address]
        self.cleaner = Cleaner(rings, caller, clock, knobs=PATIENT)
        self.turns = Turns(own, caller, clock)
        self._jobs = ({"d1": self.tables}, Placement(rings), self.turns, self.cleaner, clock, lambda: self.is_trusted)
        self.expirer = ObjectExpirer(*self._jobs)
        self.reaper = AccountReaper(*self._jobs, 0.0)
        self.reviver = ContainerReviver({"d1": self.tables}, self.cleaner, clock)

    def delay_reaper(self, delay_s: float) -> None:
        self.reaper = AccountReaper(*self._jobs, delay_s)

    async def run(self, daemon: str) -> dict[str, int]:
        own: dict[str, Worker] = {job.name: job for job in (self.expirer, self.reaper, self.reviver)}
        return await (own[daemon].run_once() if daemon in own else super().run(daemon))

    async def stop(self) -> None:
        await self.cleaner.stop()
        await super().stop()


class CleaningCluster(Cluster):
    node = CleaningNode
    clock_type = SetClock
    nodes: list[CleaningNode]  # type: ignore[assignment]
    clock: SetClock

    def store(self, knobs: ProxyKnobs = PATIENT, clock: SystemClock | None = None) -> ClusterStore:
        return super().store(knobs, clock)

    async def pass_of(self, daemon: str) -> dict[str, int]:
        """One pass on every node that is up, one after the other; the sums of their figures."""
        total: dict[str, int] = {}
        for node in self.nodes:
            if not self.network.fault(node.address).down:
                for figure, count in (await node.run(daemon)).items():
                    total[figure] = total.get(figure, 0) + count
        return total

    async def rows(self, number: int, container: str = "c", account: str = "AUTH_test") -> list[ObjectRow]:
        """All that one container replica knows, deletions too, asked past the network."""
        table = Placement(self.rings).container(account, container)
        (target,) = [one.target for one in table.replicas if one.address == self.nodes[number].address]
        page = await self.ask(number, ListTable("container", target, table.hash, table.name, Query(1000), raw_rows=True))
        assert isinstance(page, ObjectPage)
        return page.rows  # type: ignore[return-value]

    async def exists(self, number: int, name: str) -> bool:
        """Whether an account or container exists by one replica."""
        table = Placement(self.rings).table(name)
        (target,) = [one.target for one in table.replicas if one.address == self.nodes[number].address]
        info = await self.ask(number, StatTable(table.kind, target, table.hash, table.name))
        assert isinstance(info, TableInfo)
        return info.settings is not None and info.settings.exists

    def refuse_rows(self, *numbers: int) -> None:
        """These container replicas get no rows until the network heals."""
        for number in numbers:
            self.network.fault(self.nodes[number].address).refuse[MergeObjectRows] = Code.DEVICE_FAILED

    async def settled(self, store: ClusterStore) -> None:
        """The network is well again; rows that were refused stay lost, as if the pending logs had gone with their disks."""
        await store.nodes.stop()
        self.network.heal()
        for node in self.nodes:
            for log in (device.log for device in node.object._devices.values()):
                for id_ in [id_ for segment in log.segments() for id_ in log.open_ids(segment)]:
                    log.clear(id_)
            node.object.updates._down_until = {}

    async def replicated(self) -> None:
        """All that was sent has arrived, and what replicas of objects missed they have."""
        for node in self.nodes:
            await node.cleaner.stop()
        for node in self.nodes * 2:
            await node.run("object-replicator")
        await asyncio.sleep(0.05)  # superseded files are removed behind the answer

    async def alive(self, name: ObjectName) -> list[bytes | None]:
        """The bytes that each of the first three nodes has of an object."""
        return [body for _, body in await self.held(name, range(3))]

    async def deletions(self, name: ObjectName) -> set[int]:
        """When it was deleted, by those of the first three nodes that know of it."""
        return {version.timestamp for version, _ in await self.held(name, range(3)) if version is not None and version.deleted}


@asynccontextmanager
async def cleaning(root: Path, count: int = 4, policies: Policies = ONE_POLICY) -> AsyncIterator[CleaningCluster]:
    """Three replicas, and container `c` in the owner's account, made by the first proxy."""
    cluster = CleaningCluster(root, count, 3, policies)
    for node in cluster.nodes:
        await node.start()
    try:
        yield cluster
    finally:
        await cluster.stop()
