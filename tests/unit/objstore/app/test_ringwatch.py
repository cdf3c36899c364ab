"""Ring files that change are taken up; damaged ones are not."""

import os
from pathlib import Path

import pytest

from objstore.app.config import Cluster, Config
from objstore.app.rings import Rings, load_rings
from objstore.app.ringwatch import RingWatch, placement_rings
from objstore.runtime.clock import SystemClock
from ring.builder import RingBuilder

NAMES = ("account", "container", "object")


def make_ring(path: Path, devices: int, port: int = 6200) -> None:
    builder = RingBuilder(2, 1, 1)
    for number in range(devices):
        builder.add_device(zone=number, ip="127.0.0.1", port=port + number, device="d1", weight=1)
    builder.rebalance(seed=1)
    builder.to_ring().save(str(path))


def make_watch(directory: Path) -> RingWatch:
    for name in NAMES:
        make_ring(directory / f"{name}.ring.gz", 1)
    config = Config(cluster=Cluster(rings_dir=str(directory), hash_prefix="p"))
    files = load_rings(config)
    return RingWatch(config, files, placement_rings(config, files), SystemClock())


async def test_a_changed_ring_is_taken_up_in_place(tmp_path: Path) -> None:
    watch, heard = make_watch(tmp_path), list[Rings]()
    rings = watch._rings
    watch.listeners.append(heard.append)
    before = (rings.account, rings.container, rings.objects[0])
    assert not await watch.check()
    make_ring(tmp_path / "object.ring.gz", 2)
    assert await watch.check()
    assert rings.objects[0] is not before[2] and len(rings.objects[0].devices) == 2
    assert len(heard) == 1 and len(heard[0].devices()) == 4
    assert watch.files.digests == load_rings(watch._config).digests
    assert not await watch.check() and len(heard) == 1
    assert rings.prefix == b"p"


async def test_a_ring_replaced_while_the_process_starts_is_taken_up(tmp_path: Path) -> None:
    """Its files are read before anybody watches them."""
    for name in NAMES:
        make_ring(tmp_path / f"{name}.ring.gz", 1)
    config = Config(cluster=Cluster(rings_dir=str(tmp_path), hash_prefix="p"))
    files = load_rings(config)
    make_ring(tmp_path / "object.ring.gz", 2)
    watch = RingWatch(config, files, placement_rings(config, files), SystemClock())
    assert await watch.check()
    assert len(watch._rings.objects[0].devices) == 2
    assert not await watch.check()


async def test_a_file_that_was_only_touched_changes_nothing(tmp_path: Path) -> None:
    watch = make_watch(tmp_path)
    os.utime(tmp_path / "object.ring.gz", (1, 1))
    assert not await watch.check()


@pytest.mark.parametrize("damage", ["cut", "gone", "empty", "directory"])
async def test_a_ring_that_cannot_be_read_leaves_the_one_in_use(
    tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    watch = make_watch(tmp_path)
    ring, path = watch._rings.container, tmp_path / "container.ring.gz"
    good = path.read_bytes()
    path.unlink()
    if damage == "directory":
        path.mkdir()
    elif damage != "gone":
        path.write_bytes(good[:20] if damage == "cut" else b"")
    assert not await watch.check()
    assert watch._rings.container is ring
    assert any("the one in use stays" in record.message for record in caplog.records)
    caplog.clear()
    assert not await watch.check()
    assert not caplog.records, "said once"
    if damage == "directory":
        path.rmdir()
    make_ring(path, 3)
    assert await watch.check()
    assert watch._rings.container is not ring
