"""Sends large bodies. What is whole chunks goes straight from the file to the connection with the checksum that it should have, and
is verified where it arrives: whoever finds it wrong drops the connection, and then it is looked at here.
"""

from collections.abc import Callable
from typing import TypeVar

from objstore.formats.filenames import FileKind
from objstore.formats.messages import End, ReadObject, Ready
from objstore.formats.objectmeta import CHUNK_BYTES
from objstore.model.errors import Code, NodeError
from objstore.object.device import ObjectDevice, read_failed
from objstore.object.files import Files, Place, place_of
from objstore.object.reader import Corrupt, OpenObject, open_object, verify_body
from objstore.rpc.interface import CHUNK_BYTES_MAX, Chunk, Exchange, PeerUnavailable
from objstore.runtime.readers import until_done

T = TypeVar("T")
FILE_PIECE_BYTES_MIN = 4 * CHUNK_BYTES
"""What is shorter is read and sent as any bytes are, in one go with what is left of the last chunk."""
UNDER_WAY_BYTES_MAX = 64 << 20
"""What was sent before the last so many bytes was verified by its reader: both kernels keep less of a connection (Linux 4 MiB of
what is sent and up to 32 of what is received, unless told otherwise).
"""


async def send_body(find_device: Callable[[str], ObjectDevice], request: ReadObject, exchange: Exchange) -> None:
    """Answer one ReadObject. Raises NodeError (nothing but chunks that the reader verifies was sent before), PeerUnavailable."""
    device = find_device(request.target.device)
    place = place_of(request.target.policy, request.target.partition, request.hash)
    found = await _open(device, place, request.timestamp)
    sending = _Sending(device, found, exchange, request.start, request.start + request.length)
    try:
        if request.start < 0 or request.length < 0 or sending.end > found.version.size:
            raise NodeError(Code.BAD_REQUEST, f"range beyond the object's {found.version.size} bytes")
        await exchange.send(Ready())
        await sending.run()
    except Corrupt as error:
        await device.set_aside(place, error)
        raise NodeError(Code.CORRUPT, f"{error.path}: {error.reason}") from error
    except OSError as error:
        raise read_failed(error) from error
    finally:
        found.file.close()


class _Sending:
    """The bytes [at, end) of one object."""

    def __init__(self, device: ObjectDevice, found: OpenObject, exchange: Exchange, at: int, end: int) -> None:
        self._disk = device.disk
        self._found = found
        self._exchange = exchange
        self._start = self._at = at
        self.end = end

    async def run(self) -> None:
        """Send them all. Raises Corrupt, OSError, NodeError, PeerUnavailable."""
        clean = False
        try:
            while self._at < self.end:
                await self._send_piece()
            await self._exchange.send(End())
            clean = await self._exchange.finish()
        except (PeerUnavailable, NodeError):
            await self._look()
            raise
        if not clean:
            await self._look()

    async def _send_piece(self) -> None:
        # Pieces end where the body's chunks do: each chunk is read and verified once.
        start = self._at
        until = min(self.end, start - start % CHUNK_BYTES_MAX + CHUNK_BYTES_MAX)
        whole = until - until % CHUNK_BYTES
        if start % CHUNK_BYTES == 0 and whole - start >= FILE_PIECE_BYTES_MIN:
            self._at = whole
            await self._exchange.send_file(self._found.piece(start, whole - start), self._run)
        else:
            chunk = await self._run(lambda: Chunk(*self._found.read_with_crc(start, until - start)))
            self._at = until
            await self._exchange.send_chunk(chunk)

    async def _run(self, call: Callable[[], T]) -> T:
        return await until_done(self._disk.run(call))

    async def _look(self) -> None:
        """Whether what went out last is what it should be."""
        first = max(self._start, self._at - UNDER_WAY_BYTES_MAX)
        await self._run(lambda: verify_body(self._found, first, self._at))


async def _open(device: ObjectDevice, place: Place, timestamp: int) -> OpenObject:
    def read(files: Files) -> OpenObject:
        if not files.alive or files.timestamp != timestamp:
            raise NodeError(Code.NOT_FOUND, "that version is gone", files.timestamp)
        found = open_object(device.disk.fs, place, timestamp, FileKind.DATA, "")
        try:
            found.load_table()
        except BaseException:
            found.file.close()
            raise
        return found

    return await device.read(place, read, in_thread=True)
