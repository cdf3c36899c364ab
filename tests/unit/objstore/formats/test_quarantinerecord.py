import pytest
from hypothesis import given
from hypothesis import strategies as st

from objstore.formats.quarantinerecord import QuarantineRecord, decode_record, encode_record

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)


@given(st.builds(QuarantineRecord, TEXT, TEXT, TEXT, st.floats(0, 4e9)))
def test_round_trip(record: QuarantineRecord) -> None:
    assert decode_record(encode_record(record)) == record


@given(st.binary(max_size=100))
def test_noise_is_refused(noise: bytes) -> None:
    with pytest.raises(ValueError, match="not a quarantine record"):
        decode_record(noise)


def test_a_later_format_is_refused() -> None:
    with pytest.raises(ValueError, match="format 2"):
        decode_record(encode_record(QuarantineRecord("p", "r", "n", 1.0, version=2)))
