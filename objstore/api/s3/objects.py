"""Objects: GetObject, HeadObject, PutObject, CopyObject, DeleteObject."""

from collections.abc import Mapping
from urllib.parse import unquote_to_bytes

from objstore.api.conditional import parse_conditions
from objstore.api.dates import last_modified
from objstore.api.reading import body_reply
from objstore.api.reply import Fields, Reply
from objstore.api.s3.acl import check_new_object
from objstore.api.s3.call import OBJECT_BYTES_MAX, Call, Site, md5_compared, md5_of, missing_told, owner_of_bucket
from objstore.api.s3.dates import iso_date
from objstore.api.s3.errors import S3Error, invalid_argument, under_conditions
from objstore.api.s3.headers import check_no_keys, check_promises, kept_headers, object_fields, override_fields, user_metadata
from objstore.api.s3.xml import TYPE_FIELD, document, group, leaf
from objstore.model.checksums import ChecksumAlgorithm
from objstore.model.conditions import ANY, NO_CONDITIONS, Conditions
from objstore.model.errors import ObjectNotFound
from objstore.model.names import ObjectName
from objstore.model.ranges import ByteRange, Span, parse_ranges
from objstore.proxy.operations import CopyRequest, NewObject, ObjectRead, ReadRequest

DEFAULT_TYPE = "binary/octet-stream"
NO_WRITE_CONDITIONS = {
    "if-modified-since": "If-Modified-Since",
    "if-unmodified-since": "If-Unmodified-Since",
    "x-amz-if-match-last-modified-time": "x-amz-if-match-last-modified-time",
    "x-amz-if-match-size": "x-amz-if-match-size",
}
"""The last two are for directory buckets (API reference, DeleteObject)."""
ATTRIBUTES = frozenset({"ETag", "Checksum", "ObjectParts", "StorageClass", "ObjectSize"})


