import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from objstore.formats.messages import IndexTarget, Target
from objstore.formats.pending import PAYLOAD_BYTES_MAX, SECTOR_BYTES, PendingUpdate, frame, frame_id, group, scan
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
IDS = st.integers(0, (1 << 63) - 1)


@given(st.dictionaries(IDS, UPDATES, max_size=6))
def test_round_trip(updates: dict[int, PendingUpdate]) -> None:
    frames = [frame(id_, update) for id_, update in updates.items()]
    assert [frame_id(f) for f in frames] == list(updates)
    assert scan(b"".join(frames)) == (updates, 0, 0)
    if frames:
        assert scan(group(frames)) == (updates, 0, 0)


@given(st.dictionaries(IDS, UPDATES, min_size=1, max_size=6), st.sets(IDS), st.data())
def test_wanted_records_alone(updates: dict[int, PendingUpdate], others: set[int], data: st.DataObject) -> None:
    wanted = data.draw(st.sets(st.sampled_from(list(updates)))) | others
    whole = group([frame(id_, update) for id_, update in updates.items()])
    assert scan(whole, wanted) == ({id_: update for id_, update in updates.items() if id_ in wanted}, 0, 0)
    assert scan(whole + whole[:-1], wanted)[1:] == scan(whole + whole[:-1])[1:], "the others are looked at all the same"


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
    found = scan(noise)
    assert found.records == {} and found.damaged_bytes + found.torn_bytes == len(noise)


def test_zeros_after_a_crash_are_a_torn_end() -> None:
    update = PendingUpdate(Target("d", 1), b"", IndexTarget("", 1, "", 1, b""), "/a/c", ObjectRow("o", 1, True))
    assert scan(frame(1, update) + bytes(4096)) == ({1: update}, 0, 4096)


def test_a_record_has_a_limit() -> None:
    row = ObjectRow("x" * PAYLOAD_BYTES_MAX, 1, False)
    with pytest.raises(ValueError, match="too large"):
        frame(1, PendingUpdate(Target("d", 1), b"", IndexTarget("", 1, "", 1, b""), "/a/c", row))


def group_of(first: int, count: int) -> bytes:
    """Records with ids from `first` on, each longer than a sector."""
    return group([frame(first + i, update_of("x" * SECTOR_BYTES)) for i in range(count)])


def update_of(name: str) -> PendingUpdate:
    return PendingUpdate(Target("d", 1), b"h" * 16, IndexTarget("", 1, "", 1, b"c" * 16), "/a/c", ObjectRow(name, 1, False))


def sector_at(data: bytes, start: int) -> slice:
    """The first sector that begins at or behind `start`."""
    at = start + -start % SECTOR_BYTES
    assert at + SECTOR_BYTES <= len(data)
    return slice(at, at + SECTOR_BYTES)


GROUPS = [group_of(0, 3), group_of(10, 3), group_of(20, 5)]


@given(st.integers(0, 2), st.data())
def test_sectors_missing_of_the_last_group_are_no_damage(synced: int, data: st.DataObject) -> None:
    """Whichever did not reach the disk, the group's beginning and its end too: the first thing ever written, or behind others."""
    whole = b"".join(GROUPS[:synced])
    written = bytearray(whole + GROUPS[2])
    sectors = range(len(whole) - len(whole) % SECTOR_BYTES, len(written), SECTOR_BYTES)
    missing = data.draw(st.sets(st.sampled_from(sectors), min_size=1))
    for at in missing:
        at, end = max(at, len(whole)), min(at + SECTOR_BYTES, len(written))
        written[at:end] = bytes(end - at)
    found = scan(bytes(written))
    assert found.damaged_bytes == 0 and found.torn_bytes > 0
    assert found.records.keys() >= scan(whole).records.keys()


def test_a_sector_missing_of_a_group_that_was_synced_is_damage() -> None:
    """Another group follows, so this one was durable once."""
    data = bytearray(b"".join(GROUPS))
    for start in (0, 600, len(GROUPS[0]) + 600):
        lost = bytearray(data)
        lost[sector_at(data, start)] = bytes(SECTOR_BYTES)
        found = scan(bytes(lost))
        assert found.damaged_bytes > 0 and found.torn_bytes == 0


@given(st.data())
def test_a_flipped_bit_of_the_last_group_is_damage(data: st.DataObject) -> None:
    """A power cut leaves out, it does not change."""
    whole = b"".join(GROUPS)
    start = len(whole) - len(GROUPS[2])
    bit = data.draw(st.integers(8 * start, 8 * len(whole) - 1))
    last = len(whole) - len(GROUPS[2]) // 5
    assume(not 8 * (last + 4) <= bit < 8 * (last + 8))  # the last length: the record seems to be cut short
    damaged = bytearray(whole)
    damaged[bit // 8] ^= 1 << bit % 8
    found = scan(bytes(damaged))
    assert found.damaged_bytes > 0 and found.torn_bytes == 0 and len(found.records) == 10


@pytest.mark.parametrize("lost", [1, 2, 3])
def test_of_a_segment_without_groups_only_the_end_may_be_torn(lost: int) -> None:
    """As earlier releases wrote them."""
    frames = [frame(i, update_of("x" * 2 * SECTOR_BYTES)) for i in range(4)]
    data = bytearray(b"".join(frames))
    data[sector_at(data, sum(map(len, frames[:lost])))] = bytes(SECTOR_BYTES)
    found = scan(bytes(data))
    assert (found.damaged_bytes > 0, found.torn_bytes > 0) == (lost < 3, lost == 3)
