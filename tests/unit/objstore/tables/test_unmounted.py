"""A device that goes away while its databases are open."""

from pathlib import Path

import pytest

from objstore.model.errors import NodeError
from tests.unit.objstore.tables.rig import PLACE, device_at, merge, place_of, put


async def test_nothing_is_written_where_the_device_was(tmp_path: Path) -> None:
    """F26: the disk is unmounted while its databases are open."""
    root = tmp_path / "d1"
    root.mkdir()
    async with device_at(root) as device:
        await device.apply(PLACE, merge(put("a", 1)))
        root.rename(tmp_path / "elsewhere")
        root.mkdir()
        for place in (PLACE, place_of("/acc/new")):
            with pytest.raises(NodeError, match="not there any more"):
                await device.apply(place, merge(put("b", 2), name="/acc/con" if place is PLACE else "/acc/new"))
        assert list(root.iterdir()) == []
