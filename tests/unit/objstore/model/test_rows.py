"""Merging rows gives one result, whatever comes first, twice or in between."""

import itertools
from functools import reduce

from hypothesis import given
from hypothesis import strategies as st

from objstore.model.rows import ContainerRow, ObjectRow, merge_container_rows, merge_object_rows

stamps = st.integers(0, 6)  # few, so that ties are frequent


@st.composite
def object_rows(draw: st.DrawFn) -> ObjectRow:
    """Any row, also ones that no server would write."""
    return ObjectRow(
        "o",
        draw(stamps),
        draw(st.booleans()),
        draw(st.integers(0, 2)),
        draw(st.sampled_from(["", "x", "y"])),
        draw(st.sampled_from(["a/b", "c/d"])),
        draw(stamps),
        draw(stamps),
        draw(st.integers(0, 2)),
    )


container_rows = st.builds(
    ContainerRow, st.just("c"), stamps, stamps, st.integers(0, 2), st.integers(0, 2), st.integers(0, 1), stamps
)


@given(st.lists(object_rows(), min_size=1, max_size=4))
def test_object_rows_merge_to_one_row(rows: list[ObjectRow]) -> None:
    results = {reduce(merge_object_rows, order, order[0]) for order in itertools.permutations(rows)}
    assert len(results) == 1
    (result,) = results
    assert merge_object_rows(result, result) == result
    assert all(merge_object_rows(result, row) == result for row in rows)


@given(object_rows(), object_rows(), object_rows())
def test_object_rows_merge_in_any_grouping(a: ObjectRow, b: ObjectRow, c: ObjectRow) -> None:
    assert merge_object_rows(merge_object_rows(a, b), c) == merge_object_rows(a, merge_object_rows(b, c))


@given(container_rows, container_rows, container_rows)
def test_container_rows_merge_to_one_row(a: ContainerRow, b: ContainerRow, c: ContainerRow) -> None:
    merge = merge_container_rows
    assert merge(a, b) == merge(b, a)
    assert merge(merge(a, b), c) == merge(a, merge(b, c))
    assert merge(a, a) == a
    assert merge(merge(a, b), b) == merge(a, b)


def test_the_later_of_put_and_delete_wins() -> None:
    put = ObjectRow("o", 5, False, 10, "etag", "a/b", 5, 5)
    assert merge_object_rows(put, ObjectRow("o", 6, True, type_timestamp=6, meta_timestamp=6)).deleted
    assert merge_object_rows(put, ObjectRow("o", 4, True, type_timestamp=4, meta_timestamp=4)) == put


def test_a_post_changes_type_and_modification_time_but_not_data() -> None:
    put = ObjectRow("o", 5, False, 10, "etag", "a/b", 5, 5)
    post = ObjectRow("o", 5, False, 10, "etag", "c/d", 7, 7)
    assert merge_object_rows(put, post) == post
    newer = ObjectRow("o", 6, False, 11, "other", "e/f", 6, 6)
    assert merge_object_rows(post, newer) == ObjectRow("o", 6, False, 11, "other", "c/d", 7, 7)


def test_the_time_to_expire_follows_the_newest_metadata() -> None:
    put = ObjectRow("o", 5, False, 10, "etag", "a/b", 5, 5, delete_at=100)
    post = ObjectRow("o", 5, False, 10, "etag", "a/b", 5, 7)
    assert merge_object_rows(put, post).delete_at == 0
    later = ObjectRow("o", 6, False, 11, "other", "e/f", 6, 6, delete_at=200)
    assert merge_object_rows(post, later).delete_at == 0
    assert merge_object_rows(put, later).delete_at == 200
    assert merge_object_rows(later, ObjectRow("o", 8, True, type_timestamp=8, meta_timestamp=8)).delete_at == 0
    assert merge_object_rows(put, ObjectRow("o", 5, False, 10, "etag", "a/b", 5, 5, delete_at=99)).delete_at == 100


def test_of_two_changes_of_one_time_the_deletion_wins() -> None:
    put, gone = ObjectRow("o", 5, False, 10, "etag", "a/b", 5, 5), ObjectRow("o", 5, True, type_timestamp=5, meta_timestamp=5)
    assert merge_object_rows(put, gone).deleted and merge_object_rows(gone, put).deleted


def test_a_container_deleted_after_its_creation_is_gone_until_created_again() -> None:
    made = ContainerRow("c", 5, 0, 3, 30, 0, 5)
    gone = merge_container_rows(made, ContainerRow("c", 0, 7))
    assert gone.deleted
    assert not merge_container_rows(gone, ContainerRow("c", 8)).deleted


def test_the_newest_report_of_contents_wins() -> None:
    first, second = ContainerRow("c", 5, 0, 3, 30, 0, 10), ContainerRow("c", 5, 0, 1, 10, 0, 11)
    assert merge_container_rows(second, first).object_count == 1
