"""A FileSystem that records what is done to it, fails on request, and knows what a power cut would leave.

The model is stricter than any real file system: a file's content and attributes are durable once the file was synced after the
last of them; its name once its directory was synced after it got the name; a directory's name likewise.
"""

import errno
import threading
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from objstore.runtime.filesystem import RealFileSystem
from objstore.runtime.interface import FileSystem, OpenFile
from objstore.runtime.realfile import RealFile


@dataclass
class Fault:
    """The `number`-th call (from 1) of `operation` raises OSError(`code`); `lasting`: all later ones too."""

    operation: str
    number: int
    code: int = errno.EIO
    lasting: bool = False


class RecordingFile:
    """An OpenFile that reports to its file system."""

    def __init__(self, inner: OpenFile, owner: "RecordingFileSystem") -> None:
        self.inner = inner
        self.owner = owner
        self.synced = True

    def write(self, data: bytes | memoryview) -> None:
        self.owner.reach("write")
        self.synced = False
        self.inner.write(data)

    def pwrite(self, data: bytes, offset: int) -> None:
        self.owner.reach("pwrite")
        self.synced = False
        self.inner.pwrite(data, offset)

    def pread(self, size: int, offset: int) -> bytes:
        return self.inner.pread(size, offset)

    def send_to(self, connection: int, size: int, offset: int) -> int:
        return self.inner.send_to(connection, size, offset)

    def size(self) -> int:
        return self.inner.size()

    def set_attribute(self, name: str, value: bytes) -> None:
        self.owner.reach("set_attribute")
        self.synced = False
        self.inner.set_attribute(name, value)

    def get_attribute(self, name: str) -> bytes | None:
        return self.inner.get_attribute(name)

    def start_sync(self) -> None:
        self.inner.start_sync()

    def sync(self) -> None:
        self.owner.reach("sync")
        if "sync" not in self.owner.lies:
            self.synced = True
        self.inner.sync()

    def close(self) -> None:
        self.inner.close()


@dataclass
class RecordingFileSystem:
    """Wraps a real one. `lies` names operations (sync, sync_directory) whose effect a power cut would undo."""

    inner: RealFileSystem
    root: str = ""
    faults: list[Fault] = field(default_factory=list)
    lies: set[str] = field(default_factory=set)
    lying_directories: set[str] = field(default_factory=set)
    free_bytes: int | None = None
    calls: Counter[str] = field(default_factory=Counter)
    log: list[str] = field(default_factory=list)
    names: dict[str, RecordingFile] = field(default_factory=dict)
    durable_names: set[str] = field(default_factory=set)
    pending_names: dict[str, set[str]] = field(default_factory=dict)
    open_temps: set[int] = field(default_factory=set)
    gate: threading.Event | None = None
    """When given, `sync_directory` waits for it: a slow disk under the test's control."""

    def reach(self, operation: str, path: str = "") -> None:
        self.calls[operation] += 1
        self.log.append(f"{operation} {path}".strip())
        for fault in self.faults:
            count = self.calls[operation]
            if fault.operation == operation and (count == fault.number or (fault.lasting and count > fault.number)):
                raise OSError(fault.code, "injected", path)

    def is_durable(self, path: str) -> bool:
        """After a power cut now, the file would be there, whole."""
        parts = path.split("/")
        names = ["/".join(parts[: count + 1]) for count in range(len(parts))]
        return path in self.names and self.names[path].synced and all(name in self.durable_names for name in names)

    def _named(self, path: str) -> None:
        self.durable_names.discard(path)
        self.pending_names.setdefault(path.rpartition("/")[0], set()).add(path)

    # --- FileSystem --------------------------------------------------------------------------------------------

    def create_temp(self, near: str = "") -> RecordingFile:
        self.reach("create_temp")
        file = RecordingFile(self.inner.create_temp(near), self)
        self.open_temps.add(id(file))
        return file

    def publish(self, file: OpenFile, path: str) -> None:
        assert isinstance(file, RecordingFile)
        self.reach("publish", path)
        self.inner.publish(file.inner, path)
        self.names[path] = file
        self._named(path)

    def discard(self, file: OpenFile) -> None:
        assert isinstance(file, RecordingFile)
        self.open_temps.discard(id(file))
        self.inner.discard(file.inner)

    def open(self, path: str) -> RealFile:
        self.reach("open", path)
        return self.inner.open(path)

    def open_append(self, path: str) -> RealFile:
        self.reach("open_append", path)
        return self.inner.open_append(path)

    def make_directory(self, path: str) -> list[str]:
        self.reach("make_directory", path)
        changed = self.inner.make_directory(path)
        for parent in changed:
            depth = len(parent.split("/")) if parent else 0
            self._named("/".join(path.split("/")[: depth + 1]))
        return changed

    def sync_directory(self, path: str) -> None:
        if self.gate is not None:
            self.gate.wait(5)
        self.reach("sync_directory", path)
        if "sync_directory" not in self.lies and path not in self.lying_directories:
            self.durable_names |= self.pending_names.pop(path, set())
        self.inner.sync_directory(path)

    def open_write(self, path: str) -> "RecordingFile":
        self.reach("open_write", path)
        return RecordingFile(self.inner.open_write(path), self)

    can_sync_all = True

    def sync_all(self) -> None:
        self.reach("sync_all")
        if "sync_all" not in self.lies:
            for file in self.names.values():
                file.synced = True
            for names in self.pending_names.values():
                self.durable_names |= names
            self.pending_names.clear()
        self.inner.sync_all()

    def list_directory(self, path: str) -> list[str]:
        return self.inner.list_directory(path)

    def size_of(self, path: str) -> int:
        return self.inner.size_of(path)

    def directory_state(self, path: str) -> tuple[int, int] | None:
        return self.inner.directory_state(path)

    def remove_directory(self, path: str) -> bool:
        self.reach("remove_directory", path)
        return self.inner.remove_directory(path)

    def present(self) -> bool:
        return self.inner.present()

    def unlink(self, path: str) -> None:
        self.reach("unlink", path)
        self.inner.unlink(path)

    def rename(self, old: str, new: str) -> None:
        self.reach("rename", old)
        self.inner.rename(old, new)

    def allocate(self, file: OpenFile, size: int) -> None:
        assert isinstance(file, RecordingFile)
        self.inner.allocate(file.inner, size)

    def free(self) -> tuple[int, int]:
        self.reach("free")
        total, free = self.inner.free()
        return total, free if self.free_bytes is None else self.free_bytes


def as_file_system(recording: RecordingFileSystem) -> FileSystem:
    """The type checker's word that the whole protocol is there."""
    return recording


class RecordingLog:
    """A LogSink in the same record of events."""

    def __init__(self, fs: RecordingFileSystem) -> None:
        self.fs = fs
        self.records: list[bytes] = []
        self.appends = 0
        self.code: int | None = None

    def append(self, records: Iterable[bytes]) -> None:
        if self.code is not None:
            raise OSError(self.code, "injected")
        self.fs.log.append("log")
        self.appends += 1
        self.records.extend(records)
