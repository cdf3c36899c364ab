"""Byte ranges (RFC 9110 section 14): parse, and resolve against a size."""

from itertools import pairwise
from typing import NamedTuple

RANGES_MAX = 50
"""Ranges honoured in one request; Swift's limit."""
OVERLAPS_MAX = 2
"""Pairs of overlapping ranges honoured (RFC 9110 section 17.15: many overlaps are an attack)."""
UNORDERED_MAX = 8
"""From this many on, ranges must ascend."""
AMPLIFICATION_MAX = 2
"""All ranges together may ask for this many times the object's size."""

_NUMBER_MAX = 10**19


class ByteRange(NamedTuple):
    """As asked for: (first, last) inclusive, (first, None) to the end, (None, n) the last n bytes."""

    first: int | None
    last: int | None


class Span(NamedTuple):
    """Resolved: `length` bytes from `start`, inside the object."""

    start: int
    length: int

    @property
    def end(self) -> int:
        """The first byte behind it."""
        return self.start + self.length


def parse_ranges(text: str) -> list[ByteRange] | None:
    """The ranges of a Range header's value; None for what must be ignored: another unit, or anything malformed.

    Blanks and the unit's case do not matter, as in Swift.
    """
    unit, equals, rest = text.replace(" ", "").replace("\t", "").partition("=")
    if not equals or unit.lower() != "bytes":
        return None
    try:
        return [_parse_one(item) for item in rest.split(",")]
    except ValueError:
        return None


def _parse_one(item: str) -> ByteRange:
    first_text, dash, last_text = item.partition("-")
    if not dash:
        raise ValueError(item)
    first = _number(first_text) if first_text else None
    last = _number(last_text) if last_text else None
    if first is None and last is None:
        raise ValueError(item)
    if first is not None and last is not None and first > last:
        raise ValueError(item)
    return ByteRange(first, last)


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise ValueError(text)
    return int(text) if len(text) < 20 else _NUMBER_MAX


def resolve_one(wanted: ByteRange, size: int) -> Span | None:
    """The part of an object of `size` bytes that a range covers; None when it is not satisfiable."""
    first, last = wanted
    if first is None:
        length = min(last or 0, size)
        return Span(size - length, length) if length else None
    if first >= size:
        return None
    end = size if last is None else min(last + 1, size)
    return Span(first, end - first)


def resolve(ranges: list[ByteRange], size: int) -> list[Span]:
    """The satisfiable ranges in the order asked for; empty when there is none, or when they ask for too much (see the limits
    above): the answer is then RangeNotSatisfiable.
    """
    if len(ranges) > RANGES_MAX:
        return []
    spans = [span for wanted in ranges if (span := resolve_one(wanted, size)) is not None]
    if len(spans) < 2:
        return spans
    ascending = all(a.start <= b.start for a, b in pairwise(spans))
    if not ascending and len(spans) >= UNORDERED_MAX:
        return []
    if sum(span.length for span in spans) > AMPLIFICATION_MAX * size:
        return []
    if _overlaps(spans) > OVERLAPS_MAX:
        return []
    return spans


def _overlaps(spans: list[Span]) -> int:
    """How many spans begin inside one that begins before them, or with them."""
    count, end = 0, 0
    for span in sorted(spans):
        count += span.start < end
        end = max(end, span.end)
    return count
