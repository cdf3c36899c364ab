"""A cluster of real processes on loopback addresses, under a test's control."""

import asyncio
import contextlib
import os
import tempfile
import time
from collections.abc import Collection, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any

from objstore.app.config import Config
from objstore.app.configfile import ConfigError, load_config, read_secret
from objstore.app.failure import Failure
from objstore.app.identity import cluster_fingerprint
from objstore.app.rings import load_rings
from objstore.rpc.client import RpcClient
from objstore.runtime.clock import SystemClock
from objstore.runtime.rng import SystemRng
from objstore.testing import damage
from objstore.testing.addresses import Addresses, public_listener
from objstore.testing.failures import ClusterError
from objstore.testing.holdings import Holdings, Replica, object_name
from objstore.testing.layout import Layout, Member, Settings, Shape
from objstore.testing.login import KEY, USER, Endpoint, log_in, swift_connection
from objstore.testing.passes import Passes, run_passes
from objstore.testing.processes import START_TIMEOUT_S, Janitor, NodeProcess, State

if TYPE_CHECKING:
    from swiftclient.client import Connection

Nodes = str | Collection[str]
"""One node's name, or several."""


class Cluster:
    """`async with Cluster() as cluster:` starts it and, at the end, leaves nothing of it.

    Storage nodes are called node1, node2 ..., their devices d1, d2 ..., proxies proxy1, proxy2 .... Each is one process, which
    stays down when it is killed, until `restart`. Background jobs run when a test says `run_daemons`, unless `daemons=True`.
    """

    def __init__(
        self,
        nodes: int = 4,
        zones: int | None = None,
        devices: int = 2,
        replicas: int = 3,
        *,
        proxies: int = 1,
        part_power: int = 6,
        daemons: bool = False,
        seed: int = 1,
        settings: Settings | None = None,
        environment: Mapping[str, str] | None = None,
        directory: str | None = None,
        keep: bool = False,
        start_timeout_s: float = START_TIMEOUT_S,
    ) -> None:
        """`zones`: one per node unless given; `devices`: per node. The same `seed` puts the same names on the same devices.
        `settings`: configuration keys by section. `environment`: for all processes. `directory`: where the files are, an empty one
        that stays; else a temporary one, which stays with `keep`. Raises ClusterError for a cluster that cannot be.
        """
        self.shape = Shape(nodes, zones or nodes, devices, replicas, proxies, part_power, daemons, False, seed, settings or {})
        self.shape.check()
        self._environment = dict(environment or {})
        self._given = os.path.abspath(directory) if directory else ""
        self._keep = keep or directory is not None
        self._start_timeout_s = start_timeout_s
        self._processes: dict[str, NodeProcess] = {}
        self._exits = contextlib.AsyncExitStack()
        self._layout = Layout("", self.shape)
        self._addresses: Addresses | None = None
        self._janitor: Janitor | None = None
        self._client: RpcClient | None = None
        self._endpoint: Endpoint | None = None

    # --- life --------------------------------------------------------------------------------------------------

    async def __aenter__(self) -> "Cluster":
        await self.start()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        died = self.died()
        await self.stop()
        if error is None and died:
            raise ClusterError(died)

    async def start(self) -> None:
        """Make the files, start every process, wait until all serve, log in. Raises ClusterError."""
        try:
            await self._start()
        except (ConfigError, Failure, OSError) as problem:
            await self.stop()
            raise ClusterError(str(problem)) from problem
        except BaseException:
            await self.stop()
            raise

    async def _start(self) -> None:
        directory = self._given or tempfile.mkdtemp(prefix="objstore-")
        self._layout = Layout(directory, self.shape)
        self._janitor = Janitor(directory, keep=self._keep)
        self._addresses = Addresses()
        self._exits.callback(self._addresses.close)
        self._layout.found()
        for number in range(1, self.shape.nodes + 1):
            self._add_member(self._layout.add_node(number, *self._ips(number), self.shape.devices))
        self._layout.make_rings([self._processes[name].member for name in self.nodes])
        for number in range(1, self.shape.proxies + 1):
            listener = public_listener()
            member = self._layout.add_proxy(number, *self._ips(200 + number), listener.getsockname()[1])
            self._add_member(member).launch({}, listener)
        for name in self.nodes:
            self._processes[name].launch({})
        await asyncio.gather(*(process.ready(self._start_timeout_s) for process in self._processes.values()))
        self._connect()
        if self.shape.proxies:
            self._endpoint = await asyncio.to_thread(log_in, self.endpoint)

    def _ips(self, host: int) -> tuple[str, str]:
        assert self._addresses is not None
        ip = self._addresses.ring_ip(host)
        return ip, self._addresses.bound_ip(host) if self.shape.network_faults else ip

    def _add_member(self, member: Member) -> NodeProcess:
        assert self._janitor is not None
        process = self._processes[member.name] = NodeProcess(member, self._janitor, self._environment)
        return process

    def _connect(self) -> None:
        config = self.config(self.nodes[0])
        self._client = RpcClient(read_secret(config), "test", cluster_fingerprint(config), SystemClock(), SystemRng())
        self._exits.push_async_callback(self._client.close)

    async def stop(self) -> None:
        """End all processes at once and remove the files, unless they are to be kept: then the processes end in order."""
        await self._exits.aclose()
        if self._keep:
            await asyncio.gather(*(self._processes[name].stop() for name in self.proxies))
            await asyncio.gather(*(self._processes[name].stop() for name in self.nodes))
        await asyncio.gather(*(process.kill() for process in self._processes.values()))
        if self._janitor is not None:
            await asyncio.to_thread(self._janitor.finish)
            self._janitor = None

    def keep(self) -> None:
        """Leave the files when the cluster ends."""
        self._keep = True
        if self._janitor is not None:
            self._janitor.keep()

    def died(self) -> str:
        """One plain line for each process that ended by itself, unless by SIGKILL, as a crash point does; "" when none did."""
        gone = [process for process in self._processes.values() if process.died and process.exit_code != -9]
        return "\n".join(
            f"{one.member.name} ended by itself with exit code {one.exit_code}; its log: {one.member.log}" for one in gone
        )

    # --- what it is --------------------------------------------------------------------------------------------

    @property
    def directory(self) -> str:
        """Where all its files are."""
        return self._layout.directory

    @property
    def nodes(self) -> list[str]:
        """The storage nodes."""
        return [name for name, process in self._processes.items() if process.member.kind == "storage"]

    @property
    def proxies(self) -> list[str]:
        return [name for name, process in self._processes.items() if process.member.kind == "public"]

    @property
    def endpoint(self) -> str:
        """The URL of the first proxy, without a path."""
        return self.endpoints[0]

    @property
    def endpoints(self) -> list[str]:
        """The URL of each proxy."""
        return [f"http://127.0.0.1:{self._processes[name].member.port}" for name in self.proxies]

    @property
    def auth_url(self) -> str:
        """Where clients log in as `test:tester` with the key `testing`."""
        return self._logged_in().auth_url

    @property
    def storage_url(self) -> str:
        """Of the account AUTH_test."""
        return self._logged_in().storage_url

    @property
    def token(self) -> str:
        """A token of `test:tester`, good for a day."""
        return self._logged_in().token

    def _logged_in(self) -> Endpoint:
        if self._endpoint is None:
            raise ClusterError("the cluster has no proxy, or is not started")
        return self._endpoint

    def swift(self, user: str = USER, key: str = KEY, *, proxy: int = 1, **options: Any) -> "Connection":
        """A python-swiftclient Connection, ready to use; it blocks. `options` are its own; it does not retry unless they say so."""
        return swift_connection(f"{self.endpoints[proxy - 1]}/auth/v1.0", user, key, **options)

    def config(self, node: str) -> Config:
        """A node's configuration."""
        return load_config(self._process(node).member.config)

    def device_path(self, node: str, device: str) -> str:
        """The directory of a device."""
        return os.path.join(self._process(node).member.devices_root, device)

    def state(self, node: str) -> State:
        """ "running", "paused", or "down": killed, or ended by itself."""
        process = self._process(node)
        return "down" if process.died else process.state

    def pid(self, node: str) -> int:
        """Of its process, 0 when it never ran."""
        return self._process(node).pid

    def logs(self, node: str) -> str:
        """What a node's processes printed so far."""
        return self._process(node).log()

    def _process(self, node: str) -> NodeProcess:
        process = self._processes.get(node)
        if process is None:
            raise ClusterError(f"there is no node {node}; there are: {', '.join(self._processes)}")
        return process

    def _chosen(self, nodes: Nodes) -> list[NodeProcess]:
        return [self._process(name) for name in ([nodes] if isinstance(nodes, str) else nodes)]

    # --- processes ---------------------------------------------------------------------------------------------

    async def kill(self, nodes: Nodes) -> None:
        """SIGKILL: connections break, later ones are refused, until `restart`."""
        await asyncio.gather(*(process.kill() for process in self._chosen(nodes)))

    async def terminate(self, nodes: Nodes) -> None:
        """SIGTERM: an orderly end."""
        await asyncio.gather(*(process.stop() for process in self._chosen(nodes)))

    async def pause(self, nodes: Nodes) -> None:
        """SIGSTOP: connections stay, nothing answers, until `resume`."""
        for process in self._chosen(nodes):
            process.pause()

    async def resume(self, nodes: Nodes) -> None:
        """SIGCONT."""
        for process in self._chosen(nodes):
            process.resume()

    async def restart(self, nodes: Nodes, *, environment: Mapping[str, str] | None = None) -> None:
        """Start what is down; end in order, then start, what runs. Returns when it serves. `environment` is for this start alone:
        {"OBJSTORE_CRASH_AT": "disk.named:3"} lets it kill itself there. Raises ClusterError.
        """
        chosen = self._chosen(nodes)
        await asyncio.gather(*(process.stop() for process in chosen))
        for process in chosen:
            process.launch(environment or {})
        await asyncio.gather(*(process.ready(self._start_timeout_s) for process in chosen))

    async def wait_down(self, node: str, timeout_s: float = 30.0) -> None:
        """Until a node has ended by itself, as it does at a crash point. Raises ClusterError."""
        deadline = time.monotonic() + timeout_s
        while self.state(node) != "down":
            if time.monotonic() > deadline:
                raise ClusterError(f"{node} still runs after {timeout_s:g} s")
            await asyncio.sleep(0.02)

    # --- background jobs ---------------------------------------------------------------------------------------

    async def run_daemons(self, *names: str, nodes: Nodes | None = None, timeout_s: float = 120.0, check: bool = True) -> Passes:
        """One pass of each named job (all that the nodes have when none is named), one job after another, each on all nodes
        together. Nodes that are down or paused are left out. Returns node -> job -> figures. `check`: raise ClusterError when a
        pass failed; else its figures are missing.
        """
        assert self._client is not None
        chosen = self._chosen(self.nodes if nodes is None else nodes)
        members = [process.member for process in chosen if self.state(process.member.name) == "running"]
        passes, failures = await run_passes(self._client, members, names, timeout_s)
        if check and failures:
            raise ClusterError("\n".join(failures))
        return passes

    # --- replicas ----------------------------------------------------------------------------------------------

    def replicas(self, name: str) -> list[Replica]:
        """Every file that any device holds of an object, primaries first, read from the devices themselves.

        `name` is "container/object" of AUTH_test, or "/account/container/object".
        """
        return self._holdings().replicas(object_name(name, "AUTH_test"))

    def corrupt(
        self, name: str, replica: int | str | Replica = 0, *, part: damage.Part = "data", offset: int | None = None
    ) -> Replica:
        """Flip one bit of one replica, in the data or the metadata; times stay as they are. `replica`: its place among
        those that hold the object, or its node. Returns what it was. Raises ClusterError.
        """
        chosen = damage.choose(self.replicas(name), replica, name)
        damage.corrupt(chosen, part, offset)
        return chosen

    def _holdings(self) -> Holdings:
        config = self.config(self.nodes[0])
        return Holdings(config, load_rings(config), [process.member for process in self._processes.values()])
