"""What every scenario needs: nodes that are away for a while, background jobs run until all is done, a look at each replica."""

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from swiftclient.client import Connection
from swiftclient.exceptions import ClientException

from objstore.formats.messages import Settings
from objstore.testing import BlockingCluster, Replica
from tests.cluster.probes.direct import Direct

ACCOUNT = "AUTH_test"
REPLICAS = range(3)
SETTLE_S_MAX = 20.0
PATIENCE_S = 5.0
"""For what goes on after the client was answered."""


class Probe:
    """One scenario's hold on the cluster, with a container of its own."""

    def __init__(self, cluster: BlockingCluster, direct: Direct, container: str) -> None:
        self.cluster = cluster
        self.direct = direct
        self.container = container

    # --- clients -----------------------------------------------------------------------------------------------

    @property
    def swift(self) -> Connection:
        """A new connection of the first user, logged in."""
        return self.swift_of(1)

    def swift_of(self, proxy: int) -> Connection:
        """The same to another proxy."""
        url = f"{self.cluster.endpoints[proxy - 1]}/v1/{ACCOUNT}"
        return self.cluster.swift(proxy=proxy, preauthurl=url, preauthtoken=self.cluster.token)

    def listed(self, container: str = "") -> list[str]:
        """The names that a client sees in a container."""
        return [row["name"] for row in self.swift.get_container(container or self.container, full_listing=True)[1]]

    def body(self, name: str, container: str = "", **headers: str) -> bytes:
        """What a client reads of an object."""
        return bytes(self.swift.get_object(container or self.container, name, headers=headers)[1])

    # --- places ------------------------------------------------------------------------------------------------

    def path(self, *names: str) -> str:
        """ "/account/container" of this scenario, or the full name of an object in it."""
        return "/".join(("", ACCOUNT, self.container, *names))

    def homes(self, *names: str) -> list[str]:
        """The nodes of the scenario's container, or of an object in it, in the ring's order."""
        return self.direct.homes(self.path(*names))

    def away_from(self, nodes: Collection[str], stem: str = "o") -> str:
        """An object name of which no replica is on `nodes`."""
        return self.choose(lambda homes: not set(homes) & set(nodes), stem)

    def choose(self, fits: Callable[[list[str]], bool], stem: str = "o") -> str:
        """An object name whose nodes fit."""
        return next(name for n in range(1000) if fits(self.homes(name := f"{stem}{n}")))

    def others(self, nodes: Collection[str]) -> list[str]:
        return [node for node in self.cluster.nodes if node not in nodes]

    # --- faults ------------------------------------------------------------------------------------------------

    @contextmanager
    def down(self, *nodes: str, orderly: bool = False) -> Iterator[None]:
        """These nodes' processes are killed, or end in an orderly way; they run again, and everybody knows, when the block ends."""
        if orderly:
            self.cluster.terminate(nodes)
        else:
            self.cluster.kill(nodes)
        yield
        self.back(*nodes)

    def back(self, *nodes: str) -> None:
        """Start what was killed. The proxies start anew too: they would go around nodes that failed for a while yet."""
        self.cluster.restart([*nodes, *self.cluster.proxies])

    @contextmanager
    def cut_off(self, *nodes: str) -> Iterator[None]:
        """The proxies and the other nodes cannot reach these nodes, nor these them; all is well when the block ends."""
        self.cluster.partition(nodes, [*self.others(nodes), *self.cluster.proxies], refuse=True)
        yield
        self.cluster.heal()
        self.cluster.restart(self.cluster.proxies)

    def mend(self) -> None:
        """Whatever a scenario left broken works again."""
        cluster = self.cluster
        if any(cluster.state(name) != "running" for name in (*cluster.nodes, *cluster.proxies)):
            cluster.restore()
            cluster.restart(cluster.proxies)
        else:
            cluster.restore()

    # --- convergence -------------------------------------------------------------------------------------------

    def settle(self) -> None:
        """Background jobs bring the whole cluster to rest: copies are equal and where they should be, accounts know what containers
        hold. Raises ClusterError.
        """
        self.cluster.settle(SETTLE_S_MAX)

    def assert_equal_tables(self, name: str = "") -> Settings:
        """All replicas of a container (this scenario's, unless named) or account know the same; returns its settings."""
        name = name or self.path()
        infos = [self.direct.info(name, replica) for replica in REPLICAS]
        assert infos[0].settings is not None
        assert [info.settings for info in infos] == [infos[0].settings] * 3
        assert [info.stats for info in infos] == [infos[0].stats] * 3
        rows = [self.direct.rows(name, replica) for replica in REPLICAS]
        assert rows[1] == rows[0] and rows[2] == rows[0]
        return infos[0].settings

    def assert_equal_replicas(self, name: str) -> list[Replica]:
        """An object's primaries hold the same files, and no other device holds any; returns those of the first."""
        held = self.cluster.replicas(self.path(name))
        assert {one.primary for one in held} == set(REPLICAS), "\n".join(map(str, held))
        by_primary = [[(one.kind, one.timestamp, one.md5) for one in held if one.primary == n] for n in REPLICAS]
        assert by_primary[1] == by_primary[0] and by_primary[2] == by_primary[0], "\n".join(map(str, held))
        return [one for one in held if one.primary == 0]


def soon(condition: Callable[[], bool], what: str, timeout_s: float = PATIENCE_S) -> None:
    """Wait for what goes on after the client was answered. Fails after `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


def refusal(call: Callable[..., Any], *arguments: Any, **options: Any) -> int:
    """The status with which a client's request is refused; 0 when it is not."""
    try:
        call(*arguments, **options)
    except ClientException as error:
        print(error)  # shown when the test fails
        return int(error.http_status)
    return 0


def spares(probe: Probe, name: str) -> list[Replica]:
    """The copies of an object that nodes keep for others."""
    return [one for one in probe.cluster.replicas(probe.path(name)) if one.primary is None]


def kinds(held: Sequence[Replica]) -> list[str]:
    """What kinds of files there are."""
    return sorted(one.kind for one in held)
