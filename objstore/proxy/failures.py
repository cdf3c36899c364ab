"""Which peers failed or lagged a moment ago, so that requests go around them. What is remembered here fades by itself."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from objstore.formats.messages import Address
from objstore.placement.places import Replica
from objstore.proxy.knobs import DEFAULTS, ProxyKnobs
from objstore.runtime.interface import Clock

logger = logging.getLogger("objstore.proxy")


@dataclass(slots=True)
class _Trouble:
    failing_until: float = 0.0
    pause_s: float = 0.0
    """How long the last failure made it failing; 0 when it is only slow."""
    trying: bool = False
    """A request was let through and has not ended."""
    silent_since: float = 0.0
    """When a client first gave up waiting for it, unless it answered since; 0 when it did."""
    lagging: bool = False
    """Its disk is slow: no quick answer to something else makes it well."""


class FailingPeers:
    """A peer is well, slow (it answers, but nobody should wait for it) or failing (it did not answer at all).

    A failing peer is left alone for a while that doubles with each failure; then a single request may try it. A slow one that says
    nothing for `silence_max_s` counts as failing before its calls have run into their time limit. One with a slow disk answers at
    once what it has in memory, so changes alone tell whether it lags behind the others.
    """

    def __init__(self, clock: Clock, knobs: ProxyKnobs = DEFAULTS) -> None:
        self._clock = clock
        self._knobs = knobs
        self._troubles: dict[Address, _Trouble] = {}
        self.lags: dict[Address, int] = {}
        """How often each lagged lately, where any did."""

    def failed(self, address: Address) -> None:
        """It could not be reached, or did not answer in time."""
        trouble = self._troubles.setdefault(address, _Trouble())
        now = self._clock.monotonic()
        if trouble.trying or now >= trouble.failing_until:
            if not trouble.pause_s:
                logger.warning("peer fails", extra={"peer": f"{address.ip}:{address.port}"})
            trouble.pause_s = min(max(2 * trouble.pause_s, self._knobs.failing_min_s), self._knobs.failing_max_s)
            trouble.failing_until = now + trouble.pause_s
            trouble.trying = False

    def slow(self, address: Address) -> None:
        """It kept a client waiting and may still answer."""
        trouble = self._troubles.setdefault(address, _Trouble())
        trouble.silent_since = trouble.silent_since or self._clock.monotonic()

    def lagged(self, address: Address) -> None:
        """It was much later with a change than the others. That happens now and then; but not time and again."""
        lags = self.lags[address] = min(self.lags.get(address, 0) + 1, self._knobs.lags_max)
        if lags == self._knobs.lags_max:
            self._troubles.setdefault(address, _Trouble()).lagging = True

    def kept_up(self, address: Address) -> None:
        """It was about as quick with a change as the others."""
        if address in self.lags:
            self.lags[address] -= 1
            if not self.lags[address]:
                del self.lags[address]
                if (trouble := self._troubles.get(address)) is not None:
                    trouble.lagging = False
                    self.well(address)

    def late(self, address: Address) -> None:
        """It answered, but nobody should have waited for it."""
        self._troubles.setdefault(address, _Trouble()).silent_since = 0.0

    @property
    def none(self) -> bool:
        """All peers are well."""
        return not self._troubles

    def well(self, address: Address) -> None:
        """It answered in time."""
        if self._troubles and (trouble := self._troubles.get(address)) is not None:
            if trouble.pause_s:
                logger.info("peer answers again", extra={"peer": f"{address.ip}:{address.port}"})
            if trouble.lagging:
                self._troubles[address] = _Trouble(lagging=True)
            else:
                del self._troubles[address]

    def troubled(self, address: Address) -> bool:
        """Slow or failing: not to be waited for when others suffice."""
        return address in self._troubles

    def admit(self, address: Address) -> bool:
        """Whether to send it a request now. A failing peer gets one each time its pause has passed."""
        if not self._troubles:
            return True
        trouble = self._troubles.get(address)
        if trouble is None:
            return True
        now = self._clock.monotonic()
        if not trouble.pause_s:
            if not trouble.silent_since or now - trouble.silent_since < self._knobs.silence_max_s:
                return True
            self.failed(address)
        if now < trouble.failing_until:
            return False
        trouble.failing_until = now + trouble.pause_s
        trouble.trying = True
        return True

    def order(self, replicas: Sequence[Replica], turn: int) -> list[int]:
        """The indices in the order to ask for a read: by turns for the sake of load, slow ones later, failing ones last."""
        count = len(replicas)
        indices = [(turn + i) % count for i in range(count)]
        if self._troubles:
            indices.sort(key=lambda i: self._rank(replicas[i].address))
        return indices

    def _rank(self, address: Address) -> int:
        trouble = self._troubles.get(address)
        if trouble is None:
            return 0
        # Not `admit`: whoever is last in the order may never be asked.
        return 1 if not trouble.pause_s or self._clock.monotonic() >= trouble.failing_until else 2