class ObjectHandlers:
    """What is done to one object."""

    def __init__(self, site: Site) -> None:
        self._site = site

    async def get(self, call: Call) -> Reply:
        """GetObject and HeadObject."""
        head = call.request.method == "HEAD"
        overrides = override_fields(call.query)
        if overrides and call.ctx.identity.anonymous:
            raise S3Error("InvalidRequest", "Request specific response headers cannot be used for anonymous GET requests.")
        ranges = _ranges(call.headers)
        if "partNumber" in call.query and ranges is not None:
            raise S3Error("InvalidRequest", "Cannot specify both Range header and partNumber query parameter")
        part = _part_number(call.query)
        request = ReadRequest(call.name, read_conditions(call.headers), ranges, head=head and ranges is None, part_number=part)
        read = await self._site.store.open_object(call.ctx, request)
        try:
            check_no_keys(call.headers)
        except S3Error:
            await read.close()
            raise
        if part is not None and part > 1 and read.parts is None:  # what was not uploaded in parts is its own only part
            await read.close()
            raise S3Error("InvalidPartNumber", details={"ActualPartCount": "1", "PartNumberRequested": str(part)})
        whole = Span(0, read.size) if part is not None and read.parts is None and read.size else None
        return await _read_reply(call, read, overrides, head, whole)

    async def put(self, call: Call) -> Reply:
        """PutObject."""
        if call.payload.size is None:
            raise S3Error("MissingContentLength")
        if call.payload.size > OBJECT_BYTES_MAX:
            details = {"ProposedSize": str(call.payload.size), "MaxSizeAllowed": str(OBJECT_BYTES_MAX)}
            raise S3Error("EntityTooLarge", details=details)
        headers = call.headers
        check_promises(headers)
        await check_new_object(self._site, call)
        content_type = headers.get("content-type") or DEFAULT_TYPE
        kept, expected = kept_headers(headers, call.payload.mode.chunked), md5_of(headers)
        new = NewObject(content_type, kept, user_metadata(headers), expected, own_limits=True)
        conditions = write_conditions(headers)
        with md5_compared(expected), under_conditions(conditions, missing=True):
            result = await self._site.store.put_object(call.ctx, call.name, new, call.payload.upload(), conditions)
        fields = [("ETag", f'"{result.etag}"'), *checksum_fields(result.version.system)]
        return Reply(200, fields)

    async def delete(self, call: Call) -> Reply:
        """DeleteObject: to delete what is not there is no failure, unless If-Match says that something is."""
        conditions = write_conditions(call.headers)
        try:
            with under_conditions(conditions, missing=True):
                await self._site.store.delete_object(call.ctx, call.name, conditions)
        except ObjectNotFound:
            if conditions.if_match is not None:
                raise
        return Reply(204)

    async def attributes(self, call: Call) -> Reply:
        """GetObjectAttributes."""
        wanted = {name.strip() for name in call.headers.get("x-amz-object-attributes", "").split(",")}
        if not wanted or wanted - ATTRIBUTES:
            raise S3Error("InvalidArgument", "Invalid attribute name specified.")
        read = await self._site.store.open_object(call.ctx, ReadRequest(call.name, read_conditions(call.headers), head=True))
        await read.close()
        system = read.version.system
        parts = [leaf("ETag", read.etag)] if "ETag" in wanted else []
        if "Checksum" in wanted and (known := checksum_leaves(system)):
            parts.append(group("Checksum", known))
        if "ObjectParts" in wanted and system.get("manifest") == "parts":
            parts.append(group("ObjectParts", (leaf("PartsCount", read.etag.rpartition("-")[2]),)))
        parts += [leaf("StorageClass", "STANDARD")] if "StorageClass" in wanted else []
        parts += [leaf("ObjectSize", read.size)] if "ObjectSize" in wanted else []
        changed = last_modified(max(read.version.timestamp, read.version.meta_timestamp))
        return Reply(200, [TYPE_FIELD, ("Last-Modified", changed)], document("GetObjectAttributesResponse", parts))

    async def copy(self, call: Call) -> Reply:
        """CopyObject. An object copied onto itself must change something."""
        headers = call.headers
        check_promises(headers)
        source = await source_of(self._site, call)
        await check_new_object(self._site, call)
        directive = headers.get("x-amz-metadata-directive", "COPY")
        if directive not in ("COPY", "REPLACE"):
            raise invalid_argument("Unknown metadata directive.", "x-amz-metadata-directive", directive)
        if source == call.name and directive == "COPY":
            raise S3Error(
                "InvalidRequest",
                "This copy request is illegal because it is trying to copy an object to itself without changing the object's "
                "metadata, storage class, website redirect location or encryption attributes.",
            )
        fresh = directive == "REPLACE"
        new = NewObject("", kept_headers(headers) if fresh else {}, user_metadata(headers) if fresh else {}, own_limits=True)
        content_type = (headers.get("content-type") or DEFAULT_TYPE) if fresh else None
        request = CopyRequest(
            source,
            call.name,
            new,
            content_type,
            source_conditions(headers),
            fresh_metadata=fresh,
            target_conditions=write_conditions(headers),
        )
        store = self._site.store
        with under_conditions(request.target_conditions, missing=True):
            async with missing_told(store, call.ctx, source.account, source.container):
                result = await store.copy_object(call.ctx, request)
        parts = (leaf("LastModified", iso_date(result.put.timestamp)), leaf("ETag", f'"{result.put.etag}"'))
        return Reply(200, [TYPE_FIELD], document("CopyObjectResult", parts))


async def _read_reply(call: Call, read: ObjectRead, overrides: Fields, head: bool, whole: Span | None) -> Reply:
    """The response for an open object; closes it, now or when the response is sent. `whole`: all of it, where it was asked for as a
    part.
    """
    fields = object_fields(read.version, read.etag, overrides)
    span = read.spans[0] if read.spans and len(read.spans) == 1 else None
    if span is None and call.headers.get("x-amz-checksum-mode", "").upper() == "ENABLED":
        fields += checksum_fields(read.version.system)
    span = span or whole
    if span is not None:
        fields.append(("Content-Range", f"bytes {span.start}-{span.end - 1}/{read.size}"))
    if read.parts is not None:
        fields.append(("x-amz-mp-parts-count", str(read.parts)))
    return await body_reply(read, 200 if span is None else 206, fields, span, head=head)


