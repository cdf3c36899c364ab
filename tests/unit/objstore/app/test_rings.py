"""Which processes a node needs, read from the rings."""

import hashlib
import itertools
import os
import threading
from pathlib import Path

import pytest

from objstore.app.config import Cluster, Config
from objstore.app.configfile import ConfigError
from objstore.app.identity import clock_identity, cluster_fingerprint
from objstore.app.rings import DIGEST_CHARS, Group, groups_of, load_rings
from ring.builder import RingBuilder
from ring.device import Device


def device(ip: str, port: int, name: str) -> Device:
    return Device(0, 1, 1, ip, port, name, 100.0)


@pytest.mark.parametrize(
    ("devices", "groups"),
    [
        ([("10.0.0.1", 6200, "a"), ("10.0.0.2", 6200, "b")], [((6200,), ("a",))]),
        ([("10.0.0.1", 6200, "a"), ("10.0.0.1", 6200, "b")], [((6200,), ("a", "b"))]),
        ([("10.0.0.1", 6200, "a"), ("10.0.0.1", 6201, "b")], [((6200,), ("a",)), ((6201,), ("b",))]),
        # Swift's way, a port per kind of server: the device still has one process, which listens on all three.
        ([("10.0.0.1", 6200, "a"), ("10.0.0.1", 6201, "a"), ("10.0.0.1", 6202, "a")], [((6200, 6201, 6202), ("a",))]),
        ([("10.0.0.1", 1, "a"), ("10.0.0.1", 2, "b"), ("10.0.0.1", 3, "c"), ("10.0.0.1", 2, "a"), ("10.0.0.1", 3, "b")],
         [((1, 2, 3), ("a", "b", "c"))]),
        ([("10.0.0.9", 6200, "a")], []),
    ],
)  # fmt: skip
def test_groups(devices: list[tuple[str, int, str]], groups: list[tuple[tuple[int, ...], tuple[str, ...]]]) -> None:
    assert groups_of([device(*one) for one in devices], "10.0.0.1") == [Group(*group) for group in groups]


def test_a_node_may_have_some_ports_of_an_address() -> None:
    devices = [device("127.0.0.1", port, "d1") for port in (6200, 6201, 6202)]
    assert groups_of(devices, "127.0.0.1", [6201]) == [Group((6201,), ("d1",))]


def config_for(directory: Path) -> Config:
    return Config(cluster=Cluster(rings_dir=str(directory)))


def make_ring(path: Path, devices: int = 1) -> None:
    builder = RingBuilder(2, 1, 1)
    for number in range(devices):
        builder.add_device(zone=number, ip="127.0.0.1", port=6200 + number, device="d1", weight=1)
    builder.rebalance(seed=1)
    builder.to_ring().save(str(path))


def test_missing_and_damaged_rings_get_a_line_each(tmp_path: Path) -> None:
    make_ring(tmp_path / "account.ring.gz")
    (tmp_path / "object.ring.gz").write_bytes((tmp_path / "account.ring.gz").read_bytes()[:30])
    with pytest.raises(ConfigError) as caught:
        load_rings(config_for(tmp_path))
    lines = caught.value.problems
    assert len(lines) == 2
    assert "container.ring.gz" in lines[0]
    assert "object.ring.gz" in lines[1]
    assert all("\n" not in line and "ring-builder" in line for line in lines)


def test_rings_load_with_their_digests(tmp_path: Path) -> None:
    for name in ("account", "container", "object"):
        make_ring(tmp_path / f"{name}.ring.gz")
    rings = load_rings(config_for(tmp_path))
    assert set(rings.digests) == {"account", "container", "object"}
    assert all(len(digest) == 12 for digest in rings.digests.values())
    assert len(rings.devices()) == 3


def test_a_digest_is_of_the_ring_that_was_loaded(tmp_path: Path) -> None:
    """Also of a file that is replaced at that moment: a process that calls its old ring the new one keeps it for good."""
    for devices, name in ((1, "account"), (1, "container"), (1, "object"), (2, "other")):
        make_ring(tmp_path / f"{name}.ring.gz", devices)
    made = [(tmp_path / f"{name}.ring.gz").read_bytes() for name in ("object", "other")]
    done = threading.Event()

    def replace() -> None:
        for n in itertools.count():
            if done.is_set():
                return
            (tmp_path / "new").write_bytes(made[n % 2])
            os.replace(tmp_path / "new", tmp_path / "object.ring.gz")

    digests = {hashlib.md5(content, usedforsecurity=False).hexdigest()[:DIGEST_CHARS]: n + 1 for n, content in enumerate(made)}
    thread = threading.Thread(target=replace)
    thread.start()
    try:
        seen = [load_rings(config_for(tmp_path)) for _ in range(300)]
    finally:
        done.set()
        thread.join()
    pairs = {(digests[one.digests["object"]], len(one.objects[0].devices)) for one in seen}
    assert pairs == {(1, 1), (2, 2)}


def test_the_fingerprint_depends_on_name_and_hash_and_nothing_else() -> None:
    one = Cluster(name="ab", hash_prefix="c")
    assert cluster_fingerprint(Config(cluster=one)) != cluster_fingerprint(Config(cluster=Cluster(name="a", hash_prefix="bc")))
    assert cluster_fingerprint(Config(cluster=one)) == cluster_fingerprint(
        Config(cluster=Cluster(name="ab", hash_prefix="c", secret="x" * 40))
    )


def test_slots_of_a_node_never_share_an_identity() -> None:
    identities = [clock_identity(Config(), slot) for slot in range(32)]
    assert len(set(identities)) == 32
    assert all(0 <= one < 1 << 14 for one in identities)
    with pytest.raises(ValueError, match="at most 32 slots"):
        clock_identity(Config(), 32)
