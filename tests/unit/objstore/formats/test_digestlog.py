"""The digest log's bytes: what is sound is read, of one boot alone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from objstore.formats.digestlog import HEADER_BYTES, RECORD_BYTES, DigestRecord, encode_record, header, scan

BOOT = bytes(range(16))
RECORDS = st.builds(
    DigestRecord,
    st.integers(0, 9),
    st.integers(0, (1 << 32) - 1),
    st.integers(0, (1 << 64) - 1),
    st.integers(0, (1 << 62)),
    st.integers(0, (1 << 64) - 1),
    st.integers(0, (1 << 62)),
)


@given(st.lists(RECORDS, max_size=8))
def test_the_last_record_of_each_partition_counts(records: list[DigestRecord]) -> None:
    data = header(BOOT) + b"".join(map(encode_record, records))
    assert scan(data, BOOT) == {(record.policy, record.partition): record for record in records}


def test_another_boot_or_another_file_says_nothing() -> None:
    data = header(BOOT) + encode_record(DigestRecord(0, 1, 2, 3, 4, 5))
    assert scan(data, bytes(16)) == {}
    assert scan(b"OSP1" + data[4:], BOOT) == {}
    assert scan(b"", BOOT) == {}
    with pytest.raises(ValueError, match="16 bytes"):
        header(b"short")


@given(st.integers(HEADER_BYTES, HEADER_BYTES + 3 * RECORD_BYTES - 1), st.integers(1, 255))
def test_a_damaged_record_is_passed_over(at: int, flip: int) -> None:
    records = [DigestRecord(0, number, 2, 3, 4, 5) for number in range(3)]
    data = bytearray(header(BOOT) + b"".join(map(encode_record, records)))
    data[at] ^= flip
    damaged = (at - HEADER_BYTES) // RECORD_BYTES
    assert scan(bytes(data), BOOT) == {(0, n): records[n] for n in range(3) if n != damaged}


@given(st.integers(0, RECORD_BYTES - 1))
def test_a_torn_end_is_passed_over(kept: int) -> None:
    record = encode_record(DigestRecord(1, 2, 3, 4, 5, 6))
    assert len(scan(header(BOOT) + record + record[:kept], BOOT)) == 1


def test_the_bytes_stay() -> None:
    """Golden: a later release must read this."""
    record = DigestRecord(1, 2, 3, 4, 5, 6)
    assert (header(BOOT) + encode_record(record)).hex() == (
        "4f534431000102030405060708090a0b0c0d0e0f"
        + encode_record(record)[:4].hex()
        + "0100000002000000030000000000000004000000000000000500000000000000"
        + "0600000000000000"
    )
    assert encode_record(record)[:4].hex() == "3f9a67c0"
