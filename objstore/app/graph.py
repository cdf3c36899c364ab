"""What runs in a process, and how it ends."""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from objstore.app.config import Config
from objstore.app.configfile import read_secret
from objstore.app.identity import cluster_fingerprint
from objstore.app.metrics import Collector, MetricsSocket, process_families
from objstore.rpc.client import RpcClient
from objstore.rpc.interface import Dispatcher
from objstore.runtime.interface import Clock, Rng
from objstore.runtime.knobs import Knobs

log = logging.getLogger("objstore.process")
STOP_STEP_TIMEOUT_S = 15.0
"""How long one part may take to stop before the next one is told; the supervisor's own patience ends later."""


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


async def serve_metrics(graph: Graph, config: Config, name: str, collectors: list[Collector]) -> MetricsSocket:
    """The figures of this process, for the node's /metrics."""
    metrics = MetricsSocket(config.node.run_dir, name, [lambda: process_families(name), *collectors])
    await metrics.start()
    graph.on_stop("metrics", metrics.stop)
    return metrics


def connect(graph: Graph, config: Config, name: str, clock: Clock, rng: Rng, knobs: Knobs, dispatcher: Dispatcher) -> RpcClient:
    """Calls to the cluster's nodes; `dispatcher` answers what they call back."""
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
