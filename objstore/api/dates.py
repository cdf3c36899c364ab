"""Dates of HTTP (RFC 9110 section 5.6.7): written in the one preferred form, read in all three."""

from calendar import timegm
from datetime import UTC, datetime
from email.utils import parsedate_tz
from functools import lru_cache

from objstore.model.timestamps import IDENTITY_BITS, TICKS_PER_SECOND

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_SECONDS_MAX = 253_402_300_799  # the last second of the year 9999
DATE_CHARS_MAX = 64
DAYS_MAX = 1024
"""So many days are kept as text: what is asked for often is rarely spread over more."""
_SECONDS_PER_DAY = 86_400


def http_date(seconds: int) -> str:
    """`Sun, 22 Nov 2026 22:27:58 GMT`"""
    days, left = divmod(min(max(seconds, 0), _SECONDS_MAX), _SECONDS_PER_DAY)
    minutes, second = divmod(left, 60)
    hour, minute = divmod(minutes, 60)
    return f"{_day(days)} {hour:02d}:{minute:02d}:{second:02d} GMT"


@lru_cache(maxsize=DAYS_MAX)
def _day(days: int) -> str:
    t = datetime.fromtimestamp(days * _SECONDS_PER_DAY, UTC)
    return f"{_DAYS[t.weekday()]}, {t.day:02d} {_MONTHS[t.month - 1]} {t.year}"


def parse_http_date(text: str) -> int | None:
    """Seconds since the epoch; None for what is no date (a condition on it is then ignored). RFC 1123, RFC 850, asctime."""
    if len(text) > DATE_CHARS_MAX:
        return None
    parsed = parsedate_tz(text)
    if parsed is None:
        return None
    try:
        datetime(*parsed[:6])
    except (ValueError, OverflowError):
        return None
    return timegm((*parsed[:6], 0, 0, 0)) - (parsed[9] or 0)


def ceil_seconds(timestamp: int) -> int:
    """A timestamp in whole seconds, rounded up: what Last-Modified shows."""
    return -(-(timestamp >> IDENTITY_BITS) // TICKS_PER_SECOND)


def last_modified(timestamp: int) -> str:
    """The Last-Modified header of something last changed at `timestamp`."""
    return http_date(ceil_seconds(timestamp))


def listing_date(timestamp: int) -> str:
    """The form of listings: `2026-11-22T22:27:57.590410`."""
    seconds, ticks = divmod(timestamp >> IDENTITY_BITS, TICKS_PER_SECOND)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{ticks:05d}0"
