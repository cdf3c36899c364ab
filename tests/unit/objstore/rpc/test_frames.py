"""The frame codec: any split of the bytes gives the same events, any flipped bit gives none."""

import random
import struct

import pytest
from crc32c import crc32c
from hypothesis import given, settings
from hypothesis import strategies as st

from objstore.rpc.frames import (
    BLOCKS_MAX,
    CHUNK_HEAD_BYTES,
    PACKET_HEAD_BYTES,
    REPLY,
    REQUEST,
    STREAM_CHUNK_BYTES_MIN,
    ChunkMemory,
    Event,
    Frame,
    PacketReader,
    PacketWriter,
    ProtocolError,
    frame_head,
)
from objstore.rpc.interface import Chunk

KEY = bytes(range(32))
LIMIT = 1 << 16

frames = st.builds(
    Frame,
    kind=st.sampled_from([REQUEST, REPLY]),
    call=st.integers(0, 2**32 - 1),
    timeout_ms=st.integers(0, 2**32 - 1),
    name=st.binary(max_size=20),
    txn=st.binary(max_size=30),
    body=st.one_of(st.binary(max_size=100), st.integers(0, 3000).map(lambda size: b"b" * size)),
)
chunks = st.one_of(st.binary(max_size=100), st.integers(0, 3000).map(lambda size: b"c" * size)).map(lambda d: Chunk(d, crc32c(d)))
packets = st.lists(st.one_of(st.lists(frames, min_size=1, max_size=4), chunks), max_size=6)


def encode(plan: list[list[Frame] | Chunk], key: bytes | None = KEY) -> list[bytes]:
    """One item per packet."""
    writer = PacketWriter(key)
    out = []
    for item in plan:
        if isinstance(item, Chunk):
            out.append(writer.chunk(len(item.data), item.crc) + bytes(item.data))
        else:
            pieces: list[bytes] = []
            for frame in item:
                head = frame_head(frame.kind, frame.call, frame.timeout_ms, frame.name, frame.txn, len(frame.body))
                pieces += [head, bytes(frame.body)]
            out.append(b"".join(writer.packet(pieces)))
    return out


def flat(plan: list[list[Frame] | Chunk]) -> list[Event]:
    return [event for item in plan for event in ([item] if isinstance(item, Chunk) else item)]


def make_reader(buffer_bytes: int = 1 << 16, key: bytes | None = KEY) -> PacketReader:
    return PacketReader(key, packet_bytes_max=LIMIT, chunk_bytes_max=LIMIT, buffer_bytes=buffer_bytes)


@given(packets, st.randoms(use_true_random=False), st.sampled_from([64, 100, 500, 1 << 16]), st.sampled_from([KEY, None]))
@settings(max_examples=300, deadline=None)
def test_any_split_gives_the_same_events(
    plan: list[list[Frame] | Chunk], rng: random.Random, buffer_bytes: int, key: bytes | None
) -> None:
    data = b"".join(encode(plan, key))
    reader = make_reader(buffer_bytes, key)
    events: list[Event] = []
    while data:
        count = min(len(data), rng.choice([1, 2, 7, 31, 33, 200, 5000]))
        events += reader.feed(data[:count])
        data = data[count:]
    assert events == flat(plan)


@pytest.mark.parametrize("seed", range(20))
def test_large_packets_keep_their_bytes_while_the_next_ones_arrive(seed: int) -> None:
    """Bodies that are views of the reader's buffer must not change before they were looked at."""
    rng = random.Random(seed)
    plan: list[list[Frame] | Chunk] = [
        [Frame(REQUEST, number, 1, b"PutObject", b"tx", rng.randbytes(rng.randrange(1, 30_000)))] for number in range(12)
    ]
    data = b"".join(encode(plan))
    reader = make_reader()
    events: list[Event] = []
    while data:
        count = rng.choice([1000, 20_000, 50_000])
        events += reader.feed(data[:count])
        data = data[count:]
    assert events == flat(plan)


