"""The one place that builds the graph: what each kind of process is made of, and in which order it starts and stops.

A storage process owns devices: disks, tables, the servers of its roles, their daemons, a listener for its peers.
A public process has no state: rings, connections to the nodes, the store, the HTTP edge.
What only one of them needs is imported when that one is built.
"""

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from objstore.app.config import Config
from objstore.app.configfile import policies_of, read_secret
from objstore.app.daemons import NodeService, no_such_daemon
from objstore.app.failure import Failure
from objstore.app.identity import clock_identity, cluster_fingerprint
from objstore.app.metrics import Collector, MetricsSocket, RequestFigures, process_families, rpc_families
from objstore.app.rings import groups_of, load_rings
from objstore.app.version import VERSION
from objstore.formats.messages import Address
from objstore.model.errors import Code, NodeError
from objstore.rpc.client import RpcClient
from objstore.rpc.interface import Dispatcher
from objstore.runtime.clock import SystemClock
from objstore.runtime.crashpoints import crash_points_from
from objstore.runtime.interface import Worker
from objstore.runtime.knobs import Knobs
from objstore.runtime.offsetclock import clock_from
from objstore.runtime.rng import SystemRng
from objstore.runtime.worker import WorkerLoop

if TYPE_CHECKING:
    from objstore.api.edge import Api
    from objstore.app.storage import OpenedDevice
    from objstore.proxy.store import ClusterStore

log = logging.getLogger("objstore.process")
STOP_STEP_TIMEOUT_S = 15.0
"""How long one part may take to stop before the next one is told; the supervisor's own patience ends later."""
INTERVAL_S = 60.0


class Graph:
    """What runs in this process; `stop` ends it in the reverse order of the start."""

    def __init__(self) -> None:
        self._steps: list[tuple[str, Callable[[], Awaitable[None]], float]] = []

    def on_stop(self, what: str, step: Callable[[], Awaitable[None]], timeout_s: float = STOP_STEP_TIMEOUT_S) -> None:
        """Registered when the part has started."""
        self._steps.append((what, step, timeout_s))

    def run(self, what: str, work: Awaitable[Any]) -> None:
        """Keep a task running until the stop. Its failure is logged: nothing of it is awaited elsewhere."""
        task = asyncio.ensure_future(work)
        task.add_done_callback(lambda ended: _report(what, ended))

        async def end() -> None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

        self.on_stop(what, end)

    async def stop(self) -> None:
        """Every step is taken, whatever happens to the one before."""
        while self._steps:
            what, step, timeout_s = self._steps.pop()
            try:
                async with asyncio.timeout(timeout_s):
                    await step()
            except TimeoutError:
                log.error("did not stop in time", extra={"what": what, "timeout_s": timeout_s})
            except Exception:
                log.exception("failed to stop", extra={"what": what})


def _report(what: str, task: "asyncio.Future[Any]") -> None:
    if not task.cancelled() and task.exception() is not None:
        log.error("ended unexpectedly", extra={"what": what}, exc_info=task.exception())


async def start_storage(
    config: Config, name: str, listeners: list[socket.socket], prepared: Callable[[], None], takeover_s: float
) -> Graph:
    """Everything of one storage process. `prepared` is called when only the devices are missing; those that another process
    still owns are waited for, `takeover_s` at most. Raises ConfigError.
    """
    graph = Graph()
    try:
        # By the rings' addresses others know this process, and it knows itself; it may be bound to another one.
        addresses = [Address(config.node.ip, listener.getsockname()[1]) for listener in listeners]
        storage = await _storage(graph, config, name, addresses, prepared, takeover_s)
        if "daemons" in config.node.roles:
            for loop in storage.loops:
                graph.run(loop.worker.name, loop.run())
        await _listen(graph, config, name, listeners, storage)
    except BaseException:
        await graph.stop()
        raise
    return graph


async def storage_pass(config: Config, name: str, ports: list[int], daemon: str) -> dict[str, int]:
    """One pass of one daemon on the devices of a node that is down. Raises NodeError, Failure when a device is in use."""
    graph = Graph()
    try:
        storage = await _storage(graph, config, name, [Address(config.node.ip, port) for port in ports])
        refused = [opened.refused for opened in storage.devices if opened.refused]
        if refused:
            raise Failure(*refused)
        for loop in storage.loops:
            if loop.worker.name == daemon:
                return await loop.run_once()
        raise NodeError(Code.BAD_REQUEST, no_such_daemon(daemon, [loop.worker.name for loop in storage.loops]))
    finally:
        await graph.stop()


