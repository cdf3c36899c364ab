"""The digest of a set of rows, kept up to date row by row.

It is the sum of one xxh3-128 per row, modulo 2^128: rows come and go in any order, each at the price of one hash, and two replicas
compare in O(1). A hash covers the row's msgpack form, so digests of different schema versions say nothing about each other.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import msgspec
import xxhash

from objstore.model.listing import Listed

DIGEST_BYTES = 16
_MASK = (1 << 8 * DIGEST_BYTES) - 1
_encode = msgspec.msgpack.Encoder().encode


class Digests(NamedTuple):
    """Of all rows, and of those that live: replicas forget tombstones at times of their own."""

    rows: int = 0
    live: int = 0

    def __add__(self, other: object) -> "Digests":
        if not isinstance(other, Digests):
            return NotImplemented
        return Digests(self.rows + other.rows & _MASK, self.live + other.live & _MASK)

    def __sub__(self, other: "Digests") -> "Digests":
        return Digests(self.rows - other.rows & _MASK, self.live - other.live & _MASK)


def digests_of(rows: Sequence[Listed]) -> Digests:
    """Of rows of different names."""
    hashes = [xxhash.xxh3_128_intdigest(_encode(row)) for row in rows]
    total = sum(hashes)
    gone = sum([hash_ for hash_, row in zip(hashes, rows, strict=True) if row.deleted])
    return Digests(total & _MASK, total - gone & _MASK)


def to_bytes(digest: int) -> bytes:
    return digest.to_bytes(DIGEST_BYTES)


def from_bytes(data: bytes) -> int:
    return int.from_bytes(data)


def fold(parts: Iterable[Digests]) -> Digests:
    """Of rows given in parts."""
    total = Digests()
    for part in parts:
        total += part
    return total
