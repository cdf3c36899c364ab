"""Reading large objects: static ones by their manifest, dynamic ones by a listing, both as one body.

A reader needs the right to read every segment, checked as for a request of its own. The first segment is opened before the answer
begins, so that a broken manifest is an error (Conflict) and not a cut connection.
"""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass, field
from urllib.parse import unquote

from objstore.formats.messages import Query
from objstore.model.errors import Conflict, ContainerNotFound, RangeNotSatisfiable, StoreError, Unavailable
from objstore.model.manifest import (
    DEPTH_MAX,
    ManifestError,
    Piece,
    Segment,
    decode_manifest,
    locate,
    manifest_etag,
    part_span,
    total_size,
)
from objstore.model.names import ObjectName
from objstore.model.octets import Octets
from objstore.model.parts import hidden_account
from objstore.model.ranges import Span
from objstore.model.rows import ObjectRow
from objstore.model.version import Version
from objstore.placement.places import ObjectPlace, Placement
from objstore.proxy.access import Access
from objstore.proxy.bodies import Body
from objstore.proxy.found import Found, Part
from objstore.proxy.listings import Lister
from objstore.proxy.opening import Opener, etag_of, satisfied
from objstore.proxy.operations import Context, ReadRequest, internal
from objstore.proxy.tables import Tables

LISTING_PAGE_ROWS = 10_000


@dataclass(slots=True)
class LargeRead:
    """ObjectRead of a large object."""

    version: Version
    size: int
    etag: str
    manifest: str
    spans: list[Span] | None
    parts: int | None
    segments: "Segments"
    streams: list[AsyncGenerator[Octets, None]] = field(default_factory=list)

    def body(self, span: Span | None = None) -> AsyncIterator[Octets]:
        """As ObjectRead."""
        stream = self.segments.read(span or Span(0, self.size))
        self.streams.append(stream)
        return stream

    async def close(self) -> None:
        """As ObjectRead."""
        for stream in self.streams:
            await stream.aclose()


class Segments:
    """The segments of one large object as one sequence of bytes."""

    def __init__(
        self, reader: "LargeReader", ctx: Context, account: str, segments: list[Segment], expired: bool, depth: int
    ) -> None:
        self._reader = reader
        self._ctx = ctx
        self._account = account
        self._segments = segments
        self._expired = expired
        self._depth = depth
        self._first: tuple[Piece, AsyncGenerator[Octets, None]] | None = None

    async def prepare(self, span: Span) -> None:
        """Open the first segment of `span`. Raises Conflict when that cannot be done."""
        piece = next(locate(self._segments, span), None)
        if piece is not None and not piece.segment.data:
            self._first = (piece, await self._open(piece))

    async def read(self, span: Span) -> AsyncGenerator[Octets, None]:
        """The bytes of `span`. Raises StoreErrors."""
        for piece in locate(self._segments, span):
            if piece.segment.data:
                yield piece.segment.data[piece.span.start : piece.span.end]
                continue
            if self._first is not None and self._first[0] == piece:
                _, body = self._first
            else:
                body = await self._open(piece)
            self._first = None
            async with aclosing(body):
                async for data in body:
                    yield data

    async def _open(self, piece: Piece) -> AsyncGenerator[Octets, None]:
        """The bytes of a piece, the segment being what the manifest says. Raises Conflict, Unavailable."""
        try:
            return await self._reader.open_piece(self._ctx, self._account, piece, self._expired, self._depth)
        except (Conflict, Unavailable):
            raise
        except StoreError as error:
            raise Conflict(f"segment {piece.segment.path} cannot be read: {error.text}") from error


