"""Fault tests: their figures at the end of the run."""

from collections.abc import Callable

import pytest

from tests.faults import figures
from tests.faults.figures import Count


def pytest_configure(config: pytest.Config) -> None:
    figures.register(config)


@pytest.fixture
def count(record_property: Callable[[str, object], None]) -> Count:
    """Adds numbers to a heading's sums."""
    return figures.counter(record_property)
