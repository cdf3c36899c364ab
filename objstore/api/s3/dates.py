"""Dates of S3's documents."""

from datetime import UTC, datetime
from functools import lru_cache

from objstore.model.timestamps import IDENTITY_BITS, TICKS_PER_SECOND


def iso_date(timestamp: int) -> str:
    """`2026-11-22T22:27:57.590Z`, rounded up to whole seconds, as Last-Modified is: clients compare the two."""
    return _second(-(-(timestamp >> IDENTITY_BITS) // TICKS_PER_SECOND))


@lru_cache(maxsize=4096)
def _second(seconds: int) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.000Z"
