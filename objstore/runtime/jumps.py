"""Notices that the wall clock jumped: what is over by the new time is perhaps not over at all (F66)."""

import logging

from objstore.runtime.interface import Clock

JUMP_S_MAX = 3600.0
HOLD_S = 3600.0
logger = logging.getLogger("objstore.worker")


class JumpWatch:
    """Compares the wall clock with the monotonic one, from one call of `steady` to the next."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._offset_s: float | None = None
        self._new_offset_s = 0.0
        self._since: float | None = None
        """Monotonic; when the clock was first seen at its new offset."""

    def steady(self) -> bool:
        """False after a jump by more than JUMP_S_MAX, until the clock is back, or has run on evenly for HOLD_S: an operator, or the
        network's time, has had the chance to set it right. What jumped while the machine slept is believed after that time too.
        """
        now = self._clock.monotonic()
        offset_s = self._clock.now() - now
        if self._offset_s is None or abs(offset_s - self._offset_s) <= JUMP_S_MAX:
            if self._since is not None:
                logger.warning("clock is back")
            self._offset_s, self._since = offset_s, None
            return True
        if self._since is None or abs(offset_s - self._new_offset_s) > JUMP_S_MAX:
            extra = {"by_s": round(offset_s - self._offset_s), "waiting_s": HOLD_S}
            logger.error("clock jumped: nothing is deleted because of its age until it is back, or for a while", extra=extra)
            self._new_offset_s, self._since = offset_s, now
        if now - self._since < HOLD_S:
            return False
        logger.warning("clock believed again")
        self._offset_s, self._since = offset_s, None
        return True
