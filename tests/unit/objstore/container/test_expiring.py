"""Objects whose time has come are found, and nothing is read where none can be."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from objstore.container.expiring import _DUE, _NEXT, PAGE_ROWS_MAX, Due, ExpiringRows
from objstore.model.rows import ObjectRow
from objstore.tables.device import TableDevice
from tests.unit.objstore.tables.rig import device_at, gone, merge, place_of, put, write


def expiring(name: str, second: float, delete_at: int) -> ObjectRow:
    return msgspec.structs.replace(put(name, second), delete_at=delete_at)


async def due(rows: ExpiringRows, now: float) -> list[Due]:
    return [page async for page in rows.due(now)]


class Counting:
    """How often the disk was asked for anything."""

    def __init__(self, device: TableDevice) -> None:
        self.reads = 0
        self._run = device.disk.run
        device.disk.run = self.run  # type: ignore[method-assign]

    async def run(self, fn: Callable[[], Any]) -> Any:
        self.reads += 1
        return await self._run(fn)


async def test_what_is_due_is_found_the_earliest_first(tmp_path: Path) -> None:
    async with device_at(tmp_path, open_max=1) as device:
        name = "/a/c1"
        await device.apply(place_of(name), write("create", 1, name=name, policy=3))
        rows = [expiring("x", 2, 300), expiring("y", 2, 100), expiring("z", 2, 200), put("never", 2)]
        await device.apply(place_of(name), merge(*rows, name=name))
        await device.apply(place_of("/a/c2"), merge(expiring("w", 2, 150), name="/a/c2"))
        found = ExpiringRows({"d1": device})
        assert await due(found, 99.9) == []
        pages = sorted(await due(found, 250), key=lambda page: page.container)
        assert [(page.container, page.policy, [row.name for row in page.rows]) for page in pages] == [
            ("/a/c1", 3, ["y", "z"]),
            ("/a/c2", 0, ["w"]),
        ]


async def test_what_was_deleted_or_is_to_live_on_is_not_due(device: TableDevice) -> None:
    found = ExpiringRows({"d1": device})
    rows = [expiring(name, 1, 100) for name in ("deleted", "kept", "replaced", "due")]
    await device.apply(place_of("/a/c"), merge(*rows, name="/a/c"))
    kept = msgspec.structs.replace(rows[1], meta_timestamp=rows[1].meta_timestamp + 1, delete_at=0)
    await device.apply(place_of("/a/c"), merge(gone("deleted", 2), kept, put("replaced", 2), name="/a/c"))
    (page,) = await due(found, 100)
    assert [row.name for row in page.rows] == ["due"]


async def test_nothing_is_read_until_something_changes_or_is_due(device: TableDevice) -> None:
    found, disk = ExpiringRows({"d1": device}), Counting(device)
    for number in range(5):
        await device.apply(place_of(f"/a/{number}"), merge(expiring("o", 1, 1000 + number), name=f"/a/{number}"))
    assert await due(found, 10) == []
    disk.reads = 0
    assert await due(found, 999) == []
    assert disk.reads == 0
    assert len(await due(found, 1001)) == 2
    assert disk.reads == 2
    await device.apply(place_of("/a/4"), merge(expiring("o", 2, 500), name="/a/4"))
    disk.reads = 0
    assert [page.container for page in await due(found, 600)] == ["/a/4"]
    assert disk.reads == 1


async def test_many_come_in_pages(device: TableDevice) -> None:
    count = 2 * PAGE_ROWS_MAX + 7
    rows = [expiring(f"o{number:05d}", 1, 100 + number % 3) for number in range(count)]
    await device.apply(place_of("/a/c"), merge(*rows, name="/a/c"))
    pages = await due(ExpiringRows({"d1": device}), 200)
    assert [len(page.rows) for page in pages] == [PAGE_ROWS_MAX, PAGE_ROWS_MAX, 7]
    assert sorted(row.name for page in pages for row in page.rows) == [row.name for row in rows]


async def test_the_search_uses_its_index(device: TableDevice) -> None:
    await device.apply(place_of("/a/c"), merge(expiring("o", 1, 100), name="/a/c"))
    database = device.peek(place_of("/a/c"))
    assert database is not None
    for statement, values in ((_DUE, (1, 0, "", 1)), (_NEXT, ())):
        plan = database.read(lambda c, s=statement, v=values: c.execute(f"EXPLAIN QUERY PLAN {s}", v).fetchall())  # type: ignore[misc]
        assert [line[3] for line in plan if "USING" in line[3]] and all("row_expiring" in line[3] for line in plan), plan


async def test_a_container_that_cannot_be_read_is_looked_at_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with device_at(tmp_path) as device:
        await device.apply(place_of("/a/c"), merge(expiring("o", 1, 100), name="/a/c"))
    path = tmp_path / place_of("/a/c").path
    sound = path.read_bytes()
    async with device_at(tmp_path) as device:
        found = ExpiringRows({"d1": device})
        path.write_bytes(b"no database" * 1000)
        assert await due(found, 200) == []
        assert "container unreadable" in caplog.text
        path.write_bytes(sound)
        assert len(await due(found, 200)) == 1
