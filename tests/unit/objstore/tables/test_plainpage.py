"""A page that SQLite makes is the page that is read row by row."""

import random
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from objstore.account.store import CONTAINER_ROWS
from objstore.container.store import OBJECT_ROWS
from objstore.formats.messages import ObjectPage, Query, TableInfo
from objstore.model.rows import ObjectRow
from objstore.tables import plainpage
from objstore.tables.digest import to_bytes
from objstore.tables.plainpage import PlainPage, read_plain_page
from objstore.tables.reading import PageRead, read_page
from tests.unit.objstore.tables.rig import PLACE, device_at, gone, merge, put

NAMES = [
    "a",
    'b"],["',
    "c",
    "c/",
    "c/a",
    "c\\d",
    "d\x01e",
    "d\x7f",
    "é",
    "日本",
    "m",
    "x/1",
    "x/2",
    "z",
    "\U0001f600",
    "\x0b",
    "%s",
]
QUERIES = [
    Query(limit, marker, end, prefix, "", reverse)
    for limit in (1, 2, 5, 100)
    for marker, end in (("", ""), ("b", ""), ("", "m"), ("c/", "x"), ("zz", "a"))
    for prefix in ("", "c", "x/")
    for reverse in (False, True)
]


def unpacked(page: PlainPage) -> list[object]:
    return [*ObjectPage(None, [], page.digest, page.until, page.packed, page.dead).all_rows()]  # type: ignore[arg-type]


@pytest.mark.parametrize("seed", range(10))
async def test_both_ways_give_the_same_page(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    names = rng.sample(NAMES, rng.randrange(len(NAMES) + 1))
    rows = [(gone if rng.random() < seed / 20 else put)(name, 2 + rng.random()) for name in names]
    rows = [
        ObjectRow(row.name, row.timestamp, row.deleted, 1 << 40, 'e"\\', 't/ü; a="b"', row.timestamp, row.timestamp, 7)
        for row in rows
    ]
    async with device_at(tmp_path) as device:
        await device.apply(PLACE, merge(*rows))
        database = device.peek(PLACE)
        assert database is not None
        for query in QUERIES:
            slow: PageRead[ObjectRow] = database.read(lambda c, q=query: read_page(c, OBJECT_ROWS, q))  # type: ignore[misc]
            plain = database.read(lambda c, q=query: read_plain_page(c, OBJECT_ROWS, q))  # type: ignore[misc]
            if plain is not None:
                assert (unpacked(plain), plain.until, plain.table) == (slow.rows, slow.until, slow.table), query
            else:
                assert not slow.rows or any(row.deleted for row in rows), query


async def test_a_digest_tells_of_deleted_rows_too(tmp_path: Path) -> None:
    """Else what one replica lacks of a deletion would never be found by a listing."""
    digests = set()
    for number, rows in enumerate(([put("a", 1)], [put("a", 1), gone("b", 1)], [put("a", 2)], [gone("a", 2)])):
        directory = tmp_path / str(number)
        directory.mkdir()
        async with device_at(directory) as device:
            await device.apply(PLACE, merge(*rows))
            database = device.peek(PLACE)
            assert database is not None
            page = database.read(lambda c: read_plain_page(c, OBJECT_ROWS, Query(5)))
            assert page is not None
            digests.add(page.digest)
    assert len(digests) == 4


class _Changing:
    """A connection on which something happens before its second statement."""

    def __init__(self, connection: sqlite3.Connection, change: Callable[[], object]) -> None:
        self._connection = connection
        self._change = change
        self._statements = 0

    def execute(self, statement: str, values: list[str | int]) -> sqlite3.Cursor:
        self._statements += 1
        if self._statements == 2:
            self._change()
        return self._connection.execute(statement, values)


@pytest.mark.parametrize("limit", [2, 4])
async def test_the_digest_of_a_table_that_changed_meanwhile_is_not_told(tmp_path: Path, limit: int) -> None:
    async with device_at(tmp_path) as device:
        await device.apply(PLACE, merge(put("a", 1), put("b", 1), gone("c", 1), put("d", 1), put("e", 1)))
        database = device.peek(PLACE)
        assert database is not None
        before = to_bytes(database.state.digests.rows)

        def read(connection: sqlite3.Connection) -> PlainPage | None:
            changing = _Changing(connection, lambda: database.transact([merge(put("f", 1))]))
            return read_plain_page(changing, OBJECT_ROWS, Query(limit))  # type: ignore[arg-type]

        page = database.read(read)
        assert page is not None
        assert page.table == (before if limit == 2 else b""), "a page of one statement is of one moment"


async def test_what_is_not_plain_is_read_row_by_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with device_at(tmp_path) as device:
        await device.apply(PLACE, merge(*(gone(f"a{number:03}", 1) for number in range(40)), put("b", 1)))
        database = device.peek(PLACE)
        assert database is not None
        assert database.read(lambda c: read_plain_page(c, OBJECT_ROWS, Query(5, delimiter="/"))) is None
        assert database.read(lambda c: read_plain_page(c, OBJECT_ROWS, Query(0))) is None
        assert database.read(lambda c: read_plain_page(c, CONTAINER_ROWS, Query(5))) is None
        assert database.read(lambda c: read_plain_page(c, OBJECT_ROWS, Query(2))) is None, "too many deleted rows"
        assert database.read(lambda c: read_plain_page(c, OBJECT_ROWS, Query(41))) is not None
        monkeypatch.setattr(plainpage, "PAGE_BYTES_MAX", 100)
        assert database.read(lambda c: read_plain_page(c, OBJECT_ROWS, Query(41))) is None


def test_rows_that_came_as_rows_are_given_as_they_are() -> None:
    page = ObjectPage(TableInfo(None, None, 0.0), [put("a", 1)], b"", "")  # type: ignore[arg-type]
    assert page.all_rows() is page.rows
