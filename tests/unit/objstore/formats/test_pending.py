import pytest
from hypothesis import given
from hypothesis import strategies as st

from objstore.formats.messages import IndexTarget, Target
from objstore.formats.pending import PAYLOAD_BYTES_MAX, PendingUpdate, frame, frame_id, scan
from objstore.model.rows import ObjectRow

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
UPDATES = st.builds(
    lambda name, container, number: PendingUpdate(
        Target("d1", number),
        b"h" * 16,
        IndexTarget("::1", 6200, "d2", number, b"c" * 16),
        container,
        ObjectRow(name, number, False),
    ),
    TEXT,
    TEXT,
    st.integers(0, 1 << 62),
)
IDS = st.integers(0, (1 << 64) - 1)


@given(st.dictionaries(IDS, UPDATES, max_size=6))
def test_round_trip(updates: dict[int, PendingUpdate]) -> None:
    frames = [frame(id_, update) for id_, update in updates.items()]
    assert [frame_id(f) for f in frames] == list(updates)
    assert scan(b"".join(frames)) == (updates, 0, 0)


@given(st.lists(UPDATES, min_size=1, max_size=4), st.data())
def test_a_torn_end_loses_the_last_record_alone(updates: list[PendingUpdate], data: st.DataObject) -> None:
    frames = [frame(id_, update) for id_, update in enumerate(updates)]
    cut = data.draw(st.integers(0, len(frames[-1]) - 1))
    found = scan(b"".join(frames[:-1]) + frames[-1][:cut])
    assert found == (dict(enumerate(updates[:-1])), 0, cut)


@given(st.lists(UPDATES, min_size=2, max_size=5), st.data())
def test_a_flipped_bit_loses_one_record_and_is_reported(updates: list[PendingUpdate], data: st.DataObject) -> None:
    frames = [frame(id_, update) for id_, update in enumerate(updates)]
    hit = data.draw(st.integers(0, len(frames) - 2))
    bit = data.draw(st.integers(0, 8 * len(frames[hit]) - 1))
    damaged = bytearray(frames[hit])
    damaged[bit // 8] ^= 1 << bit % 8
    found = scan(b"".join([*frames[:hit], bytes(damaged), *frames[hit + 1 :]]))
    assert found.records == {id_: update for id_, update in enumerate(updates) if id_ != hit}
    assert (found.damaged_bytes, found.torn_bytes) == (len(damaged), 0)


@given(st.binary(max_size=200) | st.binary(max_size=100).map(lambda noise: b"OSP1" + noise))
def test_noise_holds_no_records(noise: bytes) -> None:
    assert scan(noise) == ({}, 0, len(noise))


def test_zeros_after_a_crash_are_a_torn_end() -> None:
    update = PendingUpdate(Target("d", 1), b"", IndexTarget("", 1, "", 1, b""), "/a/c", ObjectRow("o", 1, True))
    assert scan(frame(1, update) + bytes(4096)) == ({1: update}, 0, 4096)


def test_a_record_has_a_limit() -> None:
    row = ObjectRow("x" * PAYLOAD_BYTES_MAX, 1, False)
    with pytest.raises(ValueError, match="too large"):
        frame(1, PendingUpdate(Target("d", 1), b"", IndexTarget("", 1, "", 1, b""), "/a/c", row))
