"""The bytes between nodes, without I/O: bytes in, frames and chunks out; frames and chunks in, bytes out.

A connection carries packets. All integers are little-endian.

    packet        mac[16]  length u32  sequence u64  payload[length]           mac over all that follows it
    chunk packet  mac[16]  length|2^31 u32  sequence u64  crc32c u32  data     mac over length, sequence and crc32c
    frame         kind u8  name_length u8  txn_length u8  0 u8  call u32  timeout_ms u32  body_length u32  name  txn  body

A packet holds one or more frames: all that was queued in one turn of the event loop shares one mac. The mac is HMAC-SHA256 cut
to 16 bytes, keyed per direction and connection; the sequence number counts a direction's packets from 0, so nothing can be
altered, dropped, repeated or put in another order unnoticed. The bytes of a chunk are guarded by the crc32c that the mac covers:
that finds every accident. Against somebody who rewrites traffic on the wire, run the nodes' network over TLS or WireGuard.

Without a key, between processes of one user on one host, the crc32c of the same bytes stands in the place of the mac, filled up
with zeros: nobody can come between them, but a defect of ours still must not go unnoticed.
"""

import hmac
import struct
from typing import NamedTuple

from crc32c import crc32c

from objstore.model.octets import Octets
from objstore.rpc.interface import Chunk

MAC_BYTES = 16
CHUNK_FLAG = 1 << 31
_HEAD = struct.Struct("<IQ")  # length, sequence
_PACKET_HEAD = struct.Struct("<16sIQ")  # seal, length, sequence
_CHUNK_HEAD = struct.Struct("<IQI")  # length, sequence, crc32c
_FRAME = struct.Struct("<BBBxIII")
_HEAD_BYTES = _HEAD.size
_unpack_frame = _FRAME.unpack_from
_new = tuple.__new__
_SUM = struct.Struct("<I12x")  # as long as a mac
PACKET_HEAD_BYTES = _PACKET_HEAD.size
CHUNK_HEAD_BYTES = MAC_BYTES + _CHUNK_HEAD.size
FRAME_HEAD_BYTES = _FRAME.size
FRAME_HEAD_BYTES_MAX = FRAME_HEAD_BYTES + 2 * 255
COPIED_BYTES_MAX = 1 << 14
BUFFER_BYTES = 144 << 10  # two packets with a body of 64 KiB, read at once and used where they are
STREAM_BUFFER_BYTES = 16 << 10  # for a stream's messages and small chunks: large ones go to ChunkMemory
BLOCKS_MAX = 16  # of at most a chunk each: enough for two streams that are read as fast as they come
STREAM_CHUNK_BYTES_MIN = 1 << 16
TIMEOUT_MS_MAX = 0xFFFFFFFF

REQUEST = 1  # a call; answered by one REPLY of the same call number
REPLY = 2
CANCEL = 3  # the caller no longer waits
LEAVING = 4  # no new calls on this connection, please
OPEN = 5  # on a stream's connection: a streamed call begins
MESSAGE = 6  # ... a message of it
DONE = 7  # ... the last frame of this direction


class ProtocolError(Exception):
    """The peer sent what it must not, or somebody altered it: the connection cannot go on."""


class Frame(NamedTuple):
    """`body` is a view of the receive buffer: good until the reader is used again."""

    kind: int
    call: int
    timeout_ms: int
    name: bytes
    txn: bytes
    body: bytes | memoryview


Event = Frame | Chunk


def frame_head(kind: int, call: int, timeout_ms: int, name: bytes, txn: bytes, body_length: int) -> bytes:
    """All of a frame but its body. `name` and `txn` are at most 255 bytes: raises struct.error beyond."""
    return _FRAME.pack(kind, len(name), len(txn), call, timeout_ms, body_length) + name + txn


def _sealed(key: bytes | None, signed: bytes | memoryview) -> bytes:
    """What stands before these bytes."""
    if key is None:
        return _SUM.pack(crc32c(signed))
    return hmac.digest(key, signed, "sha256")[:MAC_BYTES]


