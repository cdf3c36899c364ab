"""A large body on its way to disk: a temporary file that becomes an object, or leaves nothing."""

import asyncio
import contextlib
from collections.abc import Callable

from objstore.formats.messages import Target
from objstore.formats.objectmeta import TableBuilder
from objstore.model.errors import Code, NodeError
from objstore.model.octets import Octets
from objstore.object.crashes import UPLOAD_PIECE
from objstore.object.files import place_of
from objstore.runtime.committer import node_error
from objstore.runtime.interface import CrashPoints, Disk, OpenFile

WRITE_BYTES_MIN = 512 * 1024
"""Bytes collected before a disk thread is asked to write: a hop to a thread costs as much as writing 64 KiB."""


class Upload:
    """One stream's temporary file. One piece is written while the next is received; memory is bounded by two pieces.

    Used by one handler. End with `commit` by the writer or with `discard`, which is safe to call in any case.
    """

    def __init__(self, disk: Disk, points: CrashPoints, target: Target, hash_: bytes, name: str, expected: int) -> None:
        self.target = target
        self.hash = hash_
        self.name = name
        self.size = 0
        self._disk = disk
        self._points = points
        self._expected = expected
        self._file: OpenFile | None = None
        self._table = TableBuilder()
        self._held: list[Octets] = []
        self._held_bytes = 0
        self._writing: asyncio.Future[None] | None = None

    async def open(self) -> None:
        """Make the file and reserve its space. Raises NodeError no_space, device_failed, busy."""
        self._disk.require_space(max(self._expected, 0))
        await self._in_thread(self._open)

    def _open(self) -> None:
        place = place_of(self.target.policy, self.target.partition, self.hash)
        self._file = self._disk.fs.create_temp(place.directory)
        if self._expected > 0:
            self._disk.fs.allocate(self._file, self._expected)

    async def add(self, data: Octets) -> None:
        """The next bytes of the body. Raises NodeError bad_request beyond the size announced, no_space, device_failed, busy."""
        self.size += len(data)
        if 0 <= self._expected < self.size:
            raise NodeError(Code.BAD_REQUEST, f"more than the {self._expected} bytes announced")
        self._held.append(data)
        self._held_bytes += len(data)
        if self._held_bytes >= WRITE_BYTES_MIN:
            await self._flush()

    async def finish(self) -> None:
        """All bytes came: write what is held. Raises as `add`."""
        if 0 <= self._expected != self.size:
            raise NodeError(Code.BAD_REQUEST, f"{self.size} bytes came of the {self._expected} announced")
        await self._flush()
        await self._written()

    async def _flush(self) -> None:
        await self._written()
        if not self._held:
            return
        if self._expected < 0:
            self._disk.require_space(self._held_bytes)
        pieces, self._held, self._held_bytes = self._held, [], 0
        self._writing = asyncio.ensure_future(self._in_thread(lambda: self._write(pieces)))

    def _write(self, pieces: list[Octets]) -> None:
        assert self._file is not None
        for piece in pieces:
            self._file.write(piece)
            self._table.add(piece)
        self._points.reach(UPLOAD_PIECE)

    async def _written(self) -> None:
        if self._writing is not None:
            await asyncio.shield(self._writing)
            self._writing = None

    async def _in_thread(self, work: Callable[[], None]) -> None:
        try:
            await self._disk.run(work)
        except OSError as error:
            raise node_error(error, "upload") from error

    def table(self) -> bytes:
        """The checksum table of all that was written; after `finish`."""
        return self._table.table()

    async def release(self, trailer: bytes) -> OpenFile:
        """The complete file, which from here on belongs to the disk that commits it. Raises NodeError no_space, device_failed."""
        file = self._file
        assert file is not None and self._writing is None and not self._held
        if trailer:
            await self._in_thread(lambda: file.write(trailer))
        self._file = None
        return file

    async def discard(self) -> None:
        """Leave nothing, unless the file was released. Waits for a write under way: its descriptor must not be reused."""
        if self._writing is not None:
            with contextlib.suppress(NodeError):
                await asyncio.shield(self._writing)
            self._writing = None
        file, self._file = self._file, None
        if file is not None:
            await self._in_thread(lambda: self._disk.fs.discard(file))