class LargeReader:
    """Opens large objects."""

    def __init__(self, opener: Opener, placement: Placement, tables: Tables, access: Access, lister: Lister) -> None:
        self._opener = opener
        self._placement = placement
        self._tables = tables
        self._access = access
        self._lister = lister
        self._inline = Part(opener.nodes.knobs.inline_bytes_max)

    async def segments_of(self, place: ObjectPlace, found: Found, txn: str) -> list[Segment]:
        """What a stored manifest names. Raises Unavailable for one that cannot be read."""
        version = found.version
        assert version is not None
        document = found.body
        if document is None or len(document) != version.size:
            body = Body(self._opener.nodes, place, version, found.holders + found.others, txn)
            document = b"".join([piece async for piece in body.read(Span(0, version.size))])
        try:
            return decode_manifest(document)
        except ManifestError as error:
            raise Unavailable(f"the manifest of {version.name} is damaged") from error

    async def open_static(self, ctx: Context, request: ReadRequest, place: ObjectPlace, found: Found) -> LargeRead:
        """A static large object. Raises what plain reads raise, and Conflict."""
        version = found.version
        assert version is not None
        kind = version.system["manifest"]
        ctx, account = _holder(ctx, request.name.account, kind)
        if request.head and request.part_number is None:
            size = int(version.system["manifest-size"])
            spans = satisfied(request, version, size, etag_of(version), kind)
            nothing = Segments(self, ctx, account, [], request.open_expired, 0)
            return LargeRead(version, size, etag_of(version), kind, spans, None, nothing)
        segments = await self.segments_of(place, found, ctx.txn)
        return await self._opened(ctx, account, request, version, segments, kind, etag_of(version))

    async def open_dynamic(self, ctx: Context, request: ReadRequest, found: Found) -> LargeRead:
        """A dynamic large object: all objects of a container that begin with a prefix, in order. Needs the right to list."""
        version = found.version
        assert version is not None
        segments = await self._listed(ctx, request.name.account, unquote(version.headers["x-object-manifest"]))
        return await self._opened(ctx, request.name.account, request, version, segments, "dlo", manifest_etag(segments))

    async def _opened(
        self, ctx: Context, account: str, request: ReadRequest, version: Version, segments: list[Segment], kind: str, etag: str
    ) -> LargeRead:
        size, parts = total_size(segments), None
        spans = satisfied(_without_many(request, kind), version, size, etag, kind)
        if request.part_number is not None and kind != "dlo":
            parts = len(segments)
            part = part_span(segments, request.part_number)
            if part is None:
                raise RangeNotSatisfiable(size, etag, version.timestamp, version, kind, parts)
            spans = [part]
        reading = Segments(self, ctx, account, segments, request.open_expired, 0)
        if not request.head and size:
            await reading.prepare(spans[0] if spans else Span(0, size))
        return LargeRead(version, size, etag, kind, spans, parts, reading)

    async def _listed(self, ctx: Context, account: str, value: str) -> list[Segment]:
        container, _, prefix = value.removeprefix("/").partition("/")
        info = await self._tables.container(account, container)
        await self._access.list_container(ctx, account, info)
        if not info.exists:
            raise ContainerNotFound("there is no container of segments")
        place, marker, segments = self._placement.container(account, container), "", list[Segment]()
        for _ in range(self._opener.nodes.knobs.segment_pages_max):
            page = await self._lister.page(place, Query(LISTING_PAGE_ROWS, marker, prefix=prefix), ctx.txn)
            rows = [row for row in page.rows if isinstance(row, ObjectRow)]
            segments += [Segment(f"/{container}/{row.name}", row.etag.partition(";")[0], row.size) for row in rows]
            if not page.until:
                return segments
            marker = page.until
        raise Conflict("the object has too many segments")

    async def open_piece(
        self, ctx: Context, account: str, piece: Piece, open_expired: bool, depth: int
    ) -> AsyncGenerator[Octets, None]:
        """The bytes of one piece of a segment. Raises Conflict when it is not what the manifest says; what finding raises."""
        segment, span = piece
        name = ObjectName(account, *segment.names)
        part = self._inline if segment.sub_manifest else Part(self._inline.inline_max, span.start, span.length)
        place, found = await self._opener.find(ctx, name, part, open_expired=open_expired)
        version = found.version
        assert version is not None
        is_manifest = "manifest" in version.system
        if segment.sub_manifest and is_manifest:
            if depth >= DEPTH_MAX:
                raise Conflict("manifests are nested too deep")
            if (etag_of(version), int(version.system["manifest-size"])) != (segment.etag, segment.size):
                raise Conflict(f"segment {segment.path} has changed")
            inner = await self.segments_of(place, found, ctx.txn)
            nested = Segments(self, *_holder(ctx, account, version.system["manifest"]), inner, open_expired, depth + 1)
            await nested.prepare(span)
            return nested.read(span)
        if segment.sub_manifest or (version.etag, version.size) != (segment.etag, segment.size):
            raise Conflict(f"segment {segment.path} has changed")
        if found.body is not None and len(found.body) == span.length:
            return _once(found.body)
        return Body(self._opener.nodes, place, version, found.holders + found.others, ctx.txn).read(span)


def _holder(ctx: Context, account: str, kind: str) -> tuple[Context, str]:
    """As whom, and in which account, segments are read: parts of a multipart upload belong to the object, so who may read that may
    read them.
    """
    return (internal(account, ctx.txn), hidden_account(account)) if kind == "parts" else (ctx, account)


async def _once(data: bytes) -> AsyncGenerator[Octets, None]:
    yield data


def _without_many(request: ReadRequest, kind: str) -> ReadRequest:
    """As Swift does: dynamic large objects are sent whole when several ranges are asked for, and a part number wins."""
    several = request.ranges is not None and len(request.ranges) > 1 and kind == "dlo"
    if several or request.part_number is not None:
        return ReadRequest(request.name, request.conditions)
    return request
