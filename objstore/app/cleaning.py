"""The background jobs of a storage process that change objects and containers by themselves, and what they need of a proxy's
operations.
"""

from collections.abc import Mapping, Sequence

from objstore.account.reaper import AccountReaper
from objstore.app.config import Config
from objstore.app.configfile import policies_of
from objstore.app.graph import Graph
from objstore.app.lifetime import Lifetime
from objstore.container.collector import CollectorSettings, MultipartCollector
from objstore.container.expirer import ObjectExpirer
from objstore.container.reviver import ContainerReviver
from objstore.formats.messages import Address
from objstore.placement.places import Placement, Rings
from objstore.proxy.cleaning import Cleaner
from objstore.proxy.knobs import ProxyKnobs
from objstore.rpc.interface import Caller
from objstore.runtime.interface import Clock, Worker
from objstore.tables.device import TableDevice
from objstore.tables.turns import Turns


def cleaning_jobs(
    graph: Graph,
    config: Config,
    rings: Rings,
    own: Sequence[Address],
    caller: Caller,
    clock: Clock,
    lifetime: Lifetime,
    devices: Mapping[str, TableDevice],
) -> dict[str, list[Worker]]:
    """By the role that they belong to."""
    cleaner = Cleaner(
        rings, caller, clock, policies=policies_of(config), knobs=ProxyKnobs(node_timeout_s=config.proxy.node_timeout_s)
    )
    graph.on_stop("cleaner", cleaner.stop)
    placement, turns = Placement(rings), Turns(own, caller, clock)
    collecting = CollectorSettings(config.daemons.multipart_abandoned_age_s, config.daemons.multipart_grace_s)
    trusted, delay_s = lifetime.clock_trusted, config.daemons.reaper_delay_s
    return {
        "container": [
            ObjectExpirer(devices, placement, turns, cleaner, clock, trusted),
            ContainerReviver(devices, cleaner, clock),
            MultipartCollector(devices, placement, turns, cleaner.parts, collecting),
        ],
        "account": [AccountReaper(devices, placement, turns, cleaner, clock, trusted, delay_s)],
    }
