"""A scan finds every database, opens none for good, and reads what was committed last."""

from pathlib import Path

import pytest

from objstore.account.store import CONTAINER_ROWS
from objstore.container.store import OBJECT_ROWS
from objstore.model.errors import Code, NodeError
from objstore.tables.device import TableDevice
from objstore.tables.draft import State
from objstore.tables.place import Place
from objstore.tables.scanning import places, state_of, states_of
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


async def test_the_states_of_many_are_read_once(tmp_path: Path) -> None:
    names = [f"/a/c{i}" for i in range(20)]
    places_of_all = [place_of(name) for name in names]
    async with device_at(tmp_path, open_max=3) as device:
        for name in names:
            await device.apply(place_of(name), merge(put("o", 1), name=name))
    async with device_at(tmp_path, open_max=3) as device:
        states = await states_of(device, [*places_of_all, PLACE])
        assert [state.settings.name for state in states if isinstance(state, State)] == names
        assert states[-1] is None
        for place in places_of_all:
            assert device.state(place) is not None
            assert device.peek(place) is None


async def test_what_is_remembered_of_a_closed_database_follows_its_changes(tmp_path: Path) -> None:
    async with device_at(tmp_path, open_max=1) as device:
        for number in range(5):
            await device.apply(place_of("/a/1"), merge(put(f"o{number}", 1), name="/a/1"))
            await device.apply(place_of("/a/2"), merge(put("o", 1), name="/a/2"))  # which closes the first
            state = await state_of(device, place_of("/a/1"))
            assert state is not None
            assert state.stats.object_count == number + 1
        changes = device.closed.changes
        await device.apply(place_of("/a/1"), merge(put("late", 1), name="/a/1"))
        await device.apply(place_of("/a/2"), merge(name="/a/2"))
        device.closed.note(device.path_of(place_of("/a/1")), state, changes)  # read before the change: too late
        now = await state_of(device, place_of("/a/1"))
        assert now is not None
        assert now.stats.object_count == 6


async def test_a_database_whose_file_is_gone_is_not_believed_in(tmp_path: Path) -> None:
    async with device_at(tmp_path, open_max=1) as device:
        for name in ("/a/closed", "/a/open"):
            await device.apply(place_of(name), merge(put("o", 1), name=name))
        for name in ("/a/closed", "/a/open"):
            (tmp_path / place_of(name).path).unlink()
        assert await states_of(device, [place_of("/a/closed"), place_of("/a/open")]) == [None, None]
        await device.apply(place_of("/a/open"), merge(put("new", 1), name="/a/open"))
        assert (tmp_path / place_of("/a/open").path).exists()
        state = await state_of(device, place_of("/a/open"))
        assert state is not None
        assert state.stats.object_count == 1


async def test_a_corrupt_one_among_many_is_set_aside(tmp_path: Path) -> None:
    async with device_at(tmp_path) as device:
        for name in ("/a/1", "/a/2"):
            await device.apply(place_of(name), merge(put("o", 1), name=name))
    (tmp_path / place_of("/a/1").path).write_bytes(b"x" * 9000)
    async with device_at(tmp_path) as device:
        first, second = await states_of(device, [place_of("/a/1"), place_of("/a/2")])
        assert first is None
        assert isinstance(second, State)
        assert device.quarantined == 1
