"""A scan finds every database, opens none for good, and reads what was committed last."""

from pathlib import Path

import pytest

from objstore.account.store import CONTAINER_ROWS
from objstore.container.store import OBJECT_ROWS
from objstore.model.errors import Code, NodeError
from objstore.tables.device import Place, TableDevice
from objstore.tables.scanning import places, state_of
from tests.unit.objstore.tables.rig import PLACE, device_at, merge, place_of, put


async def found(device: TableDevice) -> list[Place]:
    return [place async for place in places(device, OBJECT_ROWS)]


async def test_all_databases_are_found_and_nothing_else(tmp_path: Path) -> None:
    names = [f"/a/c{i}" for i in range(7)]
    async with device_at(tmp_path, open_max=3) as device:
        for name in names:
            await device.apply(place_of(name), merge(put("o", 1), name=name))
        folder = tmp_path / "containers/7"
        (folder / "note.txt").write_text("x")
        (folder / f"{'A' * 32}.db").write_text("not our spelling")
        (tmp_path / "containers/lost+found").mkdir()
        assert sorted(place.path for place in await found(device)) == sorted(place_of(name).path for name in names)
        assert [place async for place in places(device, CONTAINER_ROWS)] == []


async def test_a_state_is_read_without_opening(tmp_path: Path) -> None:
    async with device_at(tmp_path, open_max=1) as device:
        for name in ("/a/1", "/a/2"):
            await device.apply(place_of(name), merge(put("o", 1, size=7), name=name))
        state = await state_of(device, place_of("/a/1"))
        assert state is not None
        assert (state.settings.name, state.stats.bytes_used) == ("/a/1", 7)
        assert device.peek(place_of("/a/1")) is None
        assert device.peek(place_of("/a/2")) is not None
        assert await state_of(device, PLACE) is None


async def test_an_unreadable_database_is_said_to_be(tmp_path: Path) -> None:
    async with device_at(tmp_path) as device:
        path = tmp_path / PLACE.path
        path.parent.mkdir(parents=True)
        path.write_bytes(b"no database" * 1000)
        with pytest.raises(NodeError) as raised:
            await state_of(device, PLACE)
        assert raised.value.code is Code.CORRUPT
