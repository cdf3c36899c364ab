"""CrashFS: a FileSystem in memory that knows what a power cut may leave of it.

The model is stricter than any real file system:

* a file has what is durable and what was written since; `sync` makes data, size and attributes durable, not the name;
* a directory has durable entries and, in order, the operations on them since; `sync_directory` makes its own entries durable,
  neither those of a new parent nor those of the other side of a rename;
* a sync that was made to fail (`lose_data`, `lose_names`) loses what it was to save for good: no later sync saves it.

A cut may keep or drop each of these apart (`crashstates.py` lists all outcomes). A rename between two directories happens or
not, until one of them is synced: then each half has its own fate.

Used by one thread. `observer` is called before each operation that changes what a cut may leave.
"""

import copy
import errno
import os
from collections.abc import Callable

from objstore.runtime.filesystem import TMP, check_path
from objstore.runtime.interface import OpenFile
from tests.faults.crashnodes import DirectoryNode, FileNode, Image, Node, Step, flat

ATTRIBUTES_BYTES_MAX = 4028  # of one file, as on ext4
TOTAL_BYTES = 1 << 30
TEMPS_REMOVED_KEPT = 2


def _nobody(_error: OSError, _directory: str | None) -> None:
    """Is told of failed syncs."""


class CrashFile:
    """OpenFile on a FileNode."""

    def __init__(self, fs: "CrashFileSystem", node: FileNode, mode: str, temp_name: str | None = None) -> None:
        self.fs = fs
        self.node = node
        self.temp_name = temp_name
        self._mode = mode  # "read", "write", "append", "" once closed
        self._at = 0

    def write(self, data: bytes | memoryview) -> None:
        if self._mode not in ("write", "append"):
            raise OSError(errno.EBADF, "not open for writing")
        node, piece = self.node, bytes(data)
        start = len(node.data) if self._mode == "append" else self._at
        if start == len(node.data):
            node.data = node.data + piece if node.data else piece
        else:
            node.data = node.data[:start] + piece + node.data[start + len(piece) :]
        self._at = start + len(piece)
        node.edges.append(self._at)

    def pwrite(self, data: bytes, offset: int) -> None:
        if self._mode != "write":
            raise OSError(errno.EBADF, "not open for writing")
        self._at = offset
        self.write(data)

    def pread(self, size: int, offset: int) -> bytes:
        self._require_open()
        return self.node.data[offset : offset + size]

    def send_to(self, connection: int, size: int, offset: int) -> int:
        return os.write(connection, self.pread(size, offset))

    def size(self) -> int:
        self._require_open()
        return len(self.node.data)

    def set_attribute(self, name: str, value: bytes) -> None:
        self._require_open()
        attributes = {**dict(self.node.attributes), name: value}
        if sum(len(key) + len(text) for key, text in attributes.items()) > ATTRIBUTES_BYTES_MAX:
            raise OSError(errno.ENOSPC, "no room for the attribute")
        self.node.attributes = tuple(sorted(attributes.items()))

    def get_attribute(self, name: str) -> bytes | None:
        self._require_open()
        return dict(self.node.attributes).get(name)

    def start_sync(self) -> None:
        pass

    def sync(self) -> None:
        self._require_open()
        self.fs.require_sound()
        self.fs.note("sync")
        self.fs.sync_node(self.node)

    def close(self) -> None:
        self._mode = ""

    def _require_open(self) -> None:
        if not self._mode:
            raise OSError(errno.EBADF, "closed")


