"""Timestamps: one 64-bit integer that orders every change of one name.

The upper bits count ticks of 10 µs since the epoch, Swift's resolution of `X-Timestamp`; the lower 14 bits hold the identity
of the process that gave it, so two processes never give the same one. The integer fits a signed 64-bit SQLite column until 2148.
"""

from typing import NewType

Timestamp = NewType("Timestamp", int)

TICKS_PER_SECOND = 100_000
IDENTITY_BITS = 14
IDENTITY_MAX = (1 << IDENTITY_BITS) - 1

ZERO = Timestamp(0)


def from_ticks(ticks: int, identity: int = 0) -> Timestamp:
    """The timestamp of a tick count (10 µs since the epoch) given by `identity` (0..16383)."""
    return Timestamp(ticks << IDENTITY_BITS | identity)


def from_seconds(seconds: float, identity: int = 0) -> Timestamp:
    """The timestamp of a wall clock reading in seconds since the epoch."""
    return from_ticks(int(seconds * TICKS_PER_SECOND), identity)


def ticks_of(timestamp: int) -> int:
    """Ticks of 10 µs since the epoch."""
    return timestamp >> IDENTITY_BITS


def seconds_of(timestamp: int) -> float:
    """Seconds since the epoch."""
    return (timestamp >> IDENTITY_BITS) / TICKS_PER_SECOND


def to_swift(timestamp: int) -> str:
    """The form of Swift's `X-Timestamp`: ten digits, a point, five digits."""
    seconds, ticks = divmod(timestamp >> IDENTITY_BITS, TICKS_PER_SECOND)
    return f"{seconds:010d}.{ticks:05d}"


def to_text(timestamp: int) -> str:
    """The form used in file names; it sorts as the timestamps do: `1763849577.12345_0a3f`."""
    return f"{to_swift(timestamp)}_{timestamp & IDENTITY_MAX:04x}"


def from_text(text: str) -> Timestamp:
    """The inverse of `to_text`.

    Raises ValueError for any text that `to_text` could not have written.
    """
    if len(text) != 21 or text[10] != "." or text[16] != "_":
        raise ValueError(f"not a timestamp: {text!r}")
    timestamp = from_ticks(int(text[:10]) * TICKS_PER_SECOND + int(text[11:16]), int(text[17:], 16))
    if to_text(timestamp) != text:
        raise ValueError(f"not a timestamp: {text!r}")
    return timestamp
