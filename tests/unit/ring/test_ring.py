"""Rings read from files that Swift wrote give Swift's answers, and so does Swift for a file of ours (see golden/generate.py)."""

import gzip
import json
from array import array
from collections.abc import Iterable
from pathlib import Path

import pytest

from ring.device import Device
from ring.fileformat import RingTable
from ring.ring import Ring, RingFileError

GOLDEN = Path(__file__).parent / "golden"
NAMES = sorted(path.name.removesuffix(".ring.gz") for path in GOLDEN.glob("*.ring.gz"))


def _ids(devices: Iterable[Device]) -> list[int]:
    return [device.id for device in devices]


def test_there_are_golden_rings() -> None:
    assert len(NAMES) == 6


@pytest.mark.parametrize("name", NAMES)
def test_primaries_and_handoffs_are_swifts(name: str) -> None:
    expected = json.loads((GOLDEN / f"{name}.json").read_text())
    ring = Ring.load(str(GOLDEN / f"{name}.ring.gz"))
    assert ring.replica_count == expected["replica_count"]
    answers = {p: [_ids(ring.primaries(int(p))), _ids(ring.handoffs(int(p)))] for p in expected["partitions"]}
    assert answers == expected["partitions"]


@pytest.mark.parametrize("name", NAMES)
def test_saving_keeps_everything(name: str, tmp_path: Path) -> None:
    ring = Ring.load(str(GOLDEN / f"{name}.ring.gz"))
    ring.save(str(tmp_path / "x.ring.gz"))
    again = Ring.load(str(tmp_path / "x.ring.gz"))
    assert (again.devices, again.rows, again.version, again.part_shift) == (ring.devices, ring.rows, ring.version, ring.part_shift)


@pytest.mark.parametrize("name", ["zones", "own"])
def test_our_bytes_are_swifts_bytes(name: str, tmp_path: Path) -> None:
    """Inside gzip, a version 1 file of ours is the same, byte for byte, as Swift's of the same ring."""
    Ring.load(str(GOLDEN / f"{name}.ring.gz")).save(str(tmp_path / "x.ring.gz"))
    with gzip.open(tmp_path / "x.ring.gz") as ours, gzip.open(GOLDEN / f"{name}.ring.gz") as theirs:
        assert ours.read() == theirs.read()


def test_a_loaded_ring_tells_its_shape() -> None:
    ring = Ring.load(str(GOLDEN / "fractional.ring.gz"))
    assert (ring.part_power, ring.part_shift, ring.partition_count, ring.version) == (5, 27, 32, 7)
    assert ring.devices[3] is None
    device = ring.devices[2]
    assert device is not None
    assert (device.meta, device.replication_ip, device.replication_port, device.weight) == ("note é", "10.9.0.1", 6300, 100.0)


def test_primaries_are_distinct_and_in_replica_order() -> None:
    devices = tuple(Device(i, 1, i, "10.0.0.1", 6200, f"d{i}", 1.0) for i in range(3))
    ring = Ring(RingTable(devices, (array("H", [2, 1]), array("H", [0, 1]), array("H", [2])), 31, 1))
    assert [_ids(ring.primaries(p)) for p in range(2)] == [[2, 0], [1]]


def test_partitions_outside_the_ring_are_refused() -> None:
    ring = Ring.load(str(GOLDEN / "zones.ring.gz"))
    for partition in (-1, 64):
        with pytest.raises(IndexError):
            ring.primaries(partition)


def test_a_missing_file_is_told_plainly(tmp_path: Path) -> None:
    with pytest.raises(RingFileError, match=r"^cannot read ring file .*: No such file or directory$"):
        Ring.load(str(tmp_path / "none.ring.gz"))
