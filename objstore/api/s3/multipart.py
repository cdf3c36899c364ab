"""Multipart uploads: begin, parts, lists, completion, abort."""

from collections.abc import Mapping, Sequence
from itertools import pairwise

from objstore.api.reply import Fields, Reply
from objstore.api.s3.acl import check_new_object
from objstore.api.s3.call import OBJECT_BYTES_MAX, Call, Site, md5_compared, md5_of, missing_told
from objstore.api.s3.dates import iso_date
from objstore.api.s3.errors import S3Error, invalid_argument, under_conditions
from objstore.api.s3.headers import check_promises, kept_headers, user_metadata
from objstore.api.s3.listings import limit_of, shown
from objstore.api.s3.objects import DEFAULT_TYPE, checksum_fields, checksum_leaves, source_conditions, source_of, write_conditions
from objstore.api.s3.xml import TYPE_FIELD, Element, document, group, leaf, owner_of, parse
from objstore.auth.s3checks import NAMES
from objstore.formats.messages import Query
from objstore.model.checksums import PARTS_MAX, ChecksumAlgorithm, ChecksumType
from objstore.model.errors import ContainerNotFound, PartMissing, UploadNotFound
from objstore.model.parts import Part, valid_id, whole_checksum
from objstore.model.ranges import Span, parse_ranges
from objstore.model.rows import Subdir
from objstore.model.timestamps import from_seconds
from objstore.proxy.operations import NewObject, OpenUpload, ReadRequest, Upload, WantedPart

BODY_BYTES_MAX = 4 * 2**20
"""Of the document that names all parts: some 300 bytes for each of ten thousand."""
TAGS_MAX = 16 * PARTS_MAX + 100
"""A part has a number, an etag, and a checksum or a few."""


