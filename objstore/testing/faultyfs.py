"""A file system that fails, waits or is full where a script says so, over any other FileSystem.

In a unit test the script is a value of the test's own:

    faults = DiskFaults()
    fs = FaultyFileSystem(RealFileSystem(path), faults)
    faults.fail("sync", errno.EIO, nth=2)

In a running process it follows a file, which the test replaces. SQLite opens its files by itself: databases see nothing of this but
what their device's `free` says, and the syncs of a database just made.
"""

import errno
import os
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TypeVar

import msgspec

from objstore.runtime.interface import FileSystem, OpenFile

T = TypeVar("T")
ANY = "*"
OPERATIONS = (
    *("create_temp", "publish", "discard", "open", "open_append", "make_directory", "sync_directory", "list_directory"),
    *("directory_state", "remove_directory", "unlink", "rename", "allocate", "free", "size_of", "open_write", "sync_all"),
    *("write", "pwrite", "pread", "size", "set_attribute", "get_attribute", "sync"),
)
"""What can fail: the methods of FileSystem, and those of OpenFile that raise."""
CONSUMING = frozenset(("write", "set_attribute", "make_directory", "create_temp"))
"""What a full disk refuses."""
UNNAMED = "tmp/unnamed"
"""The path of a temporary file before it has a name, for rules."""


class Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Calls of `operation` ("*": any) on paths that match the pattern `path` wait `delay_s`, then fail with the error of this
    name ("": they do not). `nth` 0: all of them; n: only the n-th, counted from the moment the rule is set, or with `lasting` that
    one and all later ones.
    """

    operation: str
    path: str = ANY
    error: str = ""
    delay_s: float = 0.0
    nth: int = 0
    lasting: bool = False

    def __post_init__(self) -> None:
        if self.operation not in (*OPERATIONS, ANY):
            raise ValueError(f"there is no operation {self.operation}; there are: {', '.join(OPERATIONS)}")
        if self.error and not isinstance(getattr(errno, self.error, None), int):
            raise ValueError(f"there is no error {self.error}; give a name such as EIO")


class Script(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All that is wrong with one device. `free_bytes`: as if only so much could still be written; None: as it is."""

    rules: tuple[Rule, ...] = ()
    free_bytes: int | None = None


@dataclass(slots=True, eq=False)
class DiskFaults:
    """The script in force, and what came of it. Used by all threads of a device."""

    script: Script = field(default_factory=Script)
    calls: Counter[str] = field(default_factory=Counter)
    """Operation -> calls so far, failed ones included: how far an n-th-call loop has to count."""
    injected: int = 0
    _matched: dict[Rule, int] = field(default_factory=dict)
    _written: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def set(self, script: Script) -> None:
        """Replace the script; counting begins anew."""
        with self._lock:
            self.script = script
            self._matched = {}
            self._written = 0

    def fail(self, operation: str, number: int, path: str = ANY, *, nth: int = 0, lasting: bool = False) -> None:
        """One more rule: raise OSError(number)."""
        self._add(Rule(operation, path, errno.errorcode[number], nth=nth, lasting=lasting))

    def delay(self, operation: str, delay_s: float, path: str = ANY) -> None:
        """One more rule: wait first."""
        self._add(Rule(operation, path, delay_s=delay_s))

    def fill(self, free_bytes: int = 0) -> None:
        """Let only so much be written from now on."""
        self.set(Script(self.script.rules, free_bytes))

    def clear(self) -> None:
        """Nothing is wrong any more."""
        self.set(Script())

    def _add(self, rule: Rule) -> None:
        with self._lock:
            self.script = Script((*self.script.rules, rule), self.script.free_bytes)

    def reach(self, operation: str, path: str, size: int = 0) -> None:
        """A call is about to be made. Raises the OSError that the script has for it."""
        wait_s, number = 0.0, 0
        with self._lock:
            self.calls[operation] += 1
            for rule in self.script.rules:
                if rule.operation in (operation, ANY) and fnmatchcase(path, rule.path):
                    count = self._matched[rule] = self._matched.get(rule, 0) + 1
                    if rule.nth in (0, count) or (rule.lasting and count > rule.nth):
                        wait_s += rule.delay_s
                        number = number or getattr(errno, rule.error, 0)
            if not number and operation in CONSUMING and self.left is not None:
                if size > self.left or self.left == 0:
                    number = errno.ENOSPC
                self._written += 0 if number else size
            self.injected += bool(number)
        if wait_s:
            time.sleep(wait_s)
        if number:
            raise OSError(number, os.strerror(number), path)

    @property
    def left(self) -> int | None:
        """What can still be written; None without a limit."""
        return None if self.script.free_bytes is None else max(0, self.script.free_bytes - self._written)


