"""The token bucket."""

import asyncio

import pytest

from objstore.runtime.pacing import PAUSE_MIN_S, TURNS_LEFT_TO_CLIENTS, TokenBucket, Yielding
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


async def test_nobody_waits_while_no_client_is_served() -> None:
    clock = SetClock()
    yielding, started = Yielding(clock), clock.seconds
    for _ in range(100):
        await yielding.turn()
    assert clock.seconds == started


async def test_a_job_waits_for_clients_before_each_piece_of_work_and_for_other_jobs() -> None:
    clock = SetClock()
    yielding, started = Yielding(clock), clock.seconds

    async def job() -> None:
        for _ in range(10):
            yielding.served += 1
            await yielding.turn()

    await asyncio.gather(job(), job())
    # The very last turn goes on at once: nobody was served since the one before began.
    assert clock.seconds - started == pytest.approx(19 * PAUSE_MIN_S, abs=1e-3)


async def test_jobs_that_come_at_once_have_one_turn_after_the_other() -> None:
    clock = SetClock()
    yielding, started = Yielding(clock), clock.seconds
    waited = []

    async def job() -> None:
        await yielding.turn()
        waited.append(clock.seconds - started)
        yielding.served += 1

    yielding.served += 1
    await asyncio.gather(job(), job(), job())
    assert waited == pytest.approx([PAUSE_MIN_S, 2 * PAUSE_MIN_S, 3 * PAUSE_MIN_S], abs=1e-3)


async def test_the_busier_the_loop_the_longer_a_job_waits() -> None:
    clock = SetClock()
    yielding = Yielding(clock)
    yielding.served += 1
    turn = asyncio.create_task(yielding.turn())
    await asyncio.sleep(0)
    clock.seconds += 0.01  # what the loop does for clients, before it comes around
    started = clock.seconds
    await turn
    assert clock.seconds - started == pytest.approx(TURNS_LEFT_TO_CLIENTS * 0.01, abs=1e-3)
