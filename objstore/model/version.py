"""One version of an object: all that is known of it but its bytes."""

import msgspec

ORIGIN = "origin"
"""In `system`: the timestamp at which a version was first proposed, where it was proposed anew at another."""
BASE = "base"
"""In `system`: the timestamp of what a version replaced, where a condition was decided on that; 0 for nothing."""


class Version(msgspec.Struct, array_like=True, frozen=True):
    """What a replica holds of an object, or of its deletion.

    A PUT sets everything. A POST replaces `headers` and `user` (and `content_type` where it names one), and moves
    `meta_timestamp`; it never touches `size`, `etag` or `system`. All header names are lower case; values are text.
    """

    name: str
    """`/account/container/object`, verified on every read: a file in the wrong place is never served."""
    timestamp: int
    """Of the PUT or the DELETE; it names the file."""
    deleted: bool = False
    """True for a tombstone; every other field but `name` and `timestamp` is then empty."""
    size: int = 0
    """Bytes of the body as stored."""
    etag: str = ""
    """md5 of the stored bytes, 32 hex digits."""
    content_type: str = ""
    headers: dict[str, str] = {}
    """Headers given back on reads and replaced by POST: content-encoding, content-disposition, cache-control, expires,
    content-language, x-delete-at (whole seconds since the epoch), x-object-manifest ..."""
    user: dict[str, str] = {}
    """User metadata, names without the API's prefix."""
    system: dict[str, str] = {}
    """Facts the proxy keeps with the data, never shown as they are: `manifest` = "slo", `manifest-etag`, `manifest-size`,
    ORIGIN ..."""
    meta_timestamp: int = 0
    """Of the newest POST merged in, else equal to `timestamp`."""
    type_timestamp: int = 0
    """When `content_type` was set."""

    @property
    def delete_at(self) -> int:
        """Second since the epoch from which on the object counts as deleted; 0 for never."""
        return int(self.headers.get("x-delete-at", 0))

    @property
    def origin(self) -> int:
        """The timestamp at which it was first proposed."""
        return int(self.system.get(ORIGIN, self.timestamp)) if self.system else self.timestamp

    @property
    def order(self) -> tuple[int, int]:
        """Compares two replicas' versions of one object: data first, then metadata."""
        return (self.timestamp, self.meta_timestamp)
