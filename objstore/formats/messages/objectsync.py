"""Messages between object replicators: what a device holds of whole partitions."""

from typing import NamedTuple

from objstore.formats.messages.addressing import Message, Target
from objstore.model.lost import Lost

DIGESTS_PER_CALL_MAX = 1024
ENTRIES_PER_CALL_MAX = 10_000


class DigestPartitions(Message, frozen=True):
    """Digests of at most DIGESTS_PER_CALL_MAX partitions of one policy on one device. Reply: PartitionDigests."""

    device: str
    policy: int
    partitions: list[int]


class PartitionDigests(Message, frozen=True):
    """One for each partition asked for, in order; 0 for a partition of which the device holds nothing."""

    digests: list[int]


class CompareMembers(Message, frozen=True):
    """Digests as of DigestPartitions, of partitions whose primaries are `members` (see members_of) by the asker's ring; -1 for each
    whose primaries are others by the ring here, or that this device does not hold. Reply: PartitionDigests.
    """

    device: str
    policy: int
    partitions: list[int]
    members: list[int]


class HeldObject(NamedTuple):
    """The files of one object that count, as `object.files.Files`."""

    hash: bytes
    timestamp: int
    deleted: bool
    meta: int


class ListPartition(Message, frozen=True):
    """What a device holds of one partition, in order of the hashes, from behind `after` on. Reply: PartitionList.

    With `durable` every name in the answer is on stable storage before it is sent: who asks may remove copies on its word.
    """

    target: Target
    after: bytes = b""
    durable: bool = False


class PartitionList(Message, frozen=True):
    """At most ENTRIES_PER_CALL_MAX entries; `complete` when nothing follows. Deletions old enough to be forgotten are left out.

    `lost`: with the first page, what is missed of objects of the partition, by hash.
    """

    entries: list[HeldObject]
    complete: bool
    lost: list[tuple[bytes, Lost]] = []


class ClaimPartition(Message, frozen=True):
    """Before a replicator completes a partition here: refused busy while another one does. Reply: Ready.

    The claim of `by` ends after `seconds`, or at once with 0. It saves work, nothing depends on it.
    """

    target: Target
    by: str
    seconds: float
