"""The pytest plugin, found by pytest where this package is installed. It imports nothing of the store before a test asks for it.

objstore_cluster    a fresh cluster for one test, to be broken; `@pytest.mark.objstore_cluster(nodes=3)` gives Cluster's arguments
objstore_endpoint   one cluster for the whole run, with background jobs, for tests of what uses the store
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from objstore.testing.blocking import BlockingCluster
    from objstore.testing.login import Endpoint

MARK = "objstore_cluster"
KEEP = "--objstore-keep"
FAILED: pytest.StashKey[bool] = pytest.StashKey()
LOG_LINES_SHOWN = 40


def pytest_addoption(parser: pytest.Parser) -> None:
    """The plugin's one option."""
    group = parser.getgroup("objstore")
    group.addoption(KEEP, action="store_true", help="leave the files of a cluster whose test failed, and say where they are")


def pytest_configure(config: pytest.Config) -> None:
    """The plugin's one mark."""
    config.addinivalue_line("markers", f"{MARK}(nodes=4, ...): the arguments of objstore.testing.Cluster for objstore_cluster")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A failed test shows the end of its nodes' logs."""
    report = yield
    if report.failed and "objstore_cluster" in getattr(item, "fixturenames", ()):
        item.stash[FAILED] = True
        cluster: BlockingCluster | None = getattr(item, "funcargs", {}).get("objstore_cluster")
        if cluster is not None and report.when == "call":
            for name in (*cluster.nodes, *cluster.proxies):
                end = cluster.logs(name).splitlines()[-LOG_LINES_SHOWN:]
                report.sections.append((f"log of {name}", "\n".join(end)))
    return report


@pytest.fixture
def objstore_cluster(request: pytest.FixtureRequest) -> Iterator[BlockingCluster]:
    """A cluster of this test's own: four storage nodes with two devices each, three replicas, and a proxy."""
    from objstore.testing.blocking import BlockingCluster

    mark = request.node.get_closest_marker(MARK)
    with BlockingCluster(*(mark.args if mark else ()), **(mark.kwargs if mark else {})) as cluster:
        yield cluster
        if request.node.stash.get(FAILED, False) and request.config.getoption(KEEP):
            cluster.keep()
            print(f"the cluster's files: {cluster.directory}")  # noqa: T201 - pytest shows it with the failure


@pytest.fixture(scope="session")
def objstore_endpoint() -> Iterator[Endpoint]:
    """Where a cluster that all tests of this run share answers, and credentials that it accepts."""
    from objstore.testing.blocking import BlockingCluster
    from objstore.testing.login import log_in

    with BlockingCluster(daemons=True) as cluster:
        yield log_in(cluster.endpoint)
