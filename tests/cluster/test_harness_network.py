"""The network between nodes, and their clocks, under a test's control. One cluster for all: each test heals what it broke."""

import os
import time
from collections.abc import Iterator

import pytest
from swiftclient.exceptions import ClientException

from objstore.model.timestamps import seconds_of
from objstore.testing import BlockingCluster, ClusterError

BODY = os.urandom(3_000_000)
SMALL = BODY[:5000]


@pytest.fixture(scope="module")
def broken() -> Iterator[BlockingCluster]:
    with BlockingCluster(settings={"proxy": {"node_timeout_s": 1.5}}) as made:
        made.swift().put_container("photos")
        made.swift().put_object("photos", "cat", SMALL)
        yield made


@pytest.fixture
def cluster(broken: BlockingCluster) -> Iterator[BlockingCluster]:
    yield broken
    broken.heal()


def holders(cluster: BlockingCluster, name: str) -> list[str]:
    return [one.node for one in cluster.replicas(name)]


def test_all_that_nodes_say_passes_through_and_none_speaks_to_itself(cluster: BlockingCluster) -> None:
    swift = cluster.swift()
    for number in range(8):
        swift.put_object("photos", f"one of {number}", SMALL)
    for node in cluster.nodes:
        assert cluster.connections("proxy1", node) > 0
        assert cluster.connections(node, node) == 0, "a node knows itself by its address in the rings"
    assert sum(cluster.connections(a, b) for a in cluster.nodes for b in cluster.nodes) > 0, "objects tell containers"
    assert sum(cluster.connections("", node) for node in cluster.nodes) == 0, "everybody is known"


@pytest.mark.parametrize("refuse", [False, True])
def test_a_partitioned_node_is_missed_by_nobody(cluster: BlockingCluster, refuse: bool) -> None:
    swift = cluster.swift()
    victim = cluster.replicas("photos/cat")[0].node
    cluster.partition(victim, [*(node for node in cluster.nodes if node != victim), "proxy1"], refuse=refuse)
    started = time.monotonic()
    swift.put_object("photos", f"split {refuse}", SMALL)
    assert swift.get_object("photos", f"split {refuse}")[1] == SMALL
    assert swift.get_object("photos", "cat")[1] == SMALL
    took_s = time.monotonic() - started
    assert took_s < 1.0 if refuse else took_s < 6.0
    assert victim not in holders(cluster, f"photos/split {refuse}")


def test_the_minority_is_unavailable_and_comes_back(cluster: BlockingCluster) -> None:
    swift = cluster.swift()
    cluster.partition("proxy1", holders(cluster, "photos/cat")[:2])
    with pytest.raises(ClientException) as caught:
        swift.put_object("photos", "cat", BODY[:100])
    assert caught.value.http_status == 503
    cluster.heal()
    deadline = time.monotonic() + 10
    while True:  # nodes that did not answer are left alone for a short while
        try:
            swift.put_object("photos", "cat", SMALL)
            break
        except ClientException:
            assert time.monotonic() < deadline
    assert swift.get_object("photos", "cat")[1] == SMALL


def test_requests_arrive_and_replies_are_lost(cluster: BlockingCluster) -> None:
    """The write is not acknowledged, and yet it happens."""
    swift = cluster.swift()
    swift.put_object("photos", "half", SMALL)
    cluster.partition(cluster.nodes, "proxy1", one_way=True)
    with pytest.raises(ClientException) as caught:
        swift.put_object("photos", "half", BODY[:7])
    assert caught.value.http_status == 503
    assert 7 in {one.size for one in cluster.replicas("photos/half")}


def test_requests_are_lost_and_replies_would_arrive(cluster: BlockingCluster) -> None:
    swift = cluster.swift()
    swift.put_object("photos", "none", SMALL)
    cluster.partition("proxy1", cluster.nodes, one_way=True)
    with pytest.raises(ClientException):
        swift.put_object("photos", "none", BODY[:7])
    assert {one.size for one in cluster.replicas("photos/none")} == {len(SMALL)}


def test_delay_counts_in_each_direction(cluster: BlockingCluster) -> None:
    swift = cluster.swift()
    swift.put_object("photos", "slow", SMALL)
    swift.get_object("photos", "slow")
    for one_way, least_s in ((False, 0.4), (True, 0.2)):
        cluster.delay("proxy1", cluster.nodes, 0.2, one_way=one_way)
        started = time.monotonic()
        assert swift.get_object("photos", "slow")[1] == SMALL
        took_s = time.monotonic() - started
        assert least_s <= took_s < least_s + 0.6, "once for the object, and once more when the container is asked as well"
        cluster.heal()
    started = time.monotonic()
    swift.get_object("photos", "slow")
    assert time.monotonic() - started < 0.2


def test_bandwidth_limits_a_large_body(cluster: BlockingCluster) -> None:
    swift = cluster.swift()
    cluster.bandwidth("proxy1", cluster.nodes, 4_000_000)
    started = time.monotonic()
    swift.put_object("photos", "large", BODY)
    assert time.monotonic() - started >= 0.9 * len(BODY) / 4_000_000
    cluster.heal()
    assert swift.get_object("photos", "large")[1] == BODY


def test_a_body_cut_or_damaged_on_the_wire_is_read_from_another_replica(cluster: BlockingCluster) -> None:
    swift = cluster.swift()
    swift.put_object("photos", "wire", BODY)
    for fault in (cluster.cut, cluster.flip):
        for after in (0, 100, 70_000, 1_500_000):
            for node in holders(cluster, "photos/wire"):
                fault(node, "proxy1", after)
                assert swift.get_object("photos", "wire")[1] == BODY
            cluster.heal()


def test_a_clock_is_set_while_the_process_runs(cluster: BlockingCluster) -> None:
    swift = cluster.swift()
    cluster.skew_clock("proxy1", 600.0)
    with pytest.raises(ClientException) as caught:
        swift.put_object("photos", "future", SMALL)
    assert caught.value.http_status == 503, "nodes refuse what comes from a clock too far ahead"
    cluster.skew_clock(cluster.nodes, 600.0)
    swift.put_object("photos", "future", SMALL)
    assert {round(seconds_of(one.timestamp) - time.time(), -1) for one in cluster.replicas("photos/future")} == {600.0}
    cluster.skew_clock([*cluster.nodes, "proxy1"], 0.0)


def test_without_network_faults_nodes_speak_directly() -> None:
    with BlockingCluster(nodes=2, devices=1, replicas=2, network_faults=False) as cluster:
        cluster.swift().put_container("photos")
        assert cluster.config("node1").node.bind == ""
        with pytest.raises(ClusterError, match="network_faults=False"):
            cluster.partition("node1", "node2")
        cluster.heal()
