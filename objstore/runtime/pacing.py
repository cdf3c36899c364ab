"""A token bucket: background work takes what the foreground leaves."""

from objstore.runtime.interface import Clock


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
