"""A shim between SQLite and its operating system layer, in the very library that Python's sqlite3 uses: it tells of every call to a
file below one directory, and fails those it is told to. No production code knows of it.

SQLite lets layers be stacked (https://www.sqlite.org/vfs.html): this one copies the default layer's table of functions and that of
each file it opens, and puts functions of its own in a few places. Only where the library's symbols can be reached: see `missing`.
"""

import ctypes
import importlib
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ctypes import CFUNCTYPE, POINTER, c_char_p, c_int, c_int64, c_void_p
from typing import Any, Protocol

_OPEN = CFUNCTYPE(c_int, c_void_p, c_void_p, c_void_p, c_int, POINTER(c_int))
_DELETE = CFUNCTYPE(c_int, c_void_p, c_void_p, c_int)
_CLOSE = CFUNCTYPE(c_int, c_void_p)
_TRANSFER = CFUNCTYPE(c_int, c_void_p, c_void_p, c_int, c_int64)
_TRUNCATE = CFUNCTYPE(c_int, c_void_p, c_int64)
_SYNC = CFUNCTYPE(c_int, c_void_p, c_int)

NAME = b"objstore-faults"
CREATES = 0x4  # SQLITE_OPEN_CREATE
FAILURES = {
    "open": sqlite3.SQLITE_CANTOPEN,
    "delete": sqlite3.SQLITE_IOERR_DELETE,
    "read": sqlite3.SQLITE_IOERR_READ,
    "write": sqlite3.SQLITE_IOERR_WRITE,
    "truncate": sqlite3.SQLITE_IOERR_TRUNCATE,
    "sync": sqlite3.SQLITE_IOERR_FSYNC,
}
"""What the default layer makes of the kernel's EIO, by call."""


class _Vfs(ctypes.Structure):
    """struct sqlite3_vfs, version 3."""

    _fields_ = [
        ("version", c_int),
        ("file_bytes", c_int),
        ("path_bytes_max", c_int),
        ("next", c_void_p),
        ("name", c_char_p),
        ("app_data", c_void_p),
        ("open", c_void_p),
        ("delete", c_void_p),
        ("others", c_void_p * 14),
    ]


class _Methods(ctypes.Structure):
    """struct sqlite3_io_methods, version 3."""

    _fields_ = [
        ("version", c_int),
        ("close", c_void_p),
        ("read", c_void_p),
        ("write", c_void_p),
        ("truncate", c_void_p),
        ("sync", c_void_p),
        ("others", c_void_p * 13),
    ]


class _File(ctypes.Structure):
    """struct sqlite3_file: what the layer keeps follows."""

    _fields_ = [("methods", POINTER(_Methods))]


class Watcher(Protocol):
    """Told of calls: open (of a file that is made when missing), delete, read, write, truncate (`offset` is the new size), sync."""

    def before(self, call: str, path: str, offset: int, size: int) -> int:
        """The SQLite result code with which the call is to fail; 0 lets it happen."""

    def after(self, call: str, path: str, offset: int, data: bytes) -> None:
        """It happened."""


def _library() -> ctypes.CDLL:
    return ctypes.CDLL(importlib.import_module("_sqlite3").__file__)


def missing() -> str:
    """Why the shim cannot be used here; "" when it can."""
    try:
        library = _library()
        library.sqlite3_vfs_find.restype = POINTER(_Vfs)
        version = library.sqlite3_vfs_find(None).contents.version
    except (OSError, AttributeError, TypeError, ValueError) as error:
        return f"SQLite's symbols cannot be reached: {error}"
    return "" if version == 3 else f"SQLite's layer has version {version}"


@contextmanager
def watched(root: str, watcher: Watcher) -> Iterator[None]:
    """While this lasts, databases below `root` are opened through the shim. Close them before it ends."""
    library = _library()
    library.sqlite3_vfs_find.restype = POINTER(_Vfs)
    library.sqlite3_vfs_register.argtypes = (POINTER(_Vfs), c_int)
    library.sqlite3_vfs_unregister.argtypes = (POINTER(_Vfs),)
    shim = _Shim(library.sqlite3_vfs_find(None), root, watcher)
    if library.sqlite3_vfs_register(ctypes.byref(shim.vfs), 1) != 0:
        raise OSError("SQLite takes no layer")
    try:
        yield
    finally:
        library.sqlite3_vfs_unregister(ctypes.byref(shim.vfs))
        library.sqlite3_vfs_register(shim.base, 1)
        assert not shim.files, f"still open: {[file.path for file in shim.files.values()]}"


