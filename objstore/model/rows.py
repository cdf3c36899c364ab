"""Rows of the two kinds of listing, and the rule that merges two rows of one name.

Merging is commutative, associative and idempotent, so rows may arrive late, twice and in any order.
"""

from dataclasses import dataclass

import msgspec


class ObjectRow(msgspec.Struct, array_like=True, frozen=True):
    """One object in a container's listing.

    `timestamp` orders the data (PUT or DELETE); `meta_timestamp` the last change of any kind (POST included, shown as last
    modified); `type_timestamp` the content type, which a POST may change alone. `delete_at`, the second since the epoch from
    which on the object counts as deleted (0: never), belongs to what `meta_timestamp` orders.
    """

    name: str
    timestamp: int
    deleted: bool
    size: int = 0
    etag: str = ""
    content_type: str = ""
    type_timestamp: int = 0
    meta_timestamp: int = 0
    delete_at: int = 0


class ContainerRow(msgspec.Struct, array_like=True, frozen=True):
    """One container in an account's listing: when it was created and deleted, and what it last said of its contents.

    `reported` orders the reports of counts and bytes; the newest one wins.
    """

    name: str
    put_timestamp: int
    delete_timestamp: int = 0
    object_count: int = 0
    bytes_used: int = 0
    policy: int = 0
    reported: int = 0

    @property
    def deleted(self) -> bool:
        """A container is gone when it was deleted after it was last created."""
        return self.delete_timestamp >= self.put_timestamp


@dataclass(frozen=True, slots=True)
class Subdir:
    """A common prefix in a listing with a delimiter; `name` ends with the delimiter."""

    name: str


def merge_object_rows(a: ObjectRow, b: ObjectRow) -> ObjectRow:
    """The row that both replicas must hold once they know `a` and `b` of one name."""
    old, new = (a, b) if a.timestamp < b.timestamp else (b, a)
    if old.timestamp < new.timestamp and _supersedes(new, old):
        return new  # by far the most frequent case, in a fifth of the time
    data = max(a, b, key=lambda r: (r.timestamp, r.deleted, r.etag, r.size, r.content_type))
    typed = max(a, b, key=lambda r: (max(r.type_timestamp, r.timestamp), r.content_type))
    newest_type = max(typed.type_timestamp, typed.timestamp)
    # A deletion keeps it too: what is merged later may be a PUT that this very POST came after.
    keep_type = newest_type > data.timestamp
    newest_meta, delete_at = max((max(r.meta_timestamp, r.timestamp), r.delete_at) for r in (a, b))
    return ObjectRow(
        data.name,
        data.timestamp,
        data.deleted,
        data.size,
        data.etag,
        typed.content_type if keep_type else data.content_type,
        newest_type if keep_type else data.timestamp,
        newest_meta,
        delete_at,
    )


def _supersedes(new: ObjectRow, old: ObjectRow) -> bool:
    """Whether a row with newer data leaves nothing of the old one: all that the old one knows is older."""
    return (
        old.type_timestamp <= new.timestamp <= new.type_timestamp
        and old.meta_timestamp < new.meta_timestamp
        and new.timestamp <= new.meta_timestamp
    )


def merge_container_rows(a: ContainerRow, b: ContainerRow) -> ContainerRow:
    """The row that both account replicas must hold once they know `a` and `b` of one name."""
    said = max(a, b, key=lambda r: (r.reported, r.object_count, r.bytes_used))
    created = max(a, b, key=lambda r: (r.put_timestamp, r.policy))
    return ContainerRow(
        a.name,
        created.put_timestamp,
        max(a.delete_timestamp, b.delete_timestamp),
        said.object_count,
        said.bytes_used,
        created.policy,
        said.reported,
    )
