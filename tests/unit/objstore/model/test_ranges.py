import pytest
from hypothesis import given
from hypothesis import strategies as st

from objstore.model.ranges import AMPLIFICATION_MAX, ByteRange, Span, parse_ranges, resolve, resolve_one

SIZES = st.integers(0, 40)
NUMBERS = st.one_of(st.none(), st.integers(0, 60))


@pytest.mark.parametrize(
    ("text", "ranges"),
    [
        ("bytes=0-4", [ByteRange(0, 4)]),
        ("BYTES = 0 - 999", [ByteRange(0, 999)]),
        ("bytes=0-999 ", [ByteRange(0, 999)]),
        ("bytes=5-", [ByteRange(5, None)]),
        ("bytes=-5", [ByteRange(None, 5)]),
        ("bytes=-0", [ByteRange(None, 0)]),
        ("bytes=0-1,4-5,-2", [ByteRange(0, 1), ByteRange(4, 5), ByteRange(None, 2)]),
        ("bytes=" + "9" * 50 + "-", [ByteRange(10**19, None)]),
        ("0-4", None),
        ("parsecs=8-12", None),
        ("bytes", None),
        ("bytes=", None),
        ("bytes=-", None),
        ("bytes=4-2", None),
        ("bytes=0-4,", None),
        ("bytes=a-4", None),
        ("bytes=+1-4", None),
        ("bytes=١-٢", None),
        ("bytes=--4", None),
        ("bytes=1-2-3", None),
        ("", None),
    ],
)
def test_parse(text: str, ranges: list[ByteRange] | None) -> None:
    assert parse_ranges(text) == ranges


@given(st.text(alphabet="bytes=0123456789-, ", max_size=40))
def test_parse_takes_any_text(text: str) -> None:
    ranges = parse_ranges(text)
    assert ranges is None or all(first is not None or last is not None for first, last in ranges)


@given(NUMBERS, NUMBERS, SIZES)
def test_resolve_one_agrees_with_slices(first: int | None, last: int | None, size: int) -> None:
    if (first is None and last is None) or (first is not None and last is not None and first > last):
        return
    data = list(range(size))
    if first is None:
        assert last is not None
        expected = data[-last:] if last else []
    else:
        expected = data[first:] if last is None else data[first : last + 1]
    span = resolve_one(ByteRange(first, last), size)
    assert (data[span.start : span.end] if span else []) == expected
    assert span is None or (0 < span.length <= size and span.start >= 0)


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)), max_size=60), st.integers(1, 40))
def test_resolve_is_bounded(pairs: list[tuple[int, int]], size: int) -> None:
    ranges = [ByteRange(min(pair), max(pair)) for pair in pairs]
    spans = resolve(ranges, size)
    assert len(spans) <= 50
    if len(spans) > 1:
        assert sum(span.length for span in spans) <= AMPLIFICATION_MAX * size
        assert spans == [span for one in ranges if (span := resolve_one(one, size))]


def test_the_limits() -> None:
    assert resolve([ByteRange(i, i) for i in range(50)], 100) == [Span(i, 1) for i in range(50)]
    assert resolve([ByteRange(i, i) for i in range(51)], 100) == []
    assert resolve([ByteRange(9 - i, 9 - i) for i in range(7)], 100) != []
    assert resolve([ByteRange(9 - i, 9 - i) for i in range(8)], 100) == []
    assert resolve([ByteRange(0, 9), ByteRange(5, 6), ByteRange(7, 8)], 100) != []
    assert resolve([ByteRange(0, 9), ByteRange(2, 3), ByteRange(5, 6), ByteRange(7, 8)], 100) == []
    assert resolve([ByteRange(0, 99), ByteRange(0, 99), ByteRange(0, 0)], 100) == []
    assert resolve([ByteRange(0, 1), ByteRange(200, None)], 100) == [Span(0, 2)]
