"""Many waits with time limits on one timer."""

import asyncio

from objstore.proxy.alarms import Alarms


class Bed:
    """A sleeper that notes when it was woken."""

    def __init__(self, alarms: Alarms, timeout_s: float) -> None:
        self.woken_at = 0.0
        self.begun_at = asyncio.get_running_loop().time()
        self.alarm = alarms.set(self, timeout_s)

    def wake(self) -> None:
        assert not self.woken_at
        self.woken_at = asyncio.get_running_loop().time()

    @property
    def slept_s(self) -> float:
        return self.woken_at - self.begun_at


async def test_each_is_woken_at_its_time() -> None:
    alarms = Alarms()
    beds = [Bed(alarms, timeout_s) for timeout_s in (0.06, 0.02, 0.1, 0.02, 0.0)]
    await asyncio.sleep(0.2)
    for bed, least_s in zip(beds, (0.06, 0.02, 0.1, 0.02, 0.0), strict=True):
        assert least_s - 0.002 <= bed.slept_s < least_s + 0.05
        assert bed.alarm == 0


async def test_who_is_up_is_left_alone() -> None:
    alarms = Alarms()
    up, again, asleep = Bed(alarms, 0.02), Bed(alarms, 0.02), Bed(alarms, 0.05)
    up.alarm = 0
    again.alarm = alarms.set(again, 0.08)
    await asyncio.sleep(0.03)
    assert (up.woken_at, again.woken_at, asleep.woken_at) == (0.0, 0.0, 0.0)
    await asyncio.sleep(0.1)
    assert not up.woken_at
    assert again.slept_s >= 0.078
    assert 0.048 <= asleep.slept_s < 0.075


async def test_a_waker_may_set_another_alarm() -> None:
    alarms = Alarms()
    rounds = []

    class Again(Bed):
        def wake(self) -> None:
            rounds.append(self)
            if len(rounds) < 3:
                self.alarm = alarms.set(self, 0.01)

    Again(alarms, 0.01)
    await asyncio.sleep(0.1)
    assert len(rounds) == 3
