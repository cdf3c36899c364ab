"""The CRC of joined bytes from the CRCs of the parts.

A CRC is the remainder of the bytes, as a polynomial over GF(2), divided by the generator. To append n bytes multiplies what came
before by x^(8n), so

    crc(A + B) = crc(A) * x^(8 * len(B)) mod generator  XOR  crc(B)

The inversions of the register before and after, which all CRCs here have, cancel out (M. Adler, zlib's crc32_combine). The
polynomials are reflected: bit 0 is the coefficient of the highest power, and the highest bit is 1.
"""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Polynomial:
    """A generator without its leading term, reflected, of degree `bits`."""

    bits: int
    reflected: int

    def multiply(self, left: int, right: int) -> int:
        """left * right mod generator."""
        product, term = 0, 1 << (self.bits - 1)
        while left:
            if left & term:
                product ^= right
                left ^= term
            term >>= 1
            right = (right >> 1) ^ self.reflected if right & 1 else right >> 1
        return product

    def shift(self, count_bytes: int) -> int:
        """x^(8 * count_bytes) mod generator, by repeated squaring."""
        power, square = 1 << (self.bits - 1), 1 << (self.bits - 9)  # 1, x^8
        while count_bytes:
            if count_bytes & 1:
                power = self.multiply(square, power)
            square = self.multiply(square, square)
            count_bytes >>= 1
        return power


POLYNOMIALS = {
    "crc32": Polynomial(32, 0xEDB88320),
    "crc32c": Polynomial(32, 0x82F63B78),
    "crc64nvme": Polynomial(64, 0x9A6C9329AC4BC9B5),
}


def combine_crcs(polynomial: Polynomial, parts: Iterable[tuple[int, int]]) -> int:
    """The CRC of all parts joined from each part's (crc, size in bytes), in order; 0, that of no bytes, without parts.

    Costs some 10 µs a part, and some 300 µs for every size that occurs.
    """
    whole, shifts = 0, dict[int, int]()
    for crc, size_bytes in parts:
        if size_bytes not in shifts:
            shifts[size_bytes] = polynomial.shift(size_bytes)
        whole = polynomial.multiply(whole, shifts[size_bytes]) ^ crc
    return whole
