"""Naming a replica, and damaging it."""

import os
from pathlib import Path

import pytest

from objstore.formats.objectmeta import ATTRIBUTE, Damaged, checksum_table, decode, encode
from objstore.model.version import Version
from objstore.testing.damage import choose, corrupt
from objstore.testing.failures import ClusterError
from objstore.testing.holdings import META_ATTRIBUTE, Replica, body_digest, object_name, version_of

BODY = bytes(range(256)) * 40


def replica(path: str = "", node: str = "node1", kind: str = "data", primary: int | None = 0) -> Replica:
    return Replica(node, "d1", path, 1 << 40, kind, "", 0, primary)


@pytest.fixture
def stored(tmp_path: Path) -> Replica:
    path = tmp_path / "o.data"
    encoded = encode(Version("/a/c/o", 1 << 40, size=len(BODY)), checksum_table(BODY), len(BODY), budget=31)
    path.write_bytes(BODY + encoded.trailer)
    os.setxattr(path, META_ATTRIBUTE, encoded.attribute)
    return replica(str(path))


def test_one_bit_of_the_body_changes_and_nothing_else(stored: Replica) -> None:
    before = os.stat(stored.path)
    content = Path(stored.path).read_bytes()
    corrupt(stored, "data", None)
    changed = [(a, b) for a, b in zip(content, Path(stored.path).read_bytes(), strict=True) if a != b]
    assert len(changed) == 1 and (changed[0][0] ^ changed[0][1]).bit_count() == 1
    assert (os.stat(stored.path).st_mtime_ns, os.stat(stored.path).st_size) == (before.st_mtime_ns, before.st_size)
    assert decode(os.getxattr(stored.path, META_ATTRIBUTE)).body_size == len(BODY), "its metadata is whole"
    corrupt(stored, "data", None)
    assert Path(stored.path).read_bytes() == content, "twice is not at all"
    with pytest.raises(ClusterError, match=f"its data has {len(BODY)} bytes"):
        corrupt(stored, "data", len(BODY))


def test_metadata_is_damaged_at_any_byte(stored: Replica) -> None:
    size = len(os.getxattr(stored.path, f"user.{ATTRIBUTE}"))
    for offset in range(size):
        corrupt(stored, "metadata", offset)
        with pytest.raises(Damaged):
            decode(os.getxattr(stored.path, META_ATTRIBUTE))
        corrupt(stored, "metadata", offset)
    assert version_of(stored.path).name == "/a/c/o"


def test_the_digest_is_of_the_body_alone(stored: Replica) -> None:
    import hashlib

    assert os.path.getsize(stored.path) > len(BODY), "the version and the table follow the body"
    assert body_digest(stored.path) == (hashlib.md5(BODY).hexdigest(), len(BODY))


def test_replicas_are_named_by_place_or_node() -> None:
    replicas = [replica(node="node3"), replica(node="node1", kind="meta"), replica(node="node2", primary=None)]
    assert choose(replicas, 1, "c/o").node == "node2", "of those that hold data"
    assert choose(replicas, "node3", "c/o").node == "node3"
    assert choose(replicas, "node2/d1", "c/o").node == "node2"
    assert choose(replicas, replicas[1], "c/o") is replicas[1]
    with pytest.raises(ClusterError, match="no replica 2 of c/o; it is on: node3/d1, node2/d1"):
        choose(replicas, 2, "c/o")
    with pytest.raises(ClusterError, match="on: no device"):
        choose([], 0, "c/o")


def test_a_replica_describes_itself() -> None:
    assert str(replica(primary=None, kind="ts")).startswith("node1/d1 (handoff): ts of 0000000")


def test_names() -> None:
    assert object_name("c/o", "AUTH_test") == ("AUTH_test", "c", "o")
    assert object_name("/a/c/o/p", "AUTH_test") == ("a", "c", "o/p")
    for text in ("c", "c/", "/a/c", "/a//o", ""):
        with pytest.raises(ClusterError, match="is no object"):
            object_name(text, "AUTH_test")
