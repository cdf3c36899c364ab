"""A device of databases whose every step to the disk is watched: what a power cut would leave of them, and calls that fail.

The databases lie in a directory of a file system in memory where there is one, and SQLite reaches them by way of `sqlitevfs`; a
CrashFileSystem shadows what is done to them.
"""

import errno
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from objstore.model.errors import Code, NodeError
from objstore.runtime.crashpoints import NoCrashPoints
from objstore.runtime.filesystem import RealFileSystem
from objstore.runtime.interface import FileSystem
from objstore.tables.device import TableDevice
from objstore.tables.operations import Open
from tests.faults.crashfs import CrashFileSystem
from tests.faults.crashnodes import Content, FileNode, Image, files_of
from tests.faults.crashstates import BLOCK
from tests.faults.failing import Injection
from tests.faults.rig import KNOBS, InlineDisk, StillClock
from tests.faults.sqlitevfs import FAILURES, watched
from tests.unit.objstore.tables.rig import NAME, PLACE, merge, put, rows_of

MEMORY = "/dev/shm"
Group = tuple[str, ...]
"""Names of rows that are merged in one transaction."""


@contextmanager
def scratch() -> Iterator[Path]:
    """An empty directory, in memory where that can be."""
    path = Path(tempfile.mkdtemp(prefix="objstore-rows-", dir=MEMORY if os.access(MEMORY, os.W_OK) else None))
    try:
        yield path
    finally:
        shutil.rmtree(path)


