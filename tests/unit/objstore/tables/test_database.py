"""What a database holds is what its rows merge to, in any order and grouping, and its figures are exact."""

import itertools
import sqlite3
import tempfile
from collections.abc import Sequence
from functools import reduce
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from objstore.account.store import CONTAINER_ROWS
from objstore.container.store import OBJECT_ROWS
from objstore.formats.messages import Stats
from objstore.model.errors import Code, NodeError
from objstore.model.rows import ContainerRow, ObjectRow, merge_container_rows, merge_object_rows
from objstore.tables.database import Database
from objstore.tables.digest import digests_of
from objstore.tables.operations import MarkReported, Merge
from objstore.tables.recount import count
from objstore.tables.rowkind import RowKind
from objstore.tables.schema import empty_database
from tests.unit.objstore.tables.rig import HASH, NAME, gone, merge, put, rows_of, write

stamps = st.integers(0, 8)
object_rows = st.builds(
    ObjectRow,
    st.sampled_from(["a", "b", "é", "a\0b", "😀"]),
    stamps,
    st.booleans(),
    st.integers(0, 3),
    st.sampled_from(["x", "y"]),
    st.sampled_from(["", "t/u"]),
    stamps,
    stamps,
    st.integers(0, 2),
)
container_rows = st.builds(
    ContainerRow, st.sampled_from("abc"), stamps, stamps, st.integers(0, 5), st.integers(0, 5), st.integers(0, 2), stamps
)
# how one list of rows is cut into transactions, and these into operations
cuts = st.lists(st.integers(0, 12), max_size=6)


def new(directory: str, kind: RowKind[ObjectRow] = OBJECT_ROWS) -> Database[ObjectRow]:
    path = Path(directory) / "t.db"
    path.write_bytes(empty_database(kind, HASH))
    return Database(str(path), kind, HASH)


def apply(database: Database[ObjectRow], rows: Sequence[ObjectRow], at: list[int]) -> None:
    bounds = [0, *sorted(at), len(rows)]
    for start, end in itertools.pairwise(bounds):
        part = rows[start:end]
        database.transact([Merge(NAME, part[::2]), Merge(NAME, part[1::2])])


