"""One timer for many waits."""

import asyncio
import gc
import weakref

from objstore.rpc.patience import Patience


class Late:
    def __init__(self, timeout_s: float) -> None:
        self.times: list[float] = []
        self.loop = asyncio.get_running_loop()
        self.started = self.loop.time()
        self.patience = Patience(timeout_s, lambda: self.times.append(self.loop.time() - self.started))


async def test_many_short_waits_are_no_long_one() -> None:
    late = Late(0.4)
    for _ in range(60):
        late.patience.begin()
        await asyncio.sleep(0.01)
        late.patience.end()
    await asyncio.sleep(0.5)
    assert late.times == []
    late.patience.stop()


async def test_a_wait_has_its_whole_time_whatever_came_before() -> None:
    late = Late(0.3)
    late.patience.begin()
    await asyncio.sleep(0.2)
    late.patience.end()
    late.patience.begin()
    began = late.loop.time() - late.started
    await asyncio.sleep(0.15)
    assert late.times == []
    await asyncio.sleep(0.25)
    assert len(late.times) == 1
    assert 0.299 <= late.times[0] - began < 0.4
    await asyncio.sleep(0.4)
    assert len(late.times) == 1, "it is told once"


async def test_time_between_waits_does_not_count_and_a_later_wait_is_bounded_again() -> None:
    late = Late(0.05)
    late.patience.begin()
    late.patience.end()
    await asyncio.sleep(0.12)
    assert late.times == []
    late.patience.begin()
    await asyncio.sleep(0.08)
    assert len(late.times) == 1
    late.patience.begin()
    await asyncio.sleep(0.08)
    assert len(late.times) == 2


async def test_nothing_is_told_once_it_is_stopped() -> None:
    late = Late(0.02)
    late.patience.begin()
    late.patience.stop()
    late.patience.stop()
    await asyncio.sleep(0.05)
    assert late.times == []


async def test_once_stopped_it_keeps_nobody() -> None:
    owner = _Owner()
    there = weakref.ref(owner)
    gc.disable()
    try:
        owner.patience.begin()
        owner.patience.stop()
        del owner
        assert there() is None, "a cycle is left to the collector"
    finally:
        gc.enable()


class _Owner:
    def __init__(self) -> None:
        self.patience = Patience(60.0, self._late)

    def _late(self) -> None:
        raise AssertionError
