"""The five additional checksums of S3 (user guide: "Checking object integrity"): computed as bytes pass, read from a client's
value, and put together for a whole of parts.

A whole has one of two types. FULL_OBJECT is the checksum of its bytes; the CRCs give it without a second pass over them, see
`crccombine`. COMPOSITE is the checksum of its parts' digests, one after the other, and is followed by "-" and their number.

CRC-64/NVME comes from anycrc: 19 GB/s on one core where zlib's crc32 does 3 and sha256 1.2, 1.8 MB installed. awscrt does
60 GB/s and takes 13 MB and 6 MB of memory in each process; fastcrc 0.5 does not have this polynomial.
"""

import base64
import hashlib
import zlib
from collections.abc import Callable, Iterable
from enum import StrEnum
from typing import Protocol

import anycrc
from crc32c import crc32c

from objstore.model.crccombine import POLYNOMIALS, combine_crcs

PARTS_MAX = 10_000
"""S3's limit of the parts of one object."""


class ChecksumAlgorithm(StrEnum):
    """Values are the last word of the header `x-amz-checksum-<value>`; upper case is the form of documents."""

    CRC32 = "crc32"
    CRC32C = "crc32c"
    CRC64NVME = "crc64nvme"
    SHA1 = "sha1"
    SHA256 = "sha256"

    @property
    def digest_bytes(self) -> int:
        return _DIGEST_BYTES[self]

    @property
    def types(self) -> tuple["ChecksumType", ...]:
        """The types a whole of parts may have, its default first."""
        return _TYPES[self]


class ChecksumType(StrEnum):
    """What the checksum of a whole of parts is made of."""

    COMPOSITE = "COMPOSITE"
    FULL_OBJECT = "FULL_OBJECT"


_DIGEST_BYTES = {
    ChecksumAlgorithm.CRC32: 4,
    ChecksumAlgorithm.CRC32C: 4,
    ChecksumAlgorithm.CRC64NVME: 8,
    ChecksumAlgorithm.SHA1: 20,
    ChecksumAlgorithm.SHA256: 32,
}
_TYPES = {
    ChecksumAlgorithm.CRC32: (ChecksumType.COMPOSITE, ChecksumType.FULL_OBJECT),
    ChecksumAlgorithm.CRC32C: (ChecksumType.COMPOSITE, ChecksumType.FULL_OBJECT),
    ChecksumAlgorithm.CRC64NVME: (ChecksumType.FULL_OBJECT,),
    ChecksumAlgorithm.SHA1: (ChecksumType.COMPOSITE,),
    ChecksumAlgorithm.SHA256: (ChecksumType.COMPOSITE,),
}


class Hasher(Protocol):
    """A checksum over bytes that come in pieces."""

    def update(self, data: bytes, /) -> None: ...

    def digest(self) -> bytes:
        """Of all bytes so far, `digest_bytes` of them, most significant first."""


class CrcHasher:
    """A Hasher from a function (data, checksum so far) -> checksum."""

    def __init__(self, step: Callable[[bytes, int], int], digest_bytes: int) -> None:
        self._step = step
        self._digest_bytes = digest_bytes
        self._crc = 0

    def update(self, data: bytes, /) -> None:
        self._crc = self._step(data, self._crc)

    def digest(self) -> bytes:
        return self._crc.to_bytes(self._digest_bytes, "big")


def hasher_of(algorithm: ChecksumAlgorithm) -> Hasher:
    """A new Hasher. Its pieces must be `bytes` (zlib and hashlib let others run for pieces beyond 2 KiB)."""
    match algorithm:
        case ChecksumAlgorithm.CRC32:
            return CrcHasher(zlib.crc32, 4)
        case ChecksumAlgorithm.CRC32C:
            return CrcHasher(crc32c, 4)
        case ChecksumAlgorithm.CRC64NVME:
            return CrcHasher(anycrc.Model("CRC64-NVME").calc, 8)
        case ChecksumAlgorithm.SHA1:
            return hashlib.sha1(usedforsecurity=False)
        case ChecksumAlgorithm.SHA256:
            return hashlib.sha256()


def checksum(algorithm: ChecksumAlgorithm, data: bytes) -> bytes:
    """The digest of bytes that are there as a whole."""
    hasher = hasher_of(algorithm)
    hasher.update(data)
    return hasher.digest()


def checksum_text(digest: bytes) -> str:
    """The form of headers and documents: base64."""
    return base64.b64encode(digest).decode("ascii")


def parse_checksum(algorithm: ChecksumAlgorithm, text: str) -> bytes:
    """The digest of a client's value. Raises ValueError for anything but the base64 of as many bytes as the algorithm gives,
    written as `checksum_text` writes it.
    """
    try:
        digest = base64.b64decode(text, validate=True)
    except ValueError:  # binascii.Error is one
        digest = b""
    if len(digest) != algorithm.digest_bytes or checksum_text(digest) != text:
        raise ValueError(f"not a {algorithm.name} checksum")
    return digest


def full_object_checksum(algorithm: ChecksumAlgorithm, parts: Iterable[tuple[bytes, int]]) -> bytes:
    """The digest of the bytes of all parts from each part's (digest, size in bytes), in order; of no bytes without parts.

    Raises ValueError for sha1 and sha256: theirs does not follow from the parts'.
    """
    if algorithm not in POLYNOMIALS:
        raise ValueError(f"{algorithm.name} has no checksum of type {ChecksumType.FULL_OBJECT}")
    crcs = ((int.from_bytes(digest, "big"), size_bytes) for digest, size_bytes in parts)
    return combine_crcs(POLYNOMIALS[algorithm], crcs).to_bytes(algorithm.digest_bytes, "big")


def composite_checksum(algorithm: ChecksumAlgorithm, digests: Iterable[bytes]) -> str:
    """The text for a whole of parts from their digests, in order: base64, "-", number of parts.

    Raises ValueError for crc64nvme: S3 has no such checksum.
    """
    if ChecksumType.COMPOSITE not in algorithm.types:
        raise ValueError(f"{algorithm.name} has no checksum of type {ChecksumType.COMPOSITE}")
    of_parts = list(digests)
    return f"{checksum_text(checksum(algorithm, b''.join(of_parts)))}-{len(of_parts)}"


def parse_composite(algorithm: ChecksumAlgorithm, text: str) -> tuple[bytes, int]:
    """The digest and the number of parts of a client's value of type COMPOSITE. Raises ValueError for any other text."""
    value, dash, number = text.rpartition("-")
    digits = number.isascii() and number.isdigit() and number[0] != "0" and len(number) <= len(str(PARTS_MAX))
    if not dash or not digits or int(number) > PARTS_MAX:
        raise ValueError(f"not a {algorithm.name} checksum of type {ChecksumType.COMPOSITE}")
    return parse_checksum(algorithm, value), int(number)
