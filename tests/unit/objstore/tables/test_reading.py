"""Pages read from a database."""

import sqlite3
import tempfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from objstore.container.store import OBJECT_ROWS
from objstore.formats.messages import Query
from objstore.model.rows import ObjectRow, Subdir
from objstore.runtime.knobs import Knobs
from objstore.tables import reading
from objstore.tables.database import Database
from objstore.tables.digest import to_bytes
from objstore.tables.operations import Merge
from objstore.tables.reading import PageRead, read_page
from objstore.tables.schema import empty_database
from tests.unit.objstore.model.test_listing import brute, paged, queries, row, some_rows
from tests.unit.objstore.tables.rig import HASH, NAME, gone, put


def filled(directory: str, rows: list[ObjectRow]) -> Database[ObjectRow]:
    path = Path(directory) / "t.db"
    path.write_bytes(empty_database(OBJECT_ROWS, HASH))
    database: Database[ObjectRow] = Database(str(path), OBJECT_ROWS, HASH)
    database.transact([Merge(NAME, rows)])
    return database


def page(database: Database[ObjectRow], query: Query, raw: bool = False) -> PageRead[ObjectRow]:
    return database.read(lambda connection: read_page(connection, OBJECT_ROWS, query, raw=raw))


@settings(max_examples=60, deadline=None)
@given(some_rows, st.lists(queries, min_size=1, max_size=12))
def test_pages_are_those_of_the_brute_force(rows: list[ObjectRow], asked: list[object]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        database = filled(directory, rows)
        for one in asked:
            query = Query(one.limit, one.marker, one.end_marker, one.prefix, one.delimiter, one.reverse)  # type: ignore[attr-defined]
            found = page(database, query)
            assert [item.name for item in found.rows] == brute(rows, query)
            assert found.until == paged(rows, query, 1000).until
            raw = page(database, query, raw=True)
            assert raw.rows == paged(rows, query, 1000, raw=True).items
        database.close()


def test_large_folded_listing_reads_few_rows(tmp_path: Path) -> None:
    rows = [put(f"dir{d}/{i:05d}", 1) for d in range(5) for i in range(400)]
    database = filled(str(tmp_path), rows)
    steps = 0

    def count() -> None:
        nonlocal steps
        steps += 1

    def read(connection: object) -> PageRead[ObjectRow]:
        connection.set_progress_handler(count, 100)  # type: ignore[attr-defined]
        return read_page(connection, OBJECT_ROWS, Query(100, delimiter="/"))  # type: ignore[arg-type]

    found = database.read(read)
    assert found.rows == [Subdir(f"dir{d}/") for d in range(5)]
    assert steps * 100 < 10 * reading.FOLDING_BATCH_ROWS * 5 * 2  # some ten virtual-machine steps a row
    database.close()


def test_the_digest_tells_tombstones_and_metadata_apart(tmp_path: Path) -> None:
    digests = set()
    for number, rows in enumerate(
        ([put("a", 1)], [put("a", 1), gone("b", 1)], [put("a", 1), gone("b", 2)], [put("a", 1, etag="f")], [put("a", 2)], [])
    ):
        directory = tmp_path / str(number)
        directory.mkdir()
        database = filled(str(directory), rows)
        digests.add(page(database, Query(10)).digest)
        database.close()
    assert len(digests) == 6
    assert reading.EMPTY_DIGEST in digests


def test_the_digest_does_not_depend_on_the_way_rows_came(tmp_path: Path) -> None:
    rows = [row(f"o{i}", i % 3 == 0) for i in range(40)]
    found = []
    for number, order in enumerate((rows, rows[::-1])):
        directory = tmp_path / str(number)
        directory.mkdir()
        database = filled(str(directory), order)
        found.append(page(database, Query(20)))
        database.close()
    assert found[0] == found[1]


def test_a_page_of_tombstones_ends_early_and_says_where_to_go_on(tmp_path: Path) -> None:
    database = filled(str(tmp_path), [gone(f"a{i:03d}", 1) for i in range(150)] + [put("b", 1)])
    first, second = (
        database.read(lambda c, m=marker: read_page(c, OBJECT_ROWS, Query(100, marker=m), rows_max=100))  # type: ignore[misc]
        for marker in ("", "a099")
    )
    assert (first.rows, first.until) == ([], "a099")
    assert ([item.name for item in second.rows], second.until) == (["b"], "")
    database.close()


def test_ten_thousand_rows_of_usual_names_are_one_page(tmp_path: Path) -> None:
    database = filled(
        str(tmp_path), [put(f"photos/2024/summer/holidays/IMG_{i:06d}.jpeg", 1, etag="0" * 32) for i in range(10_001)]
    )
    assert len(page(database, Query(10_000)).rows) == 10_000
    database.close()


def test_a_page_of_long_names_fits_a_message(tmp_path: Path) -> None:
    rows = [put(f"{i:04d}" + "é" * 510, 1) for i in range(2500)]
    database = filled(str(tmp_path), rows)
    shown: list[str] = []
    query = Query(10_000)
    for _ in range(10):
        found = page(database, query)
        assert len(msgspec.msgpack.encode(found.rows)) < Knobs().packet_bytes_max - 16_384
        shown += [item.name for item in found.rows]
        if not found.until:
            break
        query = Query(10_000, marker=found.until)
    assert shown == [r.name for r in rows]
    database.close()


def test_a_page_of_the_longest_rows_fits_a_message(tmp_path: Path) -> None:
    """Long names first, so that the page is nearly full when the content types get as long as an HTTP field may be."""
    rows = [put(f"{i:05}{'n' * 1000}", 1) for i in range(1536)]
    rows += [msgspec.structs.replace(put(f"{i:05}{'n' * 1000}", 1), content_type="t" * 8190) for i in range(1536, 1800)]
    found = page(filled(str(tmp_path), rows), Query(10_000))
    assert 1536 < len(found.rows) < 1800
    assert len(msgspec.msgpack.encode(found.rows)) < Knobs().packet_bytes_max - 100_000


def test_a_page_tells_the_digest_of_its_table(tmp_path: Path) -> None:
    database = filled(str(tmp_path), [put("a", 1), gone("b", 1)])
    found = page(database, Query(1))
    assert found.table == to_bytes(database.state.digests.rows) == page(database, Query(10, marker="a")).table
    database.transact([Merge(NAME, [gone("c", 1)])])
    assert page(database, Query(1)).table == to_bytes(database.state.digests.rows) != found.table
    database.close()


class _Changing:
    """A connection on which something happens right before rows are read."""

    def __init__(self, connection: sqlite3.Connection, change: Callable[[], object]) -> None:
        self._connection = connection
        self._change = change

    def execute(self, statement: str, *values: list[str]) -> sqlite3.Cursor:
        if "FROM row" in statement:
            self._change()
        return self._connection.execute(statement, *values)

    @property
    def in_transaction(self) -> bool:
        return self._connection.in_transaction


def test_a_page_and_the_digest_of_its_table_are_of_one_moment(tmp_path: Path) -> None:
    """A change that comes while the page is read is in neither; a folded page takes several statements."""
    database = filled(str(tmp_path), [put(f"a{i % 3}/{i}", 1) for i in range(300)])
    before = to_bytes(database.state.digests.rows)
    count = 0

    def change() -> None:
        nonlocal count
        count += 1
        database.transact([Merge(NAME, [put(f"b{count}", 1)])])

    def read(connection: sqlite3.Connection) -> PageRead[ObjectRow]:
        return read_page(_Changing(connection, change), OBJECT_ROWS, Query(1000, delimiter="/"))  # type: ignore[arg-type]

    found = database.read(read)
    assert count > 1
    assert ([item.name for item in found.rows], found.table) == (["a0/", "a1/", "a2/"], before)
    assert [item.name for item in page(database, Query(10, marker="b")).rows] == [f"b{i + 1}" for i in range(count)]
    database.close()


def test_a_mark_of_deletion_that_nobody_writes_is_none(tmp_path: Path) -> None:
    database = filled(str(tmp_path), [put("a", 1), gone("b", 1)])
    with closing(sqlite3.connect(database.path)) as connection, connection:
        connection.execute("UPDATE row SET deleted = 2 WHERE name = 'a'")
    assert [row.deleted for row in page(database, Query(10), raw=True).rows if isinstance(row, ObjectRow)] == [False, True]
    database.close()
