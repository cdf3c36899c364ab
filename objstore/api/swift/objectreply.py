"""The response to a read: whole, one range, several ranges (multipart/byteranges, RFC 9110 section 14.6), or a part."""

from collections.abc import AsyncIterator

from objstore.api.reading import body_reply
from objstore.api.reply import Fields, Reply
from objstore.api.swift.call import Call
from objstore.api.swift.headers import shown_etag, version_fields
from objstore.model.octets import Octets, bytes_of
from objstore.model.ranges import Span
from objstore.proxy.operations import ObjectRead
from objstore.runtime.interface import Rng

LISTING_DEFERRED = ("X-Listing", "deferred")
"""On a write whose listing row is safe but not yet visible: too few container servers answered in time."""
MANIFEST_TYPE = "application/json; charset=utf-8"


async def read_reply(call: Call, read: ObjectRead, raw_manifest: bool, rng: Rng) -> Reply:
    """The response for an open object; closes it, now or when the response is sent."""
    raw = raw_manifest and read.version.system.get("manifest") == "slo"
    content_type = MANIFEST_TYPE if raw else read.version.content_type
    fields = read_fields(read, content_type, raw)
    spans = read.spans
    if spans is not None and len(spans) > 1:
        return _multipart(call, read, fields, spans, content_type, rng.token_bytes(16).hex())
    status, span = 200, None
    if spans:
        status, span = 206, spans[0]
        fields.append(("Content-Range", content_range(span, read.size)))
    if read.parts is not None:
        fields.append(("X-Parts-Count", str(read.parts)))
    return await body_reply(read, status, fields, span, head=call.request.method == "HEAD")


def read_fields(read: ObjectRead, content_type: str, raw: bool) -> Fields:
    """The fields of every successful read."""
    version = read.version
    stored_slo = version.system.get("manifest") == "slo"
    fields: Fields = [
        ("Content-Type", content_type),
        ("Etag", version.etag if raw else shown_etag(read.etag, read.manifest)),
        *version_fields(version),
        ("Accept-Ranges", "bytes"),
    ]
    if stored_slo:
        fields.append(("X-Static-Large-Object", "True"))
        if not raw:
            fields.append(("X-Manifest-Etag", version.etag))
    return fields


def content_range(span: Span, size: int) -> str:
    """`bytes 0-3/7`"""
    return f"bytes {span.start}-{span.end - 1}/{size}"


def _multipart(call: Call, read: ObjectRead, fields: Fields, spans: list[Span], content_type: str, boundary: str) -> Reply:
    fields[0] = ("Content-Type", f"multipart/byteranges; boundary={boundary}")
    heads = [
        bytes_of(f"--{boundary}\r\nContent-Type: {content_type}\r\nContent-Range: {content_range(span, read.size)}\r\n\r\n")
        for span in spans
    ]
    end = f"--{boundary}--".encode()
    length = sum(len(head) + span.length + 2 for head, span in zip(heads, spans, strict=True)) + len(end)

    async def parts() -> AsyncIterator[Octets]:
        for head, span in zip(heads, spans, strict=True):
            yield head
            async for piece in read.body(span):
                yield piece
            yield b"\r\n"
        yield end

    stream = None if call.request.method == "HEAD" else parts()
    return Reply(206, fields, stream=stream, length=length, done=read.close)
