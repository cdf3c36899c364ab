"""G9: a device that was away for longer than deletions are remembered is refused, whoever of the cluster notices."""

import asyncio
import errno
from pathlib import Path

import pytest

from objstore.app.lifetime import STAMP, Lifetime
from objstore.app.storage import OpenedDevice, Opening, open_devices
from objstore.formats.devicestamp import Stamp, decode_stamp, encode_stamp
from objstore.formats.messages import Address
from objstore.rpc.interface import Dispatcher
from objstore.runtime.clock import SystemClock
from objstore.runtime.crashpoints import NoCrashPoints
from objstore.runtime.device import init_device
from objstore.runtime.filesystem import RealFileSystem
from objstore.runtime.knobs import Knobs
from objstore.runtime.rng import SystemRng
from tests.unit.objstore.object.rig import Wire

CLUSTER = "c1"
DAY = 86_400.0
RECLAIM = 7 * DAY


class ShiftedClock(SystemClock):
    """A wall clock ahead by `ahead_s`."""

    def __init__(self) -> None:
        self.ahead_s = 0.0

    def now(self) -> float:
        return super().now() + self.ahead_s

    async def sleep(self, delay_s: float) -> None:
        await asyncio.sleep(min(delay_s, 0.01))


class Unlistable(RealFileSystem):
    """A disk whose root cannot be read once it was opened."""

    opened = False

    def list_directory(self, path: str) -> list[str]:
        if not path and self.opened:
            raise OSError(errno.EIO, "Input/output error")
        return super().list_directory(path)


class Part:
    """One process with a device."""

    def __init__(self, root: Path, number: int, wire: Wire, count: int) -> None:
        self.root = root / f"n{number}"
        self.address = Address("127.0.0.1", 100 + number)
        self.clock = ShiftedClock()
        everybody = [Address("127.0.0.1", 100 + n) for n in range(count)]
        self.lifetime = Lifetime([self.address], lambda: everybody, wire, self.clock, SystemRng(), RECLAIM)
        self.dispatcher = Dispatcher()
        self.lifetime.register(self.dispatcher)
        self.wire = wire
        self.device: OpenedDevice

    async def start(self, stamp: Stamp | None) -> "Part":
        path = self.root / "d1"
        init_device(str(path), CLUSTER, "d1", SystemRng())
        if stamp is not None:
            (path / STAMP).write_bytes(encode_stamp(stamp))
        await self.lifetime.ask()
        opening = Opening(str(self.root), CLUSTER)
        (self.device,) = await open_devices(opening, ["d1"], self.clock, NoCrashPoints(), Knobs())
        await self.lifetime.begin([self.device])
        self.wire.plug(self.address, self.dispatcher)
        return self

    def stamp(self) -> Stamp:
        return decode_stamp((self.root / "d1" / STAMP).read_bytes())


async def cluster(root: Path, *stamps: Stamp | None) -> list[Part]:
    wire = Wire(SystemClock())
    return [await Part(root, number, wire, len(stamps)).start(stamp) for number, stamp in enumerate(stamps)]


async def test_a_new_cluster_and_data_of_an_earlier_release_start(tmp_path: Path) -> None:
    parts = await cluster(tmp_path, None, None)
    assert [part.device.state() for part in parts] == ["ok", "ok"]
    assert parts[1].stamp().age_s < 60


async def test_a_cluster_that_was_off_for_long_goes_on(tmp_path: Path) -> None:
    parts = await cluster(tmp_path, Stamp(100 * DAY), Stamp(100 * DAY - 30), Stamp(95 * DAY))
    assert [part.device.state() for part in parts] == ["ok"] * 3
    assert parts[2].stamp().age_s >= 100 * DAY, "all count alike from now on"


async def test_a_device_that_cannot_be_listed_is_refused_alone(tmp_path: Path) -> None:
    part = Part(tmp_path, 0, Wire(SystemClock()), 1)
    for name in ("d1", "d2"):
        init_device(str(part.root / name), CLUSTER, name, SystemRng())
    broken, sound = await open_devices(Opening(str(part.root), CLUSTER), ["d1", "d2"], part.clock, NoCrashPoints(), Knobs())
    assert broken.device is not None
    broken.device.fs = fs = Unlistable(str(part.root / "d1"))
    fs.opened = True
    await part.lifetime.begin([broken, sound])
    assert "Input/output error" in broken.state() and sound.state() == "ok"
    for device in (broken, sound):
        await device.close()


async def test_a_device_that_was_away_for_long_is_refused(tmp_path: Path) -> None:
    parts = await cluster(tmp_path, Stamp(100 * DAY), Stamp(92 * DAY))
    assert parts[0].device.state() == "ok"
    state = parts[1].device.state()
    assert "away for 8.0 days" in state and "objstore device init" in state
    assert parts[1].device.disk is not None and parts[1].device.disk.gone
    assert parts[1].stamp().age_s == 92 * DAY, "the stamp stays: it is refused at every start"


