"""Objects whose own nodes are away: another keeps a copy, which never counts, is never read, and goes back when they return."""

import os
from pathlib import Path

from objstore.testing import Replica
from tests.cluster.probes.probe import REPLICAS, Probe, kinds, refusal, soon, spares


def spare(probe: Probe, name: str) -> Replica:
    """The copy that a node keeps for another."""
    soon(lambda: bool(spares(probe, name)), "a handoff has a copy")
    (copy,) = spares(probe, name)
    return copy


def listed_by(probe: Probe, name: str) -> list[bool]:
    """Which container replicas know the object."""
    return [name in probe.direct.live(probe.path(), replica) for replica in REPLICAS]


def held(probe: Probe, name: str) -> list[list[str]]:
    """What kinds of files each primary has."""
    files = probe.cluster.replicas(probe.path(name))
    return [kinds([one for one in files if one.primary == replica]) for replica in REPLICAS]


def put_with_first_primary_down(probe: Probe) -> str:
    """An object of which the first primary knows nothing, and a handoff has a copy."""
    probe.swift.put_container(probe.container)
    name = probe.choose(lambda homes: homes[0] not in probe.homes())
    with probe.down(probe.homes(name)[0]):
        probe.swift.put_object(probe.container, name, b"VERIFY")
        assert probe.body(name) == b"VERIFY"
        copy = spare(probe, name)
        assert copy.node in probe.direct.handoffs(probe.path(name))
    assert held(probe, name) == [[], ["data"], ["data"]]
    return name


def test_a_copy_goes_back_to_its_node_and_the_deletion_that_it_missed_as_well(probe: Probe) -> None:
    name = put_with_first_primary_down(probe)
    copy, homes = spare(probe, name), probe.homes(name)
    dropping = Path(copy.path).with_name(f".{os.path.basename(copy.path)}.6MbL6r")
    dropping.write_bytes(b"left by a transfer that failed")
    for _ in range(6):  # whichever replica a proxy asks first
        assert probe.body(name) == b"VERIFY", "one of three that never heard of it is not believed"
    assert probe.listed() == [name]
    soon(lambda: all(listed_by(probe, name)), "the handoff tells the container what the first primary would have told")
    with probe.down(*homes[1:]):
        assert refusal(probe.body, name) == 503, "what others keep is not believed, and nobody says that it is not there"

    probe.settle()
    assert kinds(probe.assert_equal_replicas(name)) == ["data"]
    assert not os.path.exists(copy.path)
    for node in homes:
        assert not list(Path(probe.cluster.device_path(node, "d1")).rglob("*.6MbL6r"))
    dropping.unlink()

    with probe.down(homes[0]):
        probe.swift.delete_object(probe.container, name)
        assert refusal(probe.swift.head_object, probe.container, name) == 404
        assert probe.listed() == []
        soon(lambda: not any(listed_by(probe, name)), "the handoff tells of the deletion, too")
    assert probe.direct.has(probe.path(name), 0)
    for _ in range(6):
        assert refusal(probe.swift.get_object, probe.container, name) == 404
    probe.settle()
    assert kinds(probe.assert_equal_replicas(name)) == ["ts"]


def test_an_old_copy_elsewhere_never_comes_back(probe: Probe) -> None:
    name = put_with_first_primary_down(probe)
    copy = spare(probe, name)
    probe.swift.delete_object(probe.container, name)
    assert held(probe, name) == [["ts"]] * 3
    assert os.path.exists(copy.path), "a deletion goes to the primaries"
    for _ in range(6):
        assert refusal(probe.swift.get_object, probe.container, name) == 404
        assert refusal(probe.swift.get_object, probe.container, name, headers={"X-Newest": "true"}) == 404
    probe.settle()
    assert kinds(probe.assert_equal_replicas(name)) == ["ts"]
    assert refusal(probe.swift.get_object, probe.container, name) == 404 and probe.listed() == []


def test_an_object_without_a_majority_is_unavailable_and_never_missing(probe: Probe) -> None:
    probe.swift.put_container(probe.container)
    name = probe.choose(lambda homes: len(set(homes) & set(probe.homes())) <= 1)
    homes = probe.homes(name)
    probe.swift.put_object(probe.container, name, b"VERIFY")
    probe.cluster.kill(homes)
    assert refusal(probe.body, name) == 503
    assert refusal(probe.swift.delete_object, probe.container, name) == 503

    probe.back(homes[0])
    assert refusal(probe.body, name) == 503
    assert refusal(probe.swift.delete_object, probe.container, name) == 503, "one replica is no majority"
    soon(lambda: held(probe, name) == [["ts"], ["data"], ["data"]], "which does not undo it there")
    probe.cluster.kill(homes[0])
    assert refusal(probe.body, name) == 503, "a deletion that was not acknowledged is no answer"

    probe.back(*homes)
    first = refusal(probe.swift.get_object, probe.container, name, headers={"X-Newest": "true"})
    assert first == 404, "all are asked: it may have been applied, and it was"
    for _ in range(6):
        assert refusal(probe.body, name) == 404, "and it stays"
    probe.settle()
    assert kinds(probe.assert_equal_replicas(name)) == ["ts"]
    assert probe.listed() == []


def test_a_post_reaches_an_object_that_a_replica_missed(probe: Probe) -> None:
    name = put_with_first_primary_down(probe)
    probe.swift.post_object(probe.container, name, {"X-Object-Meta-Test": "test1"})
    for _ in range(6):
        assert probe.swift.head_object(probe.container, name)["x-object-meta-test"] == "test1"
    probe.settle()
    assert kinds(probe.assert_equal_replicas(name)) == ["data", "meta"]
    assert probe.swift.head_object(probe.container, name)["x-object-meta-test"] == "test1"


def test_a_put_is_not_accepted_by_others_alone_and_works_when_tried_again(probe: Probe) -> None:
    probe.swift.put_container(probe.container)
    name = probe.choose(lambda homes: not set(homes[:2]) & set(probe.homes()))
    with probe.down(*probe.homes(name)[:2]):
        assert refusal(probe.swift.put_object, probe.container, name, b"first") == 503
        assert refusal(probe.swift.head_object, probe.container, name) == 503
    probe.swift.put_object(probe.container, name, b"second")
    probe.swift.post_object(probe.container, name, {"X-Object-Meta-Test": "test2"})
    for _ in range(6):
        assert probe.body(name) == b"second"
        assert probe.swift.head_object(probe.container, name)["x-object-meta-test"] == "test2"
    probe.settle()
    assert kinds(probe.assert_equal_replicas(name)) == ["data", "meta"]


def test_a_post_to_what_one_replica_does_not_know_to_be_deleted_finds_nothing(probe: Probe) -> None:
    probe.swift.put_container(probe.container)
    name = probe.choose(lambda homes: homes[0] not in probe.homes())
    probe.swift.put_object(probe.container, name, b"old")
    with probe.down(probe.homes(name)[0]):
        probe.swift.delete_object(probe.container, name)
    assert held(probe, name) == [["data"], ["ts"], ["ts"]]
    for _ in range(6):
        assert refusal(probe.swift.post_object, probe.container, name, {"X-Object-Meta-A": "1"}) == 404
        assert refusal(probe.swift.head_object, probe.container, name) == 404
    probe.settle()
    assert kinds(probe.assert_equal_replicas(name)) == ["ts"]
    assert probe.listed() == []
