"""The cluster's age: downtime does not count, and a wrong clock forgets nothing."""

from objstore.model.timestamps import from_seconds
from objstore.runtime.uptime import Uptime

DAY = 86_400.0
RECLAIM = 7 * DAY
START = 1_700_000_000.0


class Time:
    """Wall clock and monotonic clock, moved by hand."""

    def __init__(self) -> None:
        self.wall = START
        self.steady = 5.0

    def now(self) -> float:
        return self.wall

    def monotonic(self) -> float:
        return self.steady

    async def sleep(self, delay_s: float) -> None:
        raise NotImplementedError

    def up(self, uptime: Uptime, seconds: float, steps: int = 50) -> None:
        """Time goes by while the process runs."""
        for _ in range(steps):
            self.wall += seconds / steps
            self.steady += seconds / steps
            uptime.note()


def restarted(time: Time, before: Uptime, down_s: float) -> Uptime:
    """Another process goes on from the stamp, after the machine was off for so long."""
    age_s, samples = before.age_s, before.samples
    time.wall += down_s
    time.steady = 1.0
    uptime = Uptime(time, RECLAIM)
    uptime.restore(age_s, samples)
    uptime.note()
    assert uptime.age_s == age_s
    return uptime


def test_deletions_are_forgotten_after_the_reclaim_age_and_not_before() -> None:
    time = Time()
    uptime = Uptime(time, RECLAIM)
    uptime.note()
    time.up(uptime, 6.9 * DAY)
    assert uptime.horizon() == 0
    time.up(uptime, 3.1 * DAY)
    ago = time.wall - RECLAIM
    assert from_seconds(ago - DAY / 2) < uptime.horizon() <= from_seconds(ago)


def test_time_that_the_cluster_was_down_does_not_count() -> None:
    time = Time()
    uptime = Uptime(time, RECLAIM)
    uptime.note()
    time.up(uptime, 3 * DAY)
    deleted = from_seconds(time.wall)
    uptime = restarted(time, uptime, 14 * DAY)
    time.up(uptime, 6 * DAY)
    assert uptime.horizon() < deleted
    time.up(uptime, 1.2 * DAY)
    assert uptime.horizon() > deleted


def test_a_clock_that_is_ahead_for_a_while_forgets_nothing() -> None:
    time = Time()
    uptime = Uptime(time, RECLAIM)
    uptime.note()
    time.up(uptime, 2 * DAY)
    time.wall += 365 * DAY
    time.up(uptime, DAY / 2)
    assert uptime.horizon() == 0
    time.wall -= 365 * DAY
    deleted = from_seconds(time.wall)
    time.up(uptime, DAY / 10)
    uptime = restarted(time, uptime, 14 * DAY)  # so that the age of the deletion by the wall clock says nothing
    time.up(uptime, 6.8 * DAY)
    assert uptime.horizon() < deleted
    time.up(uptime, DAY)
    assert deleted < uptime.horizon() < from_seconds(time.wall - RECLAIM)


def test_the_greatest_age_is_learned_and_a_lesser_one_teaches_nothing() -> None:
    time = Time()
    uptime = Uptime(time, RECLAIM)
    uptime.note()
    uptime.learn(100 * DAY)
    assert uptime.age_s == 100 * DAY
    uptime.learn(50 * DAY)
    assert uptime.age_s == 100 * DAY
    uptime.note()
    assert uptime.horizon() == 0, "that the cluster is old does not mean that this device knows what was deleted when"


def test_long_absence_is_noticed_and_common_downtime_is_not() -> None:
    time = Time()
    uptime = Uptime(time, RECLAIM)
    uptime.restore(10 * DAY, [])
    uptime.learn(16 * DAY)
    assert not uptime.missed(10 * DAY)
    uptime.learn(17 * DAY)
    assert uptime.missed(10 * DAY)


def test_samples_are_bounded() -> None:
    time = Time()
    uptime = Uptime(time, RECLAIM)
    for _ in range(40):
        time.up(uptime, DAY, steps=200)
    assert len(uptime.samples) <= 601
    assert uptime.horizon() > from_seconds(time.wall - RECLAIM - DAY)


def test_time_alone_does_not_count() -> None:
    """A node that is cut off must find out that it missed what the others did; one that waits for the others must not be ahead."""
    time = Time()
    uptime = Uptime(time, RECLAIM)
    time.up(uptime, DAY)
    uptime.hold()
    uptime.hold()
    time.up(uptime, 30 * DAY)
    assert uptime.age_s == DAY and uptime.horizon() == 0
    uptime.go_on()
    uptime.go_on()
    time.up(uptime, DAY)
    assert uptime.age_s == 2 * DAY
