"""What a storage process is made of, and in which order its parts start and stop: disks, tables, the servers of its roles, their
daemons, a listener for its peers.
"""

import os
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import msgspec

from objstore.account.server import AccountServer
from objstore.app.cleaning import cleaning_jobs
from objstore.app.config import Config
from objstore.app.configfile import read_secret
from objstore.app.daemons import NodeService, no_such_daemon
from objstore.app.devicewatch import DeviceWatch
from objstore.app.failure import Failure
from objstore.app.graph import STOP_STEP_TIMEOUT_S, Graph, connect, serve_metrics
from objstore.app.identity import cluster_fingerprint
from objstore.app.lifetime import Lifetime
from objstore.app.rings import Rings as RingFiles
from objstore.app.rings import groups_of, load_rings
from objstore.app.ringwatch import RingWatch, placement_rings
from objstore.app.storage import CRASH_POINTS, OpenedDevice, Opening, open_devices, storage_families
from objstore.app.version import VERSION
from objstore.container.server import ContainerServer
from objstore.container.store import OBJECT_ROWS
from objstore.formats.messages import Address, IndexTarget
from objstore.model.errors import Code, NodeError
from objstore.model.rows import ObjectRow
from objstore.object.auditor import AuditSettings
from objstore.object.replication import ReplicationSettings
from objstore.object.server import ObjectServer
from objstore.object.writer import FindBeside
from objstore.placement.places import Placement
from objstore.rpc.client import RpcClient
from objstore.rpc.interface import Dispatcher
from objstore.rpc.local import LocalFirst
from objstore.rpc.server import RpcServer
from objstore.runtime.boot import boot_id
from objstore.runtime.crashpoints import crash_points_from
from objstore.runtime.interface import Clock, Worker
from objstore.runtime.knobs import Knobs
from objstore.runtime.offsetclock import clock_from
from objstore.runtime.pacing import Yielding
from objstore.runtime.rng import SystemRng
from objstore.runtime.unixsockets import is_unix
from objstore.runtime.worker import WorkerLoop
from objstore.tables.device import TableDevice
from objstore.tables.heldrows import Beside
from objstore.tables.upkeep import UpkeepSettings

INTERVAL_S = 60.0


@dataclass(frozen=True, slots=True)
class Supervision:
    """What the process may tell its supervisor. `prepared`: only the devices are missing, and those that another process still has
    are waited for, `takeover_s` at most. `replace`: a new process should take this one's place.
    """

    prepared: Callable[[], None] = lambda: None
    replace: Callable[[], None] = lambda: None
    takeover_s: float = 0.0


async def start_storage(config: Config, name: str, listeners: list[socket.socket], supervision: Supervision) -> Graph:
    """Everything of one storage process. `listeners`: for its peers, TCP and the Unix sockets beside. Raises ConfigError."""
    graph = Graph()
    try:
        # By the rings' addresses others know this process, and it knows itself; it may be bound to another one.
        ports = [listener.getsockname()[1] for listener in listeners if not is_unix(listener)]
        addresses = [Address(config.node.ip, port) for port in ports]
        storage = await _storage(graph, config, name, addresses, supervision)
        graph.run("lifetime", storage.lifetime.keep())
        fingerprint = cluster_fingerprint(config).hex()
        graph.run("device watch", DeviceWatch(storage.devices, fingerprint, storage.clock, supervision.replace).run())
        if "daemons" in config.node.roles:
            for loop in storage.loops:
                graph.run(loop.worker.name, _after(storage.lifetime.met.wait, loop.run))
        await _listen(graph, config, name, listeners, storage)
    except BaseException:
        await graph.stop()
        raise
    return graph


async def _after(first: Callable[[], Awaitable[Any]], then: Callable[[], Awaitable[None]]) -> None:
    await first()
    await then()


async def storage_pass(config: Config, name: str, ports: list[int], daemon: str) -> dict[str, int]:
    """One pass of one daemon on the devices of a node that is down. Raises NodeError, Failure when a device is in use."""
    graph = Graph()
    try:
        storage = await _storage(graph, config, name, [Address(config.node.ip, port) for port in ports], Supervision())
        refused = [opened.refused for opened in storage.devices if opened.refused]
        if refused:
            raise Failure(*refused)
        for loop in storage.loops:
            if loop.worker.name == daemon:
                return await loop.run_once()
        raise NodeError(Code.BAD_REQUEST, no_such_daemon(daemon, [loop.worker.name for loop in storage.loops]))
    finally:
        await graph.stop()


class _Server(Protocol):
    """What account, container and object servers have in common."""

    def register(self, dispatcher: Dispatcher) -> None: ...

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    def workers(self) -> list[Worker]: ...


@dataclass(slots=True)
class _Storage:
    """The parts of a storage process that others refer to."""

    clock: Clock
    devices: list[OpenedDevice]
    dispatcher: Dispatcher
    client: RpcClient
    lifetime: Lifetime
    counts: Callable[[str], tuple[int, int]]
    loops: list[WorkerLoop]


