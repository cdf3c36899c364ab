"""Objects: GET, HEAD, PUT, POST, DELETE. Manifests and copies have modules of their own."""

from objstore.api.conditional import parse_conditions, parse_tags
from objstore.api.dates import last_modified
from objstore.api.reply import Reply
from objstore.api.swift import mediatypes
from objstore.api.swift.call import Call, Site, is_true
from objstore.api.swift.errors import Refusal
from objstore.api.swift.headers import object_headers, object_user, shown_etag
from objstore.api.swift.objectreply import LISTING_DEFERRED, read_reply
from objstore.api.swift.plain import EMPTY_HTML, accepted
from objstore.model.conditions import ANY, NO_CONDITIONS, Conditions
from objstore.model.errors import PreconditionFailed
from objstore.model.names import check_object_name
from objstore.model.ranges import parse_ranges
from objstore.proxy.operations import NewObject, ObjectRead, ReadRequest


class ObjectHandlers:
    def __init__(self, site: Site) -> None:
        self._site = site

    async def get(self, call: Call) -> Reply:
        """GET and HEAD."""
        request = read_request(call)
        condition = call.headers.get("if-range")
        read = await self._site.store.open_object(call.ctx, request)
        if condition and request.ranges and not _in_range_condition(condition, read):
            await read.close()
            whole = ReadRequest(call.name, request.conditions, newest=request.newest, open_expired=request.open_expired)
            read = await self._site.store.open_object(call.ctx, whole)
        return await read_reply(call, read, request.raw_manifest, self._site.rng)

    async def put(self, call: Call) -> Reply:
        check_upload(call, self._site.limits.object_bytes_max)
        new = new_object(call, self._site.clock.now())
        result = await self._site.store.put_object(call.ctx, call.name, new, call.upload(self._site), put_conditions(call))
        fields = [
            EMPTY_HTML,
            ("Etag", result.etag),
            ("Last-Modified", last_modified(result.timestamp)),
        ]
        return Reply(201, fields if result.listed else [*fields, LISTING_DEFERRED])

    async def post(self, call: Call) -> Reply:
        headers = object_headers(call.headers, self._site.clock.now())
        new = NewObject("", headers, object_user(call.headers))
        expired = is_true(call.headers.get("x-open-expired", ""))
        content_type = call.headers.get("content-type") or None
        await self._site.store.post_object(call.ctx, call.name, new, content_type, open_expired=expired)
        return accepted()

    async def delete(self, call: Call) -> Reply:
        wanted = call.headers.get("x-if-delete-at")
        conditions = parse_conditions(call.headers)
        if wanted is not None:
            await self._check_delete_at(call, wanted)
        await self._site.store.delete_object(call.ctx, call.name, conditions)
        return Reply(204, [EMPTY_HTML])

    async def _check_delete_at(self, call: Call, wanted: str) -> None:
        """X-If-Delete-At: delete only what is to expire at just this second."""
        if not (wanted.isascii() and wanted.isdigit()):
            raise Refusal(400, "Bad X-If-Delete-At header value")
        request = ReadRequest(call.name, NO_CONDITIONS, head=True, raw_manifest=True, newest=True, open_expired=True)
        read = await self._site.store.open_object(call.ctx, request)
        await read.close()
        if str(read.version.delete_at) != wanted.lstrip("0"):
            raise PreconditionFailed("X-If-Delete-At and X-Delete-At do not match")


def read_request(call: Call) -> ReadRequest:
    """What a GET or HEAD asks for. Raises Refusal."""
    head = call.request.method == "HEAD"
    range_text = call.headers.get("range")
    return ReadRequest(
        call.name,
        parse_conditions(call.headers),
        parse_ranges(range_text) if range_text and not head else None,
        head=head,
        raw_manifest=wants_manifest(call),
        part_number=part_number(call),
        newest=is_true(call.headers.get("x-newest", "")),
        open_expired=is_true(call.headers.get("x-open-expired", "")),
    )


def wants_manifest(call: Call) -> bool:
    return call.query.get("multipart-manifest") == "get"


def part_number(call: Call) -> int | None:
    text = call.query.get("part-number")
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 10 and int(text) > 0):
        raise Refusal(400, "Part number must be an integer greater than 0")
    return int(text)


def check_upload(call: Call, size_max: int) -> None:
    """The checks of an upload that need no more than its headers. Raises Refusal, InvalidInput."""
    request = call.request
    encoding = call.headers.get("transfer-encoding")
    if encoding is not None and encoding.lower() != "chunked":
        raise Refusal(501, "Unsupported transfer encoding")
    if encoding is None and request.payload_size is None:
        raise Refusal(411)
    if (request.payload_size or 0) > size_max:
        raise Refusal(413, "Your request is too large.")
    check_object_name(call.object)


def put_conditions(call: Call) -> Conditions:
    """The conditions of a write: `If-None-Match: *` as in Swift, and If-Match. Raises Refusal 400 for other tags."""
    none_match, match = call.headers.get("if-none-match"), call.headers.get("if-match")
    if none_match is None and match is None:
        return NO_CONDITIONS
    tags = None if none_match is None else parse_tags(none_match)
    if tags is not None and tags != {ANY}:
        raise Refusal(400, "If-None-Match only supports *")
    return Conditions(if_match=None if match is None else parse_tags(match), if_none_match=tags)


def new_object(call: Call, now: float) -> NewObject:
    """What a PUT sets beside the bytes. Raises InvalidInput."""
    content_type = call.headers.get("content-type", "")
    if not content_type or is_true(call.headers.get("x-detect-content-type", "")):
        content_type = mediatypes.guess(call.object)
    return NewObject(
        content_type,
        object_headers(call.headers, now),
        object_user(call.headers),
        expected_etag(call),
    )


def expected_etag(call: Call) -> str | None:
    etag = call.headers.get("etag")
    return None if etag is None else etag.strip('"')


def _in_range_condition(condition: str, read: ObjectRead) -> bool:
    """If-Range (RFC 9110 section 13.1.5): whether the ranges asked for are of this very version."""
    if condition[:1] == '"' or condition[-1:] == '"':
        return condition.strip('"') == read.etag
    changed = max(read.version.timestamp, read.version.meta_timestamp)
    return condition in (last_modified(changed), read.etag, shown_etag(read.etag, read.manifest))
