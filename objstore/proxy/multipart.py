"""Multipart uploads: many parts, put together under a manifest. `model/parts` says where they are kept.

What makes it safe: a part's object is written once and never changed; an upload is open as long as its record is there; the record
goes only after the manifest is durable; and no request removes a part. The multipart-collector does, when no open upload and no
object refers to it.
"""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import md5

import msgspec

from objstore.formats.messages import Query
from objstore.model.checksums import ChecksumAlgorithm, ChecksumType
from objstore.model.conditions import NO_CONDITIONS, Conditions
from objstore.model.errors import ContainerNotFound, ObjectNotFound, PartMissing, PartTooSmall, UploadNotFound, WrongChecksum
from objstore.model.manifest import Segment, encode_manifest, total_size
from objstore.model.names import ObjectName
from objstore.model.octets import Octets
from objstore.model.parts import (
    NOTE,
    PART_BYTES_MIN,
    Part,
    hidden_account,
    part_name,
    part_of,
    part_prefix,
    record_name,
    record_of,
    record_prefix,
    whole_checksum,
)
from objstore.model.ranges import Span
from objstore.model.rows import Subdir
from objstore.model.timestamps import seconds_of
from objstore.placement.places import Placement
from objstore.proxy.access import Access
from objstore.proxy.bodies import Body, InMemory
from objstore.proxy.changes import Changer
from objstore.proxy.found import NO_BYTES
from objstore.proxy.found import Part as Wanted
from objstore.proxy.infocache import Info
from objstore.proxy.listings import Lister
from objstore.proxy.opening import Opener, etag_of
from objstore.proxy.operations import Context, NewObject, OpenUpload, PutResult, Upload, WantedPart, internal
from objstore.proxy.storing import Slot, Storer
from objstore.proxy.tables import Tables
from objstore.runtime.clock import HybridClock

PAGE_ROWS = 1000


class _Record(msgspec.Struct, frozen=True):
    """What was said when an upload began; kept as JSON."""

    content_type: str
    headers: dict[str, str]
    user: dict[str, str]
    algorithm: str = ""
    checksum_type: str = ""


@dataclass(frozen=True, slots=True)
class _Bucket:
    """A bucket, and where its uploads are."""

    name: ObjectName
    hidden: str
    ctx: Context
    policy: int