async def start_public(config: Config, name: str, slot: int, listener: socket.socket) -> Graph:
    """Everything of one proxy worker. Raises ConfigError, OSError."""
    graph = Graph()
    try:
        await _public(graph, config, name, slot, listener)
    except BaseException:
        await graph.stop()
        raise
    return graph


class _Server(Protocol):
    """What account, container and object servers have in common."""

    def register(self, dispatcher: Dispatcher) -> None: ...

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    def workers(self) -> list[Worker]: ...


@dataclass(slots=True)
class _Storage:
    """The parts of a storage process that others refer to."""

    devices: "list[OpenedDevice]"
    dispatcher: Dispatcher
    client: RpcClient
    counts: Callable[[str], tuple[int, int]]
    loops: list[WorkerLoop]


async def _storage(
    graph: Graph,
    config: Config,
    name: str,
    addresses: list[Address],
    prepared: Callable[[], None] = lambda: None,
    takeover_s: float = 0.0,
) -> _Storage:
    from objstore.account.server import AccountServer
    from objstore.app.storage import CRASH_POINTS, Opening, open_devices
    from objstore.container.server import ContainerServer
    from objstore.object.server import ObjectServer
    from objstore.rpc.local import LocalFirst

    clock, rng, knobs = clock_from(os.environ), SystemRng(), Knobs(reader_threads=config.storage.threads_per_device)
    fingerprint, rings = cluster_fingerprint(config), load_rings(config)
    points = crash_points_from(os.environ, CRASH_POINTS)
    groups = groups_of(rings.devices(), config.node.ip, [address.port for address in addresses])
    names = sorted({device for group in groups for device in group.devices})
    prepared()
    opening = Opening(config.node.devices_root, fingerprint.hex(), takeover_s)
    devices = await open_devices(opening, names, clock, points, knobs)
    for opened in devices:
        graph.on_stop(f"device {opened.name}", opened.close)
    disks = {opened.name: opened.disk for opened in devices if opened.disk is not None}
    logs = {opened.name: opened.log for opened in devices if opened.log is not None}
    tables = {opened.name: opened.tables for opened in devices if opened.tables is not None}

    dispatcher = Dispatcher()
    client = _client(graph, config, name, clock, rng, knobs, dispatcher)
    caller = LocalFirst(set(addresses), dispatcher, client, clock)
    objects = ObjectServer(disks, logs, caller, clock, points, container_wait_s=config.storage.index_timeout_s)
    servers: dict[str, _Server] = {
        "account": AccountServer(tables, clock),
        "container": ContainerServer(tables, caller, clock),
        "object": objects,
    }
    for table in tables.values():
        table.start()
    loops = []
    for role, server in servers.items():
        if role in config.node.roles:
            server.register(dispatcher)
            await server.start()
            graph.on_stop(f"{role} server", server.stop)
            loops += [WorkerLoop(worker, clock, rng, interval_s=_interval_s(config, worker)) for worker in server.workers()]

    def counts(device: str) -> tuple[int, int]:
        pending, quarantined = objects.report(device)
        return pending, quarantined + tables[device].quarantined

    NodeService(name, VERSION, os.getpid(), clock.now(), rings.digests, devices, counts, loops).register(dispatcher)
    return _Storage(devices, dispatcher, client, counts, loops)


async def _listen(graph: Graph, config: Config, name: str, listeners: list[socket.socket], storage: _Storage) -> None:
    from objstore.app.storage import storage_families
    from objstore.rpc.server import RpcServer

    fingerprint = cluster_fingerprint(config)
    rpc = RpcServer(storage.dispatcher, read_secret(config), name, fingerprint, clock_from(os.environ), SystemRng())
    rpcs = {"server": rpc.counters, "client": storage.client.counters}
    await _metrics(graph, config, name, [lambda: storage_families(storage.devices, storage.counts, storage.loops, rpcs)])
    graph.on_stop("rpc server", lambda: rpc.stop(min(STOP_STEP_TIMEOUT_S - 1, config.proxy.drain_timeout_s)))
    for listener in listeners:
        await rpc.adopt(listener)


