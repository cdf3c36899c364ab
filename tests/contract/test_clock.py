"""What every Clock promises."""

import asyncio

import pytest

from objstore.runtime.interface import Clock
from tests.contract.implementations import CLOCKS


@pytest.fixture(params=CLOCKS)
def clock(request: pytest.FixtureRequest) -> Clock:
    return CLOCKS[request.param]()


def test_monotonic_never_goes_back(clock: Clock) -> None:
    readings = [clock.monotonic() for _ in range(1000)]
    assert readings == sorted(readings)


def test_now_is_seconds_of_this_century(clock: Clock) -> None:
    assert 1_500_000_000 < clock.now() < 4_000_000_000


async def test_sleep_takes_its_time(clock: Clock) -> None:
    """To within the millisecond that event loops count in."""
    before = clock.monotonic()
    await clock.sleep(0.02)
    assert 0.018 <= clock.monotonic() - before < 2


async def test_sleep_can_be_cancelled(clock: Clock) -> None:
    sleeping = asyncio.ensure_future(clock.sleep(1000))
    await clock.sleep(0)
    sleeping.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sleeping
