"""For tests, ours and yours: a real cluster on this machine, started in two seconds, that can be broken in many ways.

    async with Cluster(nodes=4) as cluster:
        await cluster.kill("node2")

The guide is docs/testing.md. Names are imported on first use: pytest loads this package's plugin in every run, also where no
test needs a cluster.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from objstore.testing.blocking import BlockingCluster as BlockingCluster
    from objstore.testing.cluster import Cluster as Cluster
    from objstore.testing.failures import ClusterError as ClusterError
    from objstore.testing.holdings import Replica as Replica

_HOMES = {
    "BlockingCluster": "objstore.testing.blocking",
    "Cluster": "objstore.testing.cluster",
    "ClusterError": "objstore.testing.failures",
    "Replica": "objstore.testing.holdings",
}
__all__ = ["BlockingCluster", "Cluster", "ClusterError", "Replica"]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
