"""Changes are read in their order, in pieces that fit a message; marks never speak of what was not received."""

import tracemalloc
from pathlib import Path

import pytest

from objstore.container.store import OBJECT_ROWS
from objstore.formats.messages import RowSpan
from objstore.model.errors import Code, NodeError
from objstore.model.rows import ObjectRow
from objstore.tables.changes import Changes, decode_rows, encode_rows, read_changes
from objstore.tables.database import Database
from objstore.tables.draft import MARKS_MAX
from objstore.tables.operations import Take
from tests.unit.objstore.tables.rig import HASH, NAME, merge, put
from tests.unit.objstore.tables.test_database import new

OTHER = b"o" * 16


def changes(database: Database[ObjectRow], since: int, bytes_max: int = 1 << 20) -> Changes:
    return database.read(lambda c: read_changes(c, OBJECT_ROWS, since, bytes_max=bytes_max))


def names(found: Changes) -> list[str]:
    return [row.name for row in decode_rows(OBJECT_ROWS, found.rows)]


def test_a_row_counts_by_its_last_change(tmp_path: Path) -> None:
    database = new(str(tmp_path))
    for number, name in enumerate("abcab"):
        database.transact([merge(put(name, number))])
    assert names(changes(database, 0)) == ["c", "a", "b"]
    assert names(changes(database, 3)) == ["a", "b"]
    found = changes(database, 5)
    assert (names(found), found.row_count, found.until, found.more) == ([], 0, 5, False)
    database.close()


def test_many_come_in_pieces_that_join(tmp_path: Path) -> None:
    database = new(str(tmp_path))
    database.transact([merge(*(put(f"o{i:04d}", 1) for i in range(1000)))])
    seen: list[str] = []
    since, pieces, more = 0, 0, True
    while more:
        found = changes(database, since, 10_000)
        assert len(found.rows) < 10_200
        seen += names(found)
        since, pieces, more = found.until, pieces + 1, found.more
    assert seen == [f"o{i:04d}" for i in range(1000)]
    assert pieces == 4
    database.close()


def test_a_piece_of_the_usual_size_takes_little_memory(tmp_path: Path) -> None:
    """Bytes of rows are multiplied while they are merged."""
    database = new(str(tmp_path))
    database.transact([merge(*(put(f"o{i:04d}", 1) for i in range(9000)))])
    encoded = database.read(lambda c: read_changes(c, OBJECT_ROWS, 0))
    assert encoded.more
    (tmp_path / "other").mkdir()
    other = new(str(tmp_path / "other"))
    tracemalloc.start()
    try:
        rows = decode_rows(OBJECT_ROWS, encoded.rows)
        assert len(rows) == encoded.row_count
        other.transact([merge(*rows)])
        assert tracemalloc.get_traced_memory()[1] < 5 << 20
    finally:
        tracemalloc.stop()
    other.close()
    database.close()


def test_what_is_no_rows_is_refused() -> None:
    for data in (b"", b"\xc1", encode_rows([put("a", 1)])[:-1], b"\x91\x91\x01"):
        with pytest.raises(NodeError) as raised:
            decode_rows(OBJECT_ROWS, data)
        assert raised.value.code is Code.BAD_REQUEST


# --- marks ------------------------------------------------------------------------------------------------------


def take(database: Database[ObjectRow], since: int, until: int, id_: bytes = OTHER) -> int:
    """The mark after taking in such a span."""
    (outcome,) = database.transact([Take(NAME, RowSpan(id_, since, until), [put(f"{since}", 1)])])
    if isinstance(outcome, NodeError):
        raise outcome
    again: Database[ObjectRow] = Database(database.path, OBJECT_ROWS, HASH)
    again.close()
    assert again.state.marks == database.state.marks
    return database.state.marks.get(id_, -1)


def test_marks_follow_what_was_received_without_a_gap(tmp_path: Path) -> None:
    database = new(str(tmp_path))
    assert take(database, 0, 5) == 5
    assert take(database, 5, 9) == 9
    assert take(database, 7, 8) == 9
    assert take(database, 10, 20) == 9  # something in between was never received
    assert take(database, 9, 20) == 20
    assert take(database, 0, 3) == 3  # started over: what was believed before is not any more
    assert take(database, 3, 4) == 4
    database.close()


def test_the_least_recently_used_mark_is_forgotten(tmp_path: Path) -> None:
    database = new(str(tmp_path))
    ids = [bytes([number]) * 16 for number in range(MARKS_MAX + 2)]
    for id_ in ids[:-2]:
        take(database, 0, 5, id_)
    take(database, 5, 6, ids[0])
    for id_ in ids[-2:]:
        take(database, 0, 5, id_)
    assert len(database.state.marks) == MARKS_MAX
    assert ids[0] in database.state.marks
    assert not {ids[1], ids[2]} & database.state.marks.keys()
    database.close()


def test_a_database_does_not_take_its_own_rows(tmp_path: Path) -> None:
    database = new(str(tmp_path))
    with pytest.raises(NodeError) as raised:
        take(database, 0, 5, database.state.id)
    assert raised.value.code is Code.BAD_REQUEST
    database.close()
