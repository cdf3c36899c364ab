"""Paths hash as in Swift; `golden/hashes.json` is Swift's own answer."""

import json
from pathlib import Path

import pytest

from ring.hashing import hash_path, partition_of

GOLDEN = json.loads((Path(__file__).parent / "golden" / "hashes.json").read_text())


@pytest.mark.parametrize(("path", "expected"), GOLDEN["hashes"])
def test_hashes_are_swifts(path: list[str], expected: str) -> None:
    assert hash_path(GOLDEN["prefix"].encode(), GOLDEN["suffix"].encode(), *path).hex() == expected


def test_an_object_needs_a_container() -> None:
    with pytest.raises(ValueError, match="container"):
        hash_path(b"", b"", "a", None, "o")


def test_the_partition_is_the_top_of_the_hash() -> None:
    hash_ = bytes.fromhex("ff8001020000000000000000000000ff")
    assert partition_of(hash_, 32) == 0
    assert partition_of(hash_, 24) == 0xFF
    assert partition_of(hash_, 23) == 0x1FF
    assert partition_of(hash_, 0) == 0xFF800102
