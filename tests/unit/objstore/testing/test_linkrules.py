"""What becomes of the bytes of one direction of a connection."""

import pytest

from objstore.testing.linkrules import PIECE_BYTES, Cut, Rule, Stream, flipped


def given(stream: Stream, now: float) -> bytes:
    return b"".join(data for data in stream.give(now) if data is not None)


def test_without_a_rule_all_passes_at_once() -> None:
    stream = Stream(Rule())
    stream.take(b"one", 0.0)
    stream.take(b"two", 0.0)
    stream.take(None, 0.0)
    assert list(stream.give(0.0)) == [b"one", b"two", None]
    assert stream.next_due is None and stream.queued_bytes == 0 and not stream.broken


def test_delayed_bytes_arrive_in_order_at_their_time() -> None:
    stream = Stream(Rule(delay_s=1.0))
    stream.take(b"one", 10.0)
    stream.take(b"two", 10.5)
    stream.take(None, 10.6)
    assert (given(stream, 10.9), stream.next_due, stream.queued_bytes) == (b"", 11.0, 6)
    assert given(stream, 11.0) == b"one"
    assert list(stream.give(12.0)) == [b"two", None]


def test_a_delay_that_ends_lets_go_of_what_waits() -> None:
    stream = Stream(Rule(delay_s=100.0))
    stream.take(b"late", 0.0)
    stream.set_rule(Rule())
    stream.take(b"r", 1.0)
    assert given(stream, 1.0) == b"later"


def test_bandwidth_spreads_bytes_over_time() -> None:
    stream = Stream(Rule(bytes_per_s=float(PIECE_BYTES)))
    stream.take(bytes(3 * PIECE_BYTES), 0.0)
    assert [len(given(stream, now)) // PIECE_BYTES for now in (0.9, 1.0, 1.5, 2.0, 3.0)] == [0, 1, 0, 1, 1]
    stream.take(b"x" * PIECE_BYTES, 10.0)
    assert stream.next_due == 11.0, "unused time is not saved up"


def test_lost_bytes_make_a_hole_that_ends_the_connection_when_others_follow() -> None:
    stream = Stream(Rule(lost=True))
    stream.take(b"gone", 0.0)
    assert given(stream, 9.0) == b"" and stream.holed and not stream.broken, "nobody notices yet"
    stream.set_rule(Rule())
    assert stream.broken
    whole = Stream(Rule(lost=True))
    whole.set_rule(Rule())
    assert not whole.broken, "nothing was sent meanwhile, so nothing is missing"


def test_what_waits_is_lost_as_well() -> None:
    stream = Stream(Rule(delay_s=1.0))
    stream.take(b"on its way", 0.0)
    stream.set_rule(Rule(lost=True))
    assert stream.holed and stream.queued_bytes == 0 and given(stream, 9.0) == b""


@pytest.mark.parametrize("sizes", [(10,), (4, 6), (5, 5), (1,) * 10])
@pytest.mark.parametrize("after", range(10))
def test_a_cut_comes_after_exactly_so_many_bytes(sizes: tuple[int, ...], after: int) -> None:
    stream = Stream(Rule(cut_after=after, cuts=1))
    data, passed = b"0123456789", b""
    with pytest.raises(Cut):
        for size in sizes:
            piece, data = data[:size], data[size:]
            stream.take(piece, 0.0)
            passed += given(stream, 0.0)
    assert passed + given(stream, 0.0) == b"0123456789"[:after]


def test_only_so_many_connections_are_cut() -> None:
    rule = Rule(cut_after=2, cuts=1)
    first, second = Stream(rule), Stream(rule)
    first.take(b"ab", 0.0)
    with pytest.raises(Cut):
        second.take(b"abc", 0.0)
    first.take(b"cd", 0.0)
    assert given(first, 0.0) == b"abcd" and rule.passes, "the rule is used up"


@pytest.mark.parametrize("after", [0, 3, 4, 9])
def test_one_bit_is_turned_over(after: int) -> None:
    stream = Stream(Rule(flip_after=after, flips=1))
    stream.take(b"0123", 0.0)
    stream.take(b"456789", 0.0)
    stream.take(b"0123456789", 0.0)
    assert given(stream, 0.0) == flipped(b"0123456789", after) + b"0123456789"


def test_a_changed_rule_counts_from_where_it_was_set() -> None:
    stream = Stream(Rule())
    stream.take(b"before", 0.0)
    stream.set_rule(Rule(cut_after=1, cuts=1))
    with pytest.raises(Cut):
        stream.take(b"ab", 0.0)
    assert given(stream, 0.0) == b"beforea"