class _Shim:
    """The layer. Its functions must live as long as SQLite may call them."""

    def __init__(self, base: Any, root: str, watcher: Watcher) -> None:
        self.base = base
        self.root = root
        self.watcher = watcher
        self.files: dict[int, _OpenFile] = {}
        self.closed: list[_OpenFile] = []
        """Kept to the end: one of their functions may be the one that is running."""
        self._open = _OPEN(base.contents.open)
        self._delete = _DELETE(base.contents.delete)
        self._kept = (_OPEN(self._on_open), _DELETE(self._on_delete))
        self.vfs = _Vfs.from_buffer_copy(base.contents)
        self.vfs.next = None
        self.vfs.name = NAME
        self.vfs.open, self.vfs.delete = (ctypes.cast(function, c_void_p).value for function in self._kept)

    def _path(self, name: int | None) -> str:
        """Of a file below the root; "" for any other."""
        path = ctypes.string_at(name).decode() if name else ""
        return path[len(self.root) + 1 :] if path.startswith(self.root + "/") else ""

    def _on_open(self, _vfs: int, name: int | None, file: int, flags: int, out: Any) -> int:
        path = self._path(name)
        if path and flags & CREATES and (code := self.watcher.before("open", path, 0, 0)):
            _File.from_address(file).methods = None
            return code
        code = self._open(ctypes.cast(self.base, c_void_p), name, file, flags, out)
        if code == 0 and path:
            self.files[file] = _OpenFile(self, file, path)
            if flags & CREATES:
                self.watcher.after("open", path, 0, b"")
        return code

    def _on_delete(self, _vfs: int, name: int, sync_directory: int) -> int:
        path = self._path(name)
        if path and (code := self.watcher.before("delete", path, 0, 0)):
            return code
        code = self._delete(ctypes.cast(self.base, c_void_p), name, sync_directory)
        if code == 0 and path:
            self.watcher.after("delete", path, 0, b"")
        return code


class _OpenFile:
    """One file with our functions in its table."""

    def __init__(self, shim: _Shim, address: int, path: str) -> None:
        self.path = path
        self._shim = shim
        self._address = address
        file = _File.from_address(address)
        old = file.methods.contents
        self._close, self._read, self._write = _CLOSE(old.close), _TRANSFER(old.read), _TRANSFER(old.write)
        self._truncate, self._sync = _TRUNCATE(old.truncate), _SYNC(old.sync)
        self._methods = _Methods.from_buffer_copy(old)
        self._kept: dict[str, Any] = {
            "close": _CLOSE(self._on_close),
            "read": _TRANSFER(self._on_read),
            "write": _TRANSFER(self._on_write),
            "truncate": _TRUNCATE(lambda at, size: self._call("truncate", size, b"", lambda: self._truncate(at, size))),
            "sync": _SYNC(lambda at, flags: self._call("sync", 0, b"", lambda: self._sync(at, flags))),
        }
        for name, function in self._kept.items():
            setattr(self._methods, name, ctypes.cast(function, c_void_p).value)
        file.methods = ctypes.pointer(self._methods)

    def _call(self, call: str, offset: int, data: bytes, happen: Callable[[], int]) -> int:
        code = self._shim.watcher.before(call, self.path, offset, len(data))
        if code == 0 and (code := happen()) == 0:
            self._shim.watcher.after(call, self.path, offset, data)
        return code

    def _on_write(self, address: int, data: int, size: int, offset: int) -> int:
        return self._call("write", offset, ctypes.string_at(data, size), lambda: self._write(address, data, size, offset))

    def _on_read(self, address: int, data: int, size: int, offset: int) -> int:
        return self._shim.watcher.before("read", self.path, offset, size) or self._read(address, data, size, offset)

    def _on_close(self, address: int) -> int:
        code = self._close(address)
        self._shim.closed.append(self._shim.files.pop(address))
        return code
