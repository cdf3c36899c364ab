"""Background jobs that run by themselves: a node that lost everything is whole again, without anybody asking for it."""

import os
import shutil
import time
from collections.abc import Iterator

import pytest

from objstore.testing import BlockingCluster
from tests.cluster.probes.probe import soon

OBJECTS = 40
HEALED_S_MAX = 40.0
INTERVALS = {f"{kind}_{job}_interval_s": 1.0 for kind in ("object", "container", "account") for job in ("replicator", "auditor")}
KEPT = "identity.json"
"""What tells a node that this is its device."""


@pytest.fixture(scope="module")
def cluster() -> Iterator[BlockingCluster]:
    with BlockingCluster(nodes=4, devices=1, daemons=True, settings={"daemons": INTERVALS}) as made:
        swift = made.swift()
        for container in ("photos", "texts"):
            swift.put_container(container, {"X-Container-Meta-Kind": container})
            for number in range(OBJECTS):
                swift.put_object(container, f"o{number}", f"{container} {number}".encode())
        for number in range(5):
            swift.delete_object("texts", f"o{number}")
        soon(lambda: not made.unsettled(), "all is at rest", HEALED_S_MAX)
        yield made


def trees(device: str) -> dict[str, set[str]]:
    """The files of objects, containers and accounts, by the directory they are below."""
    return {
        tree: {
            os.path.relpath(os.path.join(path, name), device)
            for path, _, names in os.walk(os.path.join(device, tree))
            for name in names
            if not name.endswith(("-wal", "-shm"))
        }
        for tree in ("objects", "containers", "accounts")
    }


def assert_all_read(cluster: BlockingCluster) -> None:
    swift = cluster.swift()
    for container, first in (("photos", 0), ("texts", 5)):
        rows = swift.get_container(container)[1]
        assert sorted(row["name"] for row in rows) == sorted(f"o{number}" for number in range(first, OBJECTS))
        for number in range(first, OBJECTS):
            assert swift.get_object(container, f"o{number}")[1] == f"{container} {number}".encode()
    assert swift.get_account()[0]["x-account-container-count"] == "2"


def test_a_device_that_lost_everything_is_filled_again(cluster: BlockingCluster) -> None:
    node = "node1"
    device = cluster.device_path(node, "d1")
    before = trees(device)
    assert before["objects"] and before["containers"]
    cluster.kill(node)
    for name in os.listdir(device):
        if name != KEPT:
            path = os.path.join(device, name)
            shutil.rmtree(path) if os.path.isdir(path) else os.unlink(path)
    cluster.restart(node)
    assert_all_read(cluster)
    soon(lambda: trees(device) == before and not cluster.unsettled(), "everything is back", HEALED_S_MAX)
    assert_all_read(cluster)


def test_what_a_device_remembers_of_its_objects_is_not_believed_without_them(cluster: BlockingCluster) -> None:
    """All objects are gone, and the digests that it kept of them are not."""
    node = "node2"
    device = cluster.device_path(node, "d1")
    time.sleep(2.5)  # digests are kept of what has not changed for a while
    before = trees(device)
    cluster.terminate(node)
    for partition in os.listdir(os.path.join(device, "objects")):
        for name in os.listdir(os.path.join(device, "objects", partition)):
            os.unlink(os.path.join(device, "objects", partition, name))
    assert [name for name in os.listdir(device) if "digest" in name]
    cluster.restart(node)
    soon(lambda: trees(device) == before and not cluster.unsettled(), "everything is back", HEALED_S_MAX)
    assert_all_read(cluster)
