"""An open file of the real file system."""

import errno
import os
from collections.abc import Callable
from typing import Protocol

ATTRIBUTE_PREFIX = "user."
_WRITE_BYTES_MAX = 1 << 30
_NO_SENDFILE = (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP)  # of the file system, such as some of FUSE


class Syncs(Protocol):
    """Who makes files durable, and remembers what failed."""

    start_sync: Callable[[int], None]

    def sync(self, fd: int, directory: str | None) -> None: ...


class RealFile:
    """An open file descriptor. `temp_name` is its name in tmp/, None when it has none there."""

    def __init__(self, fd: int, fs: Syncs, temp_name: str | None = None) -> None:
        self.fd = fd
        self.temp_name = temp_name
        self._fs = fs

    def write(self, data: bytes | memoryview) -> None:
        written = os.write(self.fd, data)
        if written == len(data):
            return
        view = memoryview(data)[written:]
        while view:
            view = view[os.write(self.fd, view[:_WRITE_BYTES_MAX]) :]

    def pwrite(self, data: bytes, offset: int) -> None:
        written = os.pwrite(self.fd, data, offset)
        while written < len(data):
            written += os.pwrite(self.fd, memoryview(data)[written:], offset + written)

    def pread(self, size: int, offset: int) -> bytes:
        data = os.pread(self.fd, size, offset)
        if len(data) == size or not data:
            return data
        pieces = [data]
        have = len(data)
        while have < size and (data := os.pread(self.fd, size - have, offset + have)):
            pieces.append(data)
            have += len(data)
        return b"".join(pieces)

    def send_to(self, connection: int, size: int, offset: int) -> int:
        try:
            return os.sendfile(connection, self.fd, offset, size)
        except OSError as error:
            if error.errno not in _NO_SENDFILE:
                raise
            return os.write(connection, os.pread(self.fd, size, offset))

    def size(self) -> int:
        return os.fstat(self.fd).st_size

    def set_attribute(self, name: str, value: bytes) -> None:
        os.setxattr(self.fd, ATTRIBUTE_PREFIX + name, value)

    def get_attribute(self, name: str) -> bytes | None:
        try:
            return os.getxattr(self.fd, ATTRIBUTE_PREFIX + name)
        except OSError as error:
            if error.errno == errno.ENODATA:
                return None
            raise

    def start_sync(self) -> None:
        self._fs.start_sync(self.fd)

    def sync(self) -> None:
        self._fs.sync(self.fd, None)

    def close(self) -> None:
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)

    def __del__(self) -> None:
        self.close()
