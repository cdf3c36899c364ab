"""Timestamps: unique, strictly increasing, whatever the wall clock does."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from objstore.model.errors import Conflict
from objstore.model.timestamps import IDENTITY_MAX, TICKS_PER_SECOND, from_seconds, seconds_of, ticks_of
from objstore.runtime.clock import RESERVED_AHEAD_S, HybridClock

START = 1_800_000_000.0


class SetClock:
    """A clock that stands where it is put."""

    def __init__(self, seconds: float = START) -> None:
        self.seconds = seconds
        self.slept = 0

    def now(self) -> float:
        return self.seconds

    def monotonic(self) -> float:
        return self.seconds

    async def sleep(self, delay_s: float) -> None:
        self.slept += 1
        self.seconds += delay_s
        await asyncio.sleep(0)


class MemoryFloor:
    def __init__(self) -> None:
        self.ticks = 0
        self.saves = 0

    def load(self) -> int:
        return self.ticks

    def save(self, ticks: int) -> None:
        self.ticks = ticks
        self.saves += 1


def test_close_to_the_wall_clock_and_carries_the_identity() -> None:
    timestamp = HybridClock(SetClock(), 77).next()
    assert abs(seconds_of(timestamp) - START) < 0.001
    assert timestamp & IDENTITY_MAX == 77


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=40), st.data())
def test_increases_strictly_through_jumps_and_restarts(jumps: list[float], data: st.DataObject) -> None:
    wall, floor = SetClock(), MemoryFloor()
    clock = HybridClock(wall, 5, floor)
    last = 0
    for jump in jumps:
        wall.seconds = START + jump
        event = data.draw(st.sampled_from(["go on", "crash", "orderly restart"]))
        if event == "orderly restart":
            clock.close()
        if event != "go on":
            clock = HybridClock(wall, 5, floor)
        timestamp = clock.next()
        assert timestamp > last
        assert ticks_of(timestamp) < floor.ticks, "never above what is reserved"
        last = timestamp


def test_floor_is_written_rarely() -> None:
    wall, floor = SetClock(), MemoryFloor()
    clock = HybridClock(wall, 1, floor)
    for _ in range(1000):
        wall.seconds += 0.001
        clock.next()
    assert floor.saves == 1


def test_orderly_restart_does_not_jump_ahead() -> None:
    wall, floor = SetClock(), MemoryFloor()
    clock = HybridClock(wall, 1, floor)
    clock.next()
    clock.close()
    wall.seconds += 0.01
    assert abs(seconds_of(HybridClock(wall, 1, floor).next()) - wall.seconds) < 0.001


def test_after() -> None:
    clock = HybridClock(SetClock(), 1)
    ahead = from_seconds(START + 20, identity=IDENTITY_MAX)
    first = clock.next(after=ahead)
    assert first > ahead and ticks_of(first) == ticks_of(ahead) + 1
    assert clock.next() > first
    assert clock.next(after=from_seconds(START - 5)) > first


def test_after_a_broken_clock_is_not_followed() -> None:
    clock = HybridClock(SetClock(), 1)
    with pytest.raises(Conflict):
        clock.next(after=from_seconds(START + 3600))
    assert seconds_of(clock.next()) < START + 1


def test_a_reservation_that_cannot_be_saved_gives_nothing() -> None:
    class Full(MemoryFloor):
        def save(self, ticks: int) -> None:
            raise OSError("no space")

    clock = HybridClock(SetClock(), 1, Full())
    for _ in range(2):
        with pytest.raises(OSError, match="no space"):
            clock.next()


async def test_maintain_reserves_ahead_of_need() -> None:
    wall, floor = SetClock(), MemoryFloor()
    clock = HybridClock(wall, 1, floor)
    clock.next()
    task = asyncio.ensure_future(clock.maintain())
    while wall.slept < 100:
        assert floor.ticks > (wall.seconds + 1) * TICKS_PER_SECOND
        await asyncio.sleep(0)
    task.cancel()
    assert floor.saves <= 100 / (RESERVED_AHEAD_S - 5) + 2


@pytest.mark.parametrize("identity", [-1, IDENTITY_MAX + 1])
def test_identity_is_checked(identity: int) -> None:
    with pytest.raises(ValueError):
        HybridClock(SetClock(), identity)
