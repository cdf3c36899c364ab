"""Of which partitions a device knows that it holds all that the other primaries hold.

Only such a device speaks for a partition when the condition of a write is decided: one that a ring change made a primary, or whose
disk was replaced, does not know yet what was written before. Losing this knowledge is harmless, the next pass gets it back.
"""

import logging
from collections.abc import Collection

import msgspec

from objstore.model.errors import NodeError
from objstore.runtime.interface import Disk
from ring.ring import Ring

logger = logging.getLogger("objstore.object")

PATH = "membership"

Known = dict[tuple[int, int], int]


class Membership:
    """Of one device. Used in the event loop alone."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self.settled: dict[int, Ring] = {}
        """By policy, the ring by which it is known of every partition, in this process."""
        self._known: Known = {}
        """By policy and partition, the digest of the primaries with whom this device was found equal."""

    def is_member(self, policy: int, partition: int, members: int) -> bool:
        """Whether the device was equal to all of `members` (see members_of) since it became one of them."""
        return self._known.get((policy, partition)) == members

    def learn(self, current: Known, equal: Known, settled: Collection[int] = ()) -> bool:
        """`current`: all partitions of which the device is a primary today, and with whom; what it knew of any other is void, but
        in the policies `settled`. `equal`: those found equal just now. Returns whether anything changed.
        """
        old = self._known.items()
        known = {key: members for key, members in old if key[0] in settled or current.get(key) == members} | equal
        changed = known != self._known
        self._known = known
        return changed

    async def load(self) -> None:
        """Read what an earlier process knew; nothing where that cannot be read."""
        try:
            data = await self._disk.run(self._read)
            if data:
                rows = msgspec.msgpack.decode(data, type=list[tuple[int, int, int]])
                self._known = {(policy, partition): members for policy, partition, members in rows}
        except (OSError, NodeError, msgspec.MsgspecError) as error:
            logger.warning("membership unreadable", extra={"path": PATH, "error": str(error)})

    def _read(self) -> bytes:
        try:
            file = self._disk.fs.open(PATH)
        except FileNotFoundError:
            return b""
        try:
            return file.pread(file.size(), 0)
        finally:
            file.close()

    async def save(self) -> None:
        """Write what is known. Raises OSError, NodeError."""
        data = msgspec.msgpack.encode([(*key, members) for key, members in sorted(self._known.items())])
        await self._disk.run(lambda: self._write(data))

    def _write(self, data: bytes) -> None:
        fs = self._disk.fs
        file = fs.create_temp()
        try:
            file.write(data)
            file.sync()
            fs.publish(file, PATH)
        finally:
            fs.discard(file)
        fs.sync_directory("")
