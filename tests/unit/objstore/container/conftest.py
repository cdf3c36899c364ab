from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from objstore.tables.device import TableDevice
from tests.unit.objstore.container.rig import Rig, rig_at
from tests.unit.objstore.tables.rig import device_at


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    async with rig_at(tmp_path) as made:
        yield made


@pytest.fixture
async def device(tmp_path: Path) -> AsyncIterator[TableDevice]:
    async with device_at(tmp_path) as made:
        yield made