class MultipartHandlers:
    """What is done to one upload, and the list of those of a bucket."""

    def __init__(self, site: Site) -> None:
        self._site = site

    async def begin(self, call: Call) -> Reply:
        """CreateMultipartUpload."""
        headers = call.headers
        check_promises(headers)
        algorithm, kind = _checksum_wanted(headers)
        content_type = headers.get("content-type") or DEFAULT_TYPE
        await check_new_object(self._site, call)
        new = NewObject(content_type, kept_headers(headers), user_metadata(headers), own_limits=True)
        id_ = await self._site.store.begin_upload(call.ctx, call.name, new, algorithm, kind)
        fields: Fields = [TYPE_FIELD]
        if algorithm is not None and kind is not None:
            fields += [("x-amz-checksum-algorithm", algorithm.name), ("x-amz-checksum-type", str(kind))]
        parts = (leaf("Bucket", call.bucket), leaf("Key", call.key), leaf("UploadId", id_))
        return Reply(200, fields, document("InitiateMultipartUploadResult", parts))

    async def put_part(self, call: Call) -> Reply:
        """UploadPart."""
        check_promises(call.headers)
        size = call.payload.size
        if size is None:
            raise S3Error("MissingContentLength")
        if size > OBJECT_BYTES_MAX:
            raise S3Error("EntityTooLarge", details={"ProposedSize": str(size), "MaxSizeAllowed": str(OBJECT_BYTES_MAX)})
        number, upload = _number(call.query), call.payload.upload()
        id_, expected = _id(call), md5_of(call.headers)
        with md5_compared(expected):
            result = await self._site.store.put_part(call.ctx, call.name, id_, number, upload, expected)
        return Reply(200, [("ETag", f'"{result.etag}"'), *checksum_fields(result.version.system)[:1]])

    async def copy_part(self, call: Call) -> Reply:
        """UploadPartCopy: a part whose bytes are (a range of) another object."""
        headers, number, id_ = call.headers, _number(call.query), _id(call)
        check_promises(headers)
        source = await source_of(self._site, call)
        wanted = headers.get("x-amz-copy-source-range")
        async with missing_told(self._site.store, call.ctx, source.account, source.container):
            read = await self._site.store.open_object(call.ctx, ReadRequest(source, source_conditions(headers)))
        try:
            span = _copied(wanted, read.size) if wanted is not None else Span(0, read.size)
            if span.length > OBJECT_BYTES_MAX:
                raise S3Error("EntityTooLarge")
            upload = Upload(read.body(span), span.length)
            result = await self._site.store.put_part(call.ctx, call.name, id_, number, upload, None)
        finally:
            await read.close()
        parts = (leaf("LastModified", iso_date(result.timestamp)), leaf("ETag", f'"{result.etag}"'))
        return Reply(200, [TYPE_FIELD], document("CopyPartResult", parts))

    async def list_parts(self, call: Call) -> Reply:
        """ListParts."""
        limit, marker = limit_of(call.query, "max-parts"), _marker(call.query)
        upload = await self._site.store.list_parts(call.ctx, call.name, _id(call))
        behind = [part for part in upload.parts if part.number > marker]
        page, show = behind[:limit], shown(call.query)
        owner = owner_of(call.owner_id)
        head = [leaf("Bucket", call.bucket), leaf("Key", show(call.key)), leaf("UploadId", upload.id)]
        head += [owner.replace("Owner>", "Initiator>"), owner, leaf("StorageClass", "STANDARD")]
        head += [leaf("PartNumberMarker", marker), leaf("NextPartNumberMarker", page[-1].number if page else 0)]
        head += [leaf("MaxParts", limit), leaf("IsTruncated", len(behind) > limit), *_checksum_leaves(upload)]
        if "encoding-type" in call.query:
            head.append(leaf("EncodingType", "url"))
        return Reply(200, [TYPE_FIELD], document("ListPartsResult", [*head, *(_part_group(part) for part in page)]))

    async def list_uploads(self, call: Call) -> Reply:
        """ListMultipartUploads. The next markers are always there: of the last upload, also at the end, or empty
        (API reference, ListMultipartUploads, the examples).
        """
        fields, limit, show = call.query, limit_of(call.query, "max-uploads"), shown(call.query)
        marker, id_marker = fields.get("key-marker", ""), fields.get("upload-id-marker", "")
        prefix, delimiter = fields.get("prefix", ""), fields.get("delimiter", "")
        after = f"{marker}\0{id_marker or LAST_ID}" if marker else ""
        query = Query(limit + 1, after, "", prefix, delimiter)
        found = await self._site.store.list_uploads(call.ctx, call.owner, call.bucket, query)
        page = found[:limit]
        parts = [leaf("Bucket", call.bucket), leaf("KeyMarker", show(marker)), leaf("UploadIdMarker", id_marker)]
        truncated = len(found) > limit
        last = next((one for one in reversed(page) if truncated or not isinstance(one, Subdir)), Subdir(""))
        key, id_ = (last.name, "") if isinstance(last, Subdir) else (last.key, last.id)
        parts += [leaf("NextKeyMarker", show(key)), leaf("NextUploadIdMarker", id_)]
        if delimiter:
            parts.append(leaf("Delimiter", show(delimiter)))
        if prefix:
            parts.append(leaf("Prefix", show(prefix)))
        parts.append(leaf("MaxUploads", limit))
        if "encoding-type" in fields:
            parts.append(leaf("EncodingType", "url"))
        parts.append(leaf("IsTruncated", truncated))
        owner = owner_of(call.owner_id)
        for one in page:
            if isinstance(one, Subdir):
                parts.append(group("CommonPrefixes", (leaf("Prefix", show(one.name)),)))
                continue
            who = (owner.replace("Owner>", "Initiator>"), owner, leaf("StorageClass", "STANDARD"))
            started = leaf("Initiated", iso_date(from_seconds(one.started_s)))
            parts.append(group("Upload", (leaf("Key", show(one.key)), leaf("UploadId", one.id), *who, started)))
        return Reply(200, [TYPE_FIELD], document("ListMultipartUploadsResult", parts))

    async def complete(self, call: Call) -> Reply:
        """CompleteMultipartUpload."""
        body = await call.payload.read(BODY_BYTES_MAX)
        if not body:
            if await self._site.store.peek_container(call.owner, call.bucket) is None:
                raise ContainerNotFound("there is no such container")
            raise S3Error("InvalidRequest", "You must specify at least one part")
        wanted = [_wanted(element) for element in parse(body, "CompleteMultipartUpload", TAGS_MAX).findall("Part")]
        if not 1 <= len(wanted) <= PARTS_MAX:
            raise S3Error("MalformedXML")
        if any(one.number >= next_.number for one, next_ in pairwise(wanted)):
            raise S3Error("InvalidPartOrder")
        id_, conditions = _id(call), write_conditions(call.headers)
        await self._check_whole(call, id_, wanted)
        with under_conditions(conditions, missing=True):
            try:
                result = await self._site.store.complete_upload(call.ctx, call.name, id_, wanted, conditions)
            except PartMissing as missing:
                etag = next(part.etag for part in wanted if part.number == missing.number)
                details = {"UploadId": id_, "PartNumber": str(missing.number), "ETag": etag}
                raise S3Error("InvalidPart", details=details) from None
        scheme = "https" if call.request.secure else "http"
        where = f"{scheme}://{call.headers.get('host', '')}{call.request.path}"
        parts = [leaf("Location", where), leaf("Bucket", call.bucket), leaf("Key", call.key), leaf("ETag", f'"{result.etag}"')]
        parts += checksum_leaves(result.version.system)
        return Reply(200, [TYPE_FIELD], document("CompleteMultipartUploadResult", parts))

    async def _check_whole(self, call: Call, id_: str, wanted: Sequence[WantedPart]) -> None:
        """Raises S3Error InvalidRequest, BadDigest where the client says that the object will have another size or checksum."""
        size = call.headers.get("x-amz-mp-object-size")
        checksums = {NAMES[name]: text for name, text in call.headers.items() if name in NAMES}
        if size is None and not checksums:
            return
        try:
            upload = await self._site.store.list_parts(call.ctx, call.name, id_)
        except UploadNotFound:
            return  # it may be complete: then the answer is given again
        known = {part.number: part for part in upload.parts}
        parts = [known[one.number] for one in wanted if one.number in known]
        if size is not None and size != str(sum(part.size for part in parts)):
            raise S3Error("InvalidRequest", "The provided 'x-amz-mp-object-size' header does not match what was computed")
        algorithm = upload.algorithm
        if algorithm is not None and upload.kind is not None and algorithm in checksums:
            text = whole_checksum(algorithm, upload.kind, parts)
            if checksums[algorithm] not in (text, text.partition("-")[0]):
                raise S3Error("BadDigest", f"The {algorithm.name} you specified did not match the calculated checksum.")

    async def abort(self, call: Call) -> Reply:
        """AbortMultipartUpload."""
        await self._site.store.abort_upload(call.ctx, call.name, _id(call))
        return Reply(204)