@settings(max_examples=60, deadline=None)
@given(st.lists(object_rows, max_size=12), cuts, st.randoms(use_true_random=False))
def test_rows_and_figures_are_the_fold_of_all_rows(rows: list[ObjectRow], at: list[int], random: object) -> None:
    expected: dict[str, ObjectRow] = {}
    for row in rows:
        expected[row.name] = merge_object_rows(expected.get(row.name, row), row)
    live = [row for row in expected.values() if not row.deleted]
    shuffled = [*rows, *rows[: len(rows) // 2]]  # some of them twice
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    with tempfile.TemporaryDirectory() as directory:
        database = new(directory)
        apply(database, shuffled, at)
        assert rows_of(database) == sorted(expected.values(), key=lambda row: row.name)
        assert database.state.stats == Stats(0, len(live), sum(row.size for row in live))
        state = database.state
        assert state.digests == database.read(lambda c: count(c, OBJECT_ROWS)).digests == digests_of(list(expected.values()))
        numbers = database.read(lambda c: c.execute("SELECT seq FROM row ORDER BY seq").fetchall())
        assert len(set(numbers)) == len(expected)
        assert max(numbers, default=(0,))[0] == state.seq
        database.close()
        again: Database[ObjectRow] = Database(database.path, OBJECT_ROWS, HASH)
        if rows:
            assert again.state == state
        again.close()


@settings(max_examples=40, deadline=None)
@given(st.lists(container_rows, max_size=12), cuts)
def test_an_accounts_sums_are_those_of_its_live_containers(rows: list[ContainerRow], at: list[int]) -> None:
    merged = {name: reduce(merge_container_rows, [row for row in rows if row.name == name]) for name in {r.name for r in rows}}
    live = [row for row in merged.values() if not row.deleted]
    with tempfile.TemporaryDirectory() as directory:
        database = new(directory, CONTAINER_ROWS)  # type: ignore[arg-type]
        apply(database, rows, at)  # type: ignore[arg-type]
        stats = database.state.stats
        database.close()
    assert (stats.container_count, stats.object_count, stats.bytes_used) == (
        len(live),
        sum(row.object_count for row in live),
        sum(row.bytes_used for row in live),
    )
    for policy in {row.policy for row in live}:
        mine = [row for row in live if row.policy == policy]
        assert stats.policies[policy] == (len(mine), sum(r.object_count for r in mine), sum(r.bytes_used for r in mine))


def test_a_row_that_tells_nothing_new_gets_no_number(tmp_path: Path) -> None:
    database = new(str(tmp_path))
    database.transact([merge(put("a", 1), put("b", 3))])
    assert database.state.seq == 2
    database.transact([merge(put("a", 1), put("b", 2)), merge(put("b", 3))])
    assert database.state.seq == 2
    database.transact([merge(put("a", 2))])
    assert database.read(lambda c: c.execute("SELECT name, seq FROM row ORDER BY name").fetchall()) == [("a", 3), ("b", 2)]
    database.close()


def test_the_digest_of_what_lives_does_not_see_tombstones(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    one, other = new(str(tmp_path)), new(str(tmp_path / "other"))
    one.transact([merge(put("a", 1), put("b", 1))])
    one.transact([merge(gone("b", 2))])
    other.transact([merge(put("a", 1))])
    assert one.state.digests.live == other.state.digests.live
    assert one.state.digests.rows != other.state.digests.rows
    other.transact([merge(gone("b", 2))])
    assert one.state.digests == other.state.digests
    one.close()
    other.close()


def test_a_group_of_any_size_is_written(tmp_path: Path) -> None:
    database = new(str(tmp_path))
    database.transact([merge(*(put(f"o{i:04d}", 1, size=i) for i in range(211)))])
    database.transact([merge(*(put(f"o{i:04d}", 2, size=1) for i in range(100, 311)))])
    assert len(rows_of(database)) == 311
    assert database.state.stats == Stats(0, 311, sum(range(100)) + 211)
    database.close()


def test_a_refusal_leaves_the_rest_of_its_group_alone(tmp_path: Path) -> None:
    database = new(str(tmp_path))
    outcomes = database.transact([merge(put("a", 1)), write("update", 2), write("create", 3), merge(put("b", 4, size=7))])
    assert isinstance(outcomes[1], NodeError)
    assert outcomes[1].code is Code.NOT_FOUND
    assert database.state.settings.exists
    assert database.state.stats == Stats(0, 2, 8)
    database.close()


def test_the_delete_of_a_group_sees_the_rows_before_it(tmp_path: Path) -> None:
    database = new(str(tmp_path))
    database.transact([write("create", 1)])
    refused = database.transact([merge(put("a", 2)), write("delete", 3)])[1]
    assert refused.code is Code.NOT_EMPTY
    done = database.transact([merge(gone("a", 4)), write("delete", 5)])[1]
    assert not isinstance(done, NodeError)
    assert not database.state.settings.exists
    database.close()


def test_a_failing_transaction_changes_nothing(tmp_path: Path) -> None:
    database = new(str(tmp_path))
    database.transact([merge(put("a", 1))])
    before = database.state
    with pytest.raises(OverflowError):
        database.transact([merge(put("b", 1)), merge(put("c", 1, size=1 << 64))])
    assert database.state is before
    assert [row.name for row in rows_of(database)] == ["a"]
    database.transact([merge(put("d", 1))])
    assert [row.name for row in rows_of(database)] == ["a", "d"]
    database.close()


def test_another_name_is_not_let_in(tmp_path: Path) -> None:
    database = new(str(tmp_path))
    database.transact([merge(put("a", 1))])
    outcome = database.transact([merge(put("b", 1), name="/acc/other")])[0]
    assert outcome.code is Code.CORRUPT
    assert database.state.stats.object_count == 1
    database.close()


def test_what_was_reported_survives_and_only_grows(tmp_path: Path) -> None:
    database = new(str(tmp_path))
    newer, older = ContainerRow("con", 1, reported=9), ContainerRow("con", 1, reported=8)
    database.transact([MarkReported(NAME, newer), MarkReported(NAME, older)])
    database.close()
    again: Database[ObjectRow] = Database(database.path, OBJECT_ROWS, HASH)
    assert again.state.reported == newer
    again.close()


def test_a_reader_sees_what_is_committed_while_a_transaction_is_open(tmp_path: Path) -> None:
    database = new(str(tmp_path))
    database.transact([merge(put("a", 1))])
    other = sqlite3.connect(database.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    assert [row.name for row in rows_of(database)] == ["a"]
    other.execute("ROLLBACK")
    other.close()
    database.close()


def test_closing_again_does_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    database = new(str(tmp_path))
    apply(database, [put("a", 1)], [])
    database.close()
    database.close()
    assert not caplog.records


def test_after_a_failed_sync_the_log_is_left_as_it_is(tmp_path: Path) -> None:
    """What is read of it may not be on the disk."""
    database = new(str(tmp_path))
    apply(database, [put("a", 1)], [])
    calls = []
    database.move_log = lambda: bool(calls.append("moved")) or True  # type: ignore[method-assign]
    with sqlite3.connect(database.path) as other:  # so that SQLite does not do it by itself
        other.execute("SELECT count(*) FROM row").fetchone()
        before = Path(database.path).read_bytes()
        database.close(move_log=False)
        assert not calls and Path(database.path).read_bytes() == before
    other.close()
    again: Database[ObjectRow] = Database(database.path, OBJECT_ROWS, HASH)
    assert rows_of(again) == [put("a", 1)]
    again.close()
