from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from objstore.proxy.store import ClusterStore
from tests.unit.objstore.proxy.cluster import ACCOUNT, OWNER, Cluster, running


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Cluster]:
    """Four nodes, three replicas, and container `c` in the owner's account."""
    async with running(tmp_path) as cluster:
        await cluster.store().put_container(OWNER, ACCOUNT, "c", {})
        yield cluster


@pytest.fixture
def store(cluster: Cluster) -> ClusterStore:
    return cluster.stores[0]
