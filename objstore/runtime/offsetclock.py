"""A wall clock that a test can set while the process runs, as an administrator or a broken NTP server would."""

import mmap
import os
import struct
import time
from collections.abc import Mapping

from objstore.runtime.clock import SystemClock

ENVIRONMENT_NAME = "OBJSTORE_CLOCK_FILE"
_OFFSET = struct.Struct("<d")


class OffsetClock(SystemClock):
    """The system's clock and an offset in seconds, which stands in a file: eight bytes, little endian. The file is mapped, so a
    change shows in the next reading. `monotonic` and `sleep` are the system's, as they are when a real clock is set.
    """

    def __init__(self, path: str) -> None:
        """Raises OSError; ValueError for a file that is too short."""
        with open(path, "rb") as file:
            self._map = mmap.mmap(file.fileno(), _OFFSET.size, access=mmap.ACCESS_READ)

    def now(self) -> float:
        return time.time() + float(_OFFSET.unpack_from(self._map)[0])


def write_offset(path: str, offset_s: float) -> None:
    """Set the clocks that read this file; it is made when missing."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.pwrite(fd, _OFFSET.pack(offset_s), 0)
    finally:
        os.close(fd)


def clock_from(environment: Mapping[str, str]) -> SystemClock:
    """The process's clock: the system's, and with OBJSTORE_CLOCK_FILE one that a test sets. Raises OSError, ValueError."""
    path = environment.get(ENVIRONMENT_NAME, "")
    return OffsetClock(path) if path else SystemClock()
