"""A disk that lost its objects: the node says that it has none, nobody believes it, and the others fill it again."""

import os
import shutil

import pytest

from tests.cluster.probes.probe import REPLICAS, Probe, kinds, refusal, soon, spares


def objects_directory(probe: Probe, node: str) -> str:
    return os.path.join(probe.cluster.device_path(node, "d1"), "objects")


def test_an_emptied_device_is_filled_by_the_copies_that_others_keep_for_it(probe: Probe) -> None:
    probe.swift.put_container(probe.container)
    name = probe.choose(lambda homes: homes[0] not in probe.homes())
    homes = probe.homes(name)
    directory = objects_directory(probe, homes[0])
    with probe.down(homes[0]):
        shutil.rmtree(directory, ignore_errors=True)
        probe.swift.put_object(probe.container, name, b"VERIFY")
        assert probe.body(name) == b"VERIFY"
        soon(lambda: bool(spares(probe, name)), "a handoff has a copy")
        (spare,) = spares(probe, name)
        with probe.down(*homes[1:]):
            assert refusal(probe.body, name) == 503, "the spare copy is not believed alone"
        assert not os.path.exists(directory)
    assert not probe.direct.has(probe.path(name), 0)
    for _ in range(6):
        assert probe.body(name) == b"VERIFY"
    heard = [name in probe.direct.live(probe.path(), replica) for replica in REPLICAS]
    assert sum(heard) >= 2 and probe.listed() == [name]

    probe.cluster.run_daemons("object-replicator", nodes=[homes[0], spare.node])
    assert probe.direct.get(probe.path(name), 0).body == b"VERIFY"
    assert kinds(probe.assert_equal_replicas(name)) == ["data"]
    assert not os.path.exists(spare.path)


@pytest.mark.parametrize("what", ["partitions", "objects"])
def test_objects_removed_behind_a_running_node_come_back(probe: Probe, what: str) -> None:
    """Nobody told the node, and it remembers digests of what it had."""
    probe.swift.put_container(probe.container)
    node = probe.others(probe.homes())[0]
    names = [probe.choose(lambda homes: node in homes, f"o{number}-") for number in range(6)]
    for name in names:
        probe.swift.put_object(probe.container, name, name.encode())
    probe.settle()
    directory = objects_directory(probe, node)
    if what == "objects":
        shutil.rmtree(directory)
    else:
        for partition in os.listdir(directory):
            shutil.rmtree(os.path.join(directory, partition))
    probe.settle()
    for name in names:
        assert probe.body(name) == name.encode()
        assert kinds(probe.assert_equal_replicas(name)) == ["data"]


def test_old_objects_of_an_emptied_device_come_back(probe: Probe) -> None:
    """Also those that were there before, and deletions, of which no other node keeps a spare copy."""
    probe.swift.put_container(probe.container)
    node = probe.others(probe.homes())[0]
    names = [probe.choose(lambda homes: node in homes, f"o{number}-") for number in range(12)]
    for name in names:
        probe.swift.put_object(probe.container, name, name.encode())
    for name in names[:4]:
        probe.swift.delete_object(probe.container, name)
    with probe.down(node):
        shutil.rmtree(objects_directory(probe, node))
    for name in names:
        for _ in range(3):
            if name in names[:4]:
                assert refusal(probe.body, name) == 404
            else:
                assert probe.body(name) == name.encode()
    probe.settle()
    for name in names:
        assert kinds(probe.assert_equal_replicas(name)) == (["ts"] if name in names[:4] else ["data"])


def test_deletions_removed_behind_a_running_node_come_back(probe: Probe) -> None:
    """Nobody reads a tombstone, so nobody notices that it is gone; and yet it keeps an old copy from coming back."""
    probe.swift.put_container(probe.container)
    node = probe.others(probe.homes())[0]
    names = [probe.choose(lambda homes: node in homes, f"o{number}-") for number in range(3)]
    for name in names:
        probe.swift.put_object(probe.container, name, b"x")
        probe.swift.delete_object(probe.container, name)
    probe.settle()
    shutil.rmtree(objects_directory(probe, node))
    probe.settle()
    for name in names:
        assert kinds(probe.assert_equal_replicas(name)) == ["ts"]
