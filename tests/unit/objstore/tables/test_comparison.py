"""What follows from the states of two replicas."""

import msgspec
import pytest

from objstore.formats.messages import Setting, Settings, Stats, TableState
from objstore.tables.comparison import LAG_MAX, Need, acknowledged, need, settings_digest, table_state
from objstore.tables.digest import Digests
from objstore.tables.draft import State

A, B = b"a" * 16, b"b" * 16


def state(id_: bytes, seq: int = 5, digests: Digests | None = None, **fields: object) -> State:
    made = State(Settings("/a/c"), {}, Stats(0, 3, 0), None, None, id_, seq, digests or Digests(1, 1), 0, {})
    return msgspec.structs.replace(made, **fields)


def told(found: State, received: int = 0, **fields: object) -> TableState:
    made = msgspec.structs.replace(table_state("container", found, b""), received=received)
    return msgspec.structs.replace(made, **fields)


def decided(ours: State, theirs: TableState | None) -> Need:
    return need("container", ours, ours, theirs, whole_rows_min=100)


def test_equal_digests_need_nothing_whatever_the_marks_say() -> None:
    assert decided(state(A), told(state(B))).nothing
    assert decided(state(A, 10, marks={B: 3}), told(state(B, 4), 7)).nothing


def test_marks_of_equal_replicas_are_moved_when_far_behind_or_beyond() -> None:
    ours, theirs = state(A, LAG_MAX + 2), state(B, LAG_MAX + 2)
    assert decided(ours, told(theirs, 1)) == Need(note_there=True, note_here=True)
    assert decided(ours, told(theirs, 2)) == Need(note_here=True)
    assert decided(state(A, 5, marks={B: 6}), told(state(B, 5), 6)) == Need(note_there=True, note_here=True)


def test_each_side_lacks_what_changed_since_its_mark() -> None:
    other = Digests(2, 2)
    assert decided(state(A, 9, marks={B: 3}), told(state(B, 4, other), 7)) == Need(send=7, fetch=3)
    assert decided(state(A, 9, marks={B: 4}), told(state(B, 4, other), 7)) == Need(send=7)
    assert decided(state(A, 9, marks={B: 3}), told(state(B, 4, other), 9)) == Need(fetch=3)


def test_a_mark_beyond_the_counter_means_starting_over() -> None:
    other = Digests(2, 2)
    assert decided(state(A, 5, marks={B: 4}), told(state(B, 4, other), 6)) == Need(send=0)
    assert decided(state(A, 5, marks={B: 8}), told(state(B, 4, other), 5)) == Need(fetch=0)


def test_a_mark_that_grew_while_the_other_was_asked_is_not_beyond() -> None:
    other = told(state(B, 4, Digests(2, 2)), 7)
    before, now = state(A, 5, marks={B: 4}), state(A, 8, marks={B: 6})
    assert need("container", before, now, other) == Need(send=7)


def test_all_exchanged_and_still_different_means_starting_over_both_ways() -> None:
    ours = state(A, 5, marks={B: 4})
    assert decided(ours, told(state(B, 4, Digests(2, 2)), 5)) == Need(send=0, fetch=0, repeated=True)
    assert decided(ours, told(state(B, 4, Digests(2, 1)), 5)) == Need(send=0, fetch=0, repeated=True)


def test_tombstones_that_only_one_has_forgotten_are_no_difference() -> None:
    ours = state(A, 5, marks={B: 4}, reclaimed=7)
    assert decided(ours, told(state(B, 4, Digests(2, 1)), 5)).nothing
    assert decided(ours, told(state(B, 4, Digests(2, 2)), 5)).repeated


def test_digests_of_another_version_say_nothing() -> None:
    ours = state(A, 5, marks={B: 4})
    assert decided(ours, told(state(B, 4, Digests(2, 2)), 5, version=99)).nothing
    assert decided(ours, told(state(B, 4), 4, version=99)) == Need(send=4)
    assert not acknowledged(ours, told(state(B, 4), 4, version=99))


@pytest.mark.parametrize(("seq", "theirs", "whole"), [(101, None, True), (100, None, False), (101, 0, True), (101, 1, False)])
def test_much_for_one_that_has_little_goes_as_a_whole(seq: int, theirs: int | None, whole: bool) -> None:
    ours = state(A, seq, stats=Stats(0, 10, 0))
    other = None if theirs is None else told(state(B, 1, Digests(2, 2)), 0, row_count=theirs)
    todo = decided(ours, other)
    assert (todo.whole, todo.send) == (whole, 0)


def test_settings_differ_by_value_not_by_order() -> None:
    one = Settings("/a/c", values={"x": Setting("1", 1), "y": Setting("2", 2)})
    other = Settings("/a/c", values={"y": Setting("2", 2), "x": Setting("1", 1)})
    assert settings_digest(one) == settings_digest(other)
    changed = msgspec.structs.replace(one, values={"x": Setting("1", 2), "y": Setting("2", 2)})
    assert decided(state(A, settings=one), told(state(B, settings=changed))) == Need(settings=True)


def test_what_counts_as_acknowledged() -> None:
    ours = state(A, 5)
    assert acknowledged(ours, told(state(B, 9, Digests(2, 2)), 5))
    assert not acknowledged(ours, told(state(B, 9, Digests(2, 2)), 4))
    assert not acknowledged(ours, told(state(B, 9, Digests(2, 2)), 6))
    assert acknowledged(ours, told(state(B, 9), 0))
    assert not acknowledged(ours, told(state(B, 9, Digests(2, 1)), 0))
