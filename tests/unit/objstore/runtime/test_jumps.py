"""Jumps of the wall clock against the monotonic one."""

import logging

import pytest

from objstore.runtime.clock import SystemClock
from objstore.runtime.jumps import HOLD_S, JUMP_S_MAX, JumpWatch

YEAR_S = 365 * 86_400.0


class Clocks(SystemClock):
    def __init__(self) -> None:
        self.wall_s = 1e9
        self.passed_s = 50.0

    def now(self) -> float:
        return self.wall_s

    def monotonic(self) -> float:
        return self.passed_s

    def run(self, seconds: float) -> None:
        self.wall_s += seconds
        self.passed_s += seconds


def test_time_passes() -> None:
    clock = Clocks()
    watch = JumpWatch(clock)
    for seconds in (0, 1, 60, YEAR_S):
        clock.run(seconds)
        assert watch.steady()


@pytest.mark.parametrize("by_s", [JUMP_S_MAX - 1, -JUMP_S_MAX + 1])
def test_small_steps_are_corrections(by_s: float) -> None:
    clock = Clocks()
    watch = JumpWatch(clock)
    assert watch.steady()
    for _ in range(5):
        clock.wall_s += by_s
        assert watch.steady()


@pytest.mark.parametrize("by_s", [JUMP_S_MAX + 1, -JUMP_S_MAX - 1, YEAR_S, -YEAR_S])
def test_after_a_jump_nothing_is_believed_for_a_while(by_s: float, caplog: pytest.LogCaptureFixture) -> None:
    clock = Clocks()
    watch = JumpWatch(clock)
    assert watch.steady()
    clock.wall_s += by_s
    with caplog.at_level(logging.WARNING, "objstore.worker"):
        for _ in range(5):
            assert not watch.steady()
            clock.run(HOLD_S / 5 - 1)
        assert len(caplog.records) == 1, "said once"
        clock.run(10)
        assert watch.steady()
    clock.run(YEAR_S)
    assert watch.steady()


def test_a_clock_that_is_set_right_is_believed_at_once() -> None:
    clock = Clocks()
    watch = JumpWatch(clock)
    assert watch.steady()
    clock.wall_s += YEAR_S
    assert not watch.steady()
    clock.wall_s -= YEAR_S
    assert watch.steady()


def test_a_clock_that_jumps_again_is_not_believed_any_sooner() -> None:
    clock = Clocks()
    watch = JumpWatch(clock)
    assert watch.steady()
    for _ in range(5):
        clock.wall_s += YEAR_S
        assert not watch.steady()
        clock.run(HOLD_S - 1)
        assert not watch.steady()
