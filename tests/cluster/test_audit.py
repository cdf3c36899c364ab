"""Audits and expiry in real processes: damage that nobody reads is found and made good; no clock empties the store."""

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from objstore.object.crashes import QUARANTINE_MOVED, QUARANTINE_RECORD
from objstore.testing import BlockingCluster, ClusterError
from objstore.testing.holdings import Replica

SIZES = {"empty": 0, "small": 900, "piece": 1 << 18, "large": 1_000_000}
XATTR = "user.objstore.meta"
YEAR_S = 365 * 86_400


@pytest.fixture(scope="module")
def cluster() -> Iterator[BlockingCluster]:
    with BlockingCluster() as made:
        made.swift().put_container("c")
        yield made


def store(cluster: BlockingCluster, prefix: str) -> dict[str, bytes]:
    """Objects of all sizes, on three replicas each."""
    bodies = {f"{prefix}-{name}": os.urandom(size) for name, size in SIZES.items()}
    for name, body in bodies.items():
        cluster.swift().put_object("c", name, body)
        deadline = time.monotonic() + 20
        while len(cluster.replicas(f"c/{name}")) < 3:
            assert time.monotonic() < deadline
            time.sleep(0.02)
    return bodies


def audited(cluster: BlockingCluster) -> dict[str, int]:
    """One pass on every node; the sums."""
    passes = [jobs["object-auditor"] for jobs in cluster.run_daemons("object-auditor").values()]
    return {figure: sum(one[figure] for one in passes) for figure in passes[0]}


def held(cluster: BlockingCluster, name: str) -> list[Replica]:
    """Once repairs, which go on behind the pass, are done."""
    deadline = time.monotonic() + 20
    while len(replicas := cluster.replicas(f"c/{name}")) < 3 and time.monotonic() < deadline:
        time.sleep(0.02)
    return replicas


def expect_good(cluster: BlockingCluster, bodies: dict[str, bytes]) -> None:
    for name, body in bodies.items():
        replicas = held(cluster, name)
        assert len(replicas) == 3 and len({one.md5 for one in replicas}) == 1 and {one.size for one in replicas} == {len(body)}
        assert cluster.swift().get_object("c", name)[1] == body
    figures = audited(cluster)
    assert (figures["corrupt"], figures["misplaced"], figures["rows_missing"], figures["errors"]) == (0, 0, 0, 0)


def spoil(path: str) -> None:
    value = bytearray(os.getxattr(path, XATTR))
    value[len(value) // 2] ^= 1
    os.setxattr(path, XATTR, bytes(value))


def fifo(path: str) -> None:
    Path(path).unlink()
    os.mkfifo(path)


DAMAGE: dict[str, Callable[[str], None]] = {
    "metadata": spoil,
    "no metadata": lambda path: os.removexattr(path, XATTR),
    "cut": lambda path: os.truncate(path, max(0, Path(path).stat().st_size - 1)),
    "grown": lambda path: os.truncate(path, Path(path).stat().st_size + 1),
    "fifo": fifo,
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_damage_that_nobody_reads_is_found_and_made_good(cluster: BlockingCluster, damage: Callable[[str], None]) -> None:
    bodies = {name: body for name, body in store(cluster, "d").items() if body or damage is not DAMAGE["cut"]}
    for number, name in enumerate(bodies):
        damage(cluster.replicas(f"c/{name}")[number % 3].path)
    figures = audited(cluster)
    assert figures["corrupt"] == len(bodies)
    expect_good(cluster, bodies)


def test_flipped_bits(cluster: BlockingCluster) -> None:
    bodies = store(cluster, "flip")
    for number, (name, body) in enumerate(bodies.items()):
        if body:
            cluster.corrupt(f"c/{name}", number % 3, offset=len(body) - 1)
    assert audited(cluster)["corrupt"] == 3
    expect_good(cluster, bodies)


@pytest.mark.parametrize("point", [QUARANTINE_RECORD, QUARANTINE_MOVED])
def test_killed_while_it_sets_a_file_aside(cluster: BlockingCluster, point: str) -> None:
    """F7: the file is in its place or in quarantine, whole; the next pass goes on from there."""
    bodies = store(cluster, "killed")
    name = "killed-small"
    replica = cluster.corrupt(f"c/{name}", 0)
    cluster.restart(replica.node, environment={"OBJSTORE_CRASH_AT": f"{point}:1"})
    with pytest.raises(ClusterError):
        cluster.run_daemons("object-auditor", nodes=replica.node, timeout_s=20)
    cluster.wait_down(replica.node)
    aside = list(Path(cluster.device_path(replica.node, replica.device)).glob(f"quarantine/*/{Path(replica.path).name}"))
    assert len(aside) + Path(replica.path).exists() == 1
    cluster.restart(replica.node)
    audited(cluster)
    if point == QUARANTINE_MOVED:
        cluster.run_daemons("object-replicator")
    expect_good(cluster, bodies)


def test_a_clock_that_is_a_year_ahead_expires_nothing(cluster: BlockingCluster) -> None:
    """F66: whether it jumps while the process runs, or was wrong when it started."""
    swift = cluster.swift()
    for number in range(12):  # so that each node has its turn
        container = f"expiring{number}"
        swift.put_container(container)
        swift.put_object(container, "o", b"x", headers={"X-Delete-After": "86400"})
    cluster.run_daemons("object-expirer")
    for restarted in (False, True):
        cluster.skew_clock("node1", YEAR_S)
        if restarted:
            cluster.restart("node1")
        figures = cluster.run_daemons("object-expirer")
        assert figures["node1"]["object-expirer"]["refused"] == 1
        assert sum(jobs["object-expirer"]["expired"] for jobs in figures.values()) == 0
        cluster.skew_clock("node1", 0)
    cluster.restart("node1")
    cluster.run_daemons("object-replicator", "object-expirer")
    for number in range(12):
        assert swift.get_object(f"expiring{number}", "o")[1] == b"x"
        assert {one.kind for one in cluster.replicas(f"expiring{number}/o")} == {"data"}
