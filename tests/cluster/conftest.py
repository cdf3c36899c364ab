"""Fixtures: a deployment of its own for each test that breaks something."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cluster.deployment import Deployment
from tests.faults import figures
from tests.faults.figures import Count


def pytest_configure(config: pytest.Config) -> None:
    figures.register(config)


@pytest.fixture
def count(record_property: Callable[[str, object], None]) -> Count:
    """Adds numbers to the sums that the run prints at its end."""
    return figures.counter(record_property)


@pytest.fixture
def deployment(tmp_path: Path) -> Iterator[Deployment]:
    """Four storage nodes and a proxy, started; stopped afterwards without leaving a process."""
    made = Deployment(tmp_path / "deployment")
    try:
        made.start()
        yield made
    except BaseException:
        made.kill()
        raise
    made.stop()
