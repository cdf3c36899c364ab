"""A store in memory that keeps the promises of `operations.Store`: what the API's tests talk to."""

import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from urllib.parse import unquote

import msgspec
from memory_rows import Stored, Table
from memory_tables import MemoryTables

from objstore.model import manifest as manifests
from objstore.model.conditions import NO_CONDITIONS, Conditions, check_read, check_write
from objstore.model.errors import (
    ChecksumMismatch,
    Conflict,
    InvalidInput,
    ManifestInvalid,
    NotModified,
    ObjectNotFound,
    PreconditionFailed,
    RangeNotSatisfiable,
    StoreError,
    TooLarge,
    Unavailable,
)
from objstore.model.manifest import Segment
from objstore.model.metadata import check_metadata
from objstore.model.names import ObjectName
from objstore.model.policy import Policies
from objstore.model.ranges import Span, resolve
from objstore.model.timestamps import TICKS_PER_SECOND, seconds_of
from objstore.model.version import Version
from objstore.proxy.operations import Context, CopyRequest, CopyResult, NewObject, ObjectRead, PutResult, ReadRequest, Upload
from objstore.runtime.interface import Clock


@dataclass
class MemoryRead:
    """An object opened for reading."""

    version: Version
    size: int
    etag: str
    manifest: str
    spans: list[Span] | None
    parts: int | None
    content: bytes
    piece_bytes: int = 65_536
    closed: bool = False
    fail_after: int | None = None

    async def body(self, span: Span | None = None) -> AsyncIterator[bytes]:
        start, end = (0, self.size) if span is None else (span.start, span.end)
        for at in range(start, end, self.piece_bytes):
            if self.fail_after is not None and at - start >= self.fail_after:
                raise Unavailable("a replica broke off")
            yield self.content[at : min(at + self.piece_bytes, end)]

    async def close(self) -> None:
        self.closed = True


