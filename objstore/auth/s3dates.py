"""Dates that S3 requests carry. All times are whole seconds since the epoch."""

from calendar import timegm
from datetime import UTC, datetime
from email.utils import parsedate_tz
from functools import lru_cache

SKEW_S_MAX = 900
DATE_CHARS_MAX = 64

_BASIC_CHARS = len("20130524T000000Z")
_SECONDS_MAX = 253_402_300_799  # the last second of the year 9999


@lru_cache(maxsize=256)
def parse_basic(text: str) -> int | None:
    """Of the form `20130524T000000Z` (ISO 8601, basic); None for anything else. All requests of a second have the same."""
    digits = text[:8] + text[9:15]
    if len(text) != _BASIC_CHARS or text[8] != "T" or text[15] != "Z" or not (digits.isascii() and digits.isdigit()):
        return None
    date = int(digits[:4]), int(digits[4:6]), int(digits[6:8])
    return _seconds((*date, int(digits[8:10]), int(digits[10:12]), int(digits[12:])))


def format_basic(seconds: int) -> str:
    """`20130524T000000Z`"""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y%m%dT%H%M%SZ}"


def format_extended(seconds: float) -> str:
    """`2013-05-24T00:00:00Z`, the form of error documents."""
    return f"{datetime.fromtimestamp(min(max(int(seconds), 0), _SECONDS_MAX), UTC):%Y-%m-%dT%H:%M:%SZ}"


def parse_date(text: str) -> int | None:
    """Of a `Date` header or an `x-amz-date` of the older signatures: basic, or the forms of mail (RFC 5322) and HTTP; else None."""
    basic = parse_basic(text)
    if basic is not None or len(text) > DATE_CHARS_MAX:
        return basic
    parsed = parsedate_tz(text)
    seconds = _seconds(parsed[:6]) if parsed else None
    return None if parsed is None or seconds is None else seconds - (parsed[9] or 0)


def _seconds(numbers: tuple[int, ...]) -> int | None:
    """Of (year, month, day, hour, minute, second); None when there is no such time, or it was before 1970."""
    try:
        year, month, day, hour, minute, second = numbers
        datetime(year, month, day, hour, minute, second)
    except (ValueError, OverflowError):
        return None
    return timegm((*numbers, 0, 0, 0)) if numbers[0] >= 1970 else None
