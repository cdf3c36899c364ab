"""Faults of processes and files, and what a test can see of them. One cluster for all: each test puts back what it changed."""

import hashlib
import os
import time
from collections.abc import Iterator

import pytest

from objstore.testing import BlockingCluster, ClusterError

BODY = os.urandom(200_000)
MD5 = hashlib.md5(BODY).hexdigest()


@pytest.fixture(scope="module")
def cluster() -> Iterator[BlockingCluster]:
    with BlockingCluster(settings={"proxy": {"node_timeout_s": 2.0}}) as made:
        made.swift().put_container("photos")
        yield made


def test_replicas_are_read_from_the_devices(cluster: BlockingCluster) -> None:
    swift = cluster.swift()
    swift.put_object("photos", "cat.jpg", BODY)
    replicas = cluster.replicas("photos/cat.jpg")
    assert [one.primary for one in replicas] == [0, 1, 2]
    assert {(one.kind, one.md5, one.size) for one in replicas} == {("data", MD5, len(BODY))}
    assert len({one.node for one in replicas}) == 3 and len({one.timestamp for one in replicas}) == 1
    assert all(one.path.startswith(cluster.device_path(one.node, one.device)) for one in replicas)
    assert cluster.replicas("/AUTH_test/photos/cat.jpg") == replicas
    assert cluster.replicas("photos/no such object") == []
    swift.post_object("photos", "cat.jpg", {"X-Object-Meta-Colour": "red"})
    assert {one.kind for one in cluster.replicas("photos/cat.jpg")} == {"data", "meta"}
    swift.delete_object("photos", "cat.jpg")
    assert [(one.kind, one.md5) for one in cluster.replicas("photos/cat.jpg")] == [("ts", "")] * 3


def test_a_killed_node_stays_down_and_the_others_serve(cluster: BlockingCluster) -> None:
    swift = cluster.swift()
    pid = cluster.pid("node2")
    cluster.kill("node2")
    assert cluster.state("node2") == "down" and not os.path.exists(f"/proc/{pid}")
    swift.put_object("photos", "while down", BODY)
    assert swift.get_object("photos", "while down")[1] == BODY
    held = cluster.replicas("photos/while down")
    assert len(held) >= 2 and "node2" not in {one.node for one in held}
    with pytest.raises(ClusterError, match="node2 is down: restart it first"):
        cluster.pause("node2")
    cluster.restart("node2")
    assert cluster.state("node2") == "running" and cluster.pid("node2") != pid
    assert " ready " in cluster.logs("node2")


def test_a_proxy_comes_back_at_the_same_place(cluster: BlockingCluster) -> None:
    swift = cluster.swift()
    cluster.kill("proxy1")
    with pytest.raises(Exception, match="Connection refused"):
        swift.head_account()
    cluster.restart("proxy1")
    assert "photos" in [row["name"] for row in swift.get_account()[1]]


def test_a_paused_node_hangs_and_resumes(cluster: BlockingCluster) -> None:
    swift = cluster.swift()
    cluster.pause(["node1", "node3"])
    started = time.monotonic()
    with pytest.raises(Exception, match="503"):
        swift.put_object("photos", "nobody", BODY)
    assert time.monotonic() - started > 1.0, "two of three replicas hang, so the proxy waits"
    cluster.resume(["node1", "node3"])
    swift.put_object("photos", "everybody", BODY)
    assert swift.get_object("photos", "everybody")[1] == BODY


@pytest.mark.parametrize("part", ["data", "metadata"])
def test_a_corrupt_replica_is_never_served(cluster: BlockingCluster, part: str) -> None:
    swift = cluster.swift()
    name = f"rotten {part}"
    swift.put_object("photos", name, BODY)
    before = os.stat(cluster.replicas(f"photos/{name}")[1].path)
    victim = cluster.corrupt(f"photos/{name}", 1, part=part)  # type: ignore[arg-type]
    after = os.stat(victim.path)
    assert (after.st_mtime_ns, after.st_size) == (before.st_mtime_ns, before.st_size)
    if part == "data":
        assert [one.md5 == MD5 for one in cluster.replicas(f"photos/{name}")] == [True, False, True]
    for _ in range(20):
        assert swift.get_object("photos", name)[1] == BODY
    assert os.listdir(os.path.join(cluster.device_path(victim.node, victim.device), "quarantine")), "it was found out"
    assert {one.md5 for one in cluster.replicas(f"photos/{name}")} == {MD5}


def test_what_cannot_be_corrupted_is_refused(cluster: BlockingCluster) -> None:
    cluster.swift().put_object("photos", "small", b"12345")
    holders = {one.node for one in cluster.replicas("photos/small")}
    (other,) = set(cluster.nodes) - holders
    for replica, offset, words in ((7, None, "no replica 7"), (other, None, f"no replica {other}"), (0, 5, "there is none at 5")):
        with pytest.raises(ClusterError, match=words):
            cluster.corrupt("photos/small", replica, offset=offset)
    with pytest.raises(ClusterError, match="is no object"):
        cluster.replicas("photos")
    with pytest.raises(ClusterError, match="there is no node node9; there are: node1, node2, node3, node4, proxy1"):
        cluster.kill("node9")


def test_daemons_run_when_they_are_told_to(cluster: BlockingCluster) -> None:
    swift = cluster.swift()
    swift.put_container("counted")
    swift.put_object("counted", "one", BODY)
    account = swift.head_account()
    passes = cluster.run_daemons()
    assert set(passes) == set(cluster.nodes) and "container-updater" in passes["node1"]
    after = swift.head_account()
    assert int(after["x-account-bytes-used"]) > int(account["x-account-bytes-used"])
    cluster.kill("node4")
    assert cluster.run_daemons("container-updater").keys() == {"node1", "node2", "node3"}
    cluster.restart("node4")
    with pytest.raises(ClusterError, match="no node has the job object-polisher; there are: object-"):
        cluster.run_daemons("object-polisher")


def test_a_crash_point_ends_one_node(cluster: BlockingCluster) -> None:
    swift = cluster.swift()
    cluster.restart("node1", environment={"OBJSTORE_CRASH_AT": "disk.named:1"})
    number = 0
    while cluster.state("node1") == "running":
        swift.put_object("photos", f"crash {number}", BODY)
        number += 1
        assert number < 50
    cluster.wait_down("node1")
    cluster.restart("node1")
    for n in range(number):
        assert swift.get_object("photos", f"crash {n}")[1] == BODY