NONE = "\0"
"""What stands for an element that is not there; an empty one is no part's tag, but in order."""
LAST_ID = "\uffff"
"""Greater than every id."""


def _id(call: Call) -> str:
    """Raises S3Error NoSuchUpload for what cannot be an id."""
    text = call.query.get("uploadId", "")
    if not valid_id(text):
        raise S3Error("NoSuchUpload", details={"UploadId": text})
    return text


def _number(query: Mapping[str, str]) -> int:
    text = query.get("partNumber", "")
    if not (text.isascii() and text.isdigit() and len(text) <= 5 and 1 <= int(text) <= PARTS_MAX):
        raise invalid_argument(f"Part number must be an integer between 1 and {PARTS_MAX}, inclusive", "partNumber", text)
    return int(text)


def _marker(query: Mapping[str, str]) -> int:
    text = query.get("part-number-marker") or "0"
    if not (text.isascii() and text.isdigit() and len(text) <= 10):
        raise invalid_argument("Argument part-number-marker must be an integer", "part-number-marker", text)
    return int(text)


def _copied(text: str, size: int) -> Span:
    """The range of a copy's source, which must lie within it."""
    ranges = parse_ranges(text)
    first, last = ranges[0] if ranges is not None and len(ranges) == 1 else (None, None)
    if first is None or last is None:
        message = "The x-amz-copy-source-range value must be of the form bytes=first-last"
        raise invalid_argument(message, "x-amz-copy-source-range", text)
    if last >= size:
        raise invalid_argument(f"Range specified is not valid for source object of size: {size}", "x-amz-copy-source-range", text)
    return Span(first, last - first + 1)


def _checksum_wanted(headers: Mapping[str, str]) -> tuple[ChecksumAlgorithm | None, ChecksumType | None]:
    """Raises S3Error InvalidRequest."""
    name, kind = headers.get("x-amz-checksum-algorithm"), headers.get("x-amz-checksum-type")
    if name is None:
        if kind is not None:
            raise S3Error("InvalidRequest", "The x-amz-checksum-type header needs the x-amz-checksum-algorithm header.")
        return None, None
    try:
        algorithm = ChecksumAlgorithm(name.lower())
    except ValueError:
        names = ", ".join(one.name for one in ChecksumAlgorithm)
        message = f"Checksum algorithm provided is unsupported. Please try again with any of the valid types: [{names}]"
        raise S3Error("InvalidRequest", message) from None
    try:
        chosen = ChecksumType(kind.upper()) if kind is not None else algorithm.types[0]
    except ValueError:
        raise S3Error("InvalidRequest", "Value for x-amz-checksum-type header is invalid.") from None
    if chosen not in algorithm.types:
        raise S3Error("InvalidRequest", f"The {chosen} checksum type cannot be used with the {algorithm} checksum algorithm.")
    return algorithm, chosen


def _wanted(element: Element) -> WantedPart:
    number, etag = element.findtext("PartNumber", "").strip(), element.findtext("ETag", NONE)
    if not (number.isascii() and number.isdigit() and len(number) <= 5 and 1 <= int(number) <= PARTS_MAX) or etag == NONE:
        raise S3Error("MalformedXML")
    etag = etag.strip().strip('"')
    for algorithm in ChecksumAlgorithm:
        if value := element.findtext(f"Checksum{algorithm.name}", ""):
            return WantedPart(int(number), etag, f"{algorithm}={value}")
    return WantedPart(int(number), etag)


def _checksum_leaves(upload: OpenUpload) -> list[str]:
    if upload.algorithm is None or upload.kind is None:
        return []
    return [leaf("ChecksumAlgorithm", upload.algorithm.name), leaf("ChecksumType", str(upload.kind))]


def _part_group(part: Part) -> str:
    fields = [leaf("PartNumber", part.number), leaf("LastModified", iso_date(part.timestamp)), leaf("ETag", f'"{part.etag}"')]
    fields.append(leaf("Size", part.size))
    if part.checksum:
        name, _, value = part.checksum.partition("=")
        fields.append(leaf(f"Checksum{name.upper()}", value))
    return group("Part", fields)
