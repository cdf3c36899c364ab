"""Where an audit of a device goes on: the last partition that was audited. One line of text: `audit 1 <policy> <partition>`."""

from typing import NamedTuple

FORMAT = 1


class Cursor(NamedTuple):
    """Orders partitions as an audit takes them. The default comes before the first."""

    policy: int = -1
    partition: int = -1


def encode_cursor(cursor: Cursor) -> bytes:
    """One line."""
    return b"audit %d %d %d\n" % (FORMAT, cursor.policy, cursor.partition)


def decode_cursor(data: bytes) -> Cursor:
    """The inverse of `encode_cursor`. Raises ValueError for anything else."""
    words = data.split()
    if len(words) != 4 or words[:2] != [b"audit", b"%d" % FORMAT]:
        raise ValueError("not the cursor of an audit")
    cursor = Cursor(int(words[2]), int(words[3]))
    if encode_cursor(cursor) != data:
        raise ValueError("not the cursor of an audit")
    return cursor
