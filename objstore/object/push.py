"""Completes another replica: sends what this device holds of one object, with the timestamps it has."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import msgspec

from objstore.formats.filenames import FileKind
from objstore.formats.messages import (
    Address,
    CommitPut,
    DeleteObject,
    IndexTarget,
    Message,
    OpenPut,
    PostObject,
    Pushed,
    PushObject,
    PutObject,
    Ready,
    Stored,
    Target,
)
from objstore.model.errors import Code, NodeError
from objstore.model.version import ORIGIN, Version
from objstore.object.device import ObjectDevice, read_failed
from objstore.object.files import NOTHING, Files, Place, place_of
from objstore.object.merge import merge_meta
from objstore.object.reader import Corrupt, OpenObject, open_object, read_version
from objstore.rpc.interface import CHUNK_BYTES_MAX, Caller, Chunk, PeerUnavailable
from objstore.runtime.pacing import TokenBucket

INLINE_BYTES_MAX = 64 * 1024
CALL_TIMEOUT_S = 10.0
OVERHEAD_BYTES = 1024
"""What an object without a body counts as in pacing."""


class Misplaced(Exception):
    """The name in a file's metadata does not belong where the file is."""


@dataclass(frozen=True, slots=True)
class Push:
    """What to send where. `name` "" when only the files know it; `index(name)` is the container replica that the receiver has
    to inform (it raises Misplaced). `held`: what the receiver has already, as far as known, and need not be sent.
    """

    place: Place
    address: Address
    to: Target
    name: str
    index: Callable[[str], IndexTarget | None]
    held: Files = NOTHING
    settled: bool = False
    """A majority of the primaries holds it."""
    expected: tuple[int, int] | None = None
    """The order of what is to be sent; anything newer here or there is a failure."""
    restamp: int = 0
    """Send it as of this timestamp, all POSTs merged in; 0 as it is."""
    members: int = 0
    """Whom a restamped version is proposed to (see members_of)."""


