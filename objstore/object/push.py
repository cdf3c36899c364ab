"""Completes another replica: sends what this device holds of one object, with the timestamps it has."""

from functools import partial

from crc32c import crc32c

from objstore.formats.filenames import FileKind
from objstore.formats.messages import (
    Address,
    CommitPut,
    DeleteObject,
    Message,
    OpenPut,
    PostObject,
    Pushed,
    PushObject,
    PutObject,
    Ready,
    Stored,
)
from objstore.model.errors import Code, NodeError
from objstore.model.version import Version
from objstore.object.device import ObjectDevice
from objstore.object.files import Files, Place, place_of
from objstore.object.reader import Corrupt, OpenObject, open_object, read_version
from objstore.rpc.interface import CHUNK_BYTES_MAX, Caller, PeerUnavailable

INLINE_BYTES_MAX = 64 * 1024
CALL_TIMEOUT_S = 10.0


class Pusher:
    """Answers PushObject."""

    def __init__(self, caller: Caller, *, timeout_s: float = CALL_TIMEOUT_S) -> None:
        self._caller = caller
        self._timeout_s = timeout_s

    async def push(self, device: ObjectDevice, request: PushObject) -> Pushed:
        """Idempotent: a replica that has the same or newer is left alone. Returns once the other device is durable.

        Raises NodeError: not_found (nothing here), corrupt, busy (the other node did not answer), or the other's refusal.
        """
        place = place_of(request.target.policy, request.target.partition, request.hash)
        address = Address(request.to_ip, request.to_port)
        fs = device.disk.fs

        def look(files: Files) -> tuple[Files, Version | None, OpenObject | None]:
            """The files, the metadata of the newest POST, and the data; verified."""
            if not files.timestamp:
                raise NodeError(Code.NOT_FOUND, "nothing here to push")
            if files.deleted:
                read_version(fs, place, files.timestamp, FileKind.TOMBSTONE, request.name)
                return files, None, None
            meta = read_version(fs, place, files.meta, FileKind.META, request.name) if files.meta else None
            return files, meta, open_object(fs, place, files.timestamp, FileKind.DATA, request.name)

        files, meta, found = await device.read(place, look, in_thread=True)
        try:
            if found is None:
                tombstone = DeleteObject(request.to, request.hash, request.name, files.timestamp, request.index, True)
                await self._call(address, tombstone)
                return Pushed(files.newest)
            await self._push_data(device, place, address, request, found)
        finally:
            if found is not None:
                found.file.close()
        if meta is not None:
            await self._call(address, _post_of(request, meta))
        return Pushed(files.newest)

    async def _push_data(
        self, device: ObjectDevice, place: Place, address: Address, request: PushObject, found: OpenObject
    ) -> None:
        try:
            if found.version.size <= INLINE_BYTES_MAX:
                body = await device.disk.run(lambda: found.read(0, found.version.size))
                await self._call(
                    address, PutObject(request.to, request.hash, found.version, body, request.index, True, crc32c(body))
                )
            else:
                await self._stream(device, address, request, found)
        except Corrupt as error:
            await device.set_aside(place, error)
            raise NodeError(Code.CORRUPT, str(error)) from error

    async def _stream(self, device: ObjectDevice, address: Address, request: PushObject, found: OpenObject) -> None:
        version = found.version
        opening = OpenPut(request.to, request.hash, version.name, version.size)
        try:
            exchange = await self._caller.open(address, opening, timeout_s=self._timeout_s)
            try:
                _expect(await exchange.receive(), Ready)
                for start in range(0, version.size, CHUNK_BYTES_MAX):
                    length = min(CHUNK_BYTES_MAX, version.size - start)
                    await exchange.send_chunk(await device.disk.run(partial(found.read, start, length)))
                await exchange.send(CommitPut(version, request.index, True))
                _expect(await exchange.receive(), Stored)
                await exchange.finish()
            finally:
                exchange.abort()
        except PeerUnavailable as error:
            raise NodeError(Code.BUSY, f"{address.ip}:{address.port} did not answer: {error}") from error
        except NodeError as error:
            if error.code is not Code.NEWER_EXISTS:
                raise

    async def _call(self, address: Address, request: Message) -> None:
        try:
            _expect(await self._caller.call(address, request, timeout_s=self._timeout_s), Stored)
        except PeerUnavailable as error:
            raise NodeError(Code.BUSY, f"{address.ip}:{address.port} did not answer: {error}") from error
        except NodeError as error:
            if error.code is not Code.NEWER_EXISTS:
                raise


def _post_of(request: PushObject, meta: Version) -> PostObject:
    typed = meta.type_timestamp > 0
    return PostObject(
        request.to,
        request.hash,
        request.name,
        meta.timestamp,
        meta.headers,
        meta.user,
        meta.content_type if typed else None,
        request.index,
        meta.type_timestamp,
        True,
    )


def _expect(reply: object, kind: type[Message]) -> None:
    if not isinstance(reply, kind):
        raise NodeError(Code.INTERNAL, f"unexpected reply {type(reply).__name__}")