class MemoryStore(MemoryTables):
    """See `operations.Store`. `fail` makes every operation on objects raise; `cut_reads_after` breaks bodies off."""

    def __init__(self, clock: Clock, policies: Policies) -> None:
        super().__init__(clock, policies)
        self.fail: Exception | None = None
        self.cut_reads_after: int | None = None
        self.reads: list[MemoryRead] = []

    def _stored(self, name: ObjectName, expired: bool = False) -> Stored:
        stored = self._table(name.account, name.container).objects.get(name.object)
        if stored is None or (stored.version.delete_at and stored.version.delete_at <= self._clock.now() and not expired):
            raise ObjectNotFound
        return stored

    async def open_object(self, ctx: Context, request: ReadRequest) -> ObjectRead:
        if self.fail:
            raise self.fail
        self._access.read_container(ctx, request.name.account, request.name.container)
        read = self._open(ctx, request)
        self.reads.append(read)
        return read

    def _open(self, ctx: Context, request: ReadRequest) -> MemoryRead:
        stored = self._stored(request.name, request.open_expired)
        version = stored.version
        kind, content, etag, part_sizes = "", stored.body, version.etag, None
        if not request.raw_manifest and version.system.get("manifest") == "slo":
            segments = manifests.decode_manifest(stored.body)
            kind, etag = "slo", version.system["manifest-etag"]
            content = self._assemble(ctx, request.name.account, segments, request.open_expired)
            part_sizes = [segment.taken.length for segment in segments]
        elif not request.raw_manifest and "x-object-manifest" in version.headers:
            kind = "dlo"
            content, etag = self._concatenate(ctx, request.name.account, version.headers["x-object-manifest"])
        changed = -(-int(seconds_of(max(version.order)) * TICKS_PER_SECOND) // TICKS_PER_SECOND)
        try:
            check_read(request.conditions, etag, changed, max(version.order))
        except PreconditionFailed as error:
            raise PreconditionFailed(error.text, etag, version, kind) from None
        except NotModified:
            raise NotModified(etag, max(version.order), version, kind) from None
        spans = self._spans(request, content, part_sizes, etag, version, kind)
        parts = len(part_sizes) if part_sizes is not None and request.part_number else None
        return MemoryRead(version, len(content), etag, kind, spans, parts, content, fail_after=self.cut_reads_after)

    @staticmethod
    def _spans(
        request: ReadRequest, content: bytes, part_sizes: list[int] | None, etag: str, version: Version, kind: str
    ) -> list[Span] | None:
        def refused() -> RangeNotSatisfiable:
            return RangeNotSatisfiable(len(content), etag, version.timestamp, version, kind, parts)

        parts = len(part_sizes) if part_sizes is not None and request.part_number else None
        if request.part_number and part_sizes is not None:
            number = request.part_number
            if number > len(part_sizes):
                error = refused()
                error.text = "The requested part number is not satisfiable"
                raise error
            return [Span(sum(part_sizes[: number - 1]), part_sizes[number - 1])]
        if request.ranges is None or (kind == "dlo" and len(request.ranges) > 1):
            return None
        spans = resolve(request.ranges, len(content))
        if not spans:
            raise refused()
        return spans

    def _assemble(self, ctx: Context, account: str, segments: list[Segment], expired: bool) -> bytes:
        parts = []
        for segment in segments:
            if segment.data:
                parts.append(segment.data)
                continue
            name = ObjectName(account, *segment.names)
            try:
                self._access.read_container(ctx, account, name.container)
                if self._stored(name, expired).version.system.get("manifest-etag", segment.etag) != segment.etag:
                    raise Conflict("a segment has changed")
                read = self._open(ctx, ReadRequest(name, NO_CONDITIONS, open_expired=expired))
            except StoreError as error:
                raise Conflict(str(error)) from None
            if read.etag != segment.etag:
                raise Conflict("a segment has changed")
            span = segment.taken
            parts.append(read.content[span.start : span.end])
        return b"".join(parts)

    def _concatenate(self, ctx: Context, account: str, where: str) -> tuple[bytes, str]:
        container, _, prefix = unquote(where).partition("/")
        self._access.read_container(ctx, account, container)
        digest, parts = hashlib.md5(usedforsecurity=False), []
        for name, stored in sorted(self._table(account, container).objects.items()):
            if name.startswith(prefix):
                read = self._open(ctx, ReadRequest(ObjectName(account, container, name), NO_CONDITIONS))
                parts.append(read.content)
                digest.update(stored.version.etag.encode())
        return b"".join(parts), digest.hexdigest()

    async def put_object(self, ctx: Context, name: ObjectName, new: NewObject, upload: Upload, conditions: Conditions) -> PutResult:
        if self.fail:
            raise self.fail
        table = self._writable(ctx, name, new, conditions)
        quota = table.settings.values.get("user:quota-bytes")
        if quota and quota.value and upload.size is not None and upload.size > int(quota.value):
            raise TooLarge("Upload exceeds quota.")
        body = b"".join([piece async for piece in upload.chunks])
        return self._put(table, name, new, body, {})

    def _writable(self, ctx: Context, name: ObjectName, new: NewObject, conditions: Conditions) -> Table:
        self._access.write_container(ctx, name.account, name.container)
        table = self._table(name.account, name.container)
        check_metadata("object", new.user)
        old = table.objects.get(name.object)
        check_write(conditions, old.version.etag if old else None)
        return table

    def _put(self, table: Table, name: ObjectName, new: NewObject, body: bytes, system: dict[str, str]) -> PutResult:
        etag = hashlib.md5(body, usedforsecurity=False).hexdigest()
        shown = system.get("manifest-etag", etag)
        if new.expected_etag is not None and new.expected_etag != shown:
            raise ChecksumMismatch
        now = self._next()
        version = Version(str(name), now, False, len(body), etag, new.content_type, new.headers, new.user, system, now, now)
        table.objects[name.object] = Stored(version, body)
        return PutResult(shown, now, len(body), True, version)

    async def put_manifest(
        self, ctx: Context, name: ObjectName, new: NewObject, segments: list[Segment], conditions: Conditions
    ) -> PutResult:
        table = self._writable(ctx, name, new, conditions)
        problems: list[tuple[str, str]] = []
        checked = [self._checked(ctx, name, segment, problems) for segment in segments]
        if problems:
            raise ManifestInvalid(problems)
        whole = [segment for segment in checked if segment is not None]
        system = {
            "manifest": "slo",
            "manifest-etag": manifests.manifest_etag(whole),
            "manifest-size": str(manifests.total_size(whole)),
        }
        return self._put(table, name, new, manifests.encode_manifest(whole), system)

    def _checked(self, ctx: Context, name: ObjectName, segment: Segment, problems: list[tuple[str, str]]) -> Segment | None:
        if segment.data:
            return segment
        part = ObjectName(name.account, *segment.names)
        if part == name:
            problems.append((segment.path, "a manifest cannot be its own segment"))
            return None
        try:
            self._access.read_container(ctx, part.account, part.container)
            read = self._open(ctx, ReadRequest(part, NO_CONDITIONS))
        except StoreError as error:
            status = "404 Not Found" if "NotFound" in type(error).__name__ else "403 Forbidden"
            problems.append((segment.path, status))
            return None
        span = manifests.normal_span(segment.span, read.size) if segment.span else ""
        flaws = []
        if segment.size not in (-1, read.size):
            flaws.append("Size Mismatch")
        if segment.etag and segment.etag != read.etag:
            flaws.append("Etag Mismatch")
        if span is None:
            flaws.append("Unsatisfiable Range")
        problems += [(segment.path, flaw) for flaw in flaws]
        return msgspec.structs.replace(
            segment, etag=read.etag, size=read.size, span=span or "", sub_manifest=read.manifest == "slo",
            content_type=read.version.content_type, modified_s=float(int(seconds_of(read.version.timestamp)) + 1),
        )  # fmt: skip

    async def post_object(
        self, ctx: Context, name: ObjectName, new: NewObject, content_type: str | None, open_expired: bool = False
    ) -> None:
        self._access.write_container(ctx, name.account, name.container)
        stored = self._stored(name, open_expired)
        check_metadata("object", new.user)
        now = self._next()
        stored.version = msgspec.structs.replace(
            stored.version, headers=new.headers, user=new.user, meta_timestamp=now,
            content_type=content_type or stored.version.content_type,
        )  # fmt: skip

    async def delete_object(self, ctx: Context, name: ObjectName, conditions: Conditions) -> int:
        self._access.write_container(ctx, name.account, name.container)
        stored = self._stored(name, expired=True)
        check_write(conditions, stored.version.etag)
        del self._table(name.account, name.container).objects[name.object]
        if stored.version.delete_at and stored.version.delete_at <= self._clock.now():
            raise ObjectNotFound
        return self._next()

    async def read_manifest(self, ctx: Context, name: ObjectName) -> list[Segment]:
        self._access.read_container(ctx, name.account, name.container)
        stored = self._stored(name)
        if stored.version.system.get("manifest") != "slo":
            raise InvalidInput("Not an SLO manifest")
        return manifests.decode_manifest(stored.body)

    async def copy_object(self, ctx: Context, request: CopyRequest) -> CopyResult:
        self._access.read_container(ctx, request.source.account, request.source.container)
        asked = ReadRequest(
            request.source, request.conditions, request.ranges, raw_manifest=request.raw_manifest,
            part_number=request.part_number,
        )  # fmt: skip
        read = self._open(ctx, asked)
        source = read.version
        kept = {} if request.fresh_metadata else source.headers
        if read.manifest == "dlo":
            kept = {key: value for key, value in kept.items() if key != "x-object-manifest"}
        new = NewObject(
            request.content_type or source.content_type,
            kept | request.new.headers,
            ({} if request.fresh_metadata else source.user) | request.new.user,
            request.new.expected_etag,
        )
        if request.raw_manifest and source.system.get("manifest") == "slo":
            segments = manifests.decode_manifest(read.content)
            return CopyResult(await self.put_manifest(ctx, request.target, new, segments, request.target_conditions), source)
        span = read.spans[0] if read.spans else Span(0, read.size)
        table = self._writable(ctx, request.target, new, request.target_conditions)
        return CopyResult(self._put(table, request.target, new, read.content[span.start : span.end], {}), source)