class Pusher:
    """Sends objects to other devices."""

    def __init__(self, caller: Caller, *, timeout_s: float = CALL_TIMEOUT_S, pace: TokenBucket | None = None) -> None:
        """`pace` in bytes."""
        self._caller = caller
        self._timeout_s = timeout_s
        self._pace = pace

    async def answer(self, device: ObjectDevice, request: PushObject) -> Pushed:
        """Answers PushObject. Raises as `push`."""
        place = place_of(request.target.policy, request.target.partition, request.hash)
        address = Address(request.to_ip, request.to_port)
        push = Push(place, address, request.to, request.name, lambda _: request.index)
        push = replace(push, expected=request.expected, restamp=request.restamp, members=request.members)
        files = await self.push(device, push)
        return Pushed(request.restamp or files.newest)

    async def push(self, device: ObjectDevice, push: Push) -> Files:
        """Idempotent: a replica that has the same or newer is left alone. Returns what the other device holds durably by now.

        Raises NodeError: not_found (nothing here), newer_exists (and something was expected), corrupt, busy (the other node did not
        answer), or the other's refusal.
        """
        files, name, meta, found = await device.read(push.place, partial(self._look, device, push), in_thread=True)
        try:
            if push.expected not in (None, files.order) and files.order != (push.restamp, push.restamp):
                raise NodeError(Code.NEWER_EXISTS, "", files.newest)
            index = push.index(name)
            if self._pace is not None:
                await self._pace.take(OVERHEAD_BYTES + (found.version.size if found is not None else 0))
            if files.deleted:
                at = push.restamp or files.timestamp
                deletion = DeleteObject(push.to, push.place.hash, name, at, index, True, settled=push.settled, members=push.members)
                await self._call(push, deletion)
            if found is not None:
                await self._push_data(device, push, found, index)
        except Misplaced as error:
            # Not with its name, which is another object's.
            corrupt = Corrupt(files.paths(push.place)[0], str(error), foreign=True)
            await device.set_aside(push.place, corrupt)
            raise NodeError(Code.CORRUPT, str(corrupt)) from error
        finally:
            if found is not None:
                found.file.close()
        if meta is not None:
            await self._call(push, _post_of(push, meta, index))
        return files

    def _look(self, device: ObjectDevice, push: Push, files: Files) -> tuple[Files, str, Version | None, OpenObject | None]:
        """The files, the object's name, the metadata of the newest POST, and the data if it has to be sent; verified."""
        fs, place, name = device.disk.fs, push.place, push.name
        if not files.timestamp and not files.meta:
            raise NodeError(Code.NOT_FOUND, "nothing here to push")
        if files.deleted:
            return files, read_version(fs, place, files.timestamp, FileKind.TOMBSTONE, name).name, None, None
        meta = read_version(fs, place, files.meta, FileKind.META, name) if files.meta else None
        known = push.held.timestamp == files.timestamp and not push.held.deleted
        if meta is not None and (known or not files.timestamp) and not push.restamp:
            return files, meta.name, meta, None
        found = open_object(fs, place, files.timestamp, FileKind.DATA, name)
        if push.restamp:
            found.version = restamped(found.version if meta is None else merge_meta(found.version, meta), push.restamp)
            meta = None
        return files, found.version.name, meta, found

    async def _push_data(self, device: ObjectDevice, push: Push, found: OpenObject, index: IndexTarget | None) -> None:
        try:
            if found.version.size <= INLINE_BYTES_MAX:
                body, crc = await device.disk.run(lambda: found.read_with_crc(0, found.version.size))
                request = PutObject(
                    push.to, push.place.hash, found.version, body, index, True, crc, False, push.settled, push.members
                )
                await self._call(push, request)
            else:
                await self._stream(device, push, found, index)
        except Corrupt as error:
            await device.set_aside(push.place, error)
            raise NodeError(Code.CORRUPT, str(error)) from error
        except OSError as error:
            raise read_failed(error) from error

    async def _stream(self, device: ObjectDevice, push: Push, found: OpenObject, index: IndexTarget | None) -> None:
        version = found.version
        opening = OpenPut(push.to, push.place.hash, version.name, version.size)
        try:
            exchange = await self._caller.open(push.address, opening, timeout_s=self._timeout_s)
            try:
                _expect(await exchange.receive(), Ready)
                for start in range(0, version.size, CHUNK_BYTES_MAX):
                    length = min(CHUNK_BYTES_MAX, version.size - start)
                    chunk = Chunk(*await device.disk.run(partial(found.read_with_crc, start, length)))
                    await exchange.send_chunk(chunk)
                await exchange.send(CommitPut(version, index, True, False, push.settled, push.members))
                _expect(await exchange.receive(), Stored)
                await exchange.finish()
            finally:
                exchange.abort()
        except PeerUnavailable as error:
            raise _silent(push, error) from error
        except NodeError as error:
            if push.expected is not None or error.code is not Code.NEWER_EXISTS:
                raise

    async def _call(self, push: Push, request: Message) -> None:
        try:
            _expect(await self._caller.call(push.address, request, timeout_s=self._timeout_s), Stored)
        except PeerUnavailable as error:
            raise _silent(push, error) from error
        except NodeError as error:
            if push.expected is not None or error.code is not Code.NEWER_EXISTS:
                raise


def _silent(push: Push, error: PeerUnavailable) -> NodeError:
    return NodeError(Code.BUSY, f"{push.address.ip}:{push.address.port} did not answer: {error}")


def _post_of(push: Push, meta: Version, index: IndexTarget | None) -> PostObject:
    typed = meta.type_timestamp > 0
    return PostObject(
        push.to,
        push.place.hash,
        meta.name,
        meta.timestamp,
        meta.headers,
        meta.user,
        meta.content_type if typed else None,
        index,
        meta.type_timestamp,
        True,
        settled=push.settled,
    )


def restamped(version: Version, at: int) -> Version:
    """The same version proposed anew. Its origin stays, by which its writer knows it again."""
    system = {ORIGIN: str(version.timestamp)} | version.system
    again: Version = msgspec.structs.replace(version, timestamp=at, system=system, meta_timestamp=at, type_timestamp=at)
    return again


def _expect(reply: object, kind: type[Message]) -> None:
    if not isinstance(reply, kind):
        raise NodeError(Code.INTERNAL, f"unexpected reply {type(reply).__name__}")
