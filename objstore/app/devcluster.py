"""The files of a development cluster: made from nothing, found again at the next start.

DIR/dev.json            what this directory is
DIR/secret              the cluster's secret
DIR/rings/              builder and ring files
DIR/conf/               a configuration per node, as `objstore serve` reads it
DIR/node1/ ...          devices and state of each storage node; proxy/ the proxy's state
DIR/objstore.log        the log of all processes
"""

import fcntl
import json
import os
import secrets
import shutil
import socket
import zlib
from dataclasses import dataclass

from objstore.app.children import Spec
from objstore.app.clusterfiles import make_device, save_ring, write_file
from objstore.app.commands.secret import write_secret
from objstore.app.configfile import ConfigError, load_config
from objstore.app.failure import Failure
from objstore.app.rings import ring_name
from ring.builder import RingBuilder
from ring.builderfile import BuilderFileError, load_builder

MARK = "dev.json"
MARK_VERSION = 1
NODES_DEFAULT = 4
REPLICAS = 3
PART_POWER = 8
DEVICE = "d1"
IP = "127.0.0.1"
PORT_FIRST, PORT_LAST = 6200, 26_200
"""Storage nodes listen below the range from which the kernel takes ports for outgoing connections."""
PORT_TRIES_MAX = 200
LOG_BYTES_MAX = 64 << 20


@dataclass(slots=True)
class DevCluster:
    """A prepared data directory, locked for this process."""

    directory: str
    nodes: int
    lock_fd: int

    def path(self, *parts: str) -> str:
        return os.path.join(self.directory, *parts)

    @property
    def log_path(self) -> str:
        return self.path("objstore.log")

    def specs(self, workers: int) -> list[Spec]:
        """The processes: one per storage node, and the proxy's workers."""
        specs = []
        for number in range(1, self.nodes + 1):
            path = self.path("conf", f"node{number}.toml")
            node = load_config(path).node
            specs.append(Spec(node.name, "storage", path, tuple((node.listen_ip, port) for port in node.ports)))
        path = self.path("conf", "proxy.toml")
        proxy = load_config(path).proxy
        listen = ((proxy.bind, proxy.port),)
        for slot in range(workers):
            specs.append(Spec(f"proxy{slot + 1}", "public", path, listen, slot, workers, proxy.drain_timeout_s))
        return specs


def prepare(directory: str, nodes: int | None, port: int, workers: int, fresh: bool) -> DevCluster:
    """Make or find the cluster in `directory`. Raises Failure, OSError."""
    directory = os.path.abspath(directory)
    os.makedirs(directory, exist_ok=True)
    lock_fd = _lock(directory)
    try:
        return _prepare(directory, nodes, port, workers, fresh, lock_fd)
    except BaseException:
        os.close(lock_fd)
        raise


def _prepare(directory: str, nodes: int | None, port: int, workers: int, fresh: bool, lock_fd: int) -> DevCluster:
    known = _read_mark(directory)
    if fresh and known is not None:
        _wipe(directory)
        known = None
    elif known is not None and nodes not in (None, known):
        raise Failure(
            f"{directory} holds a cluster of {known} nodes, not {nodes}: leave --nodes out to go on with it, choose another "
            "--data, or delete it with --fresh"
        )
    cluster = DevCluster(directory, known or nodes or NODES_DEFAULT, lock_fd)
    if known is None:
        _create(cluster, port, workers)
    else:
        _refresh(cluster, port, workers)
    return cluster


def _read_mark(directory: str) -> int | None:
    """The number of nodes, or None for an empty directory."""
    path = os.path.join(directory, MARK)
    try:
        with open(path) as file:
            mark = json.load(file)
        if mark["version"] != MARK_VERSION:
            raise Failure(f"{directory} was made by another version of objstore; choose another --data, or delete it with --fresh")
        return int(mark["nodes"])
    except FileNotFoundError:
        others = set(os.listdir(directory)) - {".lock"}
        if others:
            raise Failure(f"{directory} is not empty and no cluster's; choose another --data") from None
        return None
    except (ValueError, KeyError, TypeError):
        raise Failure(f"{path} is damaged; choose another --data") from None


