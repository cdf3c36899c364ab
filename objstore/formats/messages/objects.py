"""Messages between the proxy and object servers, and between object servers."""

from objstore.formats.messages.addressing import IndexTarget, Message, Target
from objstore.model.version import Version


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
    crc: int = -1
    """crc32c of `body` where it was made; a body that differs on arrival is refused as corrupt. -1: not given."""
    defer: bool = False
    """Do not wait for the container replica: it is known to be slow. The row follows by itself (here and below)."""
    settled: bool = False
    """With `pushed`: a majority of the primaries holds it, so promises do not stand against it (here and below)."""
    members: int = 0
    """Of a change under conditions: whom the writer takes for the primaries (see members_of); refused other_ring by a device that
    takes others for them (here and below). 0: not checked.
    """


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
    defer: bool = False
    settled: bool = False
    members: int = 0


class PostObject(Message, frozen=True):
    """Replace headers and user metadata of an object. Reply: Stored. Refused: not_found, corrupt (as GetObject), newer_exists."""

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
    defer: bool = False
    settled: bool = False
    members: int = 0


class DeleteObject(Message, frozen=True):
    """Write a tombstone. Reply: Stored with `existed` (in quarantine counts). A tombstone is written even where nothing was.

    With `expected_delete_at`, an object that has another x-delete-at is left alone (refused: newer_exists), and so is any by a node
    whose clock does not show that second yet (too_far_ahead).
    """

    target: Target
    hash: bytes
    name: str
    timestamp: int
    index: IndexTarget | None
    pushed: bool = False
    defer: bool = False
    expected_delete_at: int = 0  # second since the epoch
    settled: bool = False
    members: int = 0


class Stored(Message, frozen=True):
    """The change is on stable storage on this device."""

    indexed: bool  # the row is durable at this replica's container server too; else a pending update is durable here
    existed: bool = True


class GetObject(Message, frozen=True):
    """Read an object's newest version here. Reply: ObjectReply, or not_found with the tombstone's timestamp, or corrupt: with the
    timestamp of what is in quarantine and missed here since, with 0 when nothing is known of what is here.

    `start` < 0 asks for the last `-start` bytes; `length` -1 for all that follows. The body comes inline when what is asked
    for is at most `inline_max` bytes; else `body` is None and the caller reads it by ReadObject. inline_max -1: metadata only.
    `lean`: ObjectHeld will do, which costs no read.
    """

    target: Target
    hash: bytes
    name: str
    inline_max: int = -1
    start: int = 0
    length: int = -1
    lean: bool = False


class ObjectHeld(Message, frozen=True):
    """An object is here, by the names of its files: the timestamps of its data, and of its newest change of any kind."""

    timestamp: int
    newest: int

    @property
    def order(self) -> tuple[int, int]:
        """As Version.order."""
        return self.timestamp, self.newest


class ObjectReply(Message, frozen=True):
    """`body` holds exactly the bytes asked for, their checksums verified, or None."""

    version: Version
    body: bytes | None = None
    crc: int = -1
    """crc32c of `body` where it was read; -1 without a body."""


class ReadObject(Message, frozen=True):
    """Open a stream of the bytes [start, start+length) of exactly the version `timestamp`; the server answers Ready, then
    chunks, then End. Refused: not_found (that version is gone), corrupt. A chunk that is not what it should be is not sent, or
    breaks the connection where it arrives.
    """

    target: Target
    hash: bytes
    timestamp: int
    start: int
    length: int


class End(Message, frozen=True):
    """The last message of a ReadObject stream: every chunk was sent."""


class StatObject(Message, frozen=True):
    """All that a device holds of one object, tombstones included, for `locate` and for audits. Reply: ObjectFiles. Refused: corrupt
    (as GetObject).
    """

    target: Target
    hash: bytes
    name: str


class ObjectFiles(Message, frozen=True):
    version: Version | None
    files: list[str]  # paths relative to the device


class Prepare(Message, frozen=True):
    """A writer under conditions announces a change at timestamp `ballot`. Reply: Promised: the device durably takes no change at an
    earlier timestamp from then on, until the promise is given back or kept.

    Refused: newer_exists (with the timestamp of what is there, or was promised), other_ring, corrupt (as GetObject), too_far_ahead.
    """

    target: Target
    hash: bytes
    name: str
    ballot: int
    members: int


class Promised(Message, frozen=True):
    """`version` is the newest here, a tombstone too; None for neither. `member`: the device was found equal to the other primaries
    since it became one of them, so it knows what was written before.
    """

    version: Version | None
    member: bool


class GiveBack(Message, frozen=True):
    """The change announced by Prepare will not come. Reply: Ready."""

    target: Target
    hash: bytes
    ballot: int


class PushObject(Message, frozen=True):
    """Copy this device's newest version (data, metadata or tombstone) to another node's device. Reply: Pushed.

    With `expected`, its order (see Version) must be this, and the other device must not have anything newer: else newer_exists.
    With `restamp`, what is copied there is the same as of that timestamp, with all that POSTs changed: the device proposes it anew.
    """

    target: Target
    hash: bytes
    name: str
    to_ip: str
    to_port: int
    to: Target
    index: IndexTarget | None
    expected: tuple[int, int] | None = None
    restamp: int = 0
    members: int = 0


class Pushed(Message, frozen=True):
    """The other device holds this version, or a newer one, durably."""

    timestamp: int
