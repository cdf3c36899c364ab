"""The same cluster for tests that do not use asyncio."""

import asyncio
import threading
from collections.abc import Callable, Collection, Coroutine, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from objstore.app.config import Config
from objstore.formats.messages import NodeReport
from objstore.testing.cluster import Cluster
from objstore.testing.damage import Part
from objstore.testing.devicefaults import FREE_BYTES
from objstore.testing.faultyfs import ANY
from objstore.testing.holdings import Replica
from objstore.testing.layout import Settings, Shape
from objstore.testing.life import Nodes
from objstore.testing.login import KEY, USER
from objstore.testing.membership import TIMEOUT_S
from objstore.testing.passes import Passes
from objstore.testing.processes import START_TIMEOUT_S, State
from objstore.testing.snapshot import Snapshot
from ring.builder import RingBuilder

if TYPE_CHECKING:
    from swiftclient.client import Connection

T = TypeVar("T")


class BlockingCluster:
    """`with BlockingCluster() as cluster:`; every method is Cluster's, and returns when it is done. Its event loop runs in a
    thread of its own.
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
        """As Cluster."""
        self._cluster = Cluster(
            nodes,
            zones,
            devices,
            replicas,
            proxies=proxies,
            part_power=part_power,
            daemons=daemons,
            network_faults=network_faults,
            disk_faults=disk_faults,
            seed=seed,
            settings=settings,
            environment=environment,
            directory=directory,
            keep=keep,
            start_timeout_s=start_timeout_s,
        )
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="objstore-cluster", daemon=True)

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        if not self._thread.is_alive():
            self._thread.start()
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def _end(self) -> None:
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.run_until_complete(self._loop.shutdown_default_executor())
        self._loop.close()

    # --- life --------------------------------------------------------------------------------------------------

    def __enter__(self) -> "BlockingCluster":
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            self._run(self._cluster.__aexit__(kind, error, trace))
        finally:
            self._end()

    def start(self) -> None:
        try:
            self._run(self._cluster.start())
        except BaseException:
            self._end()
            raise

    def stop(self) -> None:
        try:
            self._run(self._cluster.stop())
        finally:
            self._end()

    def keep(self) -> None:
        self._cluster.keep()

    def died(self) -> str:
        return self._cluster.died()

    # --- what it is --------------------------------------------------------------------------------------------

    @property
    def shape(self) -> Shape:
        return self._cluster.shape

    @property
    def directory(self) -> str:
        return self._cluster.directory

    @property
    def nodes(self) -> list[str]:
        return self._cluster.nodes

    @property
    def proxies(self) -> list[str]:
        return self._cluster.proxies

    @property
    def endpoint(self) -> str:
        return self._cluster.endpoint

    @property
    def endpoints(self) -> list[str]:
        return self._cluster.endpoints

    @property
    def auth_url(self) -> str:
        return self._cluster.auth_url

    @property
    def storage_url(self) -> str:
        return self._cluster.storage_url

    @property
    def token(self) -> str:
        return self._cluster.token

    def swift(self, user: str = USER, key: str = KEY, *, proxy: int = 1, **options: Any) -> "Connection":
        return self._cluster.swift(user, key, proxy=proxy, **options)

    def config(self, node: str) -> Config:
        return self._cluster.config(node)

    def device_path(self, node: str, device: str) -> str:
        return self._cluster.device_path(node, device)

    def state(self, node: str) -> State:
        return self._cluster.state(node)

    def pid(self, node: str) -> int:
        return self._cluster.pid(node)

    def logs(self, node: str) -> str:
        return self._cluster.logs(node)

    def status(self, node: str) -> NodeReport:
        return self._run(self._cluster.status(node))

    # --- processes ---------------------------------------------------------------------------------------------

    def kill(self, nodes: Nodes) -> None:
        self._run(self._cluster.kill(nodes))

    def terminate(self, nodes: Nodes) -> None:
        self._run(self._cluster.terminate(nodes))

    def pause(self, nodes: Nodes) -> None:
        self._run(self._cluster.pause(nodes))

    def resume(self, nodes: Nodes) -> None:
        self._run(self._cluster.resume(nodes))

    def restart(self, nodes: Nodes, *, environment: Mapping[str, str] | None = None) -> None:
        self._run(self._cluster.restart(nodes, environment=environment))

    def wait_down(self, node: str, timeout_s: float = 30.0) -> None:
        self._run(self._cluster.wait_down(node, timeout_s))

    # --- the network between nodes, clocks ---------------------------------------------------------------------

    def partition(self, a: Nodes, b: Nodes, *, one_way: bool = False, refuse: bool = False) -> None:
        self._run(self._cluster.partition(a, b, one_way=one_way, refuse=refuse))

    def delay(self, a: Nodes, b: Nodes, seconds: float, *, one_way: bool = False) -> None:
        self._run(self._cluster.delay(a, b, seconds, one_way=one_way))

    def bandwidth(self, a: Nodes, b: Nodes, bytes_per_s: float, *, one_way: bool = False) -> None:
        self._run(self._cluster.bandwidth(a, b, bytes_per_s, one_way=one_way))

    def cut(self, a: Nodes, b: Nodes, after_bytes: int = 0, *, connections: int = 1) -> None:
        self._run(self._cluster.cut(a, b, after_bytes, connections=connections))

    def flip(self, a: Nodes, b: Nodes, after_bytes: int = 0, *, connections: int = 1) -> None:
        self._run(self._cluster.flip(a, b, after_bytes, connections=connections))

    def heal(self) -> None:
        self._run(self._cluster.heal())

    def connections(self, a: str, b: str) -> int:
        return self._cluster.connections(a, b)

    def skew_clock(self, nodes: Nodes, seconds: float) -> None:
        self._run(self._cluster.skew_clock(nodes, seconds))

    # --- disks -------------------------------------------------------------------------------------------------

    def fill_disk(self, node: str, device: str, free_bytes: int = FREE_BYTES) -> None:
        self._run(self._cluster.fill_disk(node, device, free_bytes))

    def free_disk(self, node: str, device: str) -> None:
        self._run(self._cluster.free_disk(node, device))

    def fail_disk(
        self,
        node: str,
        device: str,
        operation: str = ANY,
        *,
        error: str = "EIO",
        path: str = ANY,
        nth: int = 0,
        lasting: bool = False,
    ) -> None:
        self._run(self._cluster.fail_disk(node, device, operation, error=error, path=path, nth=nth, lasting=lasting))

    def slow_disk(self, node: str, device: str, seconds: float, operation: str = "sync", *, path: str = ANY) -> None:
        self._run(self._cluster.slow_disk(node, device, seconds, operation, path=path))

    def heal_disk(self, node: str, device: str) -> None:
        self._run(self._cluster.heal_disk(node, device))

    def heal_disks(self) -> None:
        self._run(self._cluster.heal_disks())

    def remove_disk(self, node: str, device: str) -> None:
        self._run(self._cluster.remove_disk(node, device))

    def return_disk(self, node: str, device: str) -> None:
        self._run(self._cluster.return_disk(node, device))

    def replace_disk(self, node: str, device: str) -> None:
        self._run(self._cluster.replace_disk(node, device))

    # --- rings -------------------------------------------------------------------------------------------------

    def update_rings(
        self, change: Callable[[RingBuilder], object], rings: Collection[str] | None = None, *, timeout_s: float = TIMEOUT_S
    ) -> None:
        self._run(self._cluster.update_rings(change, rings, timeout_s=timeout_s))

    def add_node(self, devices: int | None = None, zone: int | None = None) -> str:
        return self._run(self._cluster.add_node(devices, zone))

    def add_device(self, node: str) -> str:
        return self._run(self._cluster.add_device(node))

    def remove_device(self, node: str, device: str) -> None:
        self._run(self._cluster.remove_device(node, device))

    def set_weight(self, node: str, device: str, weight: float) -> None:
        self._run(self._cluster.set_weight(node, device, weight))

    # --- settling ----------------------------------------------------------------------------------------------

    def restore(self) -> None:
        self._run(self._cluster.restore())

    def settle(self, timeout_s: float = 60.0) -> None:
        self._run(self._cluster.settle(timeout_s))

    def unsettled(self) -> list[str]:
        return self._run(self._cluster.unsettled())

    def snapshot(self) -> Snapshot:
        return self._run(self._cluster.snapshot())

    # --- background jobs and replicas --------------------------------------------------------------------------

    def run_daemons(self, *names: str, nodes: Nodes | None = None, timeout_s: float = 120.0, check: bool = True) -> Passes:
        return self._run(self._cluster.run_daemons(*names, nodes=nodes, timeout_s=timeout_s, check=check))

    def replicas(self, name: str) -> list[Replica]:
        return self._cluster.replicas(name)

    def corrupt(self, name: str, replica: int | str | Replica = 0, *, part: Part = "data", offset: int | None = None) -> Replica:
        return self._cluster.corrupt(name, replica, part=part, offset=offset)
