"""The manifest of a large object: an ordered list of segments. Swift's SLO and S3's multipart upload are two faces of it.

It is stored as JSON in just the form in which Swift shows it (`?multipart-manifest=get`), so the bytes stored are the bytes
shown. Rules as in Swift's "Large Object Support" page.
"""

import base64
import binascii
import json
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from hashlib import md5
from typing import Any, NamedTuple

import msgspec

from objstore.model.ranges import Span, parse_ranges, resolve_one

SEGMENTS_MAX = 1000
DEPTH_MAX = 10
"""How deep manifests may name manifests."""
DATA_BYTES_MAX = 64 * 1024
"""All inline data of a manifest."""


class Segment(msgspec.Struct, frozen=True):
    """One piece of a large object: (part of) another object, or bytes of its own (`data`, at most a few KiB).

    `path` is "/container/object" in the manifest's account. `etag` and `size` "" / -1 in a request that does not name them.
    `span` is the inclusive byte range of the segment taken, as text "first-last", "" for all.
    """

    path: str
    etag: str = ""
    size: int = -1
    span: str = ""
    data: bytes = b""
    sub_manifest: bool = False
    content_type: str = ""
    modified_s: float = 0.0

    @property
    def taken(self) -> Span:
        """The bytes of the segment that belong to the whole."""
        if self.data:
            return Span(0, len(self.data))
        if not self.span:
            return Span(0, self.size)
        first, _, last = self.span.partition("-")
        return Span(int(first), int(last) - int(first) + 1)

    @property
    def names(self) -> tuple[str, str]:
        """The container and the object of its path."""
        container, _, name = self.path.removeprefix("/").partition("/")
        return container, name


class ManifestError(ValueError):
    """Stored bytes that are no manifest."""


class Piece(NamedTuple):
    """Bytes of one segment: `span` counts from the start of the segment's own object (or data)."""

    segment: Segment
    span: Span


def normal_span(text: str, size: int) -> str | None:
    """The absolute form "first-last" of one range over a segment of `size` bytes; None when it is not satisfiable.

    A suffix longer than the segment means all of it. Raises ValueError when the text is not one range.
    """
    ranges = parse_ranges(f"bytes={text}")
    if ranges is None or len(ranges) != 1:
        raise ValueError(f"not a range: {text!r}")
    span = resolve_one(ranges[0], size)
    return None if span is None else f"{span.start}-{span.end - 1}"


def total_size(segments: Iterable[Segment]) -> int:
    return sum(segment.taken.length for segment in segments)


def manifest_etag(segments: Iterable[Segment]) -> str:
    """The etag of the whole: md5 over each segment's etag, followed by `:first-last;` where only a range of it is taken;
    inline data counts by its own md5.
    """
    digest = md5(usedforsecurity=False)
    for segment in segments:
        if segment.data:
            digest.update(md5(segment.data, usedforsecurity=False).hexdigest().encode("ascii"))
        elif segment.span:
            digest.update(f"{segment.etag}:{segment.span};".encode())
        else:
            digest.update(segment.etag.encode())
    return digest.hexdigest()


def locate(segments: Sequence[Segment], span: Span) -> Iterator[Piece]:
    """Which bytes of which segments make up `span` of the whole, in order."""
    position, end = 0, span.end
    for segment in segments:
        taken = segment.taken
        first, last = max(span.start, position), min(end, position + taken.length)
        if first < last:
            yield Piece(segment, Span(taken.start + first - position, last - first))
        position += taken.length
        if position >= end:
            return


def part_span(segments: Sequence[Segment], number: int) -> Span | None:
    """Where part `number` (from 1) lies in the whole; None when there is no such part."""
    if not 1 <= number <= len(segments):
        return None
    return Span(total_size(segments[: number - 1]), segments[number - 1].taken.length)


def encode_manifest(segments: Iterable[Segment]) -> bytes:
    """The JSON document to store."""
    return json.dumps([_entry(segment) for segment in segments]).encode("ascii")


def _entry(segment: Segment) -> dict[str, Any]:
    if segment.data:
        return {"data": base64.b64encode(segment.data).decode("ascii")}
    entry: dict[str, Any] = {
        "name": segment.path,
        "bytes": segment.size,
        "hash": segment.etag,
        "content_type": segment.content_type,
        "last_modified": datetime.fromtimestamp(segment.modified_s, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f"),
    }
    if segment.span:
        entry["range"] = segment.span
    if segment.sub_manifest:
        entry["sub_slo"] = True
    return entry


def decode_manifest(document: bytes) -> list[Segment]:
    """The inverse of `encode_manifest`. Raises ManifestError for any other document."""
    try:
        return [_segment(entry) for entry in json.loads(document)]
    except (ValueError, KeyError, TypeError, binascii.Error) as error:
        raise ManifestError(f"not a manifest: {error}") from error


def _segment(entry: dict[str, Any]) -> Segment:
    if "data" in entry:
        return Segment("", data=base64.b64decode(entry["data"], validate=True))
    modified = datetime.fromisoformat(entry["last_modified"]).replace(tzinfo=UTC).timestamp()
    segment = Segment(
        path=str(entry["name"]),
        etag=str(entry["hash"]),
        size=int(entry["bytes"]),
        span=str(entry.get("range", "")),
        sub_manifest=bool(entry.get("sub_slo", False)),
        content_type=str(entry.get("content_type", "")),
        modified_s=modified,
    )
    if segment.size < 0 or segment.taken.length <= 0:
        raise ManifestError(f"segment {segment.path} has no bytes")
    return segment
