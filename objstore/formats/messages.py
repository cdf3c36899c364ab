"""The typed messages between nodes. A request's class is its method; `REGISTRY` lists them all by name.

Encoded as msgpack arrays: a later version appends fields with defaults, and an older peer ignores what it does not know.
"""

from typing import Literal, NamedTuple

import msgspec

from objstore.model.rows import ContainerRow, ObjectRow, Subdir
from objstore.model.version import Version


class Message(msgspec.Struct, array_like=True, frozen=True):
    """Base of every request and reply."""


class Address(NamedTuple):
    """Where a node listens for its peers."""

    ip: str
    port: int


class Target(msgspec.Struct, array_like=True, frozen=True):
    """A partition's place on one device, of one storage policy (ignored for accounts and containers)."""

    device: str
    partition: int
    policy: int = 0


class IndexTarget(msgspec.Struct, array_like=True, frozen=True):
    """The container replica that one object replica keeps informed."""

    ip: str
    port: int
    device: str
    partition: int
    hash: bytes


# --- objects -------------------------------------------------------------------------------------------------


class PutObject(Message, frozen=True):
    """Store a whole small object (body inline). Reply: Stored.

    Refused: newer_exists, no_space, device_failed, too_far_ahead.
    `pushed` (here and below): one replica completes another with what was accepted before, so data only competes with data;
    a user's PUT or DELETE must also be later than the newest POST it replaces.
    """

    target: Target
    hash: bytes
    version: Version
    body: bytes
    index: IndexTarget | None
    pushed: bool = False


class OpenPut(Message, frozen=True):
    """Open a stream that stores a large object. The server answers Ready or a refusal; the client sends chunks, then one or
    more CommitPut, each answered by Stored or by a refusal (newer_exists: try a later timestamp). Closing without a commit
    leaves nothing.
    """

    target: Target
    hash: bytes
    name: str
    size: int  # bytes to come, -1 when unknown; reserves space


class Ready(Message, frozen=True):
    """Go on: the stream is open."""


class CommitPut(Message, frozen=True):
    """The end of an OpenPut stream: make what was sent the object's newest version."""

    version: Version
    index: IndexTarget | None
    pushed: bool = False


class PostObject(Message, frozen=True):
    """Replace headers and user metadata of an object. Reply: Stored. Refused: not_found, newer_exists."""

    target: Target
    hash: bytes
    name: str
    timestamp: int
    headers: dict[str, str]
    user: dict[str, str]
    content_type: str | None
    index: IndexTarget | None
    type_timestamp: int = 0  # when `content_type` was set, if not by this very POST
    pushed: bool = False


class DeleteObject(Message, frozen=True):
    """Write a tombstone. Reply: Stored with `existed`. A tombstone is written even where nothing was."""

    target: Target
    hash: bytes
    name: str
    timestamp: int
    index: IndexTarget | None
    pushed: bool = False


class Stored(Message, frozen=True):
    """The change is on stable storage on this device."""

    indexed: bool  # the row is durable at this replica's container server too; else a pending update is durable here
    existed: bool = True


class GetObject(Message, frozen=True):
    """Read an object's newest version here. Reply: ObjectReply, or not_found with the tombstone's timestamp.

    `start` < 0 asks for the last `-start` bytes; `length` -1 for all that follows. The body comes inline when what is asked
    for is at most `inline_max` bytes; else `body` is None and the caller reads it by ReadObject. inline_max -1: metadata only.
    """

    target: Target
    hash: bytes
    name: str
    inline_max: int = -1
    start: int = 0
    length: int = -1


class ObjectReply(Message, frozen=True):
    """`body` holds exactly the bytes asked for, their checksums verified, or None."""

    version: Version
    body: bytes | None = None


class ReadObject(Message, frozen=True):
    """Open a stream of the bytes [start, start+length) of exactly the version `timestamp`; the server answers Ready, then
    chunks, each verified before it leaves, then End. Refused: not_found (that version is gone), corrupt.
    """

    target: Target
    hash: bytes
    timestamp: int
    start: int
    length: int


class End(Message, frozen=True):
    """The last message of a ReadObject stream: every chunk was sent."""


class StatObject(Message, frozen=True):
    """All that a device holds of one object, tombstones included, for `locate` and for completion. Reply: ObjectFiles."""

    target: Target
    hash: bytes
    name: str


class ObjectFiles(Message, frozen=True):
    version: Version | None
    files: list[str]  # paths relative to the device


class PushObject(Message, frozen=True):
    """Copy this device's newest version (data, metadata or tombstone) to another node's device. Reply: Pushed."""

    target: Target
    hash: bytes
    name: str
    to_ip: str
    to_port: int
    to: Target
    index: IndexTarget | None


class Pushed(Message, frozen=True):
    """The other device holds this version, or a newer one, durably."""

    timestamp: int


# --- account and container databases ---------------------------------------------------------------------------

Kind = Literal["account", "container"]


class Setting(NamedTuple):
    """One register of a database's settings; the newest timestamp wins, an empty value means removed."""

    value: str
    timestamp: int


class Settings(msgspec.Struct, array_like=True, frozen=True):
    """What is set on an account or a container, mergeable register by register.

    It exists when put_timestamp > delete_timestamp. Keys of `values`: `user:<name>` for metadata, `acl:read`, `acl:write`,
    `sys:<name>` for the rest; all lower case but values.
    """

    name: str  # "/account" or "/account/container"
    put_timestamp: int = 0
    delete_timestamp: int = 0
    policy: int = 0
    created_timestamp: int = 0  # the first put since the last deletion
    values: dict[str, Setting] = {}

    @property
    def exists(self) -> bool:
        return self.put_timestamp > self.delete_timestamp


