"""One timer for many waits of a stream that follow each other: setting and cancelling one for each costs more than a chunk does.

For single waits of many waiters that is the proxy's `Alarms`. An alarm that is not wanted any more stays until its time, which for
each chunk of a stream, with time limits of minutes, would be too many.
"""

import asyncio
from collections.abc import Callable


class Patience:
    """Calls `late` once a wait, from `begin` to `end`, has taken `timeout_s`. One wait at a time; in the event loop alone."""

    __slots__ = ("_began", "_late", "_loop", "_timeout_s", "_timer")

    def __init__(self, timeout_s: float, late: Callable[[], None]) -> None:
        self._timeout_s = timeout_s
        self._late = late
        self._loop = asyncio.get_running_loop()
        self._began: float | None = None
        self._timer: asyncio.TimerHandle | None = None

    def begin(self) -> None:
        """A wait begins."""
        self._began = self._loop.time()
        if self._timer is None:
            self._timer = self._loop.call_later(self._timeout_s, self._look)

    def end(self) -> None:
        """It is over."""
        self._began = None

    def stop(self) -> None:
        """No more waits, and nobody to tell: no cycle is left to Python's collector. Safe to call twice."""
        self._began = None
        self._late = _nobody
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        self._timer = None
        if self._began is None:
            return
        left = self._began + self._timeout_s - self._loop.time()
        if left > 0:  # set for an earlier wait
            self._timer = self._loop.call_later(left, self._look)
        else:
            self._began = None
            self._late()


def _nobody() -> None:
    """Who is told after the end."""
