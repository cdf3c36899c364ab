"""Fixtures of the API's tests."""

import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

sys.path.insert(0, str(Path(__file__).parent))

from site_under_test import Site, running_site


@pytest_asyncio.fixture
async def site() -> AsyncIterator[Site]:
    async with running_site() as running:
        assert (await running.call("PUT", "c")).status == 201
        yield running