@given(packets.filter(bool), st.randoms(use_true_random=False), st.sampled_from([KEY, None]))
@settings(max_examples=400, deadline=None)
def test_any_flipped_bit_is_refused(plan: list[list[Frame] | Chunk], rng: random.Random, key: bytes | None) -> None:
    """What came before the altered packet is delivered; of the altered packet, and after it, nothing."""
    encoded = encode(plan, key)
    data = bytearray(b"".join(encoded))
    at = rng.randrange(len(data))
    data[at] ^= 1 << rng.randrange(8)
    good, end = 0, 0
    for packet in encoded:
        end += len(packet)
        if at < end:
            break
        good += 1
    # Bytes enough after it that a length made larger is no excuse to wait for more.
    data += bytes(2 * LIMIT + PACKET_HEAD_BYTES)
    reader, events = make_reader(key=key), []
    with pytest.raises(ProtocolError):
        for start in range(0, len(data), 997):
            events += reader.feed(bytes(data[start : start + 997]))
    assert events == flat(plan)[: len(events)]
    assert len(events) <= len(flat(plan[:good]))


@pytest.mark.parametrize("key", [KEY, None])
def test_every_bit_of_a_small_packet(key: bytes | None) -> None:
    plan: list[list[Frame] | Chunk] = [[Frame(REQUEST, 1, 5, b"Name", b"tx", b"body")], Chunk(b"data", crc32c(b"data"))]
    for index, packet in enumerate(encode(plan, key)):
        for bit in range(len(packet) * 8):
            reader = make_reader(key=key)
            for before in encode(plan, key)[:index]:
                reader.feed(before)
            altered = bytearray(packet)
            altered[bit // 8] ^= 1 << bit % 8
            with pytest.raises(ProtocolError):
                events = reader.feed(bytes(altered) + bytes(2 * LIMIT))
                assert not events


def request(number: int) -> list[Frame]:
    return [Frame(REQUEST, number, 5, b"Name", b"tx", b"body %d" % number)]


@pytest.mark.parametrize("order", [[0, 0], [1], [0, 2], [0, 1, 1], [1, 0], [0, 1, 2, 0]])
def test_repeated_dropped_and_reordered_packets_are_refused(order: list[int]) -> None:
    encoded = encode([request(number) for number in range(3)])
    reader = make_reader()
    with pytest.raises(ProtocolError):
        for number in order:
            reader.feed(encoded[number])


def test_another_key_is_refused() -> None:
    for plan in ([request(1)], [Chunk(b"data", crc32c(b"data"))]):
        with pytest.raises(ProtocolError, match="not authentic"):
            make_reader().feed(encode(plan, key=bytes(32))[0])


@pytest.mark.parametrize(("sender", "receiver"), [(KEY, None), (None, KEY)])
def test_a_sum_is_no_mac(sender: bytes | None, receiver: bytes | None) -> None:
    for plan in ([request(1)], [Chunk(b"data", crc32c(b"data"))]):
        with pytest.raises(ProtocolError):
            make_reader(key=receiver).feed(encode(plan, sender)[0])


def test_a_packet_is_no_packet_of_the_other_direction_or_session() -> None:
    """Keys differ per direction and session, so a reflected packet is one with another key."""
    writer = PacketWriter(KEY)
    packet = b"".join(writer.packet([frame_head(REQUEST, 1, 1, b"N", b"", 0)]))
    with pytest.raises(ProtocolError):
        PacketReader(KEY[::-1], packet_bytes_max=LIMIT, chunk_bytes_max=LIMIT).feed(packet)


@pytest.mark.parametrize("chunk", [False, True])
def test_sizes_are_bounded_before_anything_is_allocated(chunk: bool) -> None:
    reader = make_reader()
    length = (LIMIT + 1) | (1 << 31 if chunk else 0)
    with pytest.raises(ProtocolError, match="too large"):
        reader.feed(bytes(16) + struct.pack("<IQ", length, 0))


@pytest.mark.parametrize("cut", [1, 5, 15, 17, 20])
def test_frames_that_do_not_fit_their_packet(cut: int) -> None:
    head = frame_head(REQUEST, 1, 1, b"Name", b"", 100)
    with pytest.raises(ProtocolError, match="cut short"):
        make_reader().feed(b"".join(PacketWriter(KEY).packet([head[:cut]])))


def test_large_chunks_are_read_in_place() -> None:
    """The transport fills the chunk's own buffer; the shared one is not in the way."""
    data = random.Random(1).randbytes(LIMIT)
    head = PacketWriter(KEY).chunk(len(data), crc32c(data))
    reader = make_reader(buffer_bytes=1024)
    assert reader.feed(head) == []
    view = reader.get_buffer()
    assert len(view) == LIMIT
    view[:] = data
    assert reader.received(LIMIT) == [Chunk(data, crc32c(data))]
    assert len(head) == CHUNK_HEAD_BYTES


MIB = 1 << 20


def fill(reader: PacketReader, data: bytes, step: int) -> list[Event]:
    """As the transport does it: as much as the buffer takes, at most `step` at a time. Bodies of frames are copied."""
    events: list[Event] = []
    while data:
        view = reader.get_buffer()
        assert len(view)
        count = min(len(view), len(data), step)
        view[:count] = data[:count]
        data = data[count:]
        for event in reader.received(count):
            events.append(event if isinstance(event, Chunk) else event._replace(body=bytes(event.body)))
    return events


@pytest.mark.parametrize("seed", range(12))
def test_streams_of_large_chunks_mixed_with_all_else(seed: int) -> None:
    rng = random.Random(seed)
    plan: list[list[Frame] | Chunk] = []
    for _ in range(40):
        size = rng.choice([0, 1, 40, 5000, STREAM_CHUNK_BYTES_MIN - 1, STREAM_CHUNK_BYTES_MIN, 3 * STREAM_CHUNK_BYTES_MIN])
        data = rng.randbytes(size)
        frame = Frame(REQUEST, 1, 5, b"Name", b"", data[: rng.choice([0, 10, 200_000])])
        plan.append(Chunk(data, crc32c(data)) if rng.random() < 0.7 else [frame] * rng.choice([1, 3]))
    reader = PacketReader(None, packet_bytes_max=MIB, chunk_bytes_max=MIB)
    events = fill(reader, b"".join(encode(plan, None)), rng.choice([27, 31, 1000, MIB]))
    assert events == flat(plan), "and all chunks still hold their own bytes"


def test_behind_a_large_chunk_only_the_next_head_is_read_at_first() -> None:
    data = bytes(3 * STREAM_CHUNK_BYTES_MIN)
    reader = PacketReader(None, packet_bytes_max=MIB, chunk_bytes_max=MIB)
    packets = encode([Chunk(data, crc32c(data))] * 2, None)
    fill(reader, packets[0], MIB)
    assert len(reader.get_buffer()) == CHUNK_HEAD_BYTES
    fill(reader, packets[1][:CHUNK_HEAD_BYTES], MIB)
    assert len(reader.get_buffer()) == len(data), "so its data need not be moved"
    fill(reader, packets[1][CHUNK_HEAD_BYTES:], MIB)
    reader.end_stream()
    assert len(reader.get_buffer()) > CHUNK_HEAD_BYTES


def test_memory_of_chunks_is_used_again_only_once_nobody_looks_at_it() -> None:
    memory = ChunkMemory()
    first = memory.take(1000)
    first[:] = b"a" * 1000
    kept, block = first[10:20].toreadonly(), first.obj
    del first
    second = memory.take(1000)
    second[:] = b"b" * 1000
    assert bytes(kept) == b"a" * 10
    assert second.obj is not block
    del kept
    third = memory.take(900)
    assert third.obj is block
    assert len(third) == 900


def test_memory_of_chunks_is_bounded() -> None:
    memory = ChunkMemory()
    held = [memory.take(100) for _ in range(BLOCKS_MAX + 5)]
    assert len({id(view.obj) for view in held}) == len(held), "none is given to two"
    first, last = id(held[0].obj), id(held[-1].obj)
    kept = [view.obj for view in held]
    held.clear()
    taken = [memory.take(100) for _ in range(BLOCKS_MAX)]
    used = {id(view.obj) for view in taken}
    assert last in used
    assert first not in used, "the oldest were forgotten"
    assert len(kept) == BLOCKS_MAX + 5
