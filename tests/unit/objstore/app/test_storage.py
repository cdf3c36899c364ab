"""Opening the devices of a storage process."""

import asyncio
from pathlib import Path

from objstore.app.storage import OpenedDevice, Opening, open_devices
from objstore.runtime.clock import SystemClock
from objstore.runtime.crashpoints import NoCrashPoints
from objstore.runtime.device import init_device, open_device
from objstore.runtime.knobs import Knobs
from objstore.runtime.rng import SystemRng

CLUSTER = "c1"


async def opened(root: Path, names: list[str], takeover_s: float = 0.0) -> list[OpenedDevice]:
    opening = Opening(str(root), CLUSTER, takeover_s)
    return await open_devices(opening, names, SystemClock(), NoCrashPoints(), Knobs())


def make(root: Path, name: str, cluster: str = CLUSTER) -> None:
    init_device(str(root / name), cluster, name, SystemRng())


async def test_bad_devices_are_refused_and_the_others_serve(tmp_path: Path) -> None:
    make(tmp_path, "good")
    make(tmp_path, "foreign", "c2")
    (tmp_path / "unmounted").mkdir()
    make(tmp_path, "before")
    (tmp_path / "before").rename(tmp_path / "swapped")
    devices = {one.name: one for one in await opened(tmp_path, ["good", "foreign", "unmounted", "swapped", "missing"])}
    assert devices["good"].state() == "ok"
    for name, words in {
        "foreign": "another cluster",
        "unmounted": "no identity.json",
        "swapped": "disks swapped",
        "missing": "not a directory",
    }.items():
        assert words in devices[name].state()
        assert devices[name].disk is None
    assert list((tmp_path / "unmounted").iterdir()) == [], "nothing is written to a device that is not ours"
    tables = devices["good"].tables
    assert tables is not None
    tables.start()
    await devices["good"].close()
    open_device(str(tmp_path / "good"), CLUSTER, "good").close()


async def test_a_device_in_use_is_refused_at_once(tmp_path: Path) -> None:
    make(tmp_path, "d1")
    holder = open_device(str(tmp_path / "d1"), CLUSTER, "d1")
    (device,) = await opened(tmp_path, ["d1"])
    assert "in use by another process" in device.state()
    holder.close()


async def test_a_successor_waits_for_its_predecessor(tmp_path: Path) -> None:
    make(tmp_path, "d1")
    holder = open_device(str(tmp_path / "d1"), CLUSTER, "d1")
    waiting = asyncio.create_task(opened(tmp_path, ["d1"], takeover_s=10.0))
    await asyncio.sleep(0.1)
    assert not waiting.done()
    holder.close()
    (device,) = await waiting
    assert device.state() == "ok"
    assert device.tables is not None
    device.tables.start()
    await device.close()


async def test_a_successor_does_not_wait_for_ever(tmp_path: Path) -> None:
    make(tmp_path, "d1")
    holder = open_device(str(tmp_path / "d1"), CLUSTER, "d1")
    (device,) = await opened(tmp_path, ["d1"], takeover_s=0.05)
    assert "in use" in device.state()
    holder.close()