class PacketWriter:
    """One direction of one connection. `key` None: see above."""

    def __init__(self, key: bytes | None) -> None:
        self._key = key
        self._sequence = 0

    def packet(self, frames: list[bytes]) -> tuple[bytes, bytes]:
        """Two pieces to write one after the other. `frames` holds heads and bodies in order."""
        length = sum(map(len, frames))
        signed = b"".join((_HEAD.pack(length, self._sequence), *frames))
        self._sequence += 1
        return _sealed(self._key, signed), signed

    def chunk(self, length: int, crc: int) -> bytes:
        """The head to write right before the data itself."""
        signed = _CHUNK_HEAD.pack(length | CHUNK_FLAG, self._sequence, crc)
        self._sequence += 1
        return _sealed(self._key, signed) + signed


class ChunkMemory:
    """Where the data of large chunks goes, for all connections of a client or server. Memory is used again once nobody looks at it:
    fresh memory would be cleared first, for nothing, and given by the kernel page by page. Up to BLOCKS_MAX chunks stay here.

    Whoever looks at a block, be it a transport or a thread, holds a view of it, and Python refuses to resize what is looked at.
    """

    def __init__(self) -> None:
        self._blocks: list[bytearray] = []

    def take(self, size: int) -> memoryview:
        """Room for `size` bytes, nobody else's for as long as there is a view of it."""
        for block in self._blocks:
            if len(block) >= size and _idle(block):
                return memoryview(block)[:size]
        if len(self._blocks) == BLOCKS_MAX:
            del self._blocks[0]
        block = bytearray(size)
        self._blocks.append(block)
        return memoryview(block)


def _idle(block: bytearray) -> bool:
    try:
        del block[-1:]  # what is looked at cannot change its size
    except BufferError:
        return False
    block.append(0)
    return True


