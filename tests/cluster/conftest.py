"""Fixtures: a deployment of its own for each test that breaks something."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.deployment import Deployment


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
