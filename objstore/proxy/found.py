"""What a read finds, and what it may ask for beside it."""

import msgspec
from crc32c import crc32c

from objstore.formats.messages import ObjectReply
from objstore.model.version import Version
from objstore.placement.places import Replica


class Found(msgspec.Struct, frozen=True):
    """The newest version, None when there is none; then `tombstone` is the deletion's timestamp, 0 for none.

    `body` holds the bytes asked for when a holder sent them along. `holders` answered that they have this version; `others`
    are the remaining primaries, which may have it too.
    """

    version: Version | None
    tombstone: int
    body: bytes | None
    holders: tuple[Replica, ...]
    others: tuple[Replica, ...]

    @property
    def timestamp(self) -> int:
        """The newest change of any kind; 0 for none."""
        return max(self.version.order) if self.version is not None else self.tombstone


NOTHING_FOUND = Found(None, 0, None, (), ())


class Part(msgspec.Struct, frozen=True):
    """What to send along: `length` bytes from `start` (see GetObject), when they are at most `inline_max`; -1 for none."""

    inline_max: int
    start: int = 0
    length: int = -1


NO_BYTES = Part(-1)


def is_sound(reply: ObjectReply, name: str) -> bool:
    """Whether an answer is about the object of this name, and as it was read."""
    version = reply.version
    if version.name != name or version.deleted:
        return False
    return reply.body is None or crc32c(reply.body) == reply.crc