class Multipart:
    """See the uploads in `operations.Store`."""

    def __init__(
        self,
        placement: Placement,
        tables: Tables,
        access: Access,
        opener: Opener,
        storer: Storer,
        changer: Changer,
        lister: Lister,
        hlc: HybridClock,
    ) -> None:
        self._placement = placement
        self._tables = tables
        self._access = access
        self._opener = opener
        self._storer = storer
        self._changer = changer
        self._lister = lister
        self._hlc = hlc

    async def begin(
        self, ctx: Context, name: ObjectName, new: NewObject, algorithm: ChecksumAlgorithm | None, kind: ChecksumType | None
    ) -> str:
        """As Store.begin_upload."""
        await self._storer.slot(ctx, name, new, None, NO_CONDITIONS)
        bucket = await self._bucket(ctx, name, make=True)
        id_ = f"{self._hlc.next():016x}"
        record = _Record(new.content_type, new.headers, new.user, algorithm or "", kind or "")
        document = msgspec.json.encode(record)
        slot = self._slot(bucket, record_name(name.object, id_))
        await self._storer.put(bucket.ctx, slot, NewObject("application/json"), Upload(InMemory(document), len(document)))
        return id_

    async def put_part(self, ctx: Context, name: ObjectName, id_: str, number: int, upload: Upload, etag: str | None) -> PutResult:
        """As Store.put_part."""
        bucket = await self._bucket(ctx, name)
        algorithm = (await self._record(bucket, id_)).algorithm
        facts = upload.facts

        def noted() -> Mapping[str, str]:
            known = facts()
            notes = [f"{key.removeprefix('checksum-')}={value}" for key, value in known.items() if key.startswith("checksum-")]
            return {**known, NOTE: notes[0]} if notes else known

        unique = f"{self._hlc.next():016x}"
        slot = self._slot(bucket, part_name(name.object, id_, number, unique))
        new = NewObject("application/octet-stream", expected_etag=etag)
        chunks = _of_algorithm(algorithm, upload)
        return await self._storer.put(bucket.ctx, slot, new, msgspec.structs.replace(upload, chunks=chunks, facts=noted))

    async def parts(self, ctx: Context, name: ObjectName, id_: str) -> OpenUpload:
        """As Store.list_parts."""
        bucket = await self._bucket(ctx, name)
        record = await self._record(bucket, id_)
        return _open_upload(name.object, id_, record, await self._parts(bucket, id_))

    async def uploads(self, ctx: Context, account: str, container: str, query: Query) -> list[OpenUpload | Subdir]:
        """As Store.list_uploads."""
        bucket = await self._bucket(ctx, ObjectName(account, container, ""))
        if not (await self._tables.container(bucket.hidden, container)).exists:
            return []
        marker = record_prefix(query.marker) if query.marker else ""
        asked = msgspec.structs.replace(query, marker=marker, prefix=record_prefix(query.prefix))
        page = await self._lister.page(self._placement.container(bucket.hidden, container), asked, ctx.txn)
        found: list[OpenUpload | Subdir] = []
        for row in page.rows:
            if isinstance(row, Subdir):
                found.append(Subdir(row.name.removeprefix(record_prefix(""))))
            else:
                key, id_ = record_of(row.name)
                found.append(OpenUpload(key, id_, seconds_of(row.timestamp), None, None, ()))
        return found

    async def complete(
        self, ctx: Context, name: ObjectName, id_: str, wanted: Sequence[WantedPart], conditions: Conditions
    ) -> PutResult:
        """As Store.complete_upload."""
        bucket = await self._bucket(ctx, name)
        try:
            record = await self._record(bucket, id_)
        except UploadNotFound:
            return await self._completed(bucket, id_, wanted)
        chosen = _chosen(wanted, await self._parts(bucket, id_))
        segments = [
            Segment(f"/{name.container}/{part.name}", part.etag, part.size, modified_s=seconds_of(part.timestamp))
            for part in chosen
        ]
        size = total_size(segments)
        new = NewObject(record.content_type, record.headers, record.user, own_limits=True)
        slot = await self._storer.slot(ctx, name, new, size, conditions)
        etag = multipart_etag(part.etag for part in chosen)
        system = {
            "manifest": "parts",
            "manifest-etag": etag,
            "manifest-size": str(size),
            "manifest-depth": "1",
            "listed-size": str(size),
            "listed-etag": etag,
            "upload-id": id_,
            **_whole_checksum(record, chosen),
        }
        document = encode_manifest(segments)
        result = await self._storer.put(ctx, slot, new, Upload(InMemory(document), len(document)), system)
        await self._close(bucket, id_)
        return result

    async def abort(self, ctx: Context, name: ObjectName, id_: str) -> None:
        """As Store.abort_upload."""
        bucket = await self._bucket(ctx, name)
        await self._record(bucket, id_)
        await self._close(bucket, id_)

    # --- steps -------------------------------------------------------------------------------------------------

    async def _bucket(self, ctx: Context, name: ObjectName, make: bool = False) -> _Bucket:
        """Raises AccessDenied, NotAuthenticated, ContainerNotFound, and UploadNotFound where no upload ever was."""
        info = await self._tables.container(name.account, name.container)
        await self._access.write_object(ctx, name.account, info)
        if not info.exists:
            raise ContainerNotFound("there is no such container")
        hidden = hidden_account(name.account)
        inside = internal(name.account, ctx.txn)
        policy = await self._policy(inside, hidden, name.container, info, make)
        return _Bucket(name, hidden, inside, policy)

    async def _policy(self, ctx: Context, hidden: str, container: str, info: Info, make: bool) -> int:
        """The storage policy of the parts: the bucket's, when its first upload began."""
        found = await self._tables.container(hidden, container)
        if found.exists or not make:
            return found.settings.policy
        await self._tables.make_container(ctx, hidden, container, info.settings.policy)
        return info.settings.policy

    def _slot(self, bucket: _Bucket, name: str) -> Slot:
        return Slot(self._placement.object(self._hidden(bucket, name), bucket.policy), 0, None)

    def _hidden(self, bucket: _Bucket, name: str) -> ObjectName:
        return ObjectName(bucket.hidden, bucket.name.container, name)

    async def _record(self, bucket: _Bucket, id_: str) -> _Record:
        """Raises UploadNotFound."""
        name = self._hidden(bucket, record_name(bucket.name.object, id_))
        place = self._placement.object(name, bucket.policy)
        part = Wanted(self._opener.nodes.knobs.inline_bytes_max)
        try:
            found = await self._opener.newest(place, part, bucket.ctx.txn)
        except ObjectNotFound:
            raise UploadNotFound("there is no such upload") from None
        version, body = found.version, found.body
        assert version is not None
        if body is None:
            source = Body(self._opener.nodes, place, version, found.holders + found.others, bucket.ctx.txn)
            body = b"".join([piece async for piece in source.read(Span(0, version.size))])
        return msgspec.json.decode(body, type=_Record)

    async def _parts(self, bucket: _Bucket, id_: str) -> list[Part]:
        """The newest of each number, in order."""
        table = self._placement.container(bucket.hidden, bucket.name.container)
        query, newest = Query(PAGE_ROWS, prefix=part_prefix(bucket.name.object, id_)), dict[int, Part]()
        while True:
            page = await self._lister.page(table, query, bucket.ctx.txn)
            for row in page.rows:
                part = part_of(row)
                newest[part.number] = part  # rows are in the order of their names: the last of a number is the newest
            if not page.until:
                return list(newest.values())
            query = msgspec.structs.replace(query, marker=page.until)

    async def _completed(self, bucket: _Bucket, id_: str, wanted: Sequence[WantedPart]) -> PutResult:
        """What an upload became of these parts that is not open any more: clients ask again when they missed the answer.

        Raises UploadNotFound, also when it became something else.
        """
        info = await self._tables.container(bucket.name.account, bucket.name.container)
        place = self._placement.object(bucket.name, info.settings.policy)
        try:
            version = (await self._opener.newest(place, NO_BYTES, bucket.ctx.txn)).version
        except ObjectNotFound:
            version = None
        if version is None or version.system.get("upload-id") != id_ or etag_of(version) != _etag_asked(wanted):
            raise UploadNotFound("there is no such upload")
        return PutResult(etag_of(version), version.timestamp, int(version.system["manifest-size"]), True, version)

    async def _close(self, bucket: _Bucket, id_: str) -> None:
        try:
            await self._changer.delete(bucket.ctx, self._hidden(bucket, record_name(bucket.name.object, id_)), NO_CONDITIONS)
        except ObjectNotFound:
            pass  # another request did