def _interval_s(config: Config, worker: Worker) -> float:
    """How often a daemon's passes start; one without a key of its own runs every minute."""
    intervals: dict[str, float] = msgspec.structs.asdict(config.daemons)
    return intervals.get(worker.name.replace("-", "_") + "_interval_s", INTERVAL_S)


async def _public(graph: Graph, config: Config, name: str, slot: int, listener: socket.socket) -> None:
    from objstore.api.edge import Edge, NothingElse
    from objstore.api.limits import EdgeLimits
    from objstore.api.swift.api import SwiftApi
    from objstore.api.swift.call import SwiftLimits
    from objstore.api.swift.info import swift_info
    from objstore.app.front import EdgeFigures, NodePages, login_of
    from objstore.app.tls import keep_fresh, tls_context

    clock, rng, policies = clock_from(os.environ), SystemRng(), policies_of(config)
    limits = SwiftLimits(**msgspec.structs.asdict(config.limits))
    drain_timeout_s = config.proxy.drain_timeout_s
    edge_limits = EdgeLimits(slow_window_s=config.proxy.client_timeout_s, drain_grace_s=min(5.0, drain_timeout_s / 6))
    auth = login_of(config, read_secret(config), clock, rng)
    requests = RequestFigures()
    swift: Api = NothingElse()
    collectors: list[Collector] = [requests.families]
    if "proxy" in config.node.roles:
        store, client = _store(graph, config, name, slot)
        await store.start()
        swift = SwiftApi(store, auth, policies, clock, rng, limits, edge_limits)
        collectors.append(lambda: rpc_families(client.counters, "client"))
    metrics = await _metrics(graph, config, name, collectors)
    pages = NodePages(auth, swift_info(VERSION, policies, limits, edge_limits), metrics, config)
    edge = Edge(swift, pages, clock, rng, EdgeFigures(requests), edge_limits)
    tls = tls_context(config.proxy)
    if tls is not None:
        graph.run("certificate watch", keep_fresh(tls, config.proxy))
    graph.run("edge clock", edge.serve_clock())
    server = await asyncio.get_running_loop().create_server(edge.make_server(), sock=listener, ssl=tls)

    async def drain() -> None:
        server.close()
        pages.is_draining = True
        await edge.drain(drain_timeout_s)

    graph.on_stop("edge", drain, drain_timeout_s + 2.0)


def _store(graph: Graph, config: Config, name: str, slot: int) -> "tuple[ClusterStore, RpcClient]":
    from objstore.app.front import floor_of
    from objstore.placement.places import Rings
    from objstore.proxy.knobs import ProxyKnobs
    from objstore.proxy.store import ClusterStore
    from objstore.runtime.clock import HybridClock

    clock, rng, dispatcher = clock_from(os.environ), SystemRng(), Dispatcher()
    loaded, prefix, suffix = load_rings(config), config.cluster.hash_prefix, config.cluster.hash_suffix
    rings = Rings(loaded.account, loaded.container, loaded.objects, prefix.encode(), suffix.encode())
    hlc = HybridClock(clock, clock_identity(config, slot), floor_of(config, slot))
    graph.on_stop("clock", lambda: asyncio.to_thread(hlc.close))
    graph.run("clock reservation", hlc.maintain())
    client = _client(graph, config, name, clock, rng, Knobs(), dispatcher)
    knobs = ProxyKnobs(node_timeout_s=config.proxy.node_timeout_s)
    store = ClusterStore(rings, client, clock, hlc, dispatcher, policies=policies_of(config), knobs=knobs)
    graph.on_stop("store", store.stop)
    return store, client


async def _metrics(graph: Graph, config: Config, name: str, collectors: list[Collector]) -> MetricsSocket:
    metrics = MetricsSocket(config.node.run_dir, name, [lambda: process_families(name), *collectors])
    await metrics.start()
    graph.on_stop("metrics", metrics.stop)
    return metrics


def _client(
    graph: Graph, config: Config, name: str, clock: SystemClock, rng: SystemRng, knobs: Knobs, dispatcher: Dispatcher
) -> RpcClient:
    client = RpcClient(
        read_secret(config),
        name,
        cluster_fingerprint(config),
        clock,
        rng,
        connect_timeout_s=config.proxy.connect_timeout_s,
        dispatcher=dispatcher,
        knobs=knobs,
        local_ip=config.node.bind,
    )
    graph.on_stop("rpc client", client.close)
    return client
