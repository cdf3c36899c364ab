"""S3's checksums: known values, what clients may send, and wholes of parts."""

import base64
import hashlib
import time
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from objstore.model.checksums import (
    ChecksumAlgorithm,
    ChecksumType,
    checksum,
    checksum_text,
    composite_checksum,
    full_object_checksum,
    hasher_of,
    parse_checksum,
    parse_composite,
)

CRCS = (ChecksumAlgorithm.CRC32, ChecksumAlgorithm.CRC32C, ChecksumAlgorithm.CRC64NVME)
PIECES = st.lists(st.binary(max_size=200), max_size=8)


@pytest.mark.parametrize(
    ("algorithm", "digest"),
    [
        (ChecksumAlgorithm.CRC32, "cbf43926"),
        (ChecksumAlgorithm.CRC32C, "e3069283"),
        (ChecksumAlgorithm.CRC64NVME, "ae8b14860a799888"),
        (ChecksumAlgorithm.SHA1, "f7c3bc1d808e04732adf679965ccc34ca7ae3441"),
        (ChecksumAlgorithm.SHA256, "15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225"),
    ],
)
def test_check_values(algorithm: ChecksumAlgorithm, digest: str) -> None:
    assert checksum(algorithm, b"123456789").hex() == digest
    assert len(checksum(algorithm, b"")) == algorithm.digest_bytes


@pytest.mark.parametrize("algorithm", ChecksumAlgorithm)
@given(pieces=PIECES)
def test_pieces_are_as_good_as_the_whole(algorithm: ChecksumAlgorithm, pieces: list[bytes]) -> None:
    hasher = hasher_of(algorithm)
    for piece in pieces:
        hasher.update(piece)
    assert hasher.digest() == checksum(algorithm, b"".join(pieces))


@pytest.mark.parametrize("algorithm", ChecksumAlgorithm)
@given(data=st.binary())
def test_text_and_back(algorithm: ChecksumAlgorithm, data: bytes) -> None:
    digest = checksum(algorithm, data)
    assert parse_checksum(algorithm, checksum_text(digest)) == digest


@pytest.mark.parametrize(
    "text",
    ["", "bad", "AAAAAA", "AAAAAA=", "AAAAAA===", "AAAAAB==", " AAAAAA==", "AAAAAA==\n", "AA\nAAAA==", "AAAAAAA=", "AAAA",
     "ÄAAAAA==", "AAAAAAAAAAA=", "-_AAAA==", "AAAAAA==-1"],
)  # fmt: skip
def test_what_is_no_checksum(text: str) -> None:
    assert parse_checksum(ChecksumAlgorithm.CRC32, "AAAAAA==") == bytes(4)
    with pytest.raises(ValueError, match="not a CRC32 checksum"):
        parse_checksum(ChecksumAlgorithm.CRC32, text)


@pytest.mark.parametrize("algorithm", CRCS)
@given(pieces=PIECES)
def test_the_crc_of_the_whole_follows_from_the_parts(algorithm: ChecksumAlgorithm, pieces: list[bytes]) -> None:
    parts = [(checksum(algorithm, piece), len(piece)) for piece in pieces]
    assert full_object_checksum(algorithm, parts) == checksum(algorithm, b"".join(pieces))


@pytest.mark.parametrize("algorithm", CRCS)
def test_large_parts(algorithm: ChecksumAlgorithm) -> None:
    """Sizes beyond 2^32: as many parts in two steps as in one."""
    part, size = checksum(algorithm, b"part"), 5 << 40
    joined = full_object_checksum(algorithm, [(part, size), (part, size)])
    assert full_object_checksum(algorithm, [(joined, 2 * size), (part, size)]) == full_object_checksum(
        algorithm, [(part, size)] * 3
    )
    assert joined != full_object_checksum(algorithm, [(part, size), (part, size + 1)])


def test_ten_thousand_parts_are_cheap() -> None:
    part = checksum(ChecksumAlgorithm.CRC64NVME, b"x")
    began = time.process_time()
    full_object_checksum(ChecksumAlgorithm.CRC64NVME, [(part, 8 << 20)] * 9_999 + [(part, 1)])
    assert time.process_time() - began < 2


@pytest.mark.parametrize("algorithm", [ChecksumAlgorithm.SHA1, ChecksumAlgorithm.SHA256])
def test_a_sha_of_the_whole_does_not_follow(algorithm: ChecksumAlgorithm) -> None:
    with pytest.raises(ValueError, match="FULL_OBJECT"):
        full_object_checksum(algorithm, [(bytes(algorithm.digest_bytes), 1)])


def test_composite() -> None:
    parts = [b"one", b"two", b"three"]
    digests = [hashlib.sha256(part).digest() for part in parts]
    whole = base64.b64encode(hashlib.sha256(b"".join(digests)).digest()).decode()
    assert composite_checksum(ChecksumAlgorithm.SHA256, digests) == f"{whole}-3"
    crcs = [zlib.crc32(part).to_bytes(4, "big") for part in parts]
    whole = base64.b64encode(zlib.crc32(b"".join(crcs)).to_bytes(4, "big")).decode()
    text = composite_checksum(ChecksumAlgorithm.CRC32, iter(crcs))
    assert text == f"{whole}-3"
    assert parse_composite(ChecksumAlgorithm.CRC32, text) == (base64.b64decode(whole), 3)


def test_no_composite_crc64() -> None:
    with pytest.raises(ValueError, match="COMPOSITE"):
        composite_checksum(ChecksumAlgorithm.CRC64NVME, [bytes(8)])


@pytest.mark.parametrize(
    "text",
    ["AAAAAA==", "AAAAAA==-", "AAAAAA==-0", "AAAAAA==-01", "AAAAAA==-10001", "AAAAAA==-1 ", "AAAAAA==-+1", "AAAAAA==-١", "AAAA-1",
     "-1", "AAAAAA==-" + "9" * 5000],
)  # fmt: skip
def test_what_is_no_composite(text: str) -> None:
    assert parse_composite(ChecksumAlgorithm.CRC32, "AAAAAA==-10000") == (bytes(4), 10_000)
    with pytest.raises(ValueError, match="not a CRC32 checksum"):
        parse_composite(ChecksumAlgorithm.CRC32, text)


def test_types() -> None:
    assert ChecksumAlgorithm.CRC64NVME.types == (ChecksumType.FULL_OBJECT,)
    assert ChecksumAlgorithm.CRC32.types[0] is ChecksumType.COMPOSITE
    assert {one for one in ChecksumAlgorithm if ChecksumType.FULL_OBJECT in one.types} == set(CRCS)