async def _of_algorithm(algorithm: str, upload: Upload) -> AsyncIterator[Octets]:
    """The body. Raises WrongChecksum at its end when its checksum cannot go into the whole's, which is by `algorithm` ("": any)."""
    async for chunk in upload.chunks:
        yield chunk
    sent = [key.removeprefix("checksum-") for key in upload.facts() if key.startswith("checksum-")]
    if algorithm and sent and algorithm not in sent:
        raise WrongChecksum(algorithm, sent[0])


def multipart_etag(etags: Iterable[str]) -> str:
    """The entity tag of a whole of parts: md5 of their md5s, "-", their number."""
    digests = [bytes.fromhex(etag) for etag in etags]
    return f"{md5(b''.join(digests), usedforsecurity=False).hexdigest()}-{len(digests)}"


def _etag_asked(wanted: Iterable[WantedPart]) -> str:
    """The same of parts as a client names them, "" when one of its tags is no md5."""
    try:
        return multipart_etag(part.etag for part in wanted)
    except ValueError:
        return ""


def _open_upload(key: str, id_: str, record: _Record, parts: Sequence[Part]) -> OpenUpload:
    algorithm = ChecksumAlgorithm(record.algorithm) if record.algorithm else None
    kind = ChecksumType(record.checksum_type) if record.checksum_type else None
    return OpenUpload(key, id_, 0.0, algorithm, kind, tuple(parts))


def _chosen(wanted: Sequence[WantedPart], uploaded: Iterable[Part]) -> list[Part]:
    """Raises PartMissing, PartTooSmall."""
    known = {part.number: part for part in uploaded}
    chosen = []
    for number, etag, checksum in wanted:
        part = known.get(number)
        if part is None or part.etag != etag or (checksum and part.checksum != checksum):
            raise PartMissing(number)
        chosen.append(part)
    for part in chosen[:-1]:
        if part.size < PART_BYTES_MIN:
            raise PartTooSmall(part.number, part.size, part.etag)
    return chosen


def _whole_checksum(record: _Record, parts: Sequence[Part]) -> dict[str, str]:
    """The system facts of the whole's checksum; none unless every part has one. Raises PartMissing where only some have."""
    if not record.algorithm:
        return {}
    algorithm, kind = ChecksumAlgorithm(record.algorithm), ChecksumType(record.checksum_type)
    return {f"checksum-{algorithm}": whole_checksum(algorithm, kind, parts), "checksum-type": str(kind)}