class PacketReader:
    """The other end of a PacketWriter. The transport reads straight into its buffers: `get_buffer`, fill, `received`.

    Small packets share one buffer; a large packet or chunk gets one of its own, so its bytes are read where they stay.
    """

    def __init__(self, key: bytes | None, *, packet_bytes_max: int, chunk_bytes_max: int, buffer_bytes: int = BUFFER_BYTES) -> None:
        self._key = key
        self._sequence = 0
        self._packet_bytes_max = packet_bytes_max
        self._chunk_bytes_max = chunk_bytes_max
        self._buffer = memoryview(bytearray(max(buffer_bytes, 2 * CHUNK_HEAD_BYTES)))
        self._start = 0
        self._end = 0
        self._needed = 0  # bytes that the packet at the start of what is left will take in the buffer
        self._large: memoryview | None = None  # a packet, or the data of a chunk
        self._large_filled = 0
        self._streaming = False  # the last packet was a large chunk, so the next one likely is
        self.memory = ChunkMemory()
        self._large_crc: int | None = None

    def get_buffer(self) -> memoryview:
        """Where the next bytes go; never empty."""
        if self._large is not None:
            return self._large[self._large_filled :]
        if self._needed:
            # Only now: until here the events of the last read may still have been looking at the buffer.
            self._compact(self._needed)
            self._needed = 0
        if self._streaming:  # no more than the next one's head: what comes behind it can then go to where it stays
            return self._buffer[self._end : CHUNK_HEAD_BYTES]
        return self._buffer[self._end :] if self._end else self._buffer

    def end_stream(self) -> None:
        """No more chunks are to be expected soon."""
        self._streaming = False

    def close(self) -> None:
        """Nothing comes any more. The buffers are freed now, not when the collector of cycles finds what had them: it counts
        objects, not their bytes, so that may be hours later.
        """
        self._buffer = memoryview(b"")
        self._large = None

    def received(self, count: int) -> list[Event]:
        """`count` bytes were put into the buffer. Returns what is complete and authentic, in order. Raises ProtocolError."""
        events: list[Event] = []
        if self._large is not None:
            self._large_filled += count
            if self._large_filled == len(self._large):
                self._finish_large(self._large, events)
            return events
        self._end += count
        while self._take(events) and self._start < self._end:
            pass
        if self._start == self._end:
            self._start = self._end = 0
        return events

    def feed(self, data: bytes | memoryview) -> list[Event]:
        """The same for bytes that came otherwise. Bodies of the returned frames are copies."""
        events: list[Event] = []
        view = memoryview(data)
        while view:
            buffer = self.get_buffer()
            count = min(len(buffer), len(view))
            buffer[:count] = view[:count]
            view = view[count:]
            for event in self.received(count):
                events.append(event if isinstance(event, Chunk) else event._replace(body=bytes(event.body)))
        return events

    def _take(self, events: list[Event]) -> bool:
        """Take one packet off the buffer; False when it is not all there (then the buffer has room for more of it)."""
        buffer, start = self._buffer, self._start
        have = self._end - start
        if have < PACKET_HEAD_BYTES:
            self._needed = PACKET_HEAD_BYTES
            return False
        seal, length, sequence = _PACKET_HEAD.unpack_from(buffer, start)
        if sequence != self._sequence:
            raise ProtocolError("packet out of order")
        if length & CHUNK_FLAG:
            return self._take_chunk(seal, length ^ CHUNK_FLAG, have, events)
        self._streaming = False
        if length > self._packet_bytes_max:
            raise ProtocolError("packet too large")
        total = PACKET_HEAD_BYTES + length
        if have >= total:
            signed: bytes | memoryview = buffer[start + MAC_BYTES : start + total]
            if total <= COPIED_BYTES_MAX:
                signed = bytes(signed)  # pieces of bytes are cheaper to take than pieces of a view
            self._verify(seal, signed)
            self._start = start + total
            _split(signed, events)
            return True
        if total <= len(buffer):
            self._needed = total
        else:
            self._begin_large(memoryview(bytearray(total)), start)
        return False

    def _take_chunk(self, seal: bytes, length: int, have: int, events: list[Event]) -> bool:
        if length > self._chunk_bytes_max:
            raise ProtocolError("chunk too large")
        if have < CHUNK_HEAD_BYTES:
            self._needed = CHUNK_HEAD_BYTES
            return False
        buffer, start = self._buffer, self._start
        body = start + CHUNK_HEAD_BYTES
        self._verify(seal, buffer[start + MAC_BYTES : body])
        crc = _CHUNK_HEAD.unpack_from(buffer, start + MAC_BYTES)[2]
        if have < CHUNK_HEAD_BYTES + length:
            self._large_crc = crc
            self._begin_large(self.memory.take(length), body)
            self._streaming = length >= STREAM_CHUNK_BYTES_MIN
            return False
        self._start = body + length
        events.append(_checked(bytes(buffer[body : self._start]), crc))
        return True

    def _begin_large(self, large: memoryview, start: int) -> None:
        count = self._end - start
        large[:count] = self._buffer[start : self._end]
        self._large, self._large_filled = large, count
        self._start = self._end = 0

    def _finish_large(self, large: memoryview, events: list[Event]) -> None:
        self._large = None
        crc, self._large_crc = self._large_crc, None
        if crc is not None:
            events.append(_checked(large.toreadonly(), crc))
            return
        self._verify(bytes(large[:MAC_BYTES]), large[MAC_BYTES:])
        _split(large[MAC_BYTES:], events)

    def _verify(self, seal: bytes, signed: bytes | memoryview) -> None:
        if self._key is None:
            if _SUM.pack(crc32c(signed)) != seal:
                raise ProtocolError("packet damaged on the way")
        elif not hmac.compare_digest(hmac.digest(self._key, signed, "sha256")[:MAC_BYTES], seal):
            raise ProtocolError("packet not authentic")
        self._sequence += 1

    def _compact(self, needed: int) -> None:
        """Make room for a packet of `needed` bytes to end in the buffer."""
        size = len(self._buffer)
        if self._start + needed > size or size - self._end < size // 4:  # the latter for reads of a decent size
            count = self._end - self._start
            self._buffer[:count] = bytes(self._buffer[self._start : self._end])
            self._start, self._end = 0, count


def _checked(data: Octets, crc: int) -> Chunk:
    if crc32c(data) != crc:
        raise ProtocolError("chunk damaged on the way")
    return Chunk(data, crc)


def _split(signed: bytes | memoryview, events: list[Event]) -> None:
    """The frames after a packet's head."""
    at, end = _HEAD_BYTES, len(signed)
    while at < end:
        if end - at < FRAME_HEAD_BYTES:
            raise ProtocolError("frame cut short")
        kind, name_length, txn_length, call, timeout_ms, body_length = _unpack_frame(signed, at)
        name_at = at + FRAME_HEAD_BYTES
        txn_at = name_at + name_length
        body_at = txn_at + txn_length
        at = body_at + body_length
        if at > end:
            raise ProtocolError("frame cut short")
        name, txn = bytes(signed[name_at:txn_at]), bytes(signed[txn_at:body_at]) if txn_length else b""
        # Half the price of calling Frame.
        events.append(_new(Frame, (kind, call, timeout_ms, name, txn, signed[body_at:at])))
