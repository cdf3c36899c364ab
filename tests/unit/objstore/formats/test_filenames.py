import pytest
from hypothesis import given
from hypothesis import strategies as st

from objstore.formats.filenames import FileKind, FileName, file_name, parse_file_name, partition_directory, policy_directory
from objstore.model.timestamps import from_ticks

TIMESTAMPS = st.builds(from_ticks, st.integers(0, 999_999_999_999_999), st.integers(0, 16383))
GOOD = "000102030405060708090a0b0c0d0e0f.1763849577.12345_0a3f.data"


@given(st.binary(min_size=16, max_size=16), TIMESTAMPS, st.sampled_from(FileKind))
def test_round_trip(hash_: bytes, timestamp: int, kind: FileKind) -> None:
    assert parse_file_name(file_name(hash_, timestamp, kind)) == FileName(hash_, timestamp, kind)


@given(st.text(max_size=70) | st.from_regex(r"[0-9a-f]{32}\.[0-9]{10}\.[0-9]{5}_[0-9a-f]{4}\.(data|meta|ts)"))
def test_whatever_parses_is_written_the_same_way(text: str) -> None:
    try:
        parts = parse_file_name(text)
    except ValueError:
        return
    assert file_name(*parts) == text


@given(st.lists(TIMESTAMPS, min_size=2, max_size=2))
def test_names_sort_as_timestamps_do(pair: list[int]) -> None:
    names = [file_name(b"h" * 16, timestamp, FileKind.DATA) for timestamp in pair]
    assert (names[0] < names[1]) == (pair[0] < pair[1])


@pytest.mark.parametrize(
    "bad",
    ["", ".", "data", GOOD.upper(), GOOD + " ", " " + GOOD, GOOD[1:], GOOD.replace(".data", ".tmp"), GOOD.replace(".data", ""),
     GOOD.replace("00", "  ", 1), GOOD.replace("_0a3f", "_0A3f"), GOOD.replace("_0a3f", "_ffff"), GOOD.replace("12345", "1234"),
     GOOD.replace("1763849577", "+763849577"), GOOD + "/x", "x/" + GOOD],
)  # fmt: skip
def test_other_names_are_refused(bad: str) -> None:
    with pytest.raises(ValueError, match="not a"):
        parse_file_name(bad)


def test_directories() -> None:
    assert (partition_directory(0, 12), partition_directory(3, 12)) == ("objects/12", "objects-3/12")
    assert (policy_directory(0), policy_directory(1)) == ("objects", "objects-1")
