"""A cluster for each area, on which background jobs run when a scenario says so. Each scenario has a container of its own, and
leaves everything mended.
"""

import re
from collections.abc import Generator, Iterator

import pytest

from objstore.testing import BlockingCluster
from tests.cluster.probes.direct import Direct
from tests.cluster.probes.probe import ACCOUNT, Probe

LOG_LINES_SHOWN = 30
NODES = 6
"""So many that a container, its account and an object need not share a node."""
SETTINGS: dict[str, dict[str, object]] = {"proxy": {"node_timeout_s": 2.0}}


@pytest.fixture(scope="module")
def running(request: pytest.FixtureRequest) -> Iterator[tuple[BlockingCluster, Direct]]:
    """The area's cluster. A module's SETTINGS are added to ours; it may want several PROXIES."""
    settings = {**SETTINGS, **getattr(request.module, "SETTINGS", {})}
    proxies = getattr(request.module, "PROXIES", 1)
    with BlockingCluster(nodes=NODES, devices=1, proxies=proxies, settings=settings) as cluster:
        yield cluster, Direct(cluster)


@pytest.fixture
def probe(running: tuple[BlockingCluster, Direct], request: pytest.FixtureRequest) -> Iterator[Probe]:
    """One scenario's hold on it. The container is not made yet."""
    cluster, direct = running
    stem, account = re.sub(r"\W+", "-", request.node.name).strip("-"), set(direct.homes(f"/{ACCOUNT}"))
    # One node in common with the account: then this has a majority although all of the container's nodes are away, and there are
    # objects of which two nodes can be away without a loss to either.
    names = (f"{stem}-{number}" for number in range(1000))
    probe = Probe(cluster, direct, next(name for name in names if len(set(direct.homes(f"/{ACCOUNT}/{name}")) & account) == 1))
    yield probe
    probe.mend()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A scenario that failed shows the end of each process's log."""
    report = yield
    probe = getattr(item, "funcargs", {}).get("probe")
    if report.failed and isinstance(probe, Probe):
        for name in (*probe.cluster.nodes, *probe.cluster.proxies):
            lines = probe.cluster.logs(name).splitlines()[-LOG_LINES_SHOWN:]
            report.sections.append((f"log of {name}", "\n".join(lines)))
    return report