def checksum_fields(system: Mapping[str, str]) -> Fields:
    """The checksum that was kept with the data, if any."""
    fields = [(f"x-amz-{name}", value) for name, value in system.items() if name.startswith("checksum-")]
    if fields and "checksum-type" not in system:
        fields.append(("x-amz-checksum-type", "FULL_OBJECT"))
    return fields


def checksum_leaves(system: Mapping[str, str]) -> list[str]:
    """The same as elements of a document."""
    found = [one for one in ChecksumAlgorithm if f"checksum-{one}" in system]
    leaves = [leaf(f"Checksum{one.name}", system[f"checksum-{one}"]) for one in found]
    return [*leaves, leaf("ChecksumType", system.get("checksum-type", "FULL_OBJECT"))] if leaves else []


def read_conditions(headers: Mapping[str, str]) -> Conditions:
    """The conditions of a read: If-Unmodified-Since does not count beside If-Match (RFC 9110 section 13.2.2, and S3)."""
    conditions = parse_conditions(headers)
    if conditions.if_match is not None and conditions.unmodified_since_s is not None:
        return Conditions(conditions.if_match, conditions.if_none_match, conditions.modified_since_s)
    return conditions


def source_conditions(headers: Mapping[str, str]) -> Conditions:
    """The conditions that a copy puts on its source."""
    start = "x-amz-copy-source-"
    return read_conditions({name[len(start) :]: value for name, value in headers.items() if name.startswith(start)})


def write_conditions(headers: Mapping[str, str]) -> Conditions:
    """If-Match, and `If-None-Match: *`. Raises S3Error NotImplemented for other tags of the latter and for other conditions, as S3
    does: a change must not be made without the condition that it was to have.
    """
    for name, title in NO_WRITE_CONDITIONS.items():
        if name in headers:
            raise S3Error("NotImplemented", details={"Header": title})
    conditions = parse_conditions({name: headers[name] for name in ("if-match", "if-none-match") if name in headers})
    if conditions.if_none_match is not None and conditions.if_none_match != {ANY}:
        raise S3Error("NotImplemented", details={"Header": "If-None-Match"})
    return conditions if not conditions.empty else NO_CONDITIONS


async def source_of(site: Site, call: Call) -> ObjectName:
    """What a request copies, from a bucket of the requester's or of somebody else's. Raises S3Error."""
    account, bucket, key = copy_source(call.headers["x-amz-copy-source"], call.account)
    return ObjectName(await owner_of_bucket(site.store, account, bucket, call.request.txn), bucket, key)


def copy_source(text: str, account: str) -> ObjectName:
    """The bucket and key in `x-amz-copy-source`, percent-decoded once. Raises S3Error InvalidArgument, NotImplemented."""
    path, _, query = text.partition("?")
    version = query.removeprefix("versionId=")
    if query and (version == query or "&" in query):
        raise invalid_argument("Unsupported copy source parameter.", "x-amz-copy-source", text)
    if version not in ("", "null"):
        raise S3Error("NotImplemented", details={"Header": "x-amz-copy-source"})
    try:
        name = unquote_to_bytes(path).decode()
    except UnicodeDecodeError:
        name = ""
    bucket, _, key = name.removeprefix("/").partition("/")
    if not bucket or not key or "\0" in name:
        raise invalid_argument(
            "Copy Source must mention the source bucket and key: sourcebucket/sourcekey", "x-amz-copy-source", text
        )
    return ObjectName(account, bucket, key)


def _ranges(headers: Mapping[str, str]) -> list[ByteRange] | None:
    """The one range asked for; S3 sends the whole for several, as for anything malformed."""
    text = headers.get("range")
    ranges = parse_ranges(text) if text else None
    return ranges if ranges is not None and len(ranges) == 1 else None


def _part_number(query: dict[str, str]) -> int | None:
    text = query.get("partNumber")
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 5 and 1 <= int(text) <= 10_000):
        raise invalid_argument("Part number must be an integer between 1 and 10000, inclusive", "partNumber", text)
    return int(text)
