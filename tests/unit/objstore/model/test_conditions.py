from itertools import product

import pytest

from objstore.model.conditions import NO_CONDITIONS, Conditions, check_read, check_write
from objstore.model.errors import NotModified, PreconditionFailed, StoreError

TAGS = (None, frozenset({"e"}), frozenset({"x"}), frozenset({"*"}), frozenset({'not-"e"'}))
TIMES = (None, 9, 10, 11)


def read(conditions: Conditions) -> type[StoreError] | None:
    try:
        check_read(conditions, "e", 10, 77)
    except StoreError as error:
        assert error.etag == "e"  # type: ignore[attr-defined]
        return type(error)
    return None


def test_reads_in_all_combinations() -> None:
    for match, none_match, modified, unmodified in product(TAGS, TAGS, TIMES, TIMES):
        found = read(Conditions(match, none_match, modified, unmodified))
        fails = (match is not None and not match & {"e", "*"}) or (unmodified is not None and unmodified < 10)
        recent = modified is not None and modified >= 10
        unchanged = recent if none_match is None else bool(none_match & {"e", "*"})
        assert found is (PreconditionFailed if fails else NotModified if unchanged else None)


@pytest.mark.parametrize(
    ("conditions", "absent", "present"),
    [
        (NO_CONDITIONS, True, True),
        (Conditions(if_none_match=frozenset("*")), True, False),
        (Conditions(if_none_match=frozenset("e")), True, False),
        (Conditions(if_none_match=frozenset("x")), True, True),
        (Conditions(if_match=frozenset("*")), False, True),
        (Conditions(if_match=frozenset("e")), False, True),
        (Conditions(if_match=frozenset("x")), False, False),
        (Conditions(unmodified_since_s=10), True, True),
        (Conditions(unmodified_since_s=9), True, False),
    ],
)
def test_writes(conditions: Conditions, absent: bool, present: bool) -> None:
    for etag, allowed in ((None, absent), ("e", present)):
        try:
            check_write(conditions, etag, 10)
        except PreconditionFailed:
            assert not allowed
        else:
            assert allowed


def test_emptiness() -> None:
    assert Conditions().empty
    assert not Conditions(modified_since_s=0).empty
