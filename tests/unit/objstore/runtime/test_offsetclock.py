"""The clock that tests set."""

import time
from pathlib import Path

import pytest

from objstore.runtime.clock import SystemClock
from objstore.runtime.offsetclock import ENVIRONMENT_NAME, OffsetClock, clock_from, write_offset


def test_without_a_file_it_is_the_systems_clock() -> None:
    assert type(clock_from({})) is SystemClock
    assert type(clock_from({ENVIRONMENT_NAME: ""})) is SystemClock


def test_a_change_shows_at_once_and_the_monotonic_clock_knows_nothing_of_it(tmp_path: Path) -> None:
    path = str(tmp_path / "clock")
    write_offset(path, 0.0)
    clock = clock_from({ENVIRONMENT_NAME: path})
    assert isinstance(clock, OffsetClock)
    for offset_s in (0.0, 3600.0, -86_400.5, 0.0):
        write_offset(path, offset_s)
        assert clock.now() - time.time() == pytest.approx(offset_s, abs=0.5)
        assert clock.monotonic() == pytest.approx(time.monotonic(), abs=0.5)


def test_a_file_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "short").write_bytes(b"1")
    with pytest.raises(ValueError, match=r"mmap length"):
        clock_from({ENVIRONMENT_NAME: str(tmp_path / "short")})
    with pytest.raises(FileNotFoundError):
        clock_from({ENVIRONMENT_NAME: str(tmp_path / "missing")})
