"""The operations of the store and their results: the border between the APIs and the core.

An API parses a request into one of these calls and renders what comes back. Every failure is a `StoreError`. No HTTP word and no
client header passes this border: what a client may set arrives in named fields.

Keys of a container's `values`: `user:<name>`, `acl:read`, `acl:write`, `sys:sync-key`, `sys:sync-to`; of an account's:
`user:<name>`, `acl:account` (JSON, see model/acl), `sys:quota-bytes`, `sys:quota-count`, `sys:quota-bytes-policy-<name>`,
`sys:quota-count-policy-<name>`. The store checks metadata limits (model/metadata), cleans access lists (model/acl), drops
silently what only an owner may set, and hides from others what only an owner may see.
"""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import msgspec

from objstore.formats.messages import Query, Settings, Stats
from objstore.model.checksums import ChecksumAlgorithm, ChecksumType
from objstore.model.conditions import NO_CONDITIONS, Conditions
from objstore.model.identity import Identity
from objstore.model.manifest import Segment
from objstore.model.names import ObjectName
from objstore.model.octets import Octets
from objstore.model.parts import Part, hidden_account
from objstore.model.ranges import ByteRange, Span
from objstore.model.rows import ContainerRow, ObjectRow, Subdir
from objstore.model.version import Version


class Context(msgspec.Struct, frozen=True):
    """Who asks, under which transaction id, and from which page (for `.r:` access lists)."""

    identity: Identity
    txn: str
    referrer: str = ""


def internal(account: str, txn: str) -> Context:
    """Who may do everything with the multipart uploads of an account: the store itself."""
    return Context(Identity("", frozenset(), frozenset({hidden_account(account)})), txn)


@dataclass(frozen=True, slots=True)
class TableView:
    """An account or container as its reader may see it. `owner` says whether the reader may see owner-only settings."""

    settings: Settings
    stats: Stats
    owner: bool


@dataclass(frozen=True, slots=True)
class AccountListing:
    view: TableView
    rows: list[ContainerRow | Subdir]


@dataclass(frozen=True, slots=True)
class ContainerListing:
    view: TableView
    rows: list[ObjectRow | Subdir]


class Upload(msgspec.Struct):
    """A body on its way in. `size` None when the client does not say. The iterator raises BodyIncomplete or BodyTimeout;
    nothing is read from it before the checks that need no body have passed (so the API can send 100 Continue on first pull).
    """

    chunks: AsyncIterator[Octets]
    size: int | None
    facts: Callable[[], Mapping[str, str]] = dict
    """What is known of the body once all of it was read (checksums that a client announced), to be kept with it as system facts."""


class NewObject(msgspec.Struct, frozen=True):
    """What a client may set on an object beside its bytes. `headers` and `user` as in `Version`."""

    content_type: str
    headers: dict[str, str] = {}
    user: dict[str, str] = {}
    expected_etag: str | None = None
    """md5 hex digest the body must have; ChecksumMismatch otherwise. For a manifest: the etag of the whole."""
    own_limits: bool = False
    """The API has limits of its own for user metadata, and has checked them: Swift's do not count."""


class PutResult(msgspec.Struct, frozen=True):
    etag: str
    """As the API shows it: md5 of the bytes, or the manifest's etag without quotes."""
    timestamp: int
    size: int
    listed: bool
    """The container majority holds the row; else it follows by the updaters."""
    version: Version


class ReadRequest(msgspec.Struct, frozen=True):
    """`ranges` None for the whole. `raw_manifest` reads a large object's manifest itself. `newest` asks every replica."""

    name: ObjectName
    conditions: Conditions
    ranges: list[ByteRange] | None = None
    head: bool = False
    raw_manifest: bool = False
    part_number: int | None = None
    newest: bool = False
    open_expired: bool = False
    """Read an expired object (and, of a large object, expired segments) as long as it is not removed yet."""


class WantedPart(NamedTuple):
    """A part as the completion of an upload names it. `checksum` "crc32=<base64>" or the like, "" when it names none."""

    number: int
    etag: str
    checksum: str = ""


@dataclass(frozen=True, slots=True)
class OpenUpload:
    """A multipart upload that was begun. `started_s` since the epoch, in listings of uploads; `parts` in order, in its own."""

    key: str
    id: str
    started_s: float
    algorithm: ChecksumAlgorithm | None
    kind: ChecksumType | None
    parts: tuple[Part, ...]


class ObjectRead(Protocol):
    """An object opened for reading, conditions already checked."""

    version: Version
    size: int
    """Bytes of the object as presented (a large object's total)."""
    etag: str
    """As presented, without quotes."""
    manifest: str
    """"" for a plain object, "slo" or "dlo"."""
    spans: list[Span] | None
    """The satisfiable ranges asked for, in order; None when the whole is sent. One span is a simple range."""
    parts: int | None
    """Number of parts when a part was asked for."""

    def body(self, span: Span | None = None) -> AsyncIterator[Octets]:
        """The bytes of `span`, or of the whole. Ends early only by raising: then the connection must be dropped."""

    async def close(self) -> None:
        """Release connections; safe to call twice."""


