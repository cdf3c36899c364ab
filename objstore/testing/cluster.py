"""A cluster of real processes on loopback addresses, under a test's control."""

import asyncio
import os
import time
from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any

from objstore.app.config import Config
from objstore.app.rings import load_rings
from objstore.formats.messages import NodeReport
from objstore.runtime.offsetclock import write_offset
from objstore.testing import damage, settling, snapshot
from objstore.testing.devicefaults import DeviceFaults
from objstore.testing.failures import ClusterError
from objstore.testing.holdings import Holdings, Replica, object_name
from objstore.testing.layout import Settings, Shape
from objstore.testing.life import Life, Nodes
from objstore.testing.login import KEY, USER, swift_connection
from objstore.testing.membership import Membership
from objstore.testing.networkfaults import NetworkFaults
from objstore.testing.passes import Passes, report_of, run_passes
from objstore.testing.processes import START_TIMEOUT_S, State
from objstore.testing.snapshot import Snapshot

if TYPE_CHECKING:
    from swiftclient.client import Connection

SETTLE_POLL_S = 0.1
LINES_SHOWN = 20


class Cluster(NetworkFaults, DeviceFaults, Membership):
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
        network_faults: bool = True,
        disk_faults: bool = True,
        seed: int = 1,
        settings: Settings | None = None,
        environment: Mapping[str, str] | None = None,
        directory: str | None = None,
        keep: bool = False,
        start_timeout_s: float = START_TIMEOUT_S,
    ) -> None:
        """`zones`: one per node unless given; `devices`: per node. `network_faults=False`: nodes speak to each other directly;
        `disk_faults=False`: disks do not fail on request. The same `seed` puts the same names on the same devices. `settings`:
        configuration keys by section. `environment`: for all processes. `directory`: where the files are, an empty one that stays;
        else a temporary one, which stays with `keep`. Raises ClusterError for a cluster that cannot be.
        """
        self.shape = Shape(
            nodes=nodes,
            zones=zones or nodes,
            devices=devices,
            replicas=replicas,
            proxies=proxies,
            part_power=part_power,
            daemons=daemons,
            network_faults=network_faults,
            disk_faults=disk_faults,
            seed=seed,
            settings=settings or {},
        )
        self.shape.check()
        self._life = Life(self.shape, environment or {}, directory, keep=keep, start_timeout_s=start_timeout_s)

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
        await self._life.start()

    async def stop(self) -> None:
        """End all processes at once and remove the files, unless they are to be kept: then the processes end in order."""
        await self._life.stop()

    def keep(self) -> None:
        """Leave the files when the cluster ends."""
        self._life.keep()

    def died(self) -> str:
        """One plain line for each process that ended by itself, unless by SIGKILL, as a crash point does; "" when none did."""
        return self._life.died()

    # --- what it is --------------------------------------------------------------------------------------------

    @property
    def directory(self) -> str:
        """Where all its files are."""
        return self._life.layout.directory

    @property
    def nodes(self) -> list[str]:
        """The storage nodes."""
        return self._life.nodes

    @property
    def proxies(self) -> list[str]:
        return self._life.proxies

    @property
    def endpoint(self) -> str:
        """The URL of the first proxy, without a path."""
        return self.endpoints[0]

    @property
    def endpoints(self) -> list[str]:
        """The URL of each proxy."""
        return self._life.endpoints

    @property
    def auth_url(self) -> str:
        """Where clients log in as `test:tester` with the key `testing`."""
        return self._life.endpoint.auth_url

    @property
    def storage_url(self) -> str:
        """Of the account AUTH_test."""
        return self._life.endpoint.storage_url

    @property
    def token(self) -> str:
        """A token of `test:tester`, good for a day."""
        return self._life.endpoint.token

    def swift(self, user: str = USER, key: str = KEY, *, proxy: int = 1, **options: Any) -> "Connection":
        """A python-swiftclient Connection, ready to use; it blocks. `options` are its own; it does not retry unless they say so."""
        return swift_connection(f"{self.endpoints[proxy - 1]}/auth/v1.0", user, key, **options)

    def config(self, node: str) -> Config:
        """A node's configuration."""
        return self._life.config(node)

    def device_path(self, node: str, device: str) -> str:
        """The directory of a device."""
        return os.path.join(self._life.process(node).member.devices_root, device)

    def state(self, node: str) -> State:
        """ "running", "paused", or "down": killed, or ended by itself."""
        process = self._life.process(node)
        return "down" if process.died else process.state

    def pid(self, node: str) -> int:
        """Of its process, 0 when it never ran."""
        return self._life.process(node).pid

    def logs(self, node: str) -> str:
        """What a node's processes printed so far."""
        return self._life.process(node).log()

    async def status(self, node: str) -> NodeReport:
        """What a storage node says of itself: its devices, rings and background jobs. Raises ClusterError when it is silent."""
        return await report_of(self._life.client, self._life.process(node).member)

    # --- processes ---------------------------------------------------------------------------------------------

    async def kill(self, nodes: Nodes) -> None:
        """SIGKILL: connections break, later ones are refused, until `restart`."""
        await self._life.end(self._life.chosen(nodes), at_once=True)

    async def terminate(self, nodes: Nodes) -> None:
        """SIGTERM: an orderly end."""
        await self._life.end(self._life.chosen(nodes), at_once=False)

    async def pause(self, nodes: Nodes) -> None:
        """SIGSTOP: connections stay, nothing answers, until `resume`."""
        for process in self._life.chosen(nodes):
            process.pause()

    async def resume(self, nodes: Nodes) -> None:
        """SIGCONT."""
        for process in self._life.chosen(nodes):
            process.resume()

    async def restart(self, nodes: Nodes, *, environment: Mapping[str, str] | None = None) -> None:
        """Start what is down; end in order, then start, what runs. Returns when it serves. `environment` is for this start alone:
        {"OBJSTORE_CRASH_AT": "disk.named:3"} lets it kill itself there. Raises ClusterError.
        """
        chosen = self._life.chosen(nodes)
        await self._life.end(chosen, at_once=False)
        for process in chosen:
            self._life.launch(process, environment or {})
        await self._life.ready(chosen)

    async def wait_down(self, node: str, timeout_s: float = 30.0) -> None:
        """Until a node has ended by itself, as it does at a crash point. Raises ClusterError."""
        deadline = time.monotonic() + timeout_s
        while self.state(node) != "down":
            if time.monotonic() > deadline:
                raise ClusterError(f"{node} still runs after {timeout_s:g} s")
            await asyncio.sleep(0.02)

    # --- clocks ------------------------------------------------------------------------------------------------

    async def skew_clock(self, nodes: Nodes, seconds: float) -> None:
        """Set the wall clock of nodes or proxies so far ahead of this machine's, or behind it, at once; 0 sets it right."""
        for process in self._life.chosen(nodes):
            write_offset(process.member.clock_file, seconds)

    # --- background jobs ---------------------------------------------------------------------------------------

    async def run_daemons(self, *names: str, nodes: Nodes | None = None, timeout_s: float = 120.0, check: bool = True) -> Passes:
        """One pass of each named job (all that the nodes have when none is named), one job after another, each on all nodes
        together. Nodes that are down or paused are left out. Returns node -> job -> figures. `check`: raise ClusterError when a
        pass failed; else its figures are missing.
        """
        await self._life.whole()
        members = self._life.serving(self.nodes if nodes is None else nodes)
        passes, failures = await run_passes(self._life.client, members, names, timeout_s)
        if check and failures:
            raise ClusterError("\n".join(failures))
        return passes

    # --- settling ----------------------------------------------------------------------------------------------

    async def restore(self) -> None:
        """Put right whatever a test broke: the network, clocks, disks; nodes that are paused go on, those that are down start."""
        await self._life.whole()
        await settling.restore(self)

    async def settle(self, timeout_s: float = 60.0) -> None:
        """`restore`, then run passes of all jobs until nothing is left to do: every copy where it
        should be and equal to the others, nothing on handoffs, no update waiting. Raises ClusterError with what is still otherwise.
        """
        await self.restore()
        deadline = time.monotonic() + timeout_s
        while lines := await settling.round_of(self):
            if time.monotonic() > deadline:
                more = [f"and {len(lines) - LINES_SHOWN} more"] if len(lines) > LINES_SHOWN else []
                raise ClusterError("\n".join([f"not settled within {timeout_s:g} s:", *lines[:LINES_SHOWN], *more]))
            await asyncio.sleep(SETTLE_POLL_S)

    async def unsettled(self) -> list[str]:
        """What `settle` would wait for, without doing anything about it: a plain line for each."""
        return await settling.unsettled(self)

    async def snapshot(self) -> Snapshot:
        """What every device holds, copy by copy, read from the devices themselves."""
        return await asyncio.to_thread(snapshot.take, self._holdings())

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
        return Holdings(config, load_rings(config), [process.member for process in self._life.processes.values()])
