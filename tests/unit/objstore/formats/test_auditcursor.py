"""Where an audit goes on, as text."""

import pytest

from objstore.formats.auditcursor import Cursor, decode_cursor, encode_cursor


def test_a_cursor_comes_back_as_it_was() -> None:
    assert encode_cursor(Cursor(1, 1023)) == b"audit 1 1 1023\n"
    for cursor in (Cursor(), Cursor(0, 0), Cursor(12, 1 << 31)):
        assert decode_cursor(encode_cursor(cursor)) == cursor


def test_the_first_partition_comes_after_the_default() -> None:
    assert Cursor() < Cursor(0, 0) < Cursor(0, 1) < Cursor(1, 0)


@pytest.mark.parametrize(
    "data", [b"", b"audit 2 0 0\n", b"audit 1 0\n", b"audit 1 0 0", b"audit 1 x 0\n", b"audit 1 00 0\n", b"\xff" * 20]
)
def test_anything_else_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError):
        decode_cursor(data)
