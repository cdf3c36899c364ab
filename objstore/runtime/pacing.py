"""Background work takes what the foreground leaves: a token bucket for the rate, and turns between which clients are served."""

import asyncio

from objstore.runtime.interface import Clock

TURNS_LEFT_TO_CLIENTS = 4
PAUSE_MIN_S = 0.005
PAUSE_MAX_S = 0.1


class TokenBucket:
    """`rate_per_s` tokens a second on average, at most `burst` at once; a rate of 0 means no limit. One event loop."""

    def __init__(self, clock: Clock, rate_per_s: float, burst: float) -> None:
        if rate_per_s < 0 or burst <= 0:
            raise ValueError("rate_per_s must not be negative, burst must be positive")
        self._clock = clock
        self._rate = rate_per_s
        self._burst = burst
        self._tokens = burst
        self._filled = clock.monotonic()

    def delay_s(self, tokens: float) -> float:
        """Take `tokens` (the bucket may go into debt) and tell how long to wait before using them."""
        if not self._rate:
            return 0.0
        now = self._clock.monotonic()
        self._tokens = min(self._burst, self._tokens + (now - self._filled) * self._rate) - tokens
        self._filled = now
        return max(0.0, -self._tokens / self._rate)

    async def take(self, tokens: float = 1.0) -> None:
        """Wait for `tokens`, which may be more than the burst."""
        delay_s = self.delay_s(tokens)
        if delay_s > 0:
            await self._clock.sleep(delay_s)


class Yielding:
    """What all background jobs of a process share. While clients are served, one job after the other has its turn, and leaves the
    process several times as long as its event loop needed to come around: the busier it is, the longer. While none are, nobody
    waits. One event loop.
    """

    def __init__(self, clock: Clock) -> None:
        self.served = 0
        """Calls made for clients, so far: counted by whoever answers them."""
        self._clock = clock
        self._seen = 0
        self._turn = asyncio.Lock()

    async def turn(self) -> None:
        """Before each piece of work: some objects, a database."""
        if self.served == self._seen and not self._turn.locked():
            return
        async with self._turn:  # who comes while another waits has the next turn, and does not go along with that one
            if self.served == self._seen:
                return
            self._seen = self.served
            begun = self._clock.monotonic()
            await asyncio.sleep(0)
            around_s = self._clock.monotonic() - begun
            await self._clock.sleep(min(PAUSE_MAX_S, max(PAUSE_MIN_S, TURNS_LEFT_TO_CLIENTS * around_s)))
