"""Opening plain objects: the reader's rights, the newest version, conditions, ranges."""

from collections.abc import AsyncGenerator, AsyncIterator
from math import ceil

import msgspec

from objstore.model.conditions import NO_CONDITIONS, check_read
from objstore.model.errors import ContainerNotFound, NotModified, ObjectNotFound, PreconditionFailed, RangeNotSatisfiable
from objstore.model.names import ObjectName
from objstore.model.octets import Octets
from objstore.model.ranges import ByteRange, Span, resolve
from objstore.model.timestamps import seconds_of
from objstore.model.version import Version
from objstore.placement.places import ObjectPlace, Placement
from objstore.proxy.access import Access
from objstore.proxy.bodies import Body, InMemory
from objstore.proxy.found import NO_BYTES, Found, Part
from objstore.proxy.nodes import Nodes
from objstore.proxy.operations import Context, ReadRequest
from objstore.proxy.reads import Finder
from objstore.proxy.tables import Tables


def modified_s(version: Version) -> int:
    """The last modification as it is shown: rounded up to whole seconds."""
    return ceil(seconds_of(max(version.timestamp, version.meta_timestamp)))


def etag_of(version: Version) -> str:
    """The etag of the object as presented. (A dynamic large object's depends on its segments.)"""
    return version.system.get("manifest-etag", version.etag) if version.system else version.etag


class PlainRead(msgspec.Struct):
    """ObjectRead of an object that is just its bytes. `data` are those of `held`, when they came along; `source` has the others."""

    version: Version
    size: int
    etag: str
    spans: list[Span] | None
    source: Body | None
    data: bytes | None
    held: Span
    manifest: str = ""
    parts: int | None = None
    streams: list[AsyncGenerator[Octets, None]] = []

    def body(self, span: Span | None = None) -> AsyncIterator[Octets]:
        """As ObjectRead."""
        start, length = span or Span(0, self.size)
        if self.data is None or start < self.held.start or start + length > self.held.end:
            assert self.source is not None
            stream = self.source.read(Span(start, length))
            self.streams.append(stream)
            return stream
        first = start - self.held.start
        return InMemory(self.data[first : first + length] if length != len(self.data) else self.data)

    async def close(self) -> None:
        """As ObjectRead."""
        for stream in self.streams:
            await stream.aclose()


class Opener:
    """Finds what a user asks for."""

    def __init__(self, nodes: Nodes, placement: Placement, finder: Finder, tables: Tables, access: Access) -> None:
        self.nodes = nodes
        self._placement = placement
        self._finder = finder
        self._tables = tables
        self._access = access

    async def find(
        self, ctx: Context, name: ObjectName, part: Part, newest: bool = False, open_expired: bool = False
    ) -> tuple[ObjectPlace, Found]:
        """The newest version that `ctx` may read. Raises ObjectNotFound, ContainerNotFound, AccessDenied, NotAuthenticated,
        Unavailable.
        """
        info = await self._tables.container(name.account, name.container)
        await self._access.read_object(ctx, name.account, info)
        if not info.exists:
            raise ContainerNotFound("there is no such container")
        place = self._placement.object(name, info.settings.policy)
        return place, await self.newest(place, part, ctx.txn, newest, open_expired)

    async def newest(self, place: ObjectPlace, part: Part, txn: str, everywhere: bool = False, open_expired: bool = False) -> Found:
        """The same without regard to rights."""
        found = await self._finder.find(place, part, txn, everywhere)
        if found.version is None:
            raise ObjectNotFound("there is no such object", found.tombstone)
        if not open_expired and self.expired(found.version):
            raise ObjectNotFound("the object has expired", 0)
        return found

    def expired(self, version: Version) -> bool:
        """Whether an object counts as deleted since its x-delete-at."""
        return "x-delete-at" in version.headers and version.delete_at <= self.nodes.clock.now()

    def plain(self, request: ReadRequest, place: ObjectPlace, found: Found, part: Part, txn: str) -> PlainRead:
        """The bytes as stored. Raises PreconditionFailed, NotModified, RangeNotSatisfiable."""
        version = found.version
        assert version is not None
        spans = satisfied(request, version, version.size, version.etag, "")
        held = Span(0, version.size)
        if part.start or part.length >= 0:  # a single range was asked for, so there is a single span
            held = spans[0] if spans else Span(0, 0)
        data = found.body if found.body is not None and len(found.body) == held.length else None
        whole = data is not None and held.length == version.size
        source = None if whole else Body(self.nodes, place, version, found.holders + found.others, txn)
        return PlainRead(version, version.size, version.etag, spans, source, data, held)


def satisfied(request: ReadRequest, version: Version, size: int, etag: str, manifest: str) -> list[Span] | None:
    """Check the conditions, then resolve the ranges. Raises PreconditionFailed, NotModified, RangeNotSatisfiable, all with what
    an API needs for its answer.
    """
    if request.conditions is not NO_CONDITIONS:
        try:
            check_read(request.conditions, etag, modified_s(version), version.timestamp)
        except PreconditionFailed:
            raise PreconditionFailed("", etag, version, manifest) from None
        except NotModified:
            raise NotModified(etag, version.timestamp, version, manifest) from None
    if request.ranges is None:
        return None
    spans = resolve(request.ranges, size)
    if not spans:
        raise RangeNotSatisfiable(size, etag, version.timestamp, version, manifest)
    return spans


def part_of(request: ReadRequest, inline_bytes_max: int) -> Part:
    """What to have sent along with the answer: the whole, or the one range asked for."""
    if request.head:
        return NO_BYTES
    if request.ranges is None or len(request.ranges) != 1 or request.part_number is not None:
        return Part(inline_bytes_max)
    first, last = wanted = request.ranges[0]
    if wanted == ByteRange(None, 0):
        return NO_BYTES
    if first is None:
        return Part(inline_bytes_max, -(last or 0))
    return Part(inline_bytes_max, first, -1 if last is None else last - first + 1)
