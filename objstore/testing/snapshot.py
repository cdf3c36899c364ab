"""All that the devices of a cluster hold at one moment, copy by copy, so that it can be compared."""

import hashlib
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TypeVar

from objstore.account.store import CONTAINER_ROWS
from objstore.container.store import OBJECT_ROWS
from objstore.container.updater import row_to_report
from objstore.formats.filenames import FileName, file_name, policy_directory
from objstore.formats.objectmeta import Damaged, UnknownFormat
from objstore.model.rows import ContainerRow, ObjectRow
from objstore.model.version import Version
from objstore.object.files import choose
from objstore.runtime.filesystem import TMP
from objstore.tables.draft import State, load_state
from objstore.tables.rowkind import RowKind
from objstore.tables.schema import ForeignContents, WrongSchema, open_reader
from objstore.testing.holdings import META_ATTRIBUTE, Holdings, object_files, version_of
from ring.ring import Ring

R = TypeVar("R", ObjectRow, ContainerRow)
READ_BYTES = 1 << 20
LOG = "-wal"
COPY_ATTEMPTS_MAX = 5
UNREADABLE = (sqlite3.Error, WrongSchema, ForeignContents)


@dataclass(frozen=True, slots=True)
class Copy:
    """What one device holds of one thing. `primary`: its place among the primaries, None on a handoff. `content`: equal exactly
    when what counts of it is, byte for byte. `surplus`: files that do not count.
    """

    node: str
    device: str
    primary: int | None
    content: str
    surplus: int = 0
    alive: bool = True
    """Not deleted."""
    to_report: bool = False
    """A container that has something to tell its account."""

    def __str__(self) -> str:
        return f"{self.node}/{self.device}"


@dataclass(slots=True)
class Thing:
    """One object, container or account, with all its copies. `primaries`: how many it should have."""

    kind: str
    name: str
    primaries: int
    copies: list[Copy] = field(default_factory=list)
    version: Version | None = None
    """Of an object: what one copy's data file says, None when it is deleted or its metadata cannot be read."""
    rows: dict[str, ObjectRow | ContainerRow] = field(default_factory=dict)
    """Of a container or an account: live rows of one copy, by name."""
    figures: tuple[int, int] = (0, 0)
    """Objects and bytes, as that copy counts them."""

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


@dataclass(slots=True)
class Snapshot:
    """Everything, by kind and hash. `stray`: what no device should hold, in plain words."""

    things: dict[tuple[str, bytes], Thing] = field(default_factory=dict)
    stray: list[str] = field(default_factory=list)

    def named(self, kind: str) -> dict[str, Thing]:
        """All of one kind ("object", "container", "account") by name."""
        return {thing.name: thing for (found, _), thing in self.things.items() if found == kind}


def take(holdings: Holdings) -> Snapshot:
    """Read every device that the rings have. What changes meanwhile may be seen half: take it again when nothing does. Blocking.

    Changes go from objects to containers and on to accounts, and so does the reading: accounts that were read after all containers
    had nothing to report hold all that was reported.
    """
    snapshot, rings = Snapshot(), holdings.rings
    in_rings = {(device.ip, device.device) for device in rings.devices()}
    places = [(m.name, m.ip, device, path) for m, device, path in holdings.devices() if (m.ip, device) in in_rings]
    for place in places:
        for policy, ring in rings.objects.items():
            _objects(snapshot, holdings, ring, policy, place)
    for place in places:
        _tables(snapshot, holdings, rings.container, OBJECT_ROWS, place)
    for node, ip, device, path in places:
        _tables(snapshot, holdings, rings.account, CONTAINER_ROWS, (node, ip, device, path))
        snapshot.stray += [f"{node}/{device} holds the temporary file {name}" for name in _names(os.path.join(path, TMP))]
    return snapshot


_Place = tuple[str, str, str, str]
"""Node, its address, device, the device's path."""


def _partitions(ring: Ring, holdings: Holdings, place: _Place, root: str) -> Iterator[tuple[str, int | None, int]]:
    """Each partition's directory below `root`, the device's place in it, and how many primaries it has."""
    _, ip, device, _ = place
    for text in _names(root):
        if text.isdigit() and int(text) < ring.partition_count:
            order = holdings.order(ring, int(text))
            yield os.path.join(root, text), order.get((ip, device)), len(order)


