"""What a cluster under test is made of: its shape, its members, and the files they are started from.

DIR/secret               the cluster's secret
DIR/rings/               builder and ring files
DIR/conf/NODE.toml       a configuration per process, as `objstore serve` reads it
DIR/NODE/devices/d1 ...  the devices of a storage node
DIR/NODE/log             what the process printed
"""

import json
import os
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from objstore.app.children import Kind
from objstore.app.clusterfiles import make_device, save_ring, write_file
from objstore.app.commands.secret import write_secret
from objstore.app.config import Config
from objstore.app.configfile import load_config
from objstore.app.rings import ring_name
from objstore.testing.addresses import NODE_PORT, PUBLIC_IP
from objstore.testing.failures import ClusterError
from ring.builder import RingBuilder
from ring.builderfile import load_builder

Settings = Mapping[str, object]
"""Configuration keys by section, as in the file: {"daemons": {"reclaim_age_s": 60}}."""

PROXY_HOST = 200
NODES_MAX = PROXY_HOST - 1
PROXIES_MAX = 50
WEIGHT = 100.0
STORAGE_ROLES = ("account", "container", "object")
DEFAULTS: dict[str, dict[str, object]] = {
    "cluster": {"ring_check_interval_s": 0.2},
    "proxy": {"drain_timeout_s": 2.0},
    "auth": {"development": True},
}
"""What is otherwise than in a deployment, unless the test says so."""


@dataclass(frozen=True, slots=True)
class Shape:
    """How many of what. `zones`: node i is in zone i modulo `zones`. `daemons`: whether background jobs run by themselves; else
    a test runs them. `network_faults`: whether what nodes say to each other passes through the test. `disk_faults`: whether their
    file systems fail on request. The same `seed`, shape and names give the same placement.
    """

    nodes: int = 4
    zones: int = 4
    devices: int = 2
    replicas: int = 3
    proxies: int = 1
    part_power: int = 6
    daemons: bool = False
    network_faults: bool = True
    disk_faults: bool = True
    seed: int = 1
    settings: Settings = field(default_factory=dict)

    def check(self) -> None:
        """Raises ClusterError for a cluster that cannot be."""
        for name, most in (("nodes", NODES_MAX), ("zones", self.nodes), ("devices", 64), ("proxies", PROXIES_MAX)):
            least = 0 if name == "proxies" else 1
            if not least <= getattr(self, name) <= most:
                raise ClusterError(f"{name}={getattr(self, name)}: give {least} to {most}")
        if not 1 <= self.replicas <= self.nodes * self.devices:
            raise ClusterError(
                f"replicas={self.replicas}: {self.nodes} nodes of {self.devices} devices hold at most as many copies"
            )


@dataclass(frozen=True, slots=True)
class Member:
    """One process of the cluster. `ip`: its address in the rings; `bound_ip`: where it listens for nodes and calls from."""

    name: str
    kind: Kind
    host: int
    ip: str
    bound_ip: str
    port: int
    config: str
    home: str

    @property
    def listen_ip(self) -> str:
        """Where `port` is."""
        return PUBLIC_IP if self.kind == "public" else self.bound_ip

    @property
    def devices_root(self) -> str:
        return os.path.join(self.home, "devices")

    @property
    def clock_file(self) -> str:
        """The offset of its clock."""
        return os.path.join(self.home, "clock")

    @property
    def faults_file(self) -> str:
        """What is wrong with its devices."""
        return os.path.join(self.home, "faults.json")

    @property
    def log(self) -> str:
        return os.path.join(self.home, "log")


