"""`objstore daemon NAME --once`: one pass now, in the process that owns the devices, or here when that process is down."""

import asyncio
import os
import sys

from objstore.app.commands.client import DAEMON_TIMEOUT_S, Cluster, choose_config, connected
from objstore.app.config import Config
from objstore.app.configfile import load_config
from objstore.app.daemons import DAEMONS, no_such_daemon
from objstore.app.failure import Failure
from objstore.app.rings import Group, groups_of, load_rings
from objstore.formats.messages import Address, DaemonReport, NodeReport, NodeStatus, RunDaemon
from objstore.model.errors import NodeError
from objstore.rpc.interface import PeerTimeout, PeerUnavailable

WATCH_INTERVAL_S = 1.0
CLEAR_LINE = "\r\x1b[K"


def run(name: str, config_path: str | None, data: str | None) -> int:
    """Print the figures of each process of the node. Raises Failure when one pass did not come to its end."""
    if name not in DAEMONS:
        raise Failure(no_such_daemon(name, DAEMONS))
    failed = False
    for config in _configs(config_path, data):
        groups = groups_of(load_rings(config).devices(), config.node.ip, config.node.ports)
        if not config.is_storage or not groups:
            raise Failure(f"{config.node.name} owns no devices: give a storage node's configuration")
        for group in groups:
            try:
                figures = asyncio.run(_one_pass(config, group, name))
            except (NodeError, PeerTimeout) as error:
                text = error.text if isinstance(error, NodeError) else str(error)
                print(f"objstore: {config.node.name}: {text}", file=sys.stderr)
                failed = True
                continue
            words = " ".join(f"{key}={value}" for key, value in figures.items()) or "nothing to do"
            print(f"{config.node.name}:{group.ports[0]} {name} {words}")
    return 1 if failed else 0


def _configs(config_path: str | None, data: str | None) -> list[Config]:
    """One storage node's configuration, or those of all nodes of a development cluster."""
    path = choose_config(config_path, data)
    if config_path is not None:
        return [load_config(path)]
    directory = os.path.dirname(path)
    names = sorted(name for name in os.listdir(directory) if name.startswith("node") and name.endswith(".toml"))
    return [load_config(os.path.join(directory, name)) for name in names] or [load_config(path)]


async def _one_pass(config: Config, group: Group, name: str) -> dict[str, int]:
    async with connected(config) as cluster:
        address = Address(config.node.ip, group.ports[0])
        watching = asyncio.create_task(_watch(cluster, address, name)) if sys.stderr.isatty() else None
        try:
            return (await cluster.ask(address, RunDaemon(name), DaemonReport, DAEMON_TIMEOUT_S)).figures
        except PeerTimeout:
            raise
        except PeerUnavailable:
            return await _here(config, group, name)
        finally:
            if watching is not None:
                watching.cancel()
                print(CLEAR_LINE, end="", file=sys.stderr, flush=True)


async def _watch(cluster: Cluster, address: Address, name: str) -> None:
    """Show how far a long pass is."""
    while True:
        await asyncio.sleep(WATCH_INTERVAL_S)
        report = await cluster.try_ask(address, NodeStatus(), NodeReport)
        if isinstance(report, NodeReport):
            for state in report.daemons:
                if state.name == name and state.total:
                    line = f"{report.node} {name} {state.done} of {state.total}"
                    print(f"{CLEAR_LINE}{line}", end="", file=sys.stderr, flush=True)


async def _here(config: Config, group: Group, name: str) -> dict[str, int]:
    """The node is down: open its devices in this process, without its listeners. Raises NodeError for an unknown daemon."""
    from objstore.app.storagewiring import storage_pass

    return await storage_pass(config, f"{config.node.name}-{name}", list(group.ports), name)