def _lock(directory: str) -> int:
    descriptor = os.open(os.path.join(directory, ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise Failure(f"a cluster is running on {directory} already: stop it, or choose another --data") from None
    return descriptor


def _wipe(directory: str) -> None:
    """The mark goes last, so that an interrupted wipe can be repeated."""
    for name in sorted(os.listdir(directory), key=lambda name: name == MARK):
        path = os.path.join(directory, name)
        if name == ".lock":
            continue
        if os.path.isdir(path) and not os.path.islink(path):
            shutil.rmtree(path)
        else:
            os.unlink(path)


def _create(cluster: DevCluster, port: int, workers: int) -> None:
    """The mark is written first: whatever interrupts this, --fresh cleans up."""
    write_file(cluster.path(MARK), json.dumps({"version": MARK_VERSION, "nodes": cluster.nodes}) + "\n")
    write_secret(cluster.path("secret"), secrets.token_hex(32))
    ports = _free_ports(cluster)
    names = {"name": "dev-" + secrets.token_hex(4), "hash_suffix": secrets.token_hex(16)}
    _write_rings(cluster, ports)
    _write_configs(cluster, ports, port, workers, names)


def _refresh(cluster: DevCluster, port: int, workers: int) -> None:
    """The same data under today's ports. Also completes what an interrupted creation left."""
    try:
        before = load_config(cluster.path("conf", "proxy.toml"))
        builders = {name: load_builder(cluster.path("rings", f"{name}.builder")) for name in _ring_names()}
    except (ConfigError, BuilderFileError) as error:
        raise Failure(f"{cluster.directory} is incomplete ({error}); delete it with --fresh") from error
    ports = [device.port for device in builders["object"].present_devices()]
    if not all(_is_free(one) for one in ports):
        ports = _free_ports(cluster)
        for name, builder in builders.items():
            for device, one in zip(list(builder.present_devices()), ports, strict=True):
                builder.change_device(device.id, port=one, replication_port=one)
            save_ring(cluster.path("rings"), name, builder)
    names = {"name": before.cluster.name, "hash_suffix": before.cluster.hash_suffix}
    _write_configs(cluster, ports, port, workers, names)


def _ring_names() -> list[str]:
    return ["account", "container", ring_name(0)]


def _write_rings(cluster: DevCluster, ports: list[int]) -> None:
    os.makedirs(cluster.path("rings"), exist_ok=True)
    for name in _ring_names():
        builder = RingBuilder(PART_POWER, min(REPLICAS, cluster.nodes), 1)
        for number, port in enumerate(ports, 1):
            builder.add_device(region=1, zone=number, ip=IP, port=port, device=DEVICE, weight=100.0)
        builder.rebalance(seed=1)
        save_ring(cluster.path("rings"), name, builder)


def _write_configs(cluster: DevCluster, ports: list[int], port: int, workers: int, names: dict[str, str]) -> None:
    os.makedirs(cluster.path("conf"), exist_ok=True)
    shared = f"""# Written by `objstore dev` at every start.
[cluster]
name = {json.dumps(names["name"])}
hash_suffix = {json.dumps(names["hash_suffix"])}
secret_file = "../secret"
rings_dir = "../rings"

[log]
access = false
"""
    for number, node_port in enumerate(ports, 1):
        node = f"""
[node]
name = "node{number}"
ip = "{IP}"
ports = [{node_port}]
roles = ["account", "container", "object", "daemons"]
devices_root = "../node{number}/devices"
state_dir = "../node{number}"
run_dir = "../run"
"""
        path = cluster.path("conf", f"node{number}.toml")
        write_file(path, shared + node)
        make_device(load_config(path), DEVICE)
    proxy = f"""
[node]
name = "proxy"
roles = ["proxy", "auth"]
state_dir = "../proxy"
run_dir = "../run"

[proxy]
bind = "{IP}"
port = {port}
workers = {workers}
drain_timeout_s = 6.0

[auth]
development = true

[s3]
signature_doctor = true
"""
    write_file(cluster.path("conf", "proxy.toml"), shared + proxy)
    os.makedirs(cluster.path("proxy"), exist_ok=True)
    os.makedirs(cluster.path("run"), exist_ok=True)


def _free_ports(cluster: DevCluster) -> list[int]:
    """As many adjacent free ports as there are nodes, at a place that depends on the directory."""
    count = cluster.nodes
    place = zlib.crc32(cluster.directory.encode()) % ((PORT_LAST - PORT_FIRST) // 10)
    for attempt in range(PORT_TRIES_MAX):
        first = PORT_FIRST + (place * 10 + attempt * count) % (PORT_LAST - PORT_FIRST)
        ports = list(range(first, first + count))
        if all(_is_free(port) for port in ports):
            return ports
    raise Failure(f"no {count} free ports for the storage nodes between {PORT_FIRST} and {PORT_LAST}")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((IP, port))
        except OSError:
            return False
        return True