async def test_a_new_device_that_meets_the_others_late_is_no_absent_one(tmp_path: Path) -> None:
    wire = Wire(SystemClock())
    new = await Part(tmp_path, 0, wire, 2).start(None)
    assert not (new.root / "d1" / STAMP).exists()
    await Part(tmp_path, 1, wire, 2).start(Stamp(100 * DAY))
    keeping = asyncio.create_task(new.lifetime.keep())
    await asyncio.wait_for(new.lifetime.met.wait(), 5)
    await asyncio.sleep(0.1)
    keeping.cancel()
    assert new.device.state() == "ok" and new.stamp().age_s >= 100 * DAY


async def test_it_is_noticed_as_soon_as_the_others_can_be_heard(tmp_path: Path) -> None:
    wire = Wire(SystemClock())
    late = await Part(tmp_path, 0, wire, 2).start(Stamp(92 * DAY))
    assert late.device.state() == "ok" and not late.lifetime.met.is_set()
    await Part(tmp_path, 1, wire, 2).start(Stamp(100 * DAY))
    keeping = asyncio.create_task(late.lifetime.keep())
    await asyncio.wait_for(late.lifetime.met.wait(), 5)
    await asyncio.sleep(0.05)
    assert "away for" in late.device.state()
    keeping.cancel()


async def test_it_meets_nobody_for_a_while_and_goes_on_alone(tmp_path: Path) -> None:
    part = await Part(tmp_path, 0, Wire(SystemClock()), 3).start(None)
    keeping = asyncio.create_task(part.lifetime.keep())
    await asyncio.wait_for(part.lifetime.met.wait(), 10)
    assert part.device.state() == "ok"
    keeping.cancel()


async def test_an_unreadable_stamp_is_no_reason_to_refuse(tmp_path: Path) -> None:
    wire = Wire(SystemClock())
    part = Part(tmp_path, 0, wire, 1)
    init_device(str(part.root / "d1"), CLUSTER, "d1", SystemRng())
    (part.root / "d1" / STAMP).write_bytes(b"?")
    await part.start(None)
    assert part.device.state() == "ok" and part.stamp().age_s < 60


@pytest.mark.parametrize("stamp", [None, b"?"])
async def test_a_device_with_data_and_no_stamp_is_refused_once_deletions_may_be_forgotten(
    tmp_path: Path, stamp: bytes | None
) -> None:
    wire = Wire(SystemClock())
    await Part(tmp_path, 0, wire, 2).start(Stamp(100 * DAY))
    killed_early = Part(tmp_path, 1, wire, 2)
    init_device(str(killed_early.root / "d1"), CLUSTER, "d1", SystemRng())
    (killed_early.root / "d1" / "objects-1").mkdir()
    if stamp is not None:
        (killed_early.root / "d1" / STAMP).write_bytes(stamp)
    await killed_early.start(None)
    assert "away for an unknown time, longer than deletions are remembered" in killed_early.device.state()


async def test_data_without_a_stamp_is_welcome_in_a_young_cluster(tmp_path: Path) -> None:
    wire = Wire(SystemClock())
    await Part(tmp_path, 0, wire, 2).start(Stamp(5 * DAY))
    killed_early = Part(tmp_path, 1, wire, 2)
    init_device(str(killed_early.root / "d1"), CLUSTER, "d1", SystemRng())
    (killed_early.root / "d1" / "containers").mkdir()
    await killed_early.start(None)
    assert killed_early.device.state() == "ok" and killed_early.stamp().age_s >= 5 * DAY


async def test_a_clock_unlike_the_others_is_not_trusted(tmp_path: Path) -> None:
    parts = await cluster(tmp_path, None, None, None)
    assert all(part.lifetime.clock_trusted() for part in parts)
    parts[2].clock.ahead_s = 3600
    for part in parts:
        await part.lifetime.ask()
    assert [part.lifetime.clock_trusted() for part in parts] == [True, True, False]
    parts[2].clock.ahead_s = 0
    for part in parts:
        await part.lifetime.ask()
    assert all(part.lifetime.clock_trusted() for part in parts)


async def test_a_node_that_was_cut_off_for_long_is_refused_when_it_is_back(tmp_path: Path) -> None:
    alone, *others = await cluster(tmp_path, None, None, None)
    for part in (alone, *others):
        await part.lifetime.ask()
        await part.lifetime._note()
    alone.wire.down |= {part.address for part in others}
    await alone.lifetime.ask()
    before = alone.lifetime.uptime.age_s
    for part in others:
        part.lifetime.uptime.learn(8 * DAY)  # they went on for so long
    await asyncio.sleep(0.01)
    assert alone.lifetime.uptime.age_s == before
    alone.wire.down.clear()
    keeping = asyncio.create_task(alone.lifetime.keep())
    for _ in range(300):
        if alone.device.state() != "ok":
            break
        await asyncio.sleep(0.01)
    keeping.cancel()
    assert "away for 8.0 days" in alone.device.state()
