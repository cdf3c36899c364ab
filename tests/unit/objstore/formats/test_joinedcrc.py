"""The crc32c of joined chunks."""

from crc32c import crc32c
from hypothesis import given
from hypothesis import strategies as st

from objstore.formats.joinedcrc import Joiner


@given(st.integers(1, 70), st.lists(st.binary(min_size=70, max_size=70), max_size=5))
def test_joined_crcs_are_the_crc_of_joined_chunks(size: int, chunks: list[bytes]) -> None:
    pieces = [chunk[:size] for chunk in chunks]
    assert Joiner(size).join(map(crc32c, pieces)) == crc32c(b"".join(pieces))
