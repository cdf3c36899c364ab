"""The life of a cluster under test: its files, addresses and processes come into being together, and nothing of them stays."""

import asyncio
import contextlib
import os
import tempfile
from collections.abc import Collection, Mapping

from objstore.app.config import Config
from objstore.app.configfile import ConfigError, load_config, read_secret
from objstore.app.failure import Failure
from objstore.app.identity import cluster_fingerprint
from objstore.app.storage import FAULTS_VARIABLE
from objstore.rpc.client import RpcClient
from objstore.runtime.clock import SystemClock
from objstore.runtime.knobs import Knobs
from objstore.runtime.offsetclock import ENVIRONMENT_NAME as CLOCK_FILE
from objstore.runtime.offsetclock import write_offset
from objstore.runtime.rng import SystemRng
from objstore.testing.addresses import Addresses, public_listener
from objstore.testing.failures import ClusterError
from objstore.testing.layout import PROXY_HOST, Layout, Member, Shape
from objstore.testing.login import Endpoint, log_in
from objstore.testing.network import Network
from objstore.testing.processes import Janitor, NodeProcess

Nodes = str | Collection[str]
"""One node's name, or several."""

RECONNECT_S = 1.3 * Knobs().refusal_memory_min_s
"""A node that was refused by another one comes back to it after this time at the latest (see RpcClient)."""


