"""The errors a node can answer, and the errors an operation can end in.

Both sets are closed. `NodeError` crosses the wire by its code; `StoreError` is what the proxy's operations raise and what
each API translates by one table, tested for completeness.
"""

from enum import StrEnum

from objstore.model.lost import NONE, Lost
from objstore.model.version import Version


class Code(StrEnum):
    """Why a storage node refused a request."""

    NOT_FOUND = "not_found"  # nothing there; `timestamp` is the tombstone's, if any
    NEWER_EXISTS = "newer_exists"  # `timestamp` is what is there
    NOT_EMPTY = "not_empty"  # a container or account that still holds rows
    NO_SPACE = "no_space"
    DEVICE_FAILED = "device_failed"  # unmounted, wrong identity, failed fsync, unknown
    CORRUPT = "corrupt"  # checksum mismatch; of an object, `lost` says what is in quarantine and missed, and `timestamp` its newest
    BAD_REQUEST = "bad_request"
    TOO_FAR_AHEAD = "too_far_ahead"  # a timestamp from a clock that runs ahead
    BUSY = "busy"  # a bounded queue is full
    PROMISED = "promised"  # a copy of something older than what the device promised to wait for, at `timestamp`
    OTHER_RING = "other_ring"  # the asker takes others for the primaries of the partition
    INTERNAL = "internal"


class NodeError(Exception):
    """A storage node's refusal: a code, one plain line, the timestamp the code speaks of (0 for none), and what was lost."""

    def __init__(self, code: Code, text: str = "", timestamp: int = 0, lost: Lost = NONE) -> None:
        super().__init__(f"{code}: {text}" if text else str(code))
        self.code = code
        self.text = text
        self.timestamp = timestamp
        self.lost = lost


class StoreError(Exception):
    """An operation's failure, in the user's terms. `text` is one plain line safe to show."""

    def __init__(self, text: str = "") -> None:
        super().__init__(text)
        self.text = text


class InvalidInput(StoreError):
    """The request can never succeed as it is (400)."""


class NotAuthenticated(StoreError):
    """No identity, and an anonymous user may not do this (401)."""


class AccessDenied(StoreError):
    """The identity may not do this (403)."""


class AccountNotFound(StoreError):
    """(404)"""


class AccountDeleted(StoreError):
    """It was deleted, and nobody has made it again (410)."""


class ContainerNotFound(StoreError):
    """(404)"""


class ObjectNotFound(StoreError):
    """(404) `timestamp` is the tombstone's, 0 for none."""

    def __init__(self, text: str = "", timestamp: int = 0) -> None:
        super().__init__(text)
        self.timestamp = timestamp


class UploadNotFound(StoreError):
    """No multipart upload of that id is open (404)."""


class PartMissing(StoreError):
    """A part that a whole is to be made of was not uploaded, or differs (400)."""

    def __init__(self, number: int) -> None:
        super().__init__(f"part {number} was not uploaded, or has another entity tag")
        self.number = number


class PartTooSmall(StoreError):
    """A part that is not the last has too few bytes (400)."""

    def __init__(self, number: int, size: int, etag: str) -> None:
        super().__init__(f"part {number} has only {size} bytes")
        self.number = number
        self.size = size
        self.etag = etag


class Conflict(StoreError):
    """The state does not allow it: a container not empty, a newer write (409)."""


class BucketClaimed(StoreError):
    """The name of a bucket is another account's (409)."""


class PreconditionFailed(StoreError):
    """A condition of the request does not hold (412). `etag` and `version` are those of the object as presented, where there
    is one; `manifest` as in ObjectRead.
    """

    def __init__(self, text: str = "", etag: str = "", version: Version | None = None, manifest: str = "") -> None:
        super().__init__(text)
        self.etag = etag
        self.version = version
        self.manifest = manifest


class NotModified(StoreError):
    """A conditional read finds what the client has (304); carries the version's public facts."""

    def __init__(self, etag: str, timestamp: int, version: Version | None = None, manifest: str = "") -> None:
        super().__init__()
        self.etag = etag
        self.timestamp = timestamp
        self.version = version
        self.manifest = manifest


class RangeNotSatisfiable(StoreError):
    """No requested range overlaps the object (416); `size` goes into Content-Range.

    `parts` is the number of parts when a part was asked for that is not there.
    """

    def __init__(
        self, size: int, etag: str, timestamp: int, version: Version | None = None, manifest: str = "", parts: int | None = None
    ) -> None:
        super().__init__("The requested part number is not satisfiable" if parts is not None else "")
        self.size = size
        self.etag = etag
        self.timestamp = timestamp
        self.version = version
        self.manifest = manifest
        self.parts = parts


class TooLarge(StoreError):
    """Body, quota or count beyond a limit (413)."""


class ChecksumMismatch(StoreError):
    """The body is not what the client said it is (422). `computed`: the md5 hex digest of what came, where it is known."""

    def __init__(self, text: str = "", computed: str = "") -> None:
        super().__init__(text)
        self.computed = computed


class WrongChecksum(StoreError):
    """A part's checksum is by another algorithm than that of the upload (400)."""

    def __init__(self, expected: str, actual: str) -> None:
        super().__init__(f"Checksum Type mismatch occurred, expected checksum Type: {expected}, actual checksum Type: {actual}")


class BodyIncomplete(StoreError):
    """The client ended its body early or went away (499)."""


class BodyTimeout(StoreError):
    """The client sent nothing for too long (408)."""


class Unavailable(StoreError):
    """No majority could be reached in time; the change may or may not have been applied (503). `lost`: what of an object was
    damaged everywhere, as far as replicas answered.
    """

    def __init__(self, text: str = "", lost: Lost = NONE) -> None:
        super().__init__(text)
        self.lost = lost


class InsufficientStorage(StoreError):
    """Devices are full (507)."""


class ManifestInvalid(StoreError):
    """Segments of a manifest are missing or differ (400); `problems` pairs each segment's path with what is wrong."""

    def __init__(self, problems: list[tuple[str, str]]) -> None:
        super().__init__("; ".join(f"{path}: {what}" for path, what in problems))
        self.problems = problems
