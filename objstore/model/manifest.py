"""The manifest of a large object: an ordered list of segments. Swift's SLO and S3's multipart upload are two faces of it."""

import msgspec


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
