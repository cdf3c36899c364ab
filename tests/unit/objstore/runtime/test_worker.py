"""The worker loop: passes go on whatever happens, and say how they went."""

import asyncio
import logging

import pytest

from objstore.runtime.rng import SystemRng
from objstore.runtime.worker import WorkerLoop
from tests.unit.objstore.runtime.test_clock import SetClock


class Counting:
    name = "counting"

    def __init__(self, failing: set[int] | None = None) -> None:
        self.passes = 0
        self.failing = failing or set()

    async def run_once(self) -> dict[str, int]:
        self.passes += 1
        if self.passes in self.failing:
            raise RuntimeError("a bad pass")
        return {"looked": 10, "moved": self.passes}


def make(worker: Counting, interval_s: float = 10.0) -> tuple[WorkerLoop, SetClock]:
    clock = SetClock()
    return WorkerLoop(worker, clock, SystemRng(), interval_s=interval_s), clock


async def test_one_pass() -> None:
    loop, _ = make(Counting())
    assert await loop.run_once() == {"looked": 10, "moved": 1}
    await loop.run_once()
    assert loop.figures.passes == 2 and not loop.figures.busy
    assert loop.figures.total == {"looked": 20, "moved": 3} and loop.figures.last == {"looked": 10, "moved": 2}


async def test_a_failing_pass_is_passed_on_when_asked_for() -> None:
    loop, _ = make(Counting({1}))
    with pytest.raises(RuntimeError):
        await loop.run_once()
    assert loop.figures.failures == 1 and not loop.figures.busy


async def test_runs_at_its_interval_and_survives_failures(caplog: pytest.LogCaptureFixture) -> None:
    worker = Counting({2})
    loop, clock = make(worker)
    started = clock.seconds
    with caplog.at_level(logging.ERROR, "objstore.worker"):
        task = asyncio.ensure_future(loop.run())
        while worker.passes < 20:  # noqa: ASYNC110 - the clock stands still between turns
            await asyncio.sleep(0)
        task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert 18 * 9 <= clock.seconds - started <= 21 * 11
    assert loop.figures.failures == 1
    assert [record.worker for record in caplog.records] == ["counting"]


async def test_passes_never_overlap() -> None:
    class Slow(Counting):
        inside = 0

        async def run_once(self) -> dict[str, int]:
            self.inside += 1
            assert self.inside == 1
            await asyncio.sleep(0)
            self.inside -= 1
            return {}

    loop, _ = make(Slow())
    await asyncio.gather(*(loop.run_once() for _ in range(5)))
    assert loop.figures.passes == 5
