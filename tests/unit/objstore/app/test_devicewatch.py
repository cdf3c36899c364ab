"""A device that goes away is refused at once, one that can be used again brings a new process."""

import shutil
from pathlib import Path

import pytest

from objstore.app.devicewatch import DeviceWatch
from objstore.app.storage import OpenedDevice, Opening, open_devices
from objstore.model.errors import NodeError
from objstore.runtime.clock import SystemClock
from objstore.runtime.crashpoints import NoCrashPoints
from objstore.runtime.device import init_device
from objstore.runtime.interface import Change
from objstore.runtime.knobs import Knobs
from objstore.runtime.rng import SystemRng

CLUSTER = "c1"


class Watched:
    def __init__(self, devices: list[OpenedDevice]) -> None:
        self.devices = devices
        self.replaced = 0
        self.watch = DeviceWatch(devices, CLUSTER, SystemClock(), self.replace)

    def replace(self) -> None:
        self.replaced += 1

    async def look(self) -> None:
        """One round of the watch."""
        await self.watch.look()


async def watched(root: Path, *names: str) -> Watched:
    return Watched(await open_devices(Opening(str(root), CLUSTER), list(names), SystemClock(), NoCrashPoints(), Knobs()))


def make(root: Path, name: str) -> None:
    init_device(str(root / name), CLUSTER, name, SystemRng())


async def test_an_unmounted_device_is_refused_and_taken_back(tmp_path: Path) -> None:
    make(tmp_path, "d1")
    one = await watched(tmp_path, "d1")
    (device,) = one.devices
    await one.look()
    assert device.state() == "ok" and one.replaced == 0
    (tmp_path / "d1").rename(tmp_path / "elsewhere")
    (tmp_path / "d1").mkdir()  # the empty mount point
    await one.look()
    assert "not there any more" in device.state()
    assert device.disk is not None and device.disk.gone
    await one.look()
    assert one.replaced == 0, "an empty mount point is no device"
    (tmp_path / "d1").rmdir()
    (tmp_path / "elsewhere").rename(tmp_path / "d1")
    await one.look()
    await one.look()
    assert one.replaced == 1, "asked once, not at every look"


async def test_nothing_is_written_between_the_unmount_and_the_next_look(tmp_path: Path) -> None:
    """F26: the commit itself looks."""
    make(tmp_path, "d1")
    one = await watched(tmp_path, "d1")
    (device,) = one.devices
    (tmp_path / "d1").rename(tmp_path / "elsewhere")
    (tmp_path / "d1").mkdir()
    assert device.disk is not None
    with pytest.raises(NodeError, match="not there any more"):
        await device.disk.commit(Change("objects/1/a.data", b"x"))
    assert list((tmp_path / "d1").iterdir()) == []
    assert not list((tmp_path / "elsewhere").glob("objects/*/*"))


async def test_a_new_disk_in_its_place_is_taken_up(tmp_path: Path) -> None:
    """F28: deleted while running, then made anew."""
    make(tmp_path, "d1")
    one = await watched(tmp_path, "d1")
    shutil.rmtree(tmp_path / "d1")
    await one.look()
    assert one.devices[0].state() != "ok"
    make(tmp_path, "d1")
    await one.look()
    assert one.replaced == 1


async def test_a_device_that_was_refused_at_the_start_is_taken_up_when_it_comes(tmp_path: Path) -> None:
    one = await watched(tmp_path, "d1")
    await one.look()
    assert one.replaced == 0
    make(tmp_path, "d1")
    await one.look()
    assert one.replaced == 1


async def test_a_device_given_up_for_another_reason_stays_so(tmp_path: Path) -> None:
    make(tmp_path, "d1")
    one = await watched(tmp_path, "d1")
    one.devices[0].give_up("was away for too long")
    await one.look()
    assert one.replaced == 0 and one.devices[0].state() == "was away for too long"
