"""The system's clocks, and the hybrid logical clock that gives every change its timestamp."""

import asyncio
import resource
import time
from typing import Protocol

from objstore.model.errors import Conflict
from objstore.model.timestamps import (
    IDENTITY_BITS,
    IDENTITY_MAX,
    TICKS_PER_SECOND,
    Timestamp,
    from_ticks,
    ticks_of,
)
from objstore.runtime.interface import Clock

RESERVED_AHEAD_S = 10.0
RESERVE_AGAIN_BELOW_S = 5.0
AHEAD_MAX_S = 30.0


class SystemClock:
    """Clock of the operating system."""

    def now(self) -> float:
        return time.time()

    monotonic = staticmethod(time.monotonic)  # asked some twenty times by each request

    async def sleep(self, delay_s: float) -> None:
        await asyncio.sleep(delay_s)


def thread_waits() -> int:
    """How often this thread has waited for anything: the kernel calls it voluntary context switches (getrusage(2)). 1 µs."""
    return resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw


class FloorStore(Protocol):
    """Keeps one integer durably. Blocking."""

    def load(self) -> int:
        """0 when nothing was ever saved."""

    def save(self, ticks: int) -> None:
        """Durable when it returns. Raises OSError."""


class HybridClock:
    """Gives timestamps: close to the wall clock, unique, and strictly increasing even when the wall clock goes back or the
    process restarts. `identity` (0..16383) is this process's alone among all that ever write.

    Across restarts a durable floor does it: the clock gives no tick above a reservation that is saved ahead of time, and a new
    process begins at its predecessor's reservation (at its last timestamp when that one called `close`).
    """

    def __init__(self, clock: Clock, identity: int, floor: FloorStore | None = None) -> None:
        """Without `floor` the promise ends with the process. Raises OSError; ValueError for a bad identity."""
        if not 0 <= identity <= IDENTITY_MAX:
            raise ValueError(f"identity must be 0..{IDENTITY_MAX} ({IDENTITY_BITS} bits): {identity}")
        self._clock = clock
        self._identity = identity
        self._floor = floor
        self._last = floor.load() if floor is not None else 0  # ticks
        self._reserved = self._last if floor is not None else 1 << 62

    def next(self, after: int = 0) -> Timestamp:
        """A timestamp above all given before and above `after`. Blocks for a short disk write when `maintain` does not run.

        Raises Conflict when `after` lies more than 30 s ahead of this clock: it comes from a broken one, and following it
        would poison every name this process writes. Raises OSError when the reservation cannot be saved.
        """
        now = int(self._clock.now() * TICKS_PER_SECOND)
        ticks = max(now, self._last + 1)
        if after:
            after_ticks = ticks_of(after)
            if after_ticks >= ticks:
                if after_ticks > now + AHEAD_MAX_S * TICKS_PER_SECOND:
                    raise Conflict("what is stored carries a time too far in the future")
                ticks = after_ticks + 1
        if ticks >= self._reserved:
            self._save(ticks + int(RESERVED_AHEAD_S * TICKS_PER_SECOND))
        self._last = ticks
        return from_ticks(ticks, self._identity)

    def _save(self, ticks: int) -> None:
        assert self._floor is not None
        self._floor.save(ticks)
        self._reserved = ticks

    async def maintain(self) -> None:
        """Renew the reservation off the loop, ahead of need, until cancelled."""
        while self._floor is not None:
            now = int(self._clock.now() * TICKS_PER_SECOND)
            latest = max(now, self._last)
            if self._reserved - latest < RESERVE_AGAIN_BELOW_S * TICKS_PER_SECOND:
                reserved = latest + int(RESERVED_AHEAD_S * TICKS_PER_SECOND)
                await asyncio.to_thread(self._floor.save, reserved)
                self._reserved = max(self._reserved, reserved)
            await self._clock.sleep(RESERVE_AGAIN_BELOW_S / 5)

    def close(self) -> None:
        """Orderly end: the successor begins right after the last timestamp given. No timestamp may be asked for later."""
        if self._floor is not None and self._last < self._reserved:
            self._save(self._last + 1)
            self._reserved = 0
