"""Sends large bodies: the next piece is read and verified in a disk thread while the last one is on its way."""

import asyncio
from collections.abc import Callable

from objstore.formats.filenames import FileKind
from objstore.formats.messages import End, ReadObject, Ready
from objstore.model.errors import Code, NodeError
from objstore.object.device import ObjectDevice, read_failed
from objstore.object.files import Files, Place, place_of
from objstore.object.reader import Corrupt, OpenObject, open_object
from objstore.rpc.interface import CHUNK_BYTES_MAX, Chunk, Exchange


async def send_body(find_device: Callable[[str], ObjectDevice], request: ReadObject, exchange: Exchange) -> None:
    """Answer one ReadObject. Raises NodeError (nothing but verified chunks was sent before), PeerUnavailable."""
    device = find_device(request.target.device)
    place = place_of(request.target.policy, request.target.partition, request.hash)
    found = await _open(device, place, request.timestamp)
    reading: asyncio.Future[Chunk] | None = None
    try:
        if request.start < 0 or request.length < 0 or request.start + request.length > found.version.size:
            raise NodeError(Code.BAD_REQUEST, f"range beyond the object's {found.version.size} bytes")
        await exchange.send(Ready())
        end = request.start + request.length
        at = request.start
        while at < end:
            # Pieces end where the body's chunks do: each chunk is read and verified once.
            until = min(end, at - at % CHUNK_BYTES_MAX + CHUNK_BYTES_MAX)
            chunk = await (reading or _read(device, found, at, until))
            at = until
            reading = _read(device, found, at, min(end, at + CHUNK_BYTES_MAX)) if at < end else None
            await exchange.send_chunk(chunk)
        await exchange.send(End())
        await exchange.finish()
    except Corrupt as error:
        await device.set_aside(place, error)
        raise NodeError(Code.CORRUPT, f"{error.path}: {error.reason}") from error
    except OSError as error:
        raise read_failed(error) from error
    finally:
        if reading is not None:
            await asyncio.wait([reading])  # its thread uses the descriptor
            if not reading.cancelled():
                reading.exception()
        found.file.close()


def _read(device: ObjectDevice, found: OpenObject, start: int, end: int) -> "asyncio.Future[Chunk]":
    return asyncio.ensure_future(device.disk.run(lambda: Chunk(*found.read_with_crc(start, end - start))))


async def _open(device: ObjectDevice, place: Place, timestamp: int) -> OpenObject:
    def read(files: Files) -> OpenObject:
        if not files.alive or files.timestamp != timestamp:
            raise NodeError(Code.NOT_FOUND, "that version is gone", files.timestamp)
        return open_object(device.disk.fs, place, timestamp, FileKind.DATA, "")

    return await device.read(place, read, in_thread=True)