class FaultyFile:
    """OpenFile over another one."""

    def __init__(self, inner: OpenFile, path: str, fs: "FaultyFileSystem") -> None:
        self.inner = inner
        self.path = path
        self._fs = fs
        self._reach = fs.reach

    def write(self, data: bytes | memoryview) -> None:
        self._reach("write", self.path, len(data))
        self.inner.write(data)

    def pwrite(self, data: bytes, offset: int) -> None:
        self._reach("pwrite", self.path, len(data))
        self.inner.pwrite(data, offset)

    def pread(self, size: int, offset: int) -> bytes:
        self._reach("pread", self.path, 0)
        return self.inner.pread(size, offset)

    def send_to(self, connection: int, size: int, offset: int) -> int:
        self._reach("pread", self.path, 0)
        return self.inner.send_to(connection, size, offset)

    def size(self) -> int:
        self._reach("size", self.path, 0)
        return self.inner.size()

    def set_attribute(self, name: str, value: bytes) -> None:
        self._reach("set_attribute", self.path, len(value))
        self.inner.set_attribute(name, value)

    def get_attribute(self, name: str) -> bytes | None:
        self._reach("get_attribute", self.path, 0)
        return self.inner.get_attribute(name)

    def start_sync(self) -> None:
        self.inner.start_sync()

    def sync(self) -> None:
        try:
            self._reach("sync", self.path, 0)
        except OSError as error:
            self._fs.sync_failed(error, None)
            raise
        self.inner.sync()

    def close(self) -> None:
        self.inner.close()


class FaultyFileSystem:
    """FileSystem over another one. `present` and the closing of files never fail."""

    def __init__(self, inner: FileSystem, faults: DiskFaults) -> None:
        self.inner = inner
        self.faults = faults

    @property
    def sync_failed(self) -> Callable[[OSError, str | None], None]:
        return self.inner.sync_failed

    @sync_failed.setter
    def sync_failed(self, told: Callable[[OSError, str | None], None]) -> None:
        self.inner.sync_failed = told

    def reach(self, operation: str, path: str, size: int = 0) -> None:
        """Before each call."""
        self.faults.reach(operation, path, size)

    def _wrapped(self, file: OpenFile, path: str) -> FaultyFile:
        return FaultyFile(file, path, self)

    def create_temp(self, near: str = "") -> OpenFile:
        self.reach("create_temp", UNNAMED)
        return self._wrapped(self.inner.create_temp(near), UNNAMED)

    def publish(self, file: OpenFile, path: str) -> None:
        self.reach("publish", path)
        self.inner.publish(_unwrapped(file), path)
        if isinstance(file, FaultyFile):
            file.path = path

    def discard(self, file: OpenFile) -> None:
        self.inner.discard(_unwrapped(file))
        self.reach("discard", file.path if isinstance(file, FaultyFile) else UNNAMED)

    def open(self, path: str) -> OpenFile:
        self.reach("open", path)
        return self._wrapped(self.inner.open(path), path)

    def open_append(self, path: str) -> OpenFile:
        self.reach("open_append", path)
        return self._wrapped(self.inner.open_append(path), path)

    def open_write(self, path: str) -> OpenFile:
        self.reach("open_write", path)
        return self._wrapped(self.inner.open_write(path), path)

    @property
    def can_sync_all(self) -> bool:
        return self.inner.can_sync_all

    def sync_all(self) -> None:
        try:
            self.reach("sync_all", "")
        except OSError as error:
            self.sync_failed(error, "")
            raise
        self.inner.sync_all()

    def make_directory(self, path: str) -> list[str]:
        self.reach("make_directory", path)
        return self.inner.make_directory(path)

    def sync_directory(self, path: str) -> None:
        try:
            self.reach("sync_directory", path)
        except OSError as error:
            self.sync_failed(error, path)
            raise
        self.inner.sync_directory(path)

    def list_directory(self, path: str) -> list[str]:
        self.reach("list_directory", path)
        return self.inner.list_directory(path)

    def size_of(self, path: str) -> int:
        self.reach("size_of", path)
        return self.inner.size_of(path)

    def directory_state(self, path: str) -> tuple[int, int] | None:
        self.reach("directory_state", path)
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
        self.reach("allocate", file.path if isinstance(file, FaultyFile) else UNNAMED)
        left = self.faults.left
        if left is not None and size > left:
            self.faults.injected += 1
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.inner.allocate(_unwrapped(file), size)

    def free(self) -> tuple[int, int]:
        self.reach("free", "")
        total, free = self.inner.free()
        left = self.faults.left
        return total, free if left is None else min(free, left)


def _unwrapped(file: OpenFile) -> OpenFile:
    return file.inner if isinstance(file, FaultyFile) else file


class FollowingFileSystem(FaultyFileSystem):
    """The script stands in a file for all devices of a process, {device: script}, and is read again when the file is another one.
    A file that is missing or cannot be read changes nothing.
    """

    def __init__(self, inner: FileSystem, path: str, device: str) -> None:
        super().__init__(inner, DiskFaults())
        self._path = path
        self._device = device
        self._seen: tuple[int, int] | None = None
        self._reading = threading.Lock()

    def reach(self, operation: str, path: str, size: int = 0) -> None:
        self.follow()
        super().reach(operation, path, size)

    def follow(self) -> None:
        """Take up a script that was replaced."""
        try:
            found = os.stat(self._path)
        except FileNotFoundError:
            return
        with self._reading:
            if self._seen == (found.st_ino, found.st_mtime_ns):
                return
            scripts = load_scripts(self._path)
            self._seen = (found.st_ino, found.st_mtime_ns)
            script = scripts.get(self._device, Script())
            if script != self.faults.script:
                self.faults.set(script)


def load_scripts(path: str) -> dict[str, Script]:
    """Device -> script. Raises OSError, ValueError."""
    with open(path, "rb") as file:
        return msgspec.json.decode(file.read(), type=dict[str, Script])


def save_scripts(path: str, scripts: dict[str, Script]) -> None:
    """Replace the file as a whole, so that whoever follows it never sees a part of it."""
    with open(path + ".new", "wb") as file:
        file.write(msgspec.json.encode(scripts))
    os.replace(path + ".new", path)
