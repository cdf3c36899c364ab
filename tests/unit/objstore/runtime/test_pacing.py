"""The token bucket."""

import pytest

from objstore.runtime.pacing import TokenBucket
from tests.unit.objstore.runtime.test_clock import SetClock


async def test_rate_holds_over_time() -> None:
    clock = SetClock()
    bucket = TokenBucket(clock, rate_per_s=100, burst=10)
    started = clock.seconds
    for _ in range(1000):
        await bucket.take()
    assert 9.89 <= clock.seconds - started <= 10.01


async def test_burst_is_free_and_no_more_is_saved_up() -> None:
    clock = SetClock()
    bucket = TokenBucket(clock, rate_per_s=1, burst=5)
    clock.seconds += 1000
    assert [bucket.delay_s(1) for _ in range(6)] == [0, 0, 0, 0, 0, 1]


async def test_more_than_the_burst_waits_longer() -> None:
    bucket = TokenBucket(SetClock(), rate_per_s=10, burst=10)
    assert bucket.delay_s(110) == 10


async def test_no_limit() -> None:
    bucket = TokenBucket(SetClock(), rate_per_s=0, burst=1)
    assert bucket.delay_s(1e9) == 0


@pytest.mark.parametrize(("rate", "burst"), [(-1, 1), (1, 0)])
def test_wrong_settings(rate: float, burst: float) -> None:
    with pytest.raises(ValueError):
        TokenBucket(SetClock(), rate, burst)
