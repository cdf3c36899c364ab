"""What the operator commands share: which cluster they speak to, and a caller that reaches its nodes."""

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TypeVar

import click

from objstore.app.config import Config
from objstore.app.configfile import load_config, read_secret
from objstore.app.devcluster import MARK
from objstore.app.failure import Failure
from objstore.app.identity import cluster_fingerprint
from objstore.app.rings import Rings, load_rings
from objstore.formats.messages import Address, Message, NodeReport, NodeStatus
from objstore.model.errors import NodeError
from objstore.rpc.client import RpcClient
from objstore.rpc.interface import PeerUnavailable
from objstore.runtime.clock import SystemClock
from objstore.runtime.rng import SystemRng

T = TypeVar("T")
MessageT = TypeVar("MessageT", bound=Message)
DATA_DEFAULT = "data"
CONFIG_VARIABLE = "OBJSTORE_CONFIG"
CALL_TIMEOUT_S = 5.0
DAEMON_TIMEOUT_S = 3600.0


def choose_config(config: str | None, data: str | None) -> str:
    """The configuration file to use: --config, --data, $OBJSTORE_CONFIG, or the development cluster in ./data.

    Raises Failure when none of them is there, click.UsageError when both options are.
    """
    if config is not None and data is not None:
        raise click.UsageError("give --config or --data, not both")
    if config is not None:
        return config
    if data is None and os.environ.get(CONFIG_VARIABLE):
        return os.environ[CONFIG_VARIABLE]
    directory = data or DATA_DEFAULT
    if os.path.exists(os.path.join(directory, MARK)):
        return os.path.join(directory, "conf", "proxy.toml")
    if data is not None:
        raise Failure(f"{data} holds no development cluster: give the --data that `objstore dev` was started with")
    raise Failure(f"which cluster? give --config FILE, or --data DIR, or set {CONFIG_VARIABLE}")


@dataclass(frozen=True, slots=True)
class Cluster:
    """A cluster as an operator command sees it."""

    config: Config
    rings: Rings
    client: RpcClient

    def addresses(self) -> list[Address]:
        """Every process that owns a device."""
        return sorted({Address(device.ip, device.port) for device in self.rings.devices()})

    async def ask(self, address: Address, request: Message, answer: type[MessageT], timeout_s: float = CALL_TIMEOUT_S) -> MessageT:
        """One call. Raises NodeError, PeerUnavailable."""
        reply = await self.client.call(address, request, timeout_s=timeout_s)
        assert isinstance(reply, answer)
        return reply

    async def try_ask(self, address: Address, request: Message, answer: type[MessageT]) -> MessageT | str:
        """The same; instead of an error one plain line, without the address."""
        try:
            return await self.ask(address, request, answer)
        except (NodeError, PeerUnavailable) as error:
            return str(error).removeprefix(f"{address.ip}:{address.port}: ")

    async def reports(self) -> dict[Address, NodeReport | str]:
        """What every process says of itself, or why it does not answer."""
        addresses = self.addresses()
        reports = await asyncio.gather(*(self.try_ask(address, NodeStatus(), NodeReport) for address in addresses))
        return dict(zip(addresses, reports, strict=True))


def on_cluster(config: str | None, data: str | None, work: Callable[[Cluster], Awaitable[T]]) -> T:
    """Run `work` with a connected cluster. Raises Failure (also for a node that refuses or does not answer), ConfigError."""
    path = choose_config(config, data)

    async def run() -> T:
        async with connected(load_config(path)) as cluster:
            try:
                return await work(cluster)
            except NodeError as error:
                raise Failure(f"refused: {error}") from error
            except PeerUnavailable as error:
                raise Failure(f"{error}; see: objstore status") from error

    return asyncio.run(run())


@asynccontextmanager
async def connected(config: Config) -> AsyncIterator[Cluster]:
    """Connections are made on first use, and closed at the end. Raises ConfigError."""
    # What goes wrong is in the command's own lines; without a handler Python would print the event a second time.
    logging.getLogger("objstore").addHandler(logging.NullHandler())
    rings = load_rings(config)
    client = RpcClient(
        read_secret(config),
        f"{config.node.name} (command)",
        cluster_fingerprint(config),
        SystemClock(),
        SystemRng(),
        connect_timeout_s=config.proxy.connect_timeout_s,
    )
    try:
        yield Cluster(config, rings, client)
    finally:
        await client.close()


def table(heading: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Columns as wide as they need to be, two spaces apart."""
    lines = [list(heading), *(list(row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines)


def size_text(count: int) -> str:
    """Bytes for a reader: three digits and a binary unit."""
    value = float(count)
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.3g} {unit}"
        value /= 1024
    return f"{value:.3g} PiB"