class Stats(msgspec.Struct, array_like=True, frozen=True):
    """Exact figures of one database. For a container: objects and bytes. For an account: the sums over its containers."""

    container_count: int = 0
    object_count: int = 0
    bytes_used: int = 0
    policies: dict[int, tuple[int, int, int]] = {}  # account only: policy -> containers, objects, bytes


class WriteTable(Message, frozen=True):
    """Create, update or delete an account or container. Reply: TableWritten.

    create: makes it exist, sets `values` too. update: sets `values`; refused not_found when it does not exist here.
    delete: refused not_empty while rows live, not_found when it does not exist.
    For a container, `parent` tells where this replica reports its row in the account. Leases on the old settings are revoked,
    or have run out, before the reply.
    """

    kind: Kind
    target: Target
    hash: bytes
    name: str
    timestamp: int
    action: Literal["create", "update", "delete"]
    values: dict[str, str] = {}
    policy: int = 0
    parent: IndexTarget | None = None


class TableWritten(Message, frozen=True):
    existed: bool


class StatTable(Message, frozen=True):
    """Settings and figures. Reply: TableInfo; a database this device does not have answers `settings` None (never a refusal:
    the caller decides by majority). With `lease`, the caller is told by RevokeLease before a change is acknowledged, for
    `lease_s` seconds.
    """

    kind: Kind
    target: Target
    hash: bytes
    name: str
    lease: bool = False


class TableInfo(Message, frozen=True):
    settings: Settings | None
    stats: Stats
    lease_s: float = 0.0


class RevokeLease(Message, frozen=True):
    """Server to lease holder, on the holder's own connection: forget what you know of this name. Reply: Ready."""

    kind: Kind
    name: str


class Query(msgspec.Struct, array_like=True, frozen=True):
    """Which part of a listing. `marker` and `end_marker` are exclusive; with `reverse` names descend. `delimiter` may have
    several characters. `path` (Swift's pseudo-directory form) is turned into prefix and delimiter by the API.
    """

    limit: int
    marker: str = ""
    end_marker: str = ""
    prefix: str = ""
    delimiter: str = ""
    reverse: bool = False


class ListTable(Message, frozen=True):
    """One page of a listing. Reply: ObjectPage or ContainerPage.

    Deleted rows never come in `rows`; they count in `digest`. With `digest_only`, `rows` is empty.
    """

    kind: Kind
    target: Target
    hash: bytes
    name: str
    query: Query
    digest_only: bool = False
    raw_rows: bool = False  # all rows of the same range, deleted ones too, no delimiter: for merging two replicas


class ObjectPage(Message, frozen=True):
    """`digest` covers every row (tombstones included) from the marker to the last name the page looked at; two replicas with
    equal digests and `until` have the same page. `until`: the last name looked at, "" when the listing ended.
    """

    info: TableInfo
    rows: list[ObjectRow | Subdir]
    digest: bytes
    until: str


class ContainerPage(Message, frozen=True):
    info: TableInfo
    rows: list[ContainerRow | Subdir]
    digest: bytes
    until: str


class MergeObjectRows(Message, frozen=True):
    """Merge rows (and settings, when given) into a container database, made on the spot where it is missing (it then holds
    rows but does not exist for users until settings say so). Reply: Ready when durable.
    """

    target: Target
    hash: bytes
    name: str
    rows: list[ObjectRow]
    settings: Settings | None = None


class MergeContainerRows(Message, frozen=True):
    """The same for an account database."""

    target: Target
    hash: bytes
    name: str
    rows: list[ContainerRow]
    settings: Settings | None = None


# --- a node about itself ----------------------------------------------------------------------------------------


class NodeStatus(Message, frozen=True):
    """What `objstore status` shows of one node. Reply: NodeReport."""


class DeviceReport(msgspec.Struct, array_like=True, frozen=True):
    device: str
    state: str  # "ok", or one plain line why it is refused
    bytes_total: int
    bytes_free: int
    pending_updates: int
    quarantined: int


class NodeReport(Message, frozen=True):
    node: str
    version: str
    pid: int
    started_s: float
    devices: list[DeviceReport]
    rings: dict[str, str]  # ring name -> first 12 hex digits of the md5 of the ring file


class RunDaemon(Message, frozen=True):
    """One pass of a daemon in the process that owns the devices. Reply: DaemonReport."""

    name: str


class DaemonReport(Message, frozen=True):
    figures: dict[str, int]


class ListQuarantine(Message, frozen=True):
    device: str


class QuarantineEntry(msgspec.Struct, array_like=True, frozen=True):
    id: str
    path: str  # where it was, relative to the device
    reason: str
    name: str  # "/a/c/o", "" when unreadable
    time_s: float


class QuarantineList(Message, frozen=True):
    entries: list[QuarantineEntry]


class RestoreQuarantine(Message, frozen=True):
    """Put one quarantined file back where it was. Reply: Ready. Refused: not_found, corrupt (its checksums still fail)."""

    device: str
    id: str


class Refused(Message, frozen=True):
    """A refusal on the wire; callers see it as NodeError."""

    code: str
    text: str
    timestamp: int = 0


REGISTRY: dict[str, type[Message]] = {
    cls.__name__: cls
    for cls in (
        PutObject, OpenPut, Ready, CommitPut, PostObject, DeleteObject, Stored, GetObject, ObjectReply, ReadObject, End,
        StatObject, ObjectFiles, PushObject, Pushed, WriteTable, TableWritten, StatTable, TableInfo, RevokeLease, ListTable,
        ObjectPage, ContainerPage, MergeObjectRows, MergeContainerRows, NodeStatus, NodeReport, RunDaemon, DaemonReport,
        ListQuarantine, QuarantineList, RestoreQuarantine, Refused,
    )
}  # fmt: skip
