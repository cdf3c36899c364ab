"""Byte ranges (RFC 9110 section 14): parse, and resolve against a size."""

from typing import NamedTuple

RANGES_MAX = 50
"""Ranges honoured in one request; Swift's limit."""


class ByteRange(NamedTuple):
    """As asked for: (first, last) inclusive, (first, None) to the end, (None, n) the last n bytes."""

    first: int | None
    last: int | None


class Span(NamedTuple):
    """Resolved: `length` bytes from `start`, inside the object."""

    start: int
    length: int
