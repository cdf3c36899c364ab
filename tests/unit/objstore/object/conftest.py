from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.unit.objstore.object.rig import Node, Rig, make_rig


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    async for made in make_rig(tmp_path):
        yield made


@pytest.fixture
async def node(rig: Rig) -> Node:
    return await rig.node()
