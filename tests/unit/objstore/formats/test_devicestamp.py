"""A device's stamp as text."""

import pytest

from objstore.formats.devicestamp import Stamp, decode_stamp, encode_stamp


def test_a_stamp_comes_back_as_it_was() -> None:
    stamp = Stamp(12.5, [(0.0, 1e9), (10.0, 1e9 + 10)])
    assert decode_stamp(encode_stamp(stamp)) == stamp
    assert encode_stamp(stamp) == b'{"age_s":12.5,"samples":[[0.0,1000000000.0],[10.0,1000000010.0]],"version":1}\n'


@pytest.mark.parametrize("data", [b"", b"{}", b'{"age_s":"x"}', b"\xff", b'{"age_s":1.0,"samples":[],"version":2}'])
def test_anything_else_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError):
        decode_stamp(data)
