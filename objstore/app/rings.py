"""The ring files of a node, and which of their devices are this node's."""

import hashlib
import os
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from objstore.app.config import Config
from objstore.app.configfile import ConfigError
from ring.device import Device
from ring.fileformat import RingFileError, read_bytes
from ring.ring import Ring

DIGEST_CHARS = 12


@dataclass(frozen=True, slots=True)
class Rings:
    """All rings of a cluster; `objects` by policy index. `digests`: ring name -> first hex digits of the md5 of its file."""

    account: Ring
    container: Ring
    objects: dict[int, Ring]
    digests: dict[str, str]

    def all(self) -> list[Ring]:
        return [self.account, self.container, *self.objects.values()]

    def devices(self) -> list[Device]:
        """Every device of every ring, some more than once."""
        return [device for ring in self.all() for device in ring.devices if device is not None]


@dataclass(frozen=True, slots=True)
class Group:
    """Ports and devices that one process serves: all that the rings tie together."""

    ports: tuple[int, ...]
    devices: tuple[str, ...]


def ring_name(policy: int) -> str:
    """The name of a policy's object ring."""
    return f"object-{policy}" if policy else "object"


def ring_names(config: Config) -> list[str]:
    """Of all rings that the cluster has."""
    return ["account", "container", *(ring_name(policy.index) for policy in config.policies)]


def ring_path(config: Config, name: str) -> str:
    return os.path.join(config.cluster.rings_dir, f"{name}.ring.gz")


def load_rings(config: Config) -> Rings:
    """Raises ConfigError with one line per ring that is missing or damaged."""
    names = ring_names(config)
    loaded: dict[str, Ring] = {}
    digests: dict[str, str] = {}
    problems = []
    for name in names:
        path = ring_path(config, name)
        try:
            content = read_bytes(path)  # once: read again for its digest, a file that is just replaced would give the new one's
            loaded[name] = Ring.from_bytes(content, path)
            digests[name] = hashlib.md5(content, usedforsecurity=False).hexdigest()[:DIGEST_CHARS]
        except RingFileError as error:
            text = str(error)
            problems.append(f"{'' if path in text else path + ': '}{text}; make it with ring-builder, or copy it from another node")
    if problems:
        raise ConfigError(problems)
    objects = {policy.index: loaded[ring_name(policy.index)] for policy in config.policies}
    return Rings(loaded["account"], loaded["container"], objects, digests)


def groups_of(devices: Iterable[Device], ip: str, only_ports: Collection[int] = ()) -> list[Group]:
    """The processes that the node with this address needs: ports that share a device, and devices that share a port, belong to
    one process, because a device has one owner. `only_ports`: the node's ports, where several nodes share an address.
    """
    groups: list[tuple[set[int], set[str]]] = []
    for device in devices:
        if device.ip != ip or (only_ports and device.port not in only_ports):
            continue
        ports, names = {device.port}, {device.device}
        apart = []
        for group in groups:
            if group[0] & ports or group[1] & names:
                ports |= group[0]
                names |= group[1]
            else:
                apart.append(group)
        groups = [*apart, (ports, names)]
    return sorted((Group(tuple(sorted(p)), tuple(sorted(n))) for p, n in groups), key=lambda group: group.ports)
