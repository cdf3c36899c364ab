"""Which requests a stall of the disk excuses."""

import time
from pathlib import Path

import pytest

from bench.probe import STALL_S_MIN, Stalls, probing, stalls_of


@pytest.mark.parametrize(
    ("start", "end", "inside"),
    [(0, 1, False), (0, 2.5, True), (2.5, 2.6, True), (1, 9, True), (3.5, 4.5, False), (5.5, 7, True), (6.5, 9, False)],
)
def test_requests_that_overlap_a_stall(start: float, end: float, inside: bool) -> None:
    assert Stalls(intervals=[(2.0, 3.0), (5.0, 6.0)]).overlap(start, end) is inside


def test_a_stall_is_much_longer_than_usual() -> None:
    times = [(float(at), 0.02) for at in range(10)] + [(20.0, 0.09), (30.0, 0.11)]
    assert stalls_of(times).intervals == [(30.0, 30.11)], "five times the median"
    quick = [(float(at), 0.001) for at in range(10)] + [(20.0, STALL_S_MIN - 0.01), (30.0, STALL_S_MIN + 0.01)]
    assert [at for at, _ in stalls_of(quick).intervals] == [30.0]
    assert stalls_of([]) == Stalls()


def test_the_disk_is_probed(tmp_path: Path) -> None:
    with probing(tmp_path) as stalls:
        for _ in range(200):
            if (tmp_path / "probe.out").stat().st_size > 100:
                break
            time.sleep(0.02)
    assert 0 < stalls.median_s <= stalls.longest_s
