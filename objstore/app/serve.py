"""`objstore serve`: one node of a deployment. Everything that can be wrong is found before the first process starts."""

import os
import sys

from objstore.app.children import Spec
from objstore.app.config import Config
from objstore.app.configfile import ConfigError, load_config, read_secret
from objstore.app.identity import cluster_fingerprint
from objstore.app.rings import groups_of, load_rings
from objstore.app.supervisor import Supervisor
from objstore.app.tls import tls_context
from objstore.runtime.device import DeviceRefused, open_device


def run(config_path: str) -> int:
    """Run until a signal. Returns the exit code. Raises ConfigError, Failure, OSError before anything runs."""
    path = os.path.abspath(config_path)
    config = load_config(path)
    specs = plan(config, path)
    os.makedirs(config.node.state_dir, mode=0o700, exist_ok=True)
    os.makedirs(config.node.run_dir, mode=0o700, exist_ok=True)
    supervisor = Supervisor(specs)
    supervisor.open_listeners()
    return supervisor.run()


def plan(config: Config, path: str) -> list[Spec]:
    """The processes of this node. Raises ConfigError (secret, rings, devices), Failure (certificate)."""
    read_secret(config)
    rings = load_rings(config)
    name, drain_s = config.node.name, config.proxy.drain_timeout_s
    specs = []
    if config.is_storage:
        groups = groups_of(rings.devices(), config.node.ip, config.node.ports)
        if not groups:
            raise ConfigError([f"{path}: no ring has a device at {_address(config)}: check node.ip and node.ports, or add devices"])
        check_devices(config, [device for group in groups for device in group.devices])
        for group in groups:
            label = name if len(groups) == 1 else f"{name}-{group.ports[0]}"
            listen = tuple((config.node.listen_ip, port) for port in group.ports)
            specs.append(Spec(label, "storage", path, listen, drain_timeout_s=drain_s))
    if config.is_public:
        tls_context(config.proxy)
        workers = worker_count(config)
        for slot in range(workers):
            listen = ((config.proxy.bind, config.proxy.port),)
            specs.append(Spec(f"{name}-worker{slot + 1}", "public", path, listen, slot, workers, drain_s))
    return specs


def worker_count(config: Config) -> int:
    """As configured; 0 means one per CPU core, or per two where the node also stores."""
    cores = os.cpu_count() or 1
    return config.proxy.workers or max(1, min(16, cores // 2 if config.is_storage else cores))


def check_devices(config: Config, names: list[str]) -> None:
    """At least one device of the rings can be used; of the others, one line each. A node whose disk broke must start again, a
    node without any is not set up. Raises ConfigError.
    """
    refused = []
    fingerprint = cluster_fingerprint(config).hex()
    for name in names:
        try:
            open_device(os.path.join(config.node.devices_root, name), fingerprint, name).close()
        except DeviceRefused as error:
            refused.append(str(error))
    if len(refused) == len(names):
        raise ConfigError(refused)
    for line in refused:
        print(f"objstore: goes on without a device: {line}", file=sys.stderr)


def _address(config: Config) -> str:
    ports = ",".join(map(str, config.node.ports))
    return f"{config.node.ip}:{ports}" if ports else config.node.ip