class Life:
    """What Cluster is made of. For one event loop."""

    def __init__(
        self, shape: Shape, environment: Mapping[str, str], directory: str | None, *, keep: bool, start_timeout_s: float
    ) -> None:
        """As Cluster."""
        self.layout = Layout(os.path.abspath(directory) if directory else "", shape)
        self.processes: dict[str, NodeProcess] = {}
        self.network: Network | None = None
        self._environment = dict(environment)
        self._keep = keep or directory is not None
        self._start_timeout_s = start_timeout_s
        self._exits = contextlib.AsyncExitStack()
        self._addresses: Addresses | None = None
        self._janitor: Janitor | None = None
        self._client: RpcClient | None = None
        self._endpoint: Endpoint | None = None

    # --- from beginning to end ---------------------------------------------------------------------------------

    async def start(self) -> None:
        """As Cluster.start."""
        try:
            await self._start()
        except (ConfigError, Failure, OSError) as problem:
            await self.stop()
            raise ClusterError(str(problem)) from problem
        except BaseException:
            await self.stop()
            raise

    async def _start(self) -> None:
        layout, shape = self.layout, self.layout.shape
        layout.directory = layout.directory or tempfile.mkdtemp(prefix="objstore-")
        self._janitor = Janitor(layout.directory, keep=self._keep)
        self._addresses = Addresses()
        self._exits.callback(self._addresses.close)
        if shape.network_faults:
            self.network = Network()
            self._exits.callback(self.network.close)
        layout.found()
        for _ in range(shape.nodes):
            self.add_node(shape.devices)
        layout.make_rings([self.processes[name].member for name in self.nodes])
        for number in range(1, shape.proxies + 1):
            listener = public_listener()
            member = layout.add_proxy(number, *self._ips(PROXY_HOST + number), listener.getsockname()[1])
            self._add(member).launch(self._of_member(member), listener)
        for name in self.nodes:
            self.launch(self.processes[name], {})
        await self.ready(list(self.processes.values()))
        self._connect()
        if shape.proxies:
            self._endpoint = await asyncio.to_thread(log_in, self.endpoints[0])

    def add_node(self, devices: int) -> NodeProcess:
        """One more storage node, not started, in no ring."""
        number = len(self.nodes) + 1
        return self._add(self.layout.add_node(number, *self._ips(number), devices))

    def _ips(self, host: int) -> tuple[str, str]:
        assert self._addresses is not None
        ip = self._addresses.ring_ip(host)
        return ip, self._addresses.bound_ip(host) if self.network is not None else ip

    def _add(self, member: Member) -> NodeProcess:
        assert self._janitor is not None
        process = self.processes[member.name] = NodeProcess(member, self._janitor)
        write_offset(member.clock_file, 0.0)
        if self.network is not None:
            self.network.add(member)
        return process

    def _connect(self) -> None:
        config = self.config(self.nodes[0])
        self._client = RpcClient(read_secret(config), "test", cluster_fingerprint(config), SystemClock(), SystemRng())
        self._exits.push_async_callback(self._client.close)

    async def stop(self) -> None:
        """As Cluster.stop."""
        if self._keep:
            await asyncio.gather(*(self.processes[name].stop() for name in self.proxies))
            await asyncio.gather(*(self.processes[name].stop() for name in self.nodes))
        await asyncio.gather(*(process.kill() for process in self.processes.values()))
        await self._exits.aclose()
        if self._janitor is not None:
            await asyncio.to_thread(self._janitor.finish)
            self._janitor = None

    def keep(self) -> None:
        """As Cluster.keep."""
        self._keep = True
        if self._janitor is not None:
            self._janitor.keep()

    def died(self) -> str:
        """As Cluster.died."""
        lines = [process.trouble for process in self.processes.values() if process.trouble]
        for one in self.processes.values():
            if one.died and one.exit_code != -9:
                lines.append(f"{one.member.name} ended by itself with exit code {one.exit_code}; its log: {one.member.log}")
        return "\n".join(lines)

    # --- processes ---------------------------------------------------------------------------------------------

    def launch(self, process: NodeProcess, environment: Mapping[str, str]) -> None:
        """Start it; `ready` waits for it."""
        process.launch({**self._of_member(process.member), **environment})

    def _of_member(self, member: Member) -> dict[str, str]:
        ours = {CLOCK_FILE: member.clock_file}
        if self.layout.shape.disk_faults:
            ours[FAULTS_VARIABLE] = member.faults_file
        return {**self._environment, **ours}

    async def ready(self, processes: list[NodeProcess]) -> None:
        """Until all of them serve, and whoever found them missing will look again. Raises ClusterError."""
        await asyncio.gather(*(process.ready(self._start_timeout_s) for process in processes))
        for process in processes:
            process.watch(self._replace)
            if self.network is not None and process.member.kind == "storage":
                self.network.open(process.member)
        await asyncio.sleep(RECONNECT_S)

    async def _replace(self, process: NodeProcess) -> None:
        """One after the other, not side by side as under the supervisor: others miss it for a moment."""
        await process.stop()  # in the task that watches it, which ends itself otherwise
        self._shut(process)
        self.launch(process, {})
        await self.ready([process])

    async def whole(self) -> None:
        """Until no process is being replaced."""
        for process in self.processes.values():
            await process.in_place.wait()

    async def end(self, processes: list[NodeProcess], *, at_once: bool) -> None:
        """By SIGKILL, or in order; connections to them are refused afterwards."""
        await asyncio.gather(*((process.kill() if at_once else process.stop()) for process in processes))
        for process in processes:
            self._shut(process)

    def _shut(self, process: NodeProcess) -> None:
        if self.network is not None and process.member.kind == "storage":
            self.network.shut(process.member)

    # --- what it is --------------------------------------------------------------------------------------------

    @property
    def nodes(self) -> list[str]:
        return [name for name, process in self.processes.items() if process.member.kind == "storage"]

    @property
    def proxies(self) -> list[str]:
        return [name for name, process in self.processes.items() if process.member.kind == "public"]

    @property
    def endpoints(self) -> list[str]:
        return [f"http://127.0.0.1:{self.processes[name].member.port}" for name in self.proxies]

    @property
    def endpoint(self) -> Endpoint:
        """Raises ClusterError."""
        if self._endpoint is None:
            raise ClusterError("the cluster has no proxy, or is not started")
        return self._endpoint

    @property
    def client(self) -> RpcClient:
        """Speaks to its nodes. Raises ClusterError."""
        if self._client is None:
            raise ClusterError("the cluster is not started")
        return self._client

    def process(self, node: str) -> NodeProcess:
        """Raises ClusterError for a name that no node has."""
        process = self.processes.get(node)
        if process is None:
            raise ClusterError(f"there is no node {node}; there are: {', '.join(self.processes)}")
        return process

    def chosen(self, nodes: Nodes) -> list[NodeProcess]:
        """Raises ClusterError as `process`."""
        return [self.process(name) for name in ([nodes] if isinstance(nodes, str) else nodes)]

    def serving(self, nodes: Nodes) -> list[Member]:
        """Those of them that run and are not paused."""
        return [one.member for one in self.chosen(nodes) if one.state == "running" and not one.died]

    def config(self, node: str) -> Config:
        return load_config(self.process(node).member.config)