class Layout:
    """The files of one cluster below `directory`."""

    def __init__(self, directory: str, shape: Shape) -> None:
        self.directory = directory
        self.shape = shape

    def path(self, *parts: str) -> str:
        return os.path.join(self.directory, *parts)

    def found(self) -> None:
        """What members share. Raises ClusterError when the directory holds a cluster already."""
        if os.path.exists(self.path("rings")):
            raise ClusterError(f"{self.directory} holds a cluster already: give an empty directory")
        for name in ("rings", "conf", "run"):
            os.makedirs(self.path(name), exist_ok=True)
        write_secret(self.path("secret"), secrets.token_hex(32))

    def add_node(self, number: int, ip: str, bound_ip: str, devices: int) -> Member:
        """A storage node with empty devices; the rings do not know it yet."""
        member = self._member(f"node{number}", "storage", number, ip, bound_ip, NODE_PORT)
        roles = [*STORAGE_ROLES, *(["daemons"] if self.shape.daemons else [])]
        config = self._write_config(member, roles)
        for device in range(1, devices + 1):
            make_device(config, f"d{device}")
        return member

    def devices_of(self, member: Member) -> list[str]:
        """The devices that it has, in their order."""
        return sorted(os.listdir(member.devices_root), key=lambda name: int(name[1:]))

    def add_device(self, member: Member) -> str:
        """One more, empty; the rings do not know it yet."""
        name = f"d{len(self.devices_of(member)) + 1}"
        make_device(load_config(member.config), name)
        return name

    def add_proxy(self, number: int, ip: str, bound_ip: str, public_port: int) -> Member:
        """A proxy, which logs users in as well."""
        member = self._member(f"proxy{number}", "public", PROXY_HOST + number, ip, bound_ip, public_port)
        self._write_config(member, ["proxy", "auth"])
        return member

    def _member(self, name: str, kind: Kind, host: int, ip: str, bound_ip: str, port: int) -> Member:
        member = Member(name, kind, host, ip, bound_ip, port, self.path("conf", f"{name}.toml"), self.path(name))
        os.makedirs(member.home, exist_ok=True)
        return member

    def _write_config(self, member: Member, roles: list[str]) -> Config:
        """Raises ClusterError for a setting that is the harness's own, ConfigError for one that does not exist."""
        node: dict[str, object] = {
            "name": member.name,
            "ip": member.ip,
            "bind": "" if member.bound_ip == member.ip else member.bound_ip,
            "roles": roles,
            "ports": [NODE_PORT] if member.kind == "storage" else [],
            "devices_root": member.devices_root,
            "state_dir": os.path.join(member.home, "state"),
            "run_dir": self.path("run"),
            "clock_identity": member.host,
        }
        cluster: dict[str, object] = {
            "name": "objstore-testing",
            "hash_suffix": f"seed {self.shape.seed}",
            "secret_file": self.path("secret"),
            "rings_dir": self.path("rings"),
        }
        ours: dict[str, dict[str, object]] = {"node": node, "cluster": cluster, "proxy": {"bind": PUBLIC_IP, "workers": 1}}
        if member.kind == "public":
            ours["proxy"]["port"] = member.port
        write_file(member.config, toml(_merged(self.shape.settings, ours)))
        return load_config(member.config)

    # --- rings -------------------------------------------------------------------------------------------------

    def ring_names(self, config: Config) -> list[str]:
        """Of the rings that a configuration needs."""
        return ["account", "container", *(ring_name(policy.index) for policy in config.policies)]

    def make_rings(self, members: list[Member]) -> None:
        """The first rings, the same for accounts, containers and every policy's objects."""
        config = load_config(members[0].config)
        for name in self.ring_names(config):
            builder = RingBuilder(self.shape.part_power, self.shape.replicas, 0)
            for member in members:
                for device in range(1, self.shape.devices + 1):
                    builder.add_device(
                        zone=(member.host - 1) % self.shape.zones + 1,
                        ip=member.ip,
                        port=member.port,
                        device=f"d{device}",
                        weight=WEIGHT,
                    )
            builder.rebalance(seed=self.shape.seed)
            save_ring(self.path("rings"), name, builder)

    def change_rings(self, names: list[str], change: Callable[[RingBuilder], object], now_s: float) -> None:
        """Apply `change` to each builder, rebalance, and write the ring."""
        for name in names:
            builder = load_builder(self.path("rings", f"{name}.builder"))
            change(builder)
            if builder.changed:
                builder.rebalance(seed=self.shape.seed, now_s=now_s)
            save_ring(self.path("rings"), name, builder)


def _merged(settings: Settings, ours: dict[str, dict[str, object]]) -> dict[str, object]:
    merged: dict[str, object] = {name: dict(section) for name, section in DEFAULTS.items()}
    for name, section in settings.items():
        if not isinstance(section, Mapping):
            merged[name] = section
            continue
        for key in section:
            if key in ours.get(name, {}):
                raise ClusterError(f"settings: {name}.{key} is the harness's own")
        known = merged.get(name, {})
        assert isinstance(known, dict)
        merged[name] = {**known, **section}
    for name, keys in ours.items():
        known = merged.get(name, {})
        assert isinstance(known, dict)
        merged[name] = {**known, **keys}
    return merged


def toml(tree: Mapping[str, object]) -> str:
    """A configuration file of sections, with lists of tables written in line."""
    top = [f"{key} = {_value(value)}" for key, value in tree.items() if not isinstance(value, Mapping)]
    for name, section in tree.items():
        if isinstance(section, Mapping):
            top += ["", f"[{name}]", *(f"{key} = {_value(value)}" for key, value in section.items())]
    return "\n".join(top) + "\n"


def _value(value: object) -> str:
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{key} = {_value(one)}" for key, one in value.items()) + " }"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(_value, value)) + "]"
    return json.dumps(value, ensure_ascii=False)
