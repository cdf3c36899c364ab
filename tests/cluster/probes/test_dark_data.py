"""An object that its container knows as deleted, back because all tombstones were lost: the auditor carries the deletion out."""

import os

from tests.cluster.probes.probe import REPLICAS, Probe, kinds, refusal, soon


def known_as_deleted(probe: Probe) -> bool:
    """Whether all replicas of the container know no live object. Their rows come after the client was answered."""
    probe.cluster.run_daemons("object-updater", "container-replicator")
    return all(probe.direct.live(probe.path(), replica) == [] for replica in REPLICAS)


def test_what_the_container_knows_as_deleted_goes_again(probe: Probe) -> None:
    probe.swift.put_container(probe.container)
    name = probe.choose(lambda homes: homes[0] not in probe.homes())
    homes = probe.homes(name)
    probe.swift.put_object(probe.container, name, b"dark")
    with probe.down(homes[0]):
        probe.swift.delete_object(probe.container, name)
        soon(lambda: known_as_deleted(probe), "a replica of the container does not know the deletion")
        held = probe.cluster.replicas(probe.path(name))
        assert [kinds([one for one in held if one.primary == n]) for n in REPLICAS] == [["data"], ["ts"], ["ts"]]
        with probe.down(*homes[1:], orderly=True):  # as if the tombstones had been forgotten long ago, also by the journals
            for one in probe.cluster.replicas(probe.path(name)):
                if one.kind == "ts":
                    os.unlink(one.path)
    probe.cluster.run_daemons("object-replicator")
    assert kinds(probe.assert_equal_replicas(name)) == ["data"], "nothing tells the replicator"

    passes = probe.cluster.run_daemons("object-auditor")
    assert sum(figures["object-auditor"]["dark"] for figures in passes.values()) >= 1
    assert refusal(probe.body, name) == 404
    probe.settle()
    assert kinds(probe.assert_equal_replicas(name)) == ["ts"]
    assert probe.listed() == []
    assert sum(device.quarantined for node in probe.cluster.nodes for device in probe.cluster.status(node).devices) == 0


def test_an_object_made_again_is_not_dark(probe: Probe) -> None:
    """The container's newest row is the one that counts, also when one of its replicas knows only the deletion."""
    probe.swift.put_container(probe.container)
    name = probe.away_from(probe.homes()[:1])
    probe.swift.put_object(probe.container, name, b"first")
    probe.swift.delete_object(probe.container, name)
    with probe.down(probe.homes()[0]):
        probe.swift.put_object(probe.container, name, b"second")
    assert probe.direct.live(probe.path(), 0) == []
    passes = probe.cluster.run_daemons("object-auditor")
    assert sum(figures["object-auditor"]["dark"] for figures in passes.values()) == 0
    probe.settle()
    assert probe.body(name) == b"second"
    assert probe.listed() == [name]
    assert kinds(probe.assert_equal_replicas(name)) == ["data"]