class CrashFileSystem:
    """FileSystem in memory. Made from an image it is that device mounted again, where all that is left is durable."""

    def __init__(self, image: Image = (), *, nameless: bool = True) -> None:
        """`nameless`: temporary files have no name before they are published, as with O_TMPFILE."""
        self.nameless = nameless
        self.observer: Callable[[str], None] | None = None
        self.sync_failed: Callable[[OSError, str | None], None] = _nobody
        self.lost = False
        """A sync failed: none succeeds any more."""
        self.free_bytes = TOTAL_BYTES
        self.is_present = True
        self._numbers = 0
        self._temps = 0
        self.root = DirectoryNode(self._number())
        self.temps_removed: dict[str, Node] = {}
        """Temporary names gone from tmp/, which is never synced: a cut may bring them back."""
        self._load(image)
        self._open()

    def _open(self) -> None:
        """What the real file system does when it is opened: what is in tmp/ is a dead process's, and a killed one may have made
        directories that it never synced.
        """
        if TMP not in self.root.entries:
            self.make_directory(TMP)
        for name in self.list_directory(TMP):
            self.unlink(f"{TMP}/{name}")
        for node in (self.root, *self.root.entries.values()):
            if isinstance(node, DirectoryNode):
                node.sync()

    def after_a_kill(self) -> "CrashFileSystem":
        """This device as the next process finds it that opens it: all is there, and what was not synced still is not."""
        observer, told = self.observer, self.sync_failed
        self.observer, self.sync_failed = None, _nobody
        again = copy.deepcopy(self)
        self.observer, self.sync_failed = observer, told
        again._open()
        return again

    def _load(self, image: Image) -> None:
        for path, content in image:
            parent, _, name = path.rpartition("/")
            node = DirectoryNode(self._number()) if content is None else FileNode(self._number(), content)
            directory = self.directory(parent)
            directory.entries[name] = directory.durable[name] = node

    def _number(self) -> int:
        self._numbers += 1
        return self._numbers

    def note(self, operation: str) -> None:
        """Tell the observer that `operation` is about to happen."""
        if self.observer is not None:
            self.observer(operation)

    # --- what wrong settings change ----------------------------------------------------------------------------

    def sync_node(self, node: FileNode) -> None:
        node.sync()

    def sync_entries(self, directory: DirectoryNode, path: str) -> None:
        directory.sync()

    def sync_tree(self) -> None:
        """Names first or last makes no difference: nothing comes in between."""
        for node in self._nodes():
            node.sync()

    def _nodes(self) -> list[Node]:
        """All that there is, each once."""
        found: dict[int, Node] = {}
        queue: list[Node] = [self.root]
        while queue:
            node = queue.pop()
            if id(node) not in found:
                found[id(node)] = node
                if isinstance(node, DirectoryNode):
                    queue += [*node.entries.values(), *node.durable.values()]
        return list(found.values())

    # --- failed syncs ------------------------------------------------------------------------------------------

    def require_sound(self) -> None:
        if self.lost:
            raise OSError(errno.EIO, "an earlier sync failed")

    def lose_data(self, file: OpenFile) -> None:
        """A sync of the file failed: what was written since the last one is never durable, nor is anything after it."""
        assert isinstance(file, CrashFile)
        file.node.lost = True

    def lose_names(self, path: str) -> None:
        """A sync of the directory failed: the operations since the last one stay undecided for ever."""
        for step in self.directory(path).pending:
            step.lost = True

    def lose_all(self) -> None:
        """A sync of everything failed: all that was not durable stays undecided for ever."""
        for node in self._nodes():
            if isinstance(node, FileNode):
                node.lost = node.lost or node.dirty
            else:
                for step in node.pending:
                    step.lost = True

    # --- directories -------------------------------------------------------------------------------------------

    def directory(self, path: str) -> DirectoryNode:
        """Raises FileNotFoundError, NotADirectoryError."""
        node: Node = self.root
        for name in path.split("/") if path else ():
            if not isinstance(node, DirectoryNode):
                raise NotADirectoryError(errno.ENOTDIR, "not a directory", path)
            found = node.entries.get(name)
            if found is None:
                raise FileNotFoundError(errno.ENOENT, "no such directory", path)
            node = found
        if not isinstance(node, DirectoryNode):
            raise NotADirectoryError(errno.ENOTDIR, "not a directory", path)
        return node

    def _place(self, path: str) -> tuple[DirectoryNode, str]:
        check_path(path)
        parent, _, name = path.rpartition("/")
        return self.directory(parent), name

    def make_directory(self, path: str) -> list[str]:
        check_path(path)
        changed, parent_path, node = [], "", self.root
        for name in path.split("/"):
            found = node.entries.get(name)
            if found is None:
                self.note("make_directory")
                found = DirectoryNode(self._number())
                node.do(Step((name, found)))
                changed.append(parent_path)
            elif not isinstance(found, DirectoryNode):
                raise NotADirectoryError(errno.ENOTDIR, "not a directory", path)
            node = found
            parent_path = f"{parent_path}/{name}" if parent_path else name
        return changed

    def sync_directory(self, path: str) -> None:
        directory = self.directory(path)
        self.require_sound()
        self.note("sync_directory")
        self.sync_entries(directory, path)

    can_sync_all = True

    def sync_all(self) -> None:
        self.require_sound()
        self.note("sync_all")
        self.sync_tree()

    def list_directory(self, path: str) -> list[str]:
        try:
            return sorted(self.directory(path).entries)
        except FileNotFoundError:
            return []

    def directory_state(self, path: str) -> tuple[int, int] | None:
        try:
            directory = self.directory(path)
        except FileNotFoundError:
            return None
        return directory.number, directory.changes

    def remove_directory(self, path: str) -> bool:
        try:
            parent, name = self._place(path)
            found = self.directory(path)
        except FileNotFoundError:
            return True
        if found.entries:
            return False
        self.note("remove_directory")
        parent.do(Step((name, None)))
        return True

    def present(self) -> bool:
        return self.is_present

    # --- files -------------------------------------------------------------------------------------------------

    def create_temp(self, near: str = "") -> CrashFile:
        file = CrashFile(self, FileNode(self._number()), "write")
        if not self.nameless:
            self._name_temp(file)
        return file

    def _name_temp(self, file: CrashFile) -> None:
        self.note("link")
        file.temp_name = f"{self._temps}.tmp"
        self._temps += 1
        self.directory(TMP).entries[file.temp_name] = file.node

    def _drop_temp(self, file: CrashFile) -> None:
        if file.temp_name is not None:
            self.directory(TMP).entries.pop(file.temp_name, None)
            self.temps_removed[file.temp_name] = file.node
            while len(self.temps_removed) > TEMPS_REMOVED_KEPT:
                del self.temps_removed[next(iter(self.temps_removed))]
            file.temp_name = None

    def publish(self, file: OpenFile, path: str) -> None:
        assert isinstance(file, CrashFile)
        directory, name = self._place(path)
        if isinstance(directory.entries.get(name), DirectoryNode):
            raise IsADirectoryError(errno.EISDIR, "a directory is there", path)
        if file.temp_name is None and name in directory.entries:  # a link cannot replace: it takes a second name and a rename
            self._name_temp(file)
        self.note("rename" if file.temp_name is not None else "link")
        directory.do(Step((name, file.node)))
        self._drop_temp(file)

    def discard(self, file: OpenFile) -> None:
        assert isinstance(file, CrashFile)
        file.close()
        if file.temp_name is not None:
            self.note("unlink")
            self._drop_temp(file)

    def open(self, path: str) -> CrashFile:
        return CrashFile(self, self._file(path), "read")

    def size_of(self, path: str) -> int:
        return len(self._file(path).data)

    def _file(self, path: str) -> FileNode:
        directory, name = self._place(path)
        node = directory.entries.get(name)
        if node is None:
            raise FileNotFoundError(errno.ENOENT, "no such file", path)
        if not isinstance(node, FileNode):
            raise OSError(errno.EINVAL, "not a regular file", path)
        return node

    def open_write(self, path: str) -> CrashFile:
        return CrashFile(self, self._file(path), "write")

    def open_append(self, path: str) -> CrashFile:
        directory, name = self._place(path)
        if name not in directory.entries:
            self.note("create")
            directory.do(Step((name, FileNode(self._number()))))
        return CrashFile(self, self._file(path), "append")

    def unlink(self, path: str) -> None:
        try:
            directory, name = self._place(path)
        except FileNotFoundError:
            return
        node = directory.entries.get(name)
        if isinstance(node, DirectoryNode):
            raise IsADirectoryError(errno.EISDIR, "a directory", path)
        if node is not None:
            self.note("unlink")
            directory.do(Step((name, None)))

    def rename(self, old: str, new: str) -> None:
        source, source_name = self._place(old)
        target, target_name = self._place(new)
        node = source.entries.get(source_name)
        if node is None:
            raise FileNotFoundError(errno.ENOENT, "no such file", old)
        there = target.entries.get(target_name)
        if isinstance(there, DirectoryNode) and (there.entries or isinstance(node, FileNode)):
            raise OSError(errno.ENOTEMPTY, "a directory is there", new)
        self.note("rename")
        if source is target:
            source.do(Step((source_name, None), (target_name, node)))
        else:
            gone, came = Step((source_name, None)), Step((target_name, node))
            gone.pair, came.pair = came, gone
            target.do(came)
            source.do(gone)

    def allocate(self, file: OpenFile, size: int) -> None:
        assert isinstance(file, CrashFile)
        if size > self.free_bytes:
            raise OSError(errno.ENOSPC, "no space")
        if size > len(file.node.data):
            file.node.data += bytes(size - len(file.node.data))

    def free(self) -> tuple[int, int]:
        return TOTAL_BYTES, self.free_bytes

    # --- images ------------------------------------------------------------------------------------------------

    def image(self) -> Image:
        """What is there now, as if all of it were durable: the state that a killed process leaves."""
        return flat(self.root, lambda directory: directory.entries, lambda file: file.content)
