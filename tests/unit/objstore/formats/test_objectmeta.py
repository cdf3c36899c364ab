import msgspec
import pytest
from crc32c import crc32c
from hypothesis import given, settings
from hypothesis import strategies as st

from objstore.formats.objectmeta import (
    ATTRIBUTE_BYTES_MAX,
    CHUNK_BYTES,
    Damaged,
    TableBuilder,
    UnknownFormat,
    check_table,
    checksum_table,
    decode,
    decode_version,
    encode,
    table_bytes,
    verify_chunks,
)
from objstore.model.version import Version

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
PAIRS = st.dictionaries(TEXT, TEXT, max_size=5)
SIZES = st.integers(0, 40 * CHUNK_BYTES)


@st.composite
def versions(draw: st.DrawFn, size: int = 0) -> Version:
    times = [draw(st.integers(0, (1 << 62) - 1)) for _ in range(3)]
    pairs = [draw(PAIRS) for _ in range(3)]
    return Version(draw(TEXT), times[0], False, size, draw(TEXT), draw(TEXT), *pairs, times[1], times[2])


@settings(max_examples=50)
@given(st.data(), SIZES, st.integers(30, 4000))
def test_round_trip_at_any_budget(data: st.DataObject, size: int, budget: int) -> None:
    version = data.draw(versions(size))
    table = bytes(i % 251 for i in range(table_bytes(size)))
    encoded = encode(version, table, size, budget)
    assert len(encoded.attribute) <= budget
    header = decode(encoded.attribute)
    file = bytes(size) + encoded.trailer
    assert (header.body_size, header.file_size) == (size, len(file))
    found = header.version or decode_version(header, file[header.version_offset : header.version_offset + header.version_size])
    assert found == version
    if header.table is None:
        assert check_table(header, file[header.table_offset :]) == table
    else:
        assert header.table == table


def test_the_version_has_the_first_claim_on_the_attribute() -> None:
    size = 700 * CHUNK_BYTES
    header = decode(encode(Version("/a/c/o", 1, size=size), bytes(table_bytes(size)), size).attribute)
    assert header.version is not None
    assert header.table is None
    many = Version("/a/c/o", 1, size=1, user={str(i): "v" * 40 for i in range(90)})
    header = decode(encode(many, bytes(4), 1).attribute)
    assert header.version is None
    assert header.table == bytes(4)


def test_the_attribute_leaves_room_for_others_on_ext4() -> None:
    version = Version("/AUTH_test/c/" + "o" * 1024, 1, size=40 << 20, etag="e" * 32, content_type="application/octet-stream")
    encoded = encode(version, bytes(table_bytes(40 << 20)), 40 << 20)
    assert len(encoded.attribute) <= ATTRIBUTE_BYTES_MAX < 4028
    assert len(encoded.trailer) == 640 * 4


@given(st.data())
def test_every_flipped_bit_is_found(data: st.DataObject) -> None:
    attribute = bytearray(encode(data.draw(versions(9)), b"abcd", 9).attribute)
    bit = data.draw(st.integers(0, 8 * len(attribute) - 1))
    attribute[bit // 8] ^= 1 << bit % 8
    with pytest.raises(Damaged):
        decode(bytes(attribute))


@given(st.binary(max_size=300))
def test_noise_is_damaged(noise: bytes) -> None:
    with pytest.raises(Damaged):
        decode(noise)


def signed(rest: bytes) -> bytes:
    return crc32c(rest).to_bytes(4, "little") + rest


@given(st.binary(min_size=26, max_size=300))
def test_noise_with_a_right_checksum_never_does_worse(noise: bytes) -> None:
    with pytest.raises((Damaged, UnknownFormat)):
        decode(signed(noise))
    with pytest.raises(Damaged):
        decode(signed(b"\x01" + noise))


def test_a_later_format_is_told_from_damage() -> None:
    attribute = encode(Version("/a/c/o", 1), b"", 0).attribute
    with pytest.raises(UnknownFormat, match="2"):
        decode(signed(b"\x02" + attribute[5:]))


def test_sizes_that_contradict_each_other() -> None:
    with pytest.raises(Damaged, match="disagree"):
        decode(encode(Version("/a/c/o", 1, size=2), bytes(4), 1).attribute)
    with pytest.raises(Damaged, match="contradicts"):
        decode(encode(Version("/a/c/o", 1, size=1), bytes(8), 1).attribute)
    with pytest.raises(Damaged, match="add up"):
        decode(signed(encode(Version("/a/c/o", 1, size=1), bytes(4), 1).attribute[4:] + b"x"))


def test_damage_in_the_trailer() -> None:
    encoded = encode(Version("/a/c/o", 1, size=1), b"abcd", 1, budget=30)
    header = decode(encoded.attribute)
    for bad in (b"", encoded.trailer[:5], bytes(header.version_size)):
        with pytest.raises(Damaged):
            decode_version(header, bad)
    for bad in (b"", b"abcx"):
        with pytest.raises(Damaged):
            check_table(header, bad)


def test_a_version_with_more_fields_than_we_know() -> None:
    """A later release appends fields; what it wrote under format 1 stays readable."""
    version = Version("/a/c/o", 1)
    packed = msgspec.msgpack.encode([*msgspec.to_builtins(version), "more"])
    plain = encode(version, b"", 0).attribute
    rest = bytearray(plain[4:30]) + packed
    rest[10:14] = len(packed).to_bytes(4, "little")
    assert decode(signed(bytes(rest))).version == version


@given(st.binary(max_size=300_000), st.lists(st.integers(1, 100_000), min_size=1, max_size=5))
@settings(max_examples=30)
def test_a_table_built_from_pieces_is_the_table_of_the_whole(body: bytes, sizes: list[int]) -> None:
    builder = TableBuilder()
    at = turn = 0
    while at < len(body):
        size = sizes[turn % len(sizes)]
        builder.add(body[at : at + size])
        at += size
        turn += 1
    assert builder.size == len(body)
    assert builder.table() == checksum_table(body)
    assert len(builder.table()) == table_bytes(len(body))


@given(st.integers(1, 4 * CHUNK_BYTES), st.data())
@settings(max_examples=30)
def test_verification_finds_any_flipped_bit(size: int, data: st.DataObject) -> None:
    body = bytes(size)
    table = checksum_table(body)
    first = data.draw(st.integers(0, (size - 1) // CHUNK_BYTES))
    part = bytearray(body[first * CHUNK_BYTES :])
    assert verify_chunks(bytes(part), first * CHUNK_BYTES, table) == crc32c(part)
    position = data.draw(st.integers(0, len(part) - 1))
    part[position] ^= 4
    with pytest.raises(Damaged, match=f"chunk {first + position // CHUNK_BYTES}$"):
        verify_chunks(bytes(part), first * CHUNK_BYTES, table)


def test_a_table_too_short_is_damage() -> None:
    body = bytes(3 * CHUNK_BYTES)
    for length in (0, 4, 8):
        with pytest.raises(Damaged):
            verify_chunks(body, 0, checksum_table(body)[:length])
