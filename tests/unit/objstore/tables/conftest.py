from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from objstore.tables.device import TableDevice
from tests.unit.objstore.tables.rig import device_at


@pytest.fixture
async def device(tmp_path: Path) -> AsyncIterator[TableDevice]:
    async with device_at(tmp_path) as made:
        yield made
