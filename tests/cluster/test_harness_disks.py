"""Disks under a test's control, changes of the rings, and coming to rest. One cluster for all: each test ends with `settle`."""

import hashlib
import os
import time
from collections.abc import Callable, Iterator

import pytest
from swiftclient.exceptions import ClientException

from objstore.testing import BlockingCluster, ClusterError

BODY = os.urandom(20_000)
MD5 = hashlib.md5(BODY).hexdigest()
PATIENCE_S = 20.0


@pytest.fixture(scope="module")
def broken() -> Iterator[BlockingCluster]:
    with BlockingCluster(settings={"proxy": {"node_timeout_s": 2.0}}) as made:
        made.swift().put_container("photos")
        made.swift().put_object("photos", "cat", BODY)
        yield made


@pytest.fixture
def cluster(broken: BlockingCluster) -> Iterator[BlockingCluster]:
    yield broken
    broken.restore()


def wait_for(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def state(cluster: BlockingCluster, node: str, device: str) -> str:
    return next(one.state for one in cluster.status(node).devices if one.device == device)


def held(cluster: BlockingCluster, name: str) -> set[tuple[str, str]]:
    return {(one.node, one.device) for one in cluster.replicas(name)}


def kinds(cluster: BlockingCluster, name: str) -> list[str]:
    """What the primaries hold; a handoff may hold a copy on top."""
    return [one.kind for one in cluster.replicas(name) if one.primary is not None]


def test_a_full_disk_takes_no_object_and_forgets_none(cluster: BlockingCluster) -> None:
    swift = cluster.swift()
    victim = cluster.replicas("photos/cat")[0]
    cluster.fill_disk(victim.node, victim.device)
    swift.put_object("photos", "cat", BODY[:9])
    assert {one.size for one in cluster.replicas("photos/cat") if one.primary == 0} == {len(BODY)}
    swift.delete_object("photos", "cat")
    wait_for(lambda: kinds(cluster, "photos/cat") == ["ts"] * 3, "a deletion uses the reserve")
    cluster.free_disk(victim.node, victim.device)
    swift.put_object("photos", "cat", BODY)
    wait_for(lambda: kinds(cluster, "photos/cat") == ["data"] * 3, "all three are written again")


def test_a_failed_sync_ends_the_writing_life_of_a_disk_and_of_no_other(cluster: BlockingCluster) -> None:
    swift = cluster.swift()
    victim = cluster.replicas("photos/cat")[1]
    cluster.fail_disk(victim.node, victim.device, "sync", nth=1)
    swift.put_object("photos", "cat", BODY[:11])
    assert "Input/output error" in state(cluster, victim.node, victim.device)
    others = [one.state for one in cluster.status(victim.node).devices if one.device != victim.device]
    assert others == ["ok"]
    swift.put_object("photos", "cat", BODY)
    assert swift.get_object("photos", "cat")[1] == BODY
    cluster.heal_disk(victim.node, victim.device)
    assert state(cluster, victim.node, victim.device) != "ok", "what the kernel says after a failed sync means nothing"
    cluster.restart(victim.node)
    assert state(cluster, victim.node, victim.device) == "ok"


def test_a_slow_disk_is_waited_for_by_nobody_but_its_own_writes(cluster: BlockingCluster) -> None:
    swift = cluster.swift()
    swift.put_object("photos", "warm", BODY)
    for node, device in held(cluster, "photos/warm"):
        cluster.slow_disk(node, device, 0.3)
    started = time.monotonic()
    swift.put_object("photos", "warm", BODY)
    assert time.monotonic() - started >= 0.3
    started = time.monotonic()
    assert swift.get_object("photos", "warm")[1] == BODY
    assert time.monotonic() - started < 0.3


def test_an_unmounted_disk_is_noticed_and_never_written_through(cluster: BlockingCluster) -> None:
    swift = cluster.swift()
    victim = cluster.replicas("photos/cat")[0]
    cluster.remove_disk(victim.node, victim.device)
    wait_for(lambda: "not there" in state(cluster, victim.node, victim.device), "the node notices")
    assert swift.get_object("photos", "cat")[1] == BODY
    for number in range(20):
        swift.put_object("photos", f"meanwhile {number}", BODY)
    cluster.return_disk(victim.node, victim.device)
    pid = cluster.pid(victim.node)
    wait_for(lambda: cluster.pid(victim.node) != pid, "the node asks for a new process, and gets it")
    wait_for(lambda: cluster.state(victim.node) == "running", "it runs")
    cluster.settle()
    assert (victim.node, victim.device) in held(cluster, "photos/cat")


def test_what_is_written_to_an_empty_mount_point_is_found_out(cluster: BlockingCluster) -> None:
    cluster.remove_disk("node1", "d1")
    path = os.path.join(cluster.device_path("node1", "d1"), "oops")
    with open(path, "w") as file:
        file.write("written through")
    with pytest.raises(ClusterError, match=r"node1 wrote to the empty mount point .*: oops"):
        cluster.return_disk("node1", "d1")
    os.unlink(path)
    cluster.return_disk("node1", "d1")


def test_mistakes_are_told_in_one_line(cluster: BlockingCluster) -> None:
    for action, words in (
        (lambda: cluster.fill_disk("node1", "d9"), "node1 has no device d9; it has: d1, d2"),
        (lambda: cluster.fill_disk("proxy1", "d1"), "proxy1 has no devices"),
        (lambda: cluster.return_disk("node1", "d1"), "node1/d1 is not removed"),
        (lambda: cluster.fail_disk("node1", "d1", "fsync"), "there is no operation fsync; there are: create_temp"),
        (lambda: cluster.fail_disk("node1", "d1", "sync", error="EDISK"), "there is no error EDISK"),
        (lambda: cluster.remove_device("node1", "d9"), "the ring has no device d9"),
    ):
        with pytest.raises(ClusterError, match=words):
            action()


def test_ring_changes_are_taken_up_by_every_process(cluster: BlockingCluster) -> None:
    before = cluster.status("node1").rings
    cluster.set_weight("node1", "d1", 50.0)
    after = {node: cluster.status(node).rings for node in cluster.nodes}
    assert before not in after.values() and len({repr(rings) for rings in after.values()}) == 1
    swift = cluster.swift()
    swift.put_object("photos", "after the change", BODY)
    assert swift.get_object("photos", "after the change")[1] == BODY


def test_settle_says_what_is_not_settled(cluster: BlockingCluster) -> None:
    swift = cluster.swift()
    swift.put_object("photos", "odd", BODY)
    odd = cluster.replicas("photos/odd")[2]
    os.rename(odd.path, odd.path + ".aside")
    there = ", ".join(f"{one.node}/{one.device}" for one in cluster.replicas("photos/odd"))
    assert f"object /AUTH_test/photos/odd: 2 of 3 primaries hold it: {there}" in cluster.unsettled()
    os.rename(odd.path + ".aside", odd.path)


def test_a_cluster_comes_to_rest(cluster: BlockingCluster) -> None:
    """The end of all the tests above: what they left is settled."""
    swift = cluster.swift()
    cluster.kill("node3")
    for number in range(20):
        swift.put_object("photos", f"late {number}", BODY)
    assert "node3 is down" in cluster.unsettled()
    cluster.settle()
    assert cluster.unsettled() == []
    snapshot = cluster.snapshot()
    names = {name for name, thing in snapshot.named("object").items() if thing.copies[0].alive}
    listed = {f"/AUTH_test/photos/{row['name']}" for row in swift.get_container("photos", full_listing=True)[1]}
    assert names == listed
    with pytest.raises(ClientException):
        swift.get_object("photos", "no such object")


def test_a_kill_comes_before_a_replacement_under_way(cluster: BlockingCluster) -> None:
    """The node asks for a new process when its disk is back; killed in that moment, it stays down."""
    cluster.remove_disk("node2", "d1")
    wait_for(lambda: "not there" in state(cluster, "node2", "d1"), "the node notices")
    cluster.return_disk("node2", "d1")
    wait_for(lambda: "can be used again" in cluster.logs("node2"), "it asks for a new process")
    cluster.kill("node2")
    time.sleep(0.6)
    assert cluster.state("node2") == "down" and not os.path.exists(f"/proc/{cluster.pid('node2')}")
    cluster.restart("node2")
    assert state(cluster, "node2", "d1") == "ok"
