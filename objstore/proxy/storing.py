"""Storing new versions of objects: the writer's rights, conditions and quotas, then the bytes."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from hashlib import md5

import msgspec
from crc32c import crc32c

from objstore.formats.messages import IndexTarget, PutObject, Target
from objstore.model.conditions import NO_CONDITIONS, Conditions, check_write
from objstore.model.errors import BodyIncomplete, ChecksumMismatch, ContainerNotFound, TooLarge
from objstore.model.metadata import check_headers, check_metadata
from objstore.model.names import ObjectName, check_object_name
from objstore.model.octets import Octets
from objstore.model.version import BASE, Version
from objstore.placement.places import ObjectPlace, Placement
from objstore.proxy.access import Access
from objstore.proxy.bodies import InMemory
from objstore.proxy.completion import Completion
from objstore.proxy.found import NO_BYTES
from objstore.proxy.nodes import Nodes
from objstore.proxy.opening import Opener, etag_of, modified_s
from objstore.proxy.operations import Context, NewObject, PutResult, Upload
from objstore.proxy.proposals import Attempt, Ballot, Change, Proposer, attempted
from objstore.proxy.quotas import Quotas
from objstore.proxy.reads import Finder
from objstore.proxy.tables import Tables
from objstore.proxy.uploads import Streams
from objstore.proxy.writes import RequestFor, Writer, Written

Offload = Callable[[Callable[[], None]], Awaitable[None]]
"""Runs work that takes long in another thread."""


async def in_thread(work: Callable[[], None]) -> None:
    """The usual Offload."""
    await asyncio.get_running_loop().run_in_executor(None, work)


class Slot(msgspec.Struct, frozen=True):
    """A place that may be written under `conditions`: above timestamp `after`, at most `room` bytes (None for any number)."""

    place: ObjectPlace
    after: int
    room: int | None
    conditions: Conditions = NO_CONDITIONS


class Storer:
    """Stores new versions."""

    def __init__(
        self,
        placement: Placement,
        tables: Tables,
        access: Access,
        quotas: Quotas,
        opener: Opener,
        finder: Finder,
        writer: Writer,
        completion: Completion,
        proposer: Proposer,
        offload: Offload = in_thread,
    ) -> None:
        self._nodes: Nodes = writer.nodes
        self._placement = placement
        self._tables = tables
        self._access = access
        self._quotas = quotas
        self._opener = opener
        self._finder = finder
        self._writer = writer
        self._completion = completion
        self._proposer = proposer
        self._offload = offload

    async def slot(self, ctx: Context, name: ObjectName, new: NewObject, size: int | None, conditions: Conditions) -> Slot:
        """All checks that need no body. Raises InvalidInput, AccessDenied, NotAuthenticated, ContainerNotFound, TooLarge,
        PreconditionFailed, Unavailable.
        """
        check_object_name(name.object)
        info = await self._tables.container(name.account, name.container)
        await self._access.write_object(ctx, name.account, info)
        if not new.own_limits:
            check_metadata("object", new.user)
        check_headers(new.headers)
        if not info.exists:
            raise ContainerNotFound("there is no such container")
        room = await self._quotas.check(ctx, name.account, name.container, info, size)
        place = self._placement.object(name, info.settings.policy)
        after = 0 if conditions is NO_CONDITIONS else await self.check(place, conditions, ctx.txn)
        return Slot(place, after, room, conditions)

    async def check(self, place: ObjectPlace, conditions: Conditions, txn: str) -> int:
        """Check a write's conditions before its body is taken; returns the timestamp of what is there. It is `propose` that decides
        them; but in a sloppy policy only this, and of writes that race each may see the state before the other.

        Raises PreconditionFailed, Unavailable.
        """
        if conditions is NO_CONDITIONS or conditions == NO_CONDITIONS:
            return 0
        found = await self._finder.find(place, NO_BYTES, txn)
        self._judge(conditions, found.version)
        return found.timestamp

    def _judge(self, conditions: Conditions, version: Version | None) -> None:
        if version is None or self._opener.expired(version):
            check_write(conditions, None)
        else:
            check_write(conditions, etag_of(version), modified_s(version))

    def proposes(self, place: ObjectPlace, conditions: Conditions) -> bool:
        """Whether a change must be proposed: sloppy policies have no majority that could agree."""
        return not (conditions is NO_CONDITIONS or conditions == NO_CONDITIONS or place.sloppy)

    async def propose(self, place: ObjectPlace, conditions: Conditions, change: Change, txn: str) -> Written:
        """As Proposer.propose, with these conditions."""
        return await self._proposer.propose(place, partial(self._judge, conditions), change, txn)

    async def put(
        self, ctx: Context, slot: Slot, new: NewObject, upload: Upload, system: dict[str, str] | None = None
    ) -> PutResult:
        """Store a body. `system` as in Version.

        Raises ChecksumMismatch, BodyIncomplete, TooLarge, Unavailable, InsufficientStorage, Conflict, what the body's
        iterator raises.
        """
        name, small = slot.place.name, self._nodes.knobs.inline_bytes_max
        chunks = aiter(upload.chunks)
        body = b""
        if upload.size is None or upload.size <= small:
            body, ended = await _first_bytes(chunks, small)
            if ended:
                etag = md5(body, usedforsecurity=False).hexdigest()
                self._check_body(slot, new, upload, len(body), etag)
                version_at = partial(_version, name, new, len(body), etag, {**(system or {}), **upload.facts()})
                return await self._put_small(ctx, slot, version_at, body)
        return await self._put_large(ctx, slot, new, upload, body, chunks, system or {})

    def _check_body(self, slot: Slot, new: NewObject, upload: Upload, size: int, etag: str) -> None:
        if upload.size is not None and size != upload.size:
            raise BodyIncomplete(f"{size} of {upload.size} bytes came")
        if slot.room is not None and size > slot.room:
            raise TooLarge("Upload exceeds quota.")
        if new.expected_etag is not None and new.expected_etag != etag:
            raise ChecksumMismatch(computed=etag)

    async def _put_small(self, ctx: Context, slot: Slot, version_at: Callable[[int], Version], body: bytes) -> PutResult:
        place = slot.place
        crc = crc32c(body)

        def at(timestamp: int) -> RequestFor:
            version = version_at(timestamp)

            def request(target: Target, index: IndexTarget | None) -> PutObject:
                return PutObject(target, place.hash, version, body, index, crc=crc)

            return request

        async def change(ballot: Ballot, base: int) -> Attempt:
            version = _over(version_at(ballot.timestamp), base)

            def request(target: Target, index: IndexTarget | None) -> PutObject:
                return PutObject(target, place.hash, version, body, index, crc=crc, members=ballot.members)

            return attempted(ballot, *await self._writer.write_at(place, request, ctx.txn))

        if self.proposes(place, slot.conditions):
            written = await self.propose(place, slot.conditions, change, ctx.txn)
        else:
            written = await self._writer.write(place, at, ctx.txn, slot.after)
        return _result(written, version_at(written.timestamp))

    async def _put_large(
        self,
        ctx: Context,
        slot: Slot,
        new: NewObject,
        upload: Upload,
        first: bytes,
        chunks: AsyncIterator[Octets],
        system: dict[str, str],
    ) -> PutResult:
        digest, size = md5(usedforsecurity=False), 0
        hashing: asyncio.Future[None] | None = None
        streams: Streams | None = None
        try:
            async for piece in self._pieces(first, chunks):
                if streams is None:  # not before the client has begun to send
                    expected = -1 if upload.size is None else upload.size
                    streams = Streams(self._nodes, self._completion, self._writer.hlc, slot.place, expected, ctx.txn)
                size += len(piece)
                if slot.room is not None and size > slot.room:
                    raise TooLarge("Upload exceeds quota.")
                if hashing is not None:
                    await hashing
                hashing = asyncio.ensure_future(self._offload(partial(digest.update, piece)))
                await streams.feed(piece)
            if hashing is not None:
                await hashing
            etag = digest.hexdigest()
            self._check_body(slot, new, upload, size, etag)
            if streams is None:
                raise BodyIncomplete("no bytes came")
            version_at = partial(_version, slot.place.name, new, size, etag, {**system, **upload.facts()})
            written = await self._commit(ctx, slot, streams, version_at)
        finally:
            if streams is not None:
                streams.close()
            if hashing is not None and not hashing.done():
                await asyncio.wait([hashing])
        return _result(written, version_at(written.timestamp))

    async def _commit(self, ctx: Context, slot: Slot, streams: Streams, version_at: Callable[[int], Version]) -> Written:
        async def change(ballot: Ballot, base: int) -> Attempt:
            return Attempt(*await streams.commit_at(_over(version_at(ballot.timestamp), base), ballot.members))

        if self.proposes(slot.place, slot.conditions):
            return await self.propose(slot.place, slot.conditions, change, ctx.txn)
        return await streams.commit(version_at, slot.after)

    async def _pieces(self, first: bytes, chunks: AsyncIterator[Octets]) -> AsyncIterator[Octets]:
        """The body in pieces large enough to be worth a thread, small enough for one frame."""
        knobs, clock = self._nodes.knobs, self._nodes.clock
        parts: list[Octets] = [first] if first else []
        size, since = len(first), clock.monotonic()
        async for chunk in chunks:
            parts.append(chunk)
            size += len(chunk)
            if size >= knobs.piece_bytes_min or clock.monotonic() - since > knobs.piece_age_s:
                yield b"".join(parts) if len(parts) > 1 else chunk
                parts, size, since = [], 0, clock.monotonic()
        if size:
            yield b"".join(parts)


async def _first_bytes(chunks: AsyncIterator[Octets], size_max: int) -> tuple[bytes, bool]:
    """The body up to a little more than `size_max` bytes, and whether that is all of it."""
    if isinstance(chunks, InMemory) and len(chunks.data) <= size_max:
        return chunks.data, True
    parts: list[Octets] = []
    size = 0
    async for chunk in chunks:
        parts.append(chunk)
        size += len(chunk)
        if size > size_max:
            return b"".join(parts), False
    return b"".join(parts), True


def _version(name: str, new: NewObject, size: int, etag: str, system: dict[str, str], timestamp: int) -> Version:
    return Version(name, timestamp, False, size, etag, new.content_type, new.headers, new.user, system, timestamp, timestamp)


def _over(version: Version, base: int) -> Version:
    over: Version = msgspec.structs.replace(version, system={**version.system, BASE: str(base)})
    return over


def _result(written: Written, version: Version) -> PutResult:
    shown = int(version.system.get("manifest-size", version.size)) if version.system else version.size
    return PutResult(etag_of(version), written.timestamp, shown, written.listed, version)
