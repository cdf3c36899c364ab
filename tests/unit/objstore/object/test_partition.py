"""A compact partition is a dict, in a tenth of the memory."""

import random
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from objstore.object.files import NOTHING, Files
from objstore.object.partition import CompactPartition

# Few different halves, so that hashes share one or the other.
HALVES = st.sampled_from([bytes(8), b"\xff" * 8, b"\0" * 7 + b"\1", b"\1" + b"\0" * 7])
HASHES = st.builds(bytes.__add__, HALVES, HALVES)
TIMES = st.sampled_from([0, 1, 2, 1764284000 * 100000 << 14, (1 << 63) - 1, 1 << 63, (1 << 66) + 5])
FILES = st.builds(Files, TIMES, st.booleans(), TIMES).filter(lambda files: files != NOTHING)


@given(
    st.dictionaries(HASHES, FILES),
    st.lists(st.tuples(HASHES, FILES | st.none())),
)
def test_it_is_a_dict(begin: dict[bytes, Files], changes: list[tuple[bytes, Files | None]]) -> None:
    model, compact = dict(begin), CompactPartition(begin)
    for hash_, files in changes:
        assert compact.files(hash_) == model.get(hash_, NOTHING)
        assert (hash_ in compact) == (hash_ in model)
        if files is None:
            was = model.pop(hash_, None)
            assert compact.put(hash_, NOTHING) == (0 if was is None else -1)
            with pytest.raises(KeyError):
                compact[hash_]
            with pytest.raises(KeyError):
                del compact[hash_]
        else:
            assert compact.put(hash_, files) == (hash_ not in model)
            model[hash_] = files
            assert compact[hash_] == files
    assert compact == model and len(compact) == len(model)
    assert list(compact) == sorted(model)
    assert list(compact.items()) == sorted(model.items())
    assert all(type(files.deleted) is bool for _, files in compact.items())


def test_it_is_small() -> None:
    draw = random.Random(1)
    compact = CompactPartition({})
    count = 5000
    for number in range(count):
        compact[draw.randbytes(16)] = Files((1764284000 * 100000 + number) << 14)
    size = sum(sys.getsizeof(getattr(compact, name)) for name in CompactPartition.__slots__)
    assert size < 32 * count, "a dict of these takes some 240 bytes for each"
