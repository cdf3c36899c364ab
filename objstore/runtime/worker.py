"""Runs background jobs: one pass after another, forever, at an interval."""

import asyncio
import logging
from dataclasses import dataclass, field

from objstore.runtime.interface import Clock, Rng, Worker

logger = logging.getLogger("objstore.worker")


@dataclass(slots=True)
class WorkerFigures:
    """What `status` and metrics show of one worker."""

    passes: int = 0
    failures: int = 0
    busy: bool = False
    busy_s: float = 0.0
    last_pass_s: float = 0.0
    last_end: float = 0.0  # wall clock, 0 before the first pass
    last: dict[str, int] = field(default_factory=dict)
    total: dict[str, int] = field(default_factory=dict)


class WorkerLoop:
    """Runs one worker every `interval_s`, spread by up to `jitter` of it so that nodes do not march in step."""

    def __init__(self, worker: Worker, clock: Clock, rng: Rng, *, interval_s: float, jitter: float = 0.1) -> None:
        self.worker = worker
        self.figures = WorkerFigures()
        self._clock = clock
        self._rng = rng
        self._interval_s = interval_s
        self._jitter = jitter
        self._one_pass = asyncio.Lock()

    async def run_once(self) -> dict[str, int]:
        """One pass now; waits for a pass under way. Passes on what the worker raises."""
        async with self._one_pass:
            figures = self.figures
            started = self._clock.monotonic()
            figures.busy = True
            try:
                figures.last = await self.worker.run_once()
            except Exception:
                figures.failures += 1
                raise
            finally:
                figures.busy = False
                figures.last_pass_s = self._clock.monotonic() - started
                figures.busy_s += figures.last_pass_s
                figures.last_end = self._clock.now()
                figures.passes += 1
            for name, count in figures.last.items():
                figures.total[name] = figures.total.get(name, 0) + count
            return figures.last

    async def run(self) -> None:
        """Passes until cancelled. A failing pass is logged and the next one comes at its time."""
        await self._clock.sleep(self._interval_s * self._rng.random())
        while True:
            try:
                await self.run_once()
            except Exception as error:  # the one place where a job may fail in any way: the next pass is a new chance
                logger.exception("pass failed", extra={"worker": self.worker.name, "error": repr(error)})
            spread = 1 + self._jitter * (2 * self._rng.random() - 1)
            await self._clock.sleep(self._interval_s * spread)
