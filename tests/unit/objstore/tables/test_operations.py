"""What creating, updating and deleting do to settings, and when they are refused."""

import pytest

from objstore.formats.messages import Setting, Settings, WriteTable
from objstore.model.errors import Code, NodeError
from objstore.tables.operations import created, deleted, updated
from tests.unit.objstore.tables.rig import HASH, NAME, TARGET


def request(timestamp: int, policy: int = 0, **values: str) -> WriteTable:
    return WriteTable("container", TARGET, HASH, NAME, timestamp, "create", values, policy)


def test_created_then_created_again_keeps_policy_and_creation_time() -> None:
    first = created(Settings(NAME), request(5, policy=1, k="v"))
    assert first == Settings(NAME, 5, 0, 1, 5, {"k": Setting("v", 5)}, 0)
    second = created(first, request(7, policy=0, l="w"))
    assert second == Settings(NAME, 7, 0, 1, 5, {"k": Setting("v", 5), "l": Setting("w", 7)}, 0)


def test_an_older_creation_of_what_exists_does_not_move_its_time() -> None:
    exists = created(Settings(NAME), request(5))
    assert created(exists, request(4)) == exists


def test_what_is_created_after_its_deletion_starts_empty() -> None:
    gone = deleted(created(Settings(NAME), request(5, policy=1, k="v")), 6)
    assert (gone.exists, gone.values) == (False, {})
    again = created(gone, request(7, policy=2))
    assert again == Settings(NAME, 7, 6, 2, 7, {}, 6)


def test_a_creation_before_the_deletion_is_told_what_it_must_exceed() -> None:
    gone = deleted(created(Settings(NAME), request(5)), 6)
    with pytest.raises(NodeError) as raised:
        created(gone, request(6))
    assert (raised.value.code, raised.value.timestamp) == (Code.NEWER_EXISTS, 6)


def test_update_sets_only_what_it_names() -> None:
    exists = created(Settings(NAME), request(5, k="v", l="w"))
    assert updated(exists, request(6, k="")).values == {"k": Setting("", 6), "l": Setting("w", 5)}


def test_update_of_nothing_is_not_found_with_the_deletions_time() -> None:
    with pytest.raises(NodeError) as raised:
        updated(Settings(NAME), request(5))
    assert (raised.value.code, raised.value.timestamp) == (Code.NOT_FOUND, 0)
    with pytest.raises(NodeError) as raised:
        updated(Settings(NAME, 5, 6), request(7))
    assert (raised.value.code, raised.value.timestamp) == (Code.NOT_FOUND, 6)


def test_a_change_behind_a_newer_one_is_refused_not_dropped() -> None:
    exists = updated(created(Settings(NAME), request(5)), request(8, k="v"))
    for change, timestamp in ((updated, 7), (created, 8)):
        with pytest.raises(NodeError) as raised:
            change(exists, request(timestamp, k="other"))
        assert (raised.value.code, raised.value.timestamp) == (Code.NEWER_EXISTS, 8)


def test_the_same_change_twice_is_no_error() -> None:
    exists = created(Settings(NAME), request(5, k="v"))
    assert created(exists, request(5, k="v")) == exists
    assert updated(exists, request(5, k="v")) == exists
    gone = deleted(exists, 6)
    assert deleted(gone, 6) is gone


def test_a_deletion_must_come_after_all_that_is_set() -> None:
    exists = updated(created(Settings(NAME), request(5)), request(8, k="v"))
    for timestamp in (5, 7, 8):
        with pytest.raises(NodeError) as raised:
            deleted(exists, timestamp)
        assert (raised.value.code, raised.value.timestamp) == (Code.NEWER_EXISTS, 8)
    with pytest.raises(NodeError) as raised:
        deleted(deleted(exists, 9), 10)
    assert (raised.value.code, raised.value.timestamp) == (Code.NOT_FOUND, 9)
