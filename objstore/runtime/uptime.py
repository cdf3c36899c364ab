"""How long the cluster has been up, all downtime left out.

Deletions are remembered for a time that counts like this: a cluster that was switched off for two weeks goes on as if nothing had
happened, and a device that was away for two weeks while the others went on is known to have missed them. Every process counts on
from what its devices remember, as long as it hears of at least half of the others; whoever hears of a greater age takes it over. So
all processes of a cluster agree, and one that was cut off alone stays behind.
"""

from collections.abc import Sequence

from objstore.model.timestamps import from_seconds
from objstore.runtime.interface import Clock

SAMPLES_PER_AGE = 200
"""Samples are taken this often within the time that is to be told apart."""
SAMPLES_MAX = 3 * SAMPLES_PER_AGE


class Uptime:
    """Used in the event loop alone. Ages and times are seconds."""

    def __init__(self, clock: Clock, reclaim_age_s: float) -> None:
        self.samples: list[tuple[float, float]] = []
        """(age, wall clock), oldest first."""
        self._clock = clock
        self._reclaim_age_s = reclaim_age_s
        self._base_s = 0.0
        self._running_since: float | None = clock.monotonic()
        self._kept = 0  # samples of earlier processes
        self._horizon = 0

    def restore(self, age_s: float, samples: Sequence[tuple[float, float]]) -> None:
        """Go on from what an earlier process kept."""
        self.samples = list(samples)
        self._kept = len(self.samples)
        self.learn(age_s)

    @property
    def age_s(self) -> float:
        """Seconds that the cluster was up until now, as far as this process knows."""
        if self._running_since is None:
            return self._base_s
        return self._base_s + self._clock.monotonic() - self._running_since

    def hold(self) -> None:
        """Too few others are heard of: time does not count until `go_on`."""
        self._base_s, self._running_since = self.age_s, None

    def go_on(self) -> None:
        """Time counts."""
        if self._running_since is None:
            self._running_since = self._clock.monotonic()

    def learn(self, age_s: float) -> None:
        """Another process counts `age_s`. A lesser age teaches nothing."""
        missing_s = age_s - self.age_s
        if missing_s <= 0:
            return
        self._base_s += missing_s
        # What this process noted before it knew was noted at that later age.
        self.samples[self._kept :] = [(age + missing_s, wall) for age, wall in self.samples[self._kept :]]

    def note(self) -> None:
        """Take a sample if one is due, and move the horizon. Call every now and then."""
        age, interval_s = self.age_s, self._reclaim_age_s / SAMPLES_PER_AGE
        if len(self.samples) == self._kept or age - self.samples[-1][0] >= interval_s:
            self.samples.append((age, self._clock.now()))
        surplus = len(self.samples) - SAMPLES_MAX
        if surplus > 0:
            del self.samples[:surplus]
            self._kept = max(0, self._kept - surplus)
        self._horizon = self._find_horizon(age)

    def _find_horizon(self, age_s: float) -> int:
        """The wall clock at the last sample that is old enough. A clock that was ahead for a while is found out by later samples:
        between two of them at least as much time went by as the cluster was up.
        """
        old_enough = [index for index, (age, _) in enumerate(self.samples) if age <= age_s - self._reclaim_age_s]
        if not old_enough:
            return 0
        then_s = self.samples[old_enough[-1]][0]
        wall = min(wall - (age - then_s) for age, wall in self.samples[old_enough[-1] :])
        return max(0, from_seconds(min(wall, self._clock.now() - self._reclaim_age_s)))

    def horizon(self) -> int:
        """The timestamp below which deletions may be forgotten, as of the last `note`; 0 when none may."""
        return self._horizon

    def missed(self, age_s: float) -> bool:
        """Whether a device that was last in use at `age_s` was away for so long that deletions it missed may be forgotten."""
        return self.age_s - age_s >= self._reclaim_age_s * 0.95