def _objects(snapshot: Snapshot, holdings: Holdings, ring: Ring, policy: int, place: _Place) -> None:
    node, _, device, path = place
    for directory, primary, primaries in _partitions(ring, holdings, place, os.path.join(path, policy_directory(policy))):
        by_hash: dict[bytes, list[FileName]] = {}
        for file in object_files(directory):
            by_hash.setdefault(file.hash, []).append(file)
        for hash_, files in by_hash.items():
            counting, surplus = choose(files)
            kept = [file for file in files if file not in surplus]
            try:
                content = " ".join(_digest(os.path.join(directory, file_name(*file))) for file in kept)
            except FileNotFoundError:  # replaced since it was listed
                continue
            thing = snapshot.things.setdefault(("object", bytes([policy]) + hash_), Thing("object", hash_.hex(), primaries))
            thing.copies.append(Copy(node, device, primary, content, len(surplus), counting.alive))
            version = _version(os.path.join(directory, file_name(*kept[0])))
            if version is not None:
                thing.name = version.name
                if counting.alive and (thing.version is None or thing.version.timestamp < version.timestamp):
                    thing.version = version


def _version(path: str) -> Version | None:
    try:
        return version_of(path)
    except (OSError, Damaged, UnknownFormat):
        return None


def _digest(path: str) -> str:
    """Of a file's bytes, its metadata, and its name."""
    digest = hashlib.sha256(os.path.basename(path).encode())
    with open(path, "rb") as file:
        while piece := file.read(READ_BYTES):
            digest.update(piece)
        try:
            digest.update(os.getxattr(file.fileno(), META_ATTRIBUTE))
        except OSError:
            digest.update(b"no metadata")
    return digest.hexdigest()


def _tables(snapshot: Snapshot, holdings: Holdings, ring: Ring, kind: RowKind[R], place: _Place) -> None:
    node, _, device, path = place
    for directory, primary, primaries in _partitions(ring, holdings, place, os.path.join(path, kind.directory)):
        for name in _names(directory):
            if not name.endswith(".db"):
                continue
            hash_ = bytes.fromhex(name.removesuffix(".db"))
            try:
                state, rows = read_table(os.path.join(directory, name), kind, hash_)
            except FileNotFoundError:  # removed since it was listed
                continue
            except UNREADABLE as error:
                snapshot.stray.append(f"{node}/{device} holds the database {name}, unreadable: {error}")
                continue
            thing = snapshot.things.setdefault((kind.kind, hash_), Thing(kind.kind, state.settings.name, primaries))
            content = hashlib.sha256(repr((state.settings, state.stats, rows)).encode()).hexdigest()
            to_report = kind is OBJECT_ROWS and state.parent is not None and row_to_report(state, 0) is not None
            thing.copies.append(Copy(node, device, primary, content, 0, state.settings.exists, to_report))
            thing.rows = {row.name: row for row in rows if not row.deleted}
            thing.figures = (state.stats.object_count, state.stats.bytes_used)


def read_table(path: str, kind: RowKind[R], hash_: bytes) -> tuple[State, list[R]]:
    """Settings and figures of a database, and all its rows by name, deleted ones included. Raises UNREADABLE, FileNotFoundError.

    A copy is read. SQLite knows who else has a database open by locks that its owner's process loses when it closes any other
    descriptor of the file: whoever then opens the file itself and closes it takes the write-ahead log away from a running node.
    """
    with tempfile.TemporaryDirectory(prefix="objstore-read-") as directory:
        connection = open_reader(_copied(path, directory))
        try:
            connection.execute("BEGIN")
            state = load_state(connection, kind.kind, hash_)
            columns = ", ".join(kind.column_names)
            found = connection.execute(f"SELECT {columns} FROM row ORDER BY name").fetchall()  # noqa: S608 - our own names
            return state, kind.unpack(found)
        finally:
            connection.close()


def _copied(path: str, directory: str) -> str:
    """The database and its log as of one moment, unless they change all the time: then the last attempt is taken."""
    copy = os.path.join(directory, "copy.db")
    for _ in range(COPY_ATTEMPTS_MAX):
        before = _state(path)
        shutil.copyfile(path, copy)
        try:
            shutil.copyfile(path + LOG, copy + LOG)
        except FileNotFoundError:
            pass
        if _state(path) == before:
            break
        if os.path.exists(copy + LOG):
            os.unlink(copy + LOG)
    return copy


def _state(path: str) -> list[tuple[int, int, int] | None]:
    found: list[tuple[int, int, int] | None] = []
    for name in (path, path + LOG):
        try:
            stat = os.stat(name)
        except FileNotFoundError:
            found.append(None)
        else:
            found.append((stat.st_ino, stat.st_size, stat.st_mtime_ns))
    return found


def _names(directory: str) -> list[str]:
    try:
        return sorted(os.listdir(directory))
    except (FileNotFoundError, NotADirectoryError):
        return []
