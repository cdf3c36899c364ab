"""The crc32c of bytes whose chunks' crc32c are known, without a look at the bytes.

A crc is linear in the one that it goes on from: crc(A + B) = shifted(crc(A), len(B)) ^ crc(B), and what a shift by a fixed length
makes of 32 bits is put together from what it makes of each byte of them (zlib's crc32_combine rests on the same).
"""

from collections.abc import Iterable

from crc32c import crc32c


class Joiner:
    """Joins crcs of chunks of one fixed length."""

    def __init__(self, chunk_bytes: int) -> None:
        zeros = bytes(chunk_bytes)
        start = crc32c(zeros)
        bits = [crc32c(zeros, 1 << bit) ^ start for bit in range(32)]
        self._tables = [_of_byte(bits[at : at + 8]) for at in range(0, 32, 8)]

    def join(self, crcs: Iterable[int]) -> int:
        """Of whole chunks, each of the fixed length, one after the other."""
        low, second, third, high = self._tables
        joined = 0
        for crc in crcs:
            joined = low[joined & 255] ^ second[joined >> 8 & 255] ^ third[joined >> 16 & 255] ^ high[joined >> 24] ^ crc
        return joined


def _of_byte(bits: list[int]) -> list[int]:
    table = [0]
    for value in bits:
        table += [value ^ one for one in table]
    return table
