"""Waits that end at a time limit, for those many that end long before it: one timer of the event loop for all of them."""

import asyncio
import math
from heapq import heappop, heappush
from typing import Protocol

EARLY_S = 0.001
"""The loop's timers count in milliseconds."""


class Sleeper(Protocol):
    """Who waits. `alarm` is what `Alarms.set` gave it, 0 as soon as the alarm is not wanted any more."""

    alarm: int

    def wake(self) -> None:
        """The time is over. Must not raise."""


class Alarms:
    """For one event loop. An alarm that is not wanted any more costs nothing until its time, and then next to nothing."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._entries: list[tuple[float, int, Sleeper]] = []
        self._last = 0
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = math.inf

    def set(self, sleeper: Sleeper, timeout_s: float) -> int:
        """Wake `sleeper` in `timeout_s`, unless its `alarm` is another number than the one returned by then."""
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
        self._last += 1
        at = self._loop.time() + timeout_s
        heappush(self._entries, (at, self._last, sleeper))
        if at < self._timer_at:
            self._set_timer(self._loop, at)
        return self._last

    def _set_timer(self, loop: asyncio.AbstractEventLoop, at: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = at
        self._timer = loop.call_at(at, self._ring, loop)

    def _ring(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer, self._timer_at = None, math.inf
        entries, due, now = self._entries, list[Sleeper](), loop.time() + EARLY_S
        while entries and (entries[0][0] <= now or entries[0][2].alarm != entries[0][1]):
            _, number, sleeper = heappop(entries)
            if sleeper.alarm == number:
                sleeper.alarm = 0
                due.append(sleeper)
        if entries:
            self._set_timer(loop, entries[0][0])
        for sleeper in due:
            sleeper.wake()
