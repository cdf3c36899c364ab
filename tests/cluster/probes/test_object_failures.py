"""Damage to one replica of an object, of every kind: no client ever sees it, the file ends up in quarantine, and a good copy takes
its place.
"""

import os
import shutil
import stat
from collections.abc import Callable

import pytest

from objstore.model.errors import Code, NodeError
from objstore.testing import Replica
from objstore.testing.holdings import META_ATTRIBUTE
from tests.cluster.probes.probe import Probe, kinds, refusal

BODY = os.urandom(150_000)
SMALL = b"RANGE"
RANGES = [("bytes=0-2", slice(0, 3)), ("bytes=1-11", slice(1, 12)), ("bytes=-2", slice(-2, None)), ("bytes=0-", slice(0, None))]


def flip(path: str, offset: int) -> None:
    """One bit, without a trace in the file's times."""
    before = os.stat(path)
    with open(path, "r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([byte ^ 1]))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def flip_metadata(path: str, part: float) -> None:
    value = bytearray(os.getxattr(path, META_ATTRIBUTE))
    value[int(part * (len(value) - 1))] ^= 1
    os.setxattr(path, META_ATTRIBUTE, bytes(value))


def remade(path: str, make: Callable[[str], None]) -> None:
    """Something else in the file's place."""
    os.unlink(path)
    make(path)


DAMAGE: dict[str, Callable[[str], None]] = {
    "first byte flipped": lambda path: flip(path, 0),
    "byte in the middle flipped": lambda path: flip(path, os.path.getsize(path) // 2),
    "last byte flipped": lambda path: flip(path, os.path.getsize(path) - 1),
    "truncated to nothing": lambda path: os.truncate(path, 0),
    "truncated by a byte": lambda path: os.truncate(path, os.path.getsize(path) - 1),
    "longer by a byte": lambda path: os.truncate(path, os.path.getsize(path) + 1),
    "metadata begins wrong": lambda path: flip_metadata(path, 0.0),
    "metadata damaged in the middle": lambda path: flip_metadata(path, 0.5),
    "metadata ends wrong": lambda path: flip_metadata(path, 1.0),
    "metadata cut short": lambda path: os.setxattr(path, META_ATTRIBUTE, os.getxattr(path, META_ATTRIBUTE)[:-5]),
    "metadata empty": lambda path: os.setxattr(path, META_ATTRIBUTE, b""),
    "metadata lost": lambda path: os.removexattr(path, META_ATTRIBUTE),
    "an empty file instead": lambda path: remade(path, lambda place: open(place, "xb").close()),
    "a directory instead": lambda path: remade(path, os.mkdir),
    "a link instead": lambda path: remade(path, lambda place: os.symlink("/etc/passwd", place)),
    "a pipe instead": lambda path: remade(path, os.mkfifo),
    "a socket instead": lambda path: remade(path, lambda place: os.mknod(place, 0o600 | stat.S_IFSOCK)),
}


def stored(probe: Probe, body: bytes, name: str = "object") -> list[Replica]:
    probe.swift.put_container(probe.container)
    probe.swift.put_object(probe.container, name, body, headers={"X-Object-Meta-Colour": "red"})
    return probe.cluster.replicas(probe.path(name))


def quarantined(probe: Probe, victim: Replica) -> int:
    """How many files the node of a damaged replica has in quarantine."""
    return sum(device.quarantined for device in probe.cluster.status(victim.node).devices)


def assert_never_seen(probe: Probe, name: str, body: bytes) -> None:
    """Whole, in part, and by name alone, whichever replica is asked first."""
    for _ in range(3):
        assert probe.body(name) == body
        for text, part in RANGES:
            assert probe.body(name, Range=text) == body[part], text
        headers = probe.swift.head_object(probe.container, name)
        assert (headers["content-length"], headers["x-object-meta-colour"]) == (str(len(body)), "red")


@pytest.mark.parametrize("size", [len(SMALL), len(BODY)])
@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_is_never_seen_and_is_mended(probe: Probe, damage: str, size: int) -> None:
    body = SMALL if size == len(SMALL) else BODY
    victim = stored(probe, body)[0]
    DAMAGE[damage](victim.path)
    assert_never_seen(probe, "object", body)
    probe.settle()
    held = probe.assert_equal_replicas("object")
    assert kinds(held) == ["data"] and held[0].md5 == victim.md5
    assert probe.direct.head(probe.path("object"), 0).user == {"colour": "red"}


@pytest.mark.parametrize("asked", ["read", "range", "stat", "post"])
def test_a_node_refuses_what_is_damaged_whatever_it_is_asked(probe: Probe, asked: str) -> None:
    """Metadata that cannot be true, and a file without a body: the node finds out before it answers."""
    for damage in ("metadata damaged in the middle", "truncated to nothing"):
        victim = stored(probe, SMALL, damage)[0]
        name = probe.path(damage)
        version = probe.direct.head(name, 0)
        before = quarantined(probe, victim)
        DAMAGE[damage](victim.path)
        with pytest.raises(NodeError) as caught:
            if asked == "read":
                probe.direct.get(name, 0)
            elif asked == "range":
                probe.direct.get(name, 0, 1, 2)
            elif asked == "stat":
                probe.direct.head(name, 0)
            else:
                probe.direct.post(name, 0, version.timestamp + 1000, {"colour": "blue"})
        assert caught.value.code is Code.CORRUPT
        assert quarantined(probe, victim) > before, "and it is set aside; others may have replaced it already"
        probe.settle()
        held = probe.assert_equal_replicas(damage)
        assert held[0].md5 == victim.md5
        assert probe.swift.head_object(probe.container, damage)["x-object-meta-colour"] == "red", "one of three was posted to"


def test_a_file_of_another_object_in_its_place_is_never_served(probe: Probe) -> None:
    victim = stored(probe, SMALL, "right")[0]
    (other,) = [one for one in stored(probe, b"WRONG", "wrong") if one.primary == 0]
    os.unlink(victim.path)
    shutil.copy(other.path, victim.path)
    os.setxattr(victim.path, META_ATTRIBUTE, os.getxattr(other.path, META_ATTRIBUTE))
    assert_never_seen(probe, "right", SMALL)
    assert_never_seen(probe, "wrong", b"WRONG")
    probe.settle()
    assert probe.assert_equal_replicas("right")[0].md5 == victim.md5
    assert probe.assert_equal_replicas("wrong")[0].md5 == other.md5


def test_names_that_are_no_objects_do_no_harm(probe: Probe) -> None:
    victim = stored(probe, SMALL)[0]
    directory, base = os.path.split(victim.path)
    strange = [f".{base}.6MbL6r", base.replace(".data", ".durable"), "hashes.pkl", base.upper(), "é" * 100]
    for name in strange:
        with open(os.path.join(directory, name), "wb") as file:
            file.write(b"junk")
    os.mkdir(os.path.join(directory, "a directory"))
    probe.cluster.restart(victim.node)
    assert_never_seen(probe, "object", SMALL)
    probe.settle()
    assert [one.path for one in probe.assert_equal_replicas("object")] == [victim.path]
    for node in probe.cluster.nodes:
        if node != victim.node:
            found = os.path.join(probe.cluster.device_path(node, "d1"), os.path.basename(os.path.dirname(directory)))
            assert not [name for _, _, files in os.walk(found) for name in files if name in strange], "junk is not replicated"
    for name in strange:
        os.unlink(os.path.join(directory, name))
    os.rmdir(os.path.join(directory, "a directory"))


def test_damage_to_two_replicas_of_three_is_never_seen(probe: Probe) -> None:
    victims = stored(probe, BODY)[:2]
    flip(victims[0].path, 10)
    flip(victims[1].path, 100_000)
    assert_never_seen(probe, "object", BODY)
    probe.settle()
    assert probe.assert_equal_replicas("object")[0].md5 == victims[0].md5


def test_an_object_whose_every_replica_is_damaged_is_never_sent_as_if_it_were_whole(probe: Probe) -> None:
    for victim in stored(probe, BODY):
        flip(victim.path, 100_000)
    for _ in range(4):
        with pytest.raises(Exception, match=r"IncompleteRead|broken|prematurely|503|404"):
            probe.body("object")


def test_an_object_whose_every_replica_is_damaged_is_not_said_to_be_missing(probe: Probe) -> None:
    """Its user never deleted it, and `objstore quarantine restore` may bring it back: 503 is the honest answer."""
    for victim in stored(probe, SMALL):
        flip(victim.path, 1)
    for _ in range(4):
        assert refusal(probe.body, "object") == 503
