"""What a public process is made of, and in which order its parts start and stop: rings, connections to the nodes, the store, the
HTTP edge. It has no state but its clock.
"""

import asyncio
import os
import socket

import msgspec

from objstore.api.edge import Api, Edge, NothingElse, OtherApi
from objstore.api.limits import EdgeLimits
from objstore.api.s3.api import S3Api
from objstore.api.swift.api import SwiftApi
from objstore.api.swift.call import SwiftLimits
from objstore.api.swift.info import swift_info
from objstore.app.accesslog import access_log
from objstore.app.config import Config
from objstore.app.configfile import policies_of, read_secret
from objstore.app.front import EdgeFigures, NodePages, floor_of, login_of, users_of
from objstore.app.graph import Graph, connect, serve_metrics
from objstore.app.identity import clock_identity
from objstore.app.metrics import Collector, RequestFigures, rpc_families
from objstore.app.rings import load_rings
from objstore.app.ringwatch import RingWatch, placement_rings
from objstore.app.tls import keep_fresh, tls_context
from objstore.app.version import VERSION
from objstore.auth.accesskeys import AccessKeys
from objstore.proxy.knobs import ProxyKnobs
from objstore.proxy.store import ClusterStore
from objstore.rpc.client import RpcClient
from objstore.rpc.interface import Dispatcher
from objstore.runtime.clock import HybridClock
from objstore.runtime.knobs import Knobs
from objstore.runtime.offsetclock import clock_from
from objstore.runtime.rng import SystemRng


async def start_public(config: Config, name: str, slot: int, listener: socket.socket) -> Graph:
    """Everything of one proxy worker. Raises ConfigError, OSError."""
    graph = Graph()
    try:
        await _public(graph, config, name, slot, listener)
    except BaseException:
        await graph.stop()
        raise
    return graph


async def _public(graph: Graph, config: Config, name: str, slot: int, listener: socket.socket) -> None:
    clock, rng, policies = clock_from(os.environ), SystemRng(), policies_of(config)
    limits = SwiftLimits(**msgspec.structs.asdict(config.limits))
    drain_timeout_s = config.proxy.drain_timeout_s
    edge_limits = EdgeLimits(slow_window_s=config.proxy.client_timeout_s, drain_grace_s=min(5.0, drain_timeout_s / 6))
    auth = login_of(config, read_secret(config), clock, rng)
    requests = RequestFigures()
    swift: Api = NothingElse()
    s3: OtherApi | None = None
    collectors: list[Collector] = [requests.families]
    if "proxy" in config.node.roles:
        store, client = _store(graph, config, name, slot)
        await store.start()
        swift = SwiftApi(store, auth, policies, clock, rng, limits, edge_limits)
        settings = config.s3
        keys = AccessKeys(users_of(config), rng)
        s3 = S3Api(store, keys, clock, rng, edge_limits, settings.region, settings.domains, settings.signature_doctor)
        collectors.append(lambda: rpc_families(client.counters, "client"))
    metrics = await serve_metrics(graph, config, name, collectors)
    pages = NodePages(auth, swift_info(VERSION, policies, limits, edge_limits), metrics, config)
    edge = Edge(swift, pages, clock, rng, EdgeFigures(requests), edge_limits, s3, access_log(config.log, name))
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


def _store(graph: Graph, config: Config, name: str, slot: int) -> tuple[ClusterStore, RpcClient]:
    clock, rng, dispatcher = clock_from(os.environ), SystemRng(), Dispatcher()
    files = load_rings(config)
    rings = placement_rings(config, files)
    graph.run("ring watch", RingWatch(config, files, rings, clock).run())
    hlc = HybridClock(clock, clock_identity(config, slot), floor_of(config, slot))
    graph.on_stop("clock", lambda: asyncio.to_thread(hlc.close))
    graph.run("clock reservation", hlc.maintain())
    client = connect(graph, config, name, clock, rng, Knobs(), dispatcher)
    knobs = ProxyKnobs(node_timeout_s=config.proxy.node_timeout_s)
    store = ClusterStore(rings, client, clock, hlc, dispatcher, policies=policies_of(config), knobs=knobs)
    graph.on_stop("store", store.stop)
    return store, client
