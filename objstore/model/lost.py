"""What a replica knows that it held of an object and does not hold any more: its files went to quarantine."""

from typing import NamedTuple


class Lost(NamedTuple):
    """The newest of each kind by its timestamp, 0 for none: data, tombstone, metadata of a POST.

    A replica that lost something must not be taken for one that never heard of it: its word counted for a majority, and without it
    an older version, or one that was deleted, could win (G5, G14).
    """

    data: int = 0
    deletion: int = 0
    meta: int = 0

    @property
    def newest(self) -> int:
        """The newest change of any kind."""
        return max(self)

    def beyond(self, timestamp: int, meta: int) -> "Lost":
        """What of it is newer than a version or tombstone of `timestamp`, with metadata of `meta`; NONE when nothing is."""
        data = self.data if self.data > max(timestamp, self.deletion) else 0
        deletion = self.deletion if self.deletion > timestamp and not data else 0
        return Lost(data, deletion, self.meta if self.meta > max(timestamp, meta, data, deletion) else 0)

    def with_(self, other: "Lost") -> "Lost":
        """The newest of two."""
        return Lost(max(self.data, other.data), max(self.deletion, other.deletion), max(self.meta, other.meta))


NONE = Lost()
