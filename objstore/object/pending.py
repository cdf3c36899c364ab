"""A device's pending log: container rows made durable with the objects they speak of, until a container server has them.

Most records live in the device's journal, and are cleared before that forgets them; what is still needed then is written here.
Segments `pending/<number>.log`; a segment is removed when every record in it is cleared, so an idle log is empty. Clearing is
in memory: after a crash all records of the segments that are left count as uncleared and are sent again, which changes nothing.
"""

import logging
import threading
from collections.abc import Container

from objstore.formats.pending import Scan, frame_id, group, renumbered, scan
from objstore.object.crashes import LOG_WRITTEN
from objstore.runtime.interface import CrashPoints, FileSystem, OpenFile

logger = logging.getLogger("objstore.object")

DIRECTORY = "pending"


class PendingLog:
    """LogSink of one device. `append` and `hold` run in the committer thread, `begin`, `settle` and `clear` in the event loop, the
    rest in any disk thread.

    What both sides touch are sets and dicts, each operation atomic by itself: a record is added after it is durable and before
    its commit returns, and cleared after that. A lock keeps appending and tidying apart; the event loop never takes it.
    """

    def __init__(self, fs: FileSystem, *, points: CrashPoints | None = None, segment_bytes_max: int = 1 << 20) -> None:
        """Blocking. Raises OSError."""
        self._fs = fs
        self._points = points
        self._segment_bytes_max = segment_bytes_max
        for changed in fs.make_directory(DIRECTORY):
            fs.sync_directory(changed)
        old = [int(name[:-4]) for name in fs.list_directory(DIRECTORY) if name[:-4].isdecimal() and name.endswith(".log")]
        self._number = max(old, default=0)
        self._next_id = (self._number + 1) << 32  # greater than all ids of earlier processes
        self._uncleared: dict[int, set[int]] = {number: set() for number in sorted(old)}
        self._unread = set(self._uncleared)
        self._file: OpenFile | None = None
        self._size = 0
        self._lock = threading.Lock()
        self._held: dict[int, bytes] = {}
        """Uncleared records that the journal has."""
        self.busy: set[int] = set()
        """Records whose change, or whose first delivery, is still under way: not for the updater."""
        self.doubtful: set[int] = set()
        """Records of an earlier process, or of a failed change: their objects were perhaps never published."""
        self.damaged_bytes = 0

    # --- event loop --------------------------------------------------------------------------------------------

    def begin(self) -> int:
        """A new record's id; busy until `settle`."""
        id_ = self._next_id
        self._next_id += 1
        self.busy.add(id_)
        return id_

    def settle(self, id_: int, *, cleared: bool, doubtful: bool = False) -> None:
        """The first attempt is over; unless `cleared`, the record is the updater's from now on. `doubtful`: its change failed,
        and perhaps only half.
        """
        self.busy.discard(id_)
        if cleared:
            self.clear(id_)
        elif doubtful:
            self.doubtful.add(id_)

    def clear(self, id_: int) -> None:
        """The row is where it belongs, or its change never happened."""
        if self._held.pop(id_, None) is None:
            for ids in list(self._uncleared.values()):  # all: an append that failed may be found beside the one after it
                ids.discard(id_)
        self.doubtful.discard(id_)

    @property
    def pending(self) -> int:
        """Records not cleared."""
        return len(self._held) + sum(len(ids) for ids in list(self._uncleared.values()))

    def segments(self) -> list[int]:
        """Those with uncleared records, oldest first."""
        return [number for number, ids in list(self._uncleared.items()) if ids]

    def open_ids(self, segment: int) -> set[int]:
        """The uncleared records of a segment that are nobody's business at the moment."""
        return set(self._uncleared.get(segment, ())) - self.busy

    # --- committer thread --------------------------------------------------------------------------------------

    def hold(self, records: list[bytes]) -> None:
        """As LogSink.hold."""
        for record in records:
            self._held[frame_id(record)] = record

    def append(self, records: list[bytes]) -> None:
        """Make the records durable. Raises OSError: then the next call begins a new segment."""
        ids = [frame_id(record) for record in records]
        with self._lock:
            try:
                if self._file is None:
                    self._open_segment()
                assert self._file is not None
                data = group(records)
                self._file.write(data)
                self._file.sync()
            except OSError:
                self._close_segment()
                raise
            self._uncleared[self._number].update(ids)
            self._size += len(data)
            if self._size >= self._segment_bytes_max:
                self._close_segment()
                self._remove_cleared()
        if self._points is not None:
            self._points.reach(LOG_WRITTEN)

    def _open_segment(self) -> None:
        self._number += 1
        self._size = 0
        self._uncleared[self._number] = set()
        self._file = self._fs.open_append(_path(self._number))
        self._fs.sync_directory(DIRECTORY)

    def _close_segment(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            file.close()

    def _remove_cleared(self) -> None:
        for number, ids in list(self._uncleared.items()):
            if not ids and number not in self._unread and (self._file is None or number != self._number):
                self._fs.unlink(_path(number))
                del self._uncleared[number]

    # --- any disk thread ---------------------------------------------------------------------------------------

    def spill(self, *, idle: bool = False) -> None:
        """As LogSink.spill; `idle`: only what is nobody's business at the moment, for the updater."""
        held = [(id_, record) for id_, record in list(self._held.items()) if not (idle and id_ in self.busy)]
        if not held:
            return
        self.append([record for _, record in held])
        for id_, _ in held:
            if self._held.pop(id_, None) is None:  # cleared while it was being written
                self.clear(id_)

    def adopt(self, records: list[bytes]) -> None:
        """As LogSink.adopt. They get new ids: theirs may be in use again."""
        again = []
        for record in records:
            self.doubtful.add(self._next_id)
            again.append(renumbered(record, self._next_id))
            self._next_id += 1
        self.append(again)

    def recover(self) -> int:
        """Read the segments of earlier processes; returns how many records they hold. Blocking. Raises OSError."""
        for number in sorted(self._unread):
            found = self.read(number)
            if found.damaged_bytes:
                self.damaged_bytes += found.damaged_bytes
                logger.error("pending log damaged", extra={"segment": _path(number), "bytes": found.damaged_bytes})
            if found.torn_bytes:
                extra = {"segment": _path(number), "bytes": found.torn_bytes}
                logger.info("pending log ends in records that were being written when the power failed", extra=extra)
            self.doubtful.update(found.records)
            self._uncleared[number].update(found.records)
            self._unread.discard(number)
        return len(self.doubtful)

    def read(self, segment: int, wanted: Container[int] | None = None) -> Scan:
        """What a segment holds, cleared or not, of these records or of all; nothing when it was removed meanwhile. Blocking. Raises
        OSError.
        """
        try:
            file = self._fs.open(_path(segment))
        except FileNotFoundError:
            return Scan({}, 0, 0)
        try:
            return scan(file.pread(file.size(), 0), wanted)
        finally:
            file.close()

    def tidy(self) -> None:
        """Remove every segment without uncleared records, the one being written too. Blocking. Raises OSError."""
        with self._lock:
            if self._file is not None and not self._uncleared[self._number]:
                self._close_segment()
            self._remove_cleared()


def _path(number: int) -> str:
    return f"{DIRECTORY}/{number:012d}.log"