async def _storage(graph: Graph, config: Config, name: str, addresses: list[Address], supervision: Supervision) -> _Storage:
    clock, rng, knobs = clock_from(os.environ), SystemRng(), Knobs(reader_threads=config.storage.threads_per_device)
    fingerprint, files = cluster_fingerprint(config), load_rings(config)
    rings = placement_rings(config, files)
    placement = Placement(rings)
    points = crash_points_from(os.environ, CRASH_POINTS)
    names = _device_names(config, files, addresses)
    dispatcher = Dispatcher()
    client = connect(graph, config, name, clock, rng, knobs, dispatcher)
    caller = LocalFirst(set(addresses), dispatcher, client, clock)
    watch = RingWatch(config, files, rings, clock)
    lifetime = Lifetime(addresses, lambda: _nodes(watch.files), caller, clock, rng, config.daemons.reclaim_age_s)
    await lifetime.ask()
    supervision.prepared()

    opening = Opening(config.node.devices_root, fingerprint.hex(), supervision.takeover_s)
    devices = await open_devices(opening, names, clock, points, knobs)
    for opened in devices:
        graph.on_stop(f"device {opened.name}", opened.close)
    await lifetime.begin(devices)
    lifetime.register(dispatcher)
    disks = {opened.name: opened.disk for opened in devices if opened.disk is not None}
    logs = {opened.name: opened.log for opened in devices if opened.log is not None}
    tables = {opened.name: opened.tables for opened in devices if opened.tables is not None}

    own, speed = frozenset(addresses), config.daemons.replicate_bytes_per_s
    yielding = Yielding(clock)
    replication = ReplicationSettings(placement, own, lifetime.uptime.horizon, boot_id(), speed, yielding=yielding)
    upkeep = _upkeep(config, replication)
    audit = AuditSettings(config.daemons.audit_bytes_per_s, config.daemons.audit_rows_per_s)
    containers = ContainerServer(tables, caller, clock, upkeep)
    wait_s, beside = config.storage.index_timeout_s, _beside(config, containers, addresses)
    objects = ObjectServer(
        *(disks, logs, caller, clock, points), container_wait_s=wait_s, replication=replication, audit=audit, beside=beside
    )
    accounts = AccountServer(tables, caller, clock, upkeep)
    servers: dict[str, _Server] = {"account": accounts, "container": containers, "object": objects}
    for table in tables.values():
        table.start()
        await table.rows.take_notes([OBJECT_ROWS])
    loops = []
    cleaning = cleaning_jobs(graph, config, rings, addresses, caller, clock, lifetime, tables)
    for role, server in servers.items():
        if role in config.node.roles:
            server.register(dispatcher)
            await server.start()
            graph.on_stop(f"{role} server", server.stop)
            jobs = [*server.workers(), *cleaning.get(role, ())]
            loops += [WorkerLoop(worker, clock, rng, interval_s=interval_s(config, worker)) for worker in jobs]

    def changed(now: RingFiles) -> None:
        if _device_names(config, now, addresses) != names:
            supervision.replace()

    watch.listeners.append(changed)
    graph.run("ring watch", watch.run())
    counts = partial(_counts, objects, tables)
    about = (name, VERSION, os.getpid(), clock.now())
    NodeService(about, lambda: watch.files.digests, devices, counts, loops).register(dispatcher)
    return _Storage(clock, devices, dispatcher, client, lifetime, counts, loops)


def _beside(config: Config, containers: ContainerServer, addresses: list[Address]) -> FindBeside:
    """Where the container's replica is on the object's own device, one write makes both durable."""
    own = frozenset(addresses) if "container" in config.node.roles else frozenset()

    def find(device: str, index: IndexTarget, container: str, row: ObjectRow, size: int) -> Beside | None:
        if index.device != device or Address(index.ip, index.port) not in own:
            return None
        return containers.beside(index, container, row, size)

    return find


def _upkeep(config: Config, objects: ReplicationSettings) -> UpkeepSettings:
    """What the daemons of account and container databases go by."""
    daemons = config.daemons
    speeds = daemons.replicate_bytes_per_s, daemons.audit_bytes_per_s, daemons.audit_rows_per_s
    return UpkeepSettings(objects.placement, objects.own, objects.horizon, *speeds, yielding=objects.yielding)


def _device_names(config: Config, files: RingFiles, addresses: list[Address]) -> list[str]:
    """The devices that the rings have at these addresses."""
    groups = groups_of(files.devices(), config.node.ip, [address.port for address in addresses])
    return sorted({device for group in groups for device in group.devices})


def _nodes(files: RingFiles) -> set[Address]:
    """Every process that owns a device."""
    return {Address(device.ip, device.port) for device in files.devices()}


def _counts(objects: ObjectServer, tables: dict[str, TableDevice], device: str) -> tuple[int, int]:
    """Pending updates; files and databases in quarantine."""
    pending, quarantined = objects.report(device)
    return pending, quarantined + tables[device].quarantined


async def _listen(graph: Graph, config: Config, name: str, listeners: list[socket.socket], storage: _Storage) -> None:
    fingerprint = cluster_fingerprint(config)
    rpc = RpcServer(storage.dispatcher, read_secret(config), name, fingerprint, storage.clock, SystemRng())
    rpcs = {"server": rpc.counters, "client": storage.client.counters}
    await serve_metrics(graph, config, name, [lambda: storage_families(storage.devices, storage.counts, storage.loops, rpcs)])
    graph.on_stop("rpc server", lambda: rpc.stop(min(STOP_STEP_TIMEOUT_S - 1, config.proxy.drain_timeout_s)))
    for listener in listeners:
        await rpc.adopt(listener)


def interval_s(config: Config, worker: Worker) -> float:
    """How often a daemon's passes start; one without a key of its own runs every minute."""
    intervals: dict[str, float] = msgspec.structs.asdict(config.daemons)
    return intervals.get(worker.name.replace("-", "_") + "_interval_s", INTERVAL_S)