@dataclass(frozen=True, slots=True)
class CopyRequest:
    """`fresh_metadata`: take only `new`, not the source's user metadata. `raw_manifest`: copy the manifest, not what it names.
    `content_type` None keeps the source's.
    """

    source: ObjectName
    target: ObjectName
    new: NewObject
    content_type: str | None
    conditions: Conditions
    fresh_metadata: bool = False
    raw_manifest: bool = False
    ranges: list[ByteRange] | None = None
    part_number: int | None = None
    target_conditions: Conditions = NO_CONDITIONS
    """`conditions` are about the source, these about the target."""


@dataclass(frozen=True, slots=True)
class CopyResult:
    put: PutResult
    source: Version


class Store(Protocol):
    """All a user can do. Implemented by `proxy/store.py`."""

    # what an API itself must know before it can tell who asks (CORS, temporary URL keys); no access check, never shown
    async def peek_account(self, account: str) -> Settings | None:
        """None when there is no such account. Cached, coherent."""

    async def peek_container(self, account: str, container: str) -> Settings | None:
        """None when there is no such container. Cached, coherent."""

    # accounts
    async def head_account(self, ctx: Context, account: str) -> TableView: ...
    async def list_account(self, ctx: Context, account: str, query: Query) -> AccountListing: ...
    async def put_account(self, ctx: Context, account: str, values: dict[str, str]) -> bool:
        """True when it was made, False when it existed. Resellers only."""

    async def post_account(self, ctx: Context, account: str, values: dict[str, str]) -> None: ...
    async def delete_account(self, ctx: Context, account: str) -> None: ...

    # containers
    async def head_container(self, ctx: Context, account: str, container: str) -> TableView: ...
    async def list_container(self, ctx: Context, account: str, container: str, query: Query) -> ContainerListing: ...
    async def put_container(
        self, ctx: Context, account: str, container: str, values: dict[str, str], policy: str | None = None
    ) -> bool:
        """True when it was made, False when it existed. `values` as in Settings, an empty value removes."""

    async def post_container(self, ctx: Context, account: str, container: str, values: dict[str, str]) -> None: ...
    async def delete_container(self, ctx: Context, account: str, container: str) -> None: ...

    # buckets: containers whose names were claimed, of all accounts together
    async def bucket_holder(self, bucket: str, txn: str) -> str:
        """Whose container everybody but its own account means by a name, "" for nobody's. May be some seconds old."""

    async def create_bucket(self, ctx: Context, account: str, bucket: str, values: dict[str, str]) -> bool:
        """Claim a name and make its container. False when the account has it. Raises BucketClaimed, Conflict."""

    async def delete_bucket(self, ctx: Context, account: str, bucket: str) -> None:
        """Delete a container and give its name back. Raises as delete_container."""

    # objects
    async def open_object(self, ctx: Context, request: ReadRequest) -> ObjectRead: ...
    async def put_object(
        self, ctx: Context, name: ObjectName, new: NewObject, upload: Upload, conditions: Conditions
    ) -> PutResult: ...
    async def put_manifest(
        self, ctx: Context, name: ObjectName, new: NewObject, segments: list[Segment], conditions: Conditions
    ) -> PutResult:
        """Store a static large object after checking every segment. Raises ManifestInvalid with each segment's problem."""

    async def post_object(
        self, ctx: Context, name: ObjectName, new: NewObject, content_type: str | None, open_expired: bool = False
    ) -> None: ...
    async def delete_object(self, ctx: Context, name: ObjectName, conditions: Conditions) -> int:
        """The tombstone's timestamp. Raises ObjectNotFound (a tombstone is written all the same)."""

    async def read_manifest(self, ctx: Context, name: ObjectName) -> list[Segment]:
        """The segments of a static large object; InvalidInput when it is none."""

    async def copy_object(self, ctx: Context, request: CopyRequest) -> CopyResult: ...

    # multipart uploads; all raise ContainerNotFound, and but for the first two UploadNotFound
    async def begin_upload(
        self, ctx: Context, name: ObjectName, new: NewObject, algorithm: ChecksumAlgorithm | None, kind: ChecksumType | None
    ) -> str:
        """The id of a new upload, whose whole is to have a checksum by `algorithm` of type `kind`."""

    async def list_uploads(self, ctx: Context, account: str, container: str, query: Query) -> list[OpenUpload | Subdir]:
        """Those that are open, by key, then by age. `query.marker` is a key, or a key, "\\0" and an id."""

    async def put_part(self, ctx: Context, name: ObjectName, id_: str, number: int, upload: Upload, etag: str | None) -> PutResult:
        """Store one part, also anew. `etag`: the md5 hex digest it must have, if any."""

    async def list_parts(self, ctx: Context, name: ObjectName, id_: str) -> OpenUpload: ...
    async def complete_upload(
        self, ctx: Context, name: ObjectName, id_: str, wanted: Sequence[WantedPart], conditions: Conditions
    ) -> PutResult:
        """Make an object of parts in ascending order of their numbers. Idempotent: what an upload became is answered again.

        Raises PartMissing, PartTooSmall, PreconditionFailed, TooLarge.
        """

    async def abort_upload(self, ctx: Context, name: ObjectName, id_: str) -> None:
        """Its parts are removed in the background."""
