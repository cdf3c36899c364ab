"""Groups of the journal: what was flushed is found, and nothing else."""

import random

from hypothesis import given, strategies

from objstore.formats.journal import BLOCK_BYTES, Entry, Group, encode_group, outstanding, scan

SEED = 0x5EED
contents = strategies.none() | strategies.binary(max_size=9000)
entries = strategies.lists(
    strategies.builds(
        Entry,
        strategies.text(max_size=20),
        contents,
        strategies.dictionaries(strategies.text(max_size=5), strategies.binary(max_size=50), max_size=2),
        strategies.none() | strategies.binary(max_size=100),
    ),
    max_size=4,
)


def segment(groups: list[list[Entry]], first: int = 1, floor: int = 0, size: int = 0) -> bytes:
    data = b"".join(encode_group(SEED, first + number, floor, group) for number, group in enumerate(groups))
    return data + bytes(max(0, size - len(data)))


def found(data: bytes) -> list[Group]:
    return [group for _, group in scan(data, SEED)]


@given(strategies.lists(entries, max_size=4), strategies.integers(1, 2**40))
def test_what_was_written_is_found(groups: list[list[Entry]], first: int) -> None:
    data = segment(groups, first, first - 1, 1 << 16)
    assert [group.entries for group in found(data)] == groups
    ends = [end for end, _ in scan(data, SEED)]
    assert all(end % BLOCK_BYTES == 0 for end in ends)
    assert segment(groups, first, first - 1)[: ends[-1] if ends else 0] == data[: ends[-1] if ends else 0]


@given(strategies.lists(entries, min_size=1, max_size=4), strategies.randoms())
def test_a_torn_write_ends_the_segment(groups: list[list[Entry]], rng: random.Random) -> None:
    data = bytearray(segment(groups))
    last = len(data) - len(encode_group(SEED, len(groups), 0, groups[-1]))
    payload = len(data) - last
    at = last + rng.randrange(min(payload, 28))
    data[at] ^= 1 << rng.randrange(8)
    assert [group.entries for group in found(bytes(data))] == groups[:-1]


def test_what_a_segment_held_before_is_not_found_again() -> None:
    """Also where groups of the last round begin just where the new ones end."""
    one = [Entry("a", b"x")]
    old, new = segment([one] * 8, first=1), segment([one] * 3, first=101)
    assert [group.number for group in found(new + old[len(new) :])] == [101, 102, 103]


def test_a_body_that_looks_like_a_group_is_none() -> None:
    """Whoever writes it does not know the seed; the numbers they could guess."""
    forged = encode_group(0, 2, 0, [Entry("objects/1/forged", b"x")])
    torn = encode_group(SEED, 1, 0, [Entry("a", bytes(BLOCK_BYTES - 60) + forged)])
    data = encode_group(SEED, 1, 0, [])  # written over the torn one, shorter
    data += torn[len(data) :]
    assert [group.number for group in found(data)] == [1]


def test_only_what_is_above_the_highest_floor_is_outstanding() -> None:
    groups = [*found(segment([[Entry("a", b"1")]] * 5, first=1)), *found(segment([[Entry("b", b"2")]] * 2, first=6, floor=4))]
    left = outstanding(groups)
    assert [group.number for group in left.groups] == [5, 6, 7]
    assert (left.floor, left.last, left.missing) == (4, 7, 0)


def test_missing_groups_are_counted() -> None:
    left = outstanding(group for group in found(segment([[]] * 6)) if group.number not in (2, 3))
    assert (left.missing, left.last) == (2, 6)


def test_nothing_is_outstanding_in_an_empty_journal() -> None:
    assert outstanding([]) == ([], 0, 0, 0)
    assert found(bytes(1 << 16)) == []