class Shadow:
    """Watcher that keeps a CrashFileSystem equal to the databases, and fails calls on request."""

    def __init__(self, root: Path) -> None:
        """`root` as it is counts as durable."""
        self.fs = CrashFileSystem(image_of(root))
        self.boundary: Callable[[], None] = lambda: None
        self.injection: Injection | None = None
        self.calls = 0
        self.failed: list[str] = []
        self.first = 0
        self.sync_failed = False
        """Of a commit, or of a checkpoint."""
        self._unnamed: set[str] = set()
        self._lost: dict[str, set[int]] = {}
        """Blocks that a failed sync was to save: the kernel holds them for clean, until they are written again."""

    def node(self, path: str) -> FileNode:
        node = self.fs.directory(path.rpartition("/")[0]).entries[path.rpartition("/")[2]]
        assert isinstance(node, FileNode)
        return node

    def before(self, call: str, path: str, offset: int, size: int) -> int:
        if call != "read" and call != "write":
            self.boundary()
        injection = self.injection
        if injection is None:
            return 0
        self.calls += 1
        full = injection.code in (errno.ENOSPC, errno.EDQUOT)
        refused = call in (("write", "open") if full else FAILURES)
        fails = refused and self.calls >= injection.number if injection.lasting else self.calls == injection.number
        if not fails:
            return 0
        self.failed.append(call)
        self.first = self.first or self.calls
        if call == "sync":
            self._lose(self.node(path), self._lost.setdefault(path, set()))
            self.sync_failed = True
        return sqlite3.SQLITE_FULL if full and call == "write" else FAILURES[call]

    def after(self, call: str, path: str, offset: int, data: bytes) -> None:
        match call:
            case "open":
                if path.rpartition("/")[2] not in self.fs.list_directory(path.rpartition("/")[0]):
                    self.fs.open_append(path)
                    self._unnamed.add(path)
            case "write":
                node = self.node(path)
                old = node.data + bytes(max(0, offset - len(node.data)))
                node.data = old[:offset] + data + old[offset + len(data) :]
                self._lost.get(path, set()).difference_update(range(offset // BLOCK, (offset + len(data) - 1) // BLOCK + 1))
            case "truncate":
                node = self.node(path)
                node.data = node.data[:offset]
            case "sync":
                self._save(self.node(path), self._lost.get(path, set()))
                if path in self._unnamed:  # SQLite's first sync of a file it made is its directory's too
                    self._unnamed.discard(path)
                    self.fs.sync_directory(path.rpartition("/")[0])
            case "delete":
                self._unnamed.discard(path)
                self._lost.pop(path, None)
                self.fs.unlink(path)

    def _lose(self, node: FileNode, lost: set[int]) -> None:
        old, new = node.durable.data, node.data
        blocks = range(-(-max(len(old), len(new)) // BLOCK))
        lost |= {n for n in blocks if old[n * BLOCK : (n + 1) * BLOCK] != new[n * BLOCK : (n + 1) * BLOCK]}

    def _save(self, node: FileNode, lost: set[int]) -> None:
        if not lost:
            node.sync()
            return
        old, new = node.durable.data.ljust(len(node.data), b"\0"), node.data
        blocks = ((old if n in lost else new)[n * BLOCK : (n + 1) * BLOCK] for n in range(-(-len(new) // BLOCK)))
        node.durable = Content(b"".join(blocks), node.attributes)


def image_of(root: Path) -> Image:
    """Directories and files below `root`, but what SQLite keeps in shared memory."""
    fs = CrashFileSystem()
    for path in sorted(root.rglob("*")):
        name = str(path.relative_to(root))
        if path.is_dir():
            fs.make_directory(name)
        elif not name.endswith("-shm"):
            fs.open_append(name).write(path.read_bytes())
    return fs.image()


def unpack(image: Image, root: Path) -> None:
    """Make `root` what an image holds."""
    for path, content in image:
        if content is None:
            (root / path).mkdir(parents=True, exist_ok=True)
    for path, content in files_of(image):
        (root / path).write_bytes(content.data)


def table_device(
    root: Path, make: type[TableDevice] = TableDevice, wrap: Callable[[FileSystem], FileSystem] = lambda fs: fs
) -> TableDevice:
    """A device whose writer's steps are called by the test."""
    disk = InlineDisk("d1", wrap(RealFileSystem(str(root))), knobs=KNOBS)
    return make("d1", str(root), disk, StillClock(), crash=NoCrashPoints())


def write_rows(device: TableDevice, group: Group, second: float = 1.0) -> NodeError | None:
    """Merge rows in one transaction; the refusal, or None once they are promised."""
    (outcome,) = device._run_group(PLACE, [merge(*(put(name, second) for name in group))])
    return outcome if isinstance(outcome, NodeError) else None


class Promises:
    """Groups of rows in the order they were asked for, and which of them were acknowledged."""

    def __init__(self) -> None:
        self.groups: list[tuple[Group, bool]] = []
        self.refusals: list[NodeError] = []

    def ask(self, device: TableDevice, group: Group) -> NodeError | None:
        """Merge the rows of a group; the refusal, or None once they are promised."""
        self.groups.append((group, False))
        refusal = write_rows(device, group)
        if refusal is None:
            self.groups[-1] = (group, True)
        else:
            self.refusals.append(refusal)
        return refusal

    def now(self) -> tuple[tuple[Group, bool], ...]:
        return tuple(self.groups)


def problems_of(root: Path, promised: tuple[tuple[Group, bool], ...]) -> list[str]:
    """Start on what is in `root`: every group that was promised is there, every other one whole or not at all; no page is damaged,
    the sums are right, and the database takes rows.
    """
    device = table_device(root)
    (opened,) = device._run_group(PLACE, [Open(NAME)])
    if isinstance(opened, NodeError):
        if opened.code is Code.NOT_FOUND and not any(acknowledged for _, acknowledged in promised):
            return []
        return [f"cannot be opened: {opened.code} {opened.text}"]
    database = device.peek(PLACE)
    assert database is not None
    found = []
    try:
        names = {row.name for row in rows_of(database)}
    except sqlite3.Error as error:
        return [f"cannot be read: {error}"]
    for group, acknowledged in promised:
        there = names.intersection(group)
        if acknowledged and len(there) < len(group):
            found.append(f"lost {len(group) - len(there)} of {len(group)} acknowledged rows")
        elif there and len(there) < len(group):
            found.append(f"half a group: {len(there)} of {len(group)} rows")
    if names - {name for group, _ in promised for name in group}:
        found.append("rows that nobody asked for")
    if database.state.stats.object_count != len(names):
        found.append(f"counts {database.state.stats.object_count} of {len(names)} objects")
    if (damage := database.read(lambda c: c.execute("PRAGMA integrity_check").fetchone()[0])) != "ok":
        found.append(f"damaged: {damage}")
    if (refusal := write_rows(device, ("afterwards",))) is not None:
        found.append(f"takes no rows: {refusal.code} {refusal.text}")
    device._close_all()
    return found


def running(root: Path, shadow: Shadow):  # type: ignore[no-untyped-def]
    """While this lasts, SQLite's calls below `root` go by the shadow."""
    return watched(str(root), shadow)
