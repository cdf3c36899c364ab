"""Settings of replicas merge to one, whatever comes first."""

import itertools
from functools import reduce

import pytest
from hypothesis import given
from hypothesis import strategies as st

from objstore.formats.messages import Setting, Settings
from objstore.formats.settings import merge_settings, revived

stamps = st.integers(0, 6)
values = st.dictionaries(st.sampled_from("kl"), st.builds(Setting, st.sampled_from(["", "v", "w"]), stamps))


@st.composite
def some_settings(draw: st.DrawFn) -> Settings:
    deleted = draw(stamps)
    registers = {key: s for key, s in draw(values).items() if s.timestamp > deleted}
    return Settings("/a/c", draw(stamps), deleted, draw(st.integers(0, 1)), draw(stamps), registers, draw(stamps))


@given(st.lists(some_settings(), min_size=1, max_size=4))
def test_settings_merge_to_one_in_any_order(replicas: list[Settings]) -> None:
    results = [reduce(merge_settings, order) for order in itertools.permutations(replicas)]
    assert all(result == results[0] for result in results)
    assert all(merge_settings(results[0], replica) == results[0] for replica in replicas)


@given(some_settings(), some_settings(), some_settings())
def test_settings_merge_in_any_grouping(a: Settings, b: Settings, c: Settings) -> None:
    assert merge_settings(merge_settings(a, b), c) == merge_settings(a, merge_settings(b, c))


@given(some_settings())
def test_nothing_new_is_the_same_value(a: Settings) -> None:
    assert merge_settings(a, a) is a
    assert merge_settings(a, Settings("/a/c")) is a


def test_registers_that_a_deletion_voids_do_not_come_back() -> None:
    old = Settings("/a/c", 1, 0, 0, 1, {"k": Setting("v", 2)})
    again = Settings("/a/c", 4, 3, 0, 4, {"l": Setting("w", 5)}, 3)
    merged = merge_settings(old, again)
    assert merged == again


def test_a_replica_that_missed_the_creation_cannot_change_the_policy() -> None:
    first = Settings("/a/c", 1, 0, 0, 1)
    late = Settings("/a/c", 9, 0, 1, 9)
    merged = merge_settings(late, first)
    assert (merged.policy, merged.created_timestamp, merged.put_timestamp) == (0, 1, 9)


def test_what_is_created_after_a_deletion_has_its_own_policy() -> None:
    first = Settings("/a/c", 1, 0, 0, 1)
    again = Settings("/a/c", 9, 5, 1, 9, {}, 5)
    merged = merge_settings(first, again)
    assert (merged.policy, merged.created_timestamp) == (1, 9)


@given(some_settings(), some_settings())
def test_a_revived_one_exists_again_as_it_was(a: Settings, b: Settings) -> None:
    """Whatever else its replicas know of the time before the deletion."""
    deleted = merge_settings(a, Settings("/a/c", 0, 7))
    other = merge_settings(deleted, b)
    back = revived(deleted)
    assert back.exists and (back.policy, back.values) == (deleted.policy, {})
    assert merge_settings(back, deleted) == merge_settings(deleted, back) == back
    assert merge_settings(back, revived(other)) == merge_settings(back, other) == revived(other)


@given(some_settings(), st.integers(8, 20))
def test_a_creation_after_the_deletion_wins_over_a_revival(a: Settings, timestamp: int) -> None:
    """Neither changes the other's policy, whichever a replica hears of first; and a later deletion ends both."""
    deleted = merge_settings(a, Settings("/a/c", 0, 7))
    again = Settings("/a/c", timestamp, 7, 2, timestamp, {"k": Setting("v", timestamp)}, 7)
    for merged in (merge_settings(again, revived(deleted)), merge_settings(revived(deleted), again)):
        assert merged == again
        assert not merge_settings(merged, Settings("/a/c", 0, timestamp)).exists
    assert not merge_settings(revived(deleted), Settings("/a/c", 0, 8)).exists


def test_two_names_do_not_merge() -> None:
    with pytest.raises(ValueError, match="settings of"):
        merge_settings(Settings("/a/c"), Settings("/a/d"))
