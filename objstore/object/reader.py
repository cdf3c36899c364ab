"""Reading object files: nothing is believed that a checksum does not confirm. All functions here block and raise OSError."""

import errno
from dataclasses import dataclass

from crc32c import crc32c

from objstore.formats.filenames import FileKind, parse_file_name
from objstore.formats.objectmeta import (
    ATTRIBUTE,
    CHUNK_BYTES,
    Damaged,
    Header,
    UnknownFormat,
    check_table,
    crc_of_chunks,
    decode,
    decode_version,
    verify_chunks,
)
from objstore.model.errors import Code, NodeError
from objstore.model.version import Version
from objstore.object.files import Files, Place
from objstore.object.merge import merge_meta
from objstore.rpc.interface import FilePiece
from objstore.runtime.interface import FileSystem, OpenFile

FOREIGN = "file of another object"
_NOT_A_FILE = (errno.ELOOP, errno.EINVAL, errno.ENXIO, errno.EISDIR, errno.ENOTDIR)


class Corrupt(Exception):
    """A file is not what its writer wrote: it belongs in quarantine. `name` is the object's, "" when nobody knows. `foreign`: it is
    a sound file of another object, so nothing of the object in whose place it was is lost with it.
    """

    def __init__(self, path: str, reason: str, name: str = "", *, foreign: bool = False) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = path
        self.reason = reason
        self.name = name
        self.foreign = foreign


@dataclass(slots=True)
class OpenObject:
    """An open file whose metadata is verified. `version` is what the file itself says, no POST merged in."""

    path: str
    file: OpenFile
    header: Header
    version: Version
    table: bytes | None = None

    def read(self, start: int, length: int) -> bytes:
        """The bytes [start, start+length) of the body, verified. The range must lie within the body. Raises Corrupt."""
        return self.read_with_crc(start, length)[0]

    def read_with_crc(self, start: int, length: int) -> tuple[bytes, int]:
        """As `read`, and the crc32c of just these bytes, which verifying them found."""
        if length <= 0:
            return b"", 0
        first = start - start % CHUNK_BYTES
        end = min(start + length + -(start + length) % CHUNK_BYTES, self.header.body_size)
        data = self.file.pread(end - first, first)
        table = self.load_table()
        try:
            if len(data) != end - first:
                raise Damaged("body shorter than it was")
            crc = verify_chunks(data, first, table)
        except Damaged as error:
            raise Corrupt(self.path, str(error), self.version.name) from error
        if len(data) == length:
            return data, crc
        data = data[start - first : start - first + length]
        return data, crc32c(data)

    def piece(self, start: int, length: int) -> FilePiece:
        """A piece of whole chunks as it should be, to be sent without a look at it. Reads nothing once the table is loaded."""
        return FilePiece(self.file, start, length, crc_of_chunks(self.load_table(), start // CHUNK_BYTES, length // CHUNK_BYTES))

    def load_table(self) -> bytes:
        """The checksums of the body's chunks. Raises Corrupt."""
        if self.table is None:
            header = self.header
            try:
                self.table = header.table or check_table(header, self.file.pread(header.table_size, header.table_offset))
            except Damaged as error:
                raise Corrupt(self.path, str(error), self.version.name) from error
        return self.table


def open_object(fs: FileSystem, place: Place, timestamp: int, kind: FileKind, name: str) -> OpenObject:
    """Open one file of an object and verify its metadata, its size and, unless `name` is "", whose it is.

    Raises FileNotFoundError, Corrupt, NodeError internal (written by a later release).
    """
    path = place.path(timestamp, kind)
    try:
        file = fs.open(path)
    except OSError as error:
        if error.errno in _NOT_A_FILE:
            raise Corrupt(path, "not a regular file", name) from error
        raise
    try:
        header, version = _read_metadata(file)
        problem = _contradiction(version, timestamp, kind, name)
    except UnknownFormat as error:
        file.close()
        raise NodeError(Code.INTERNAL, f"{path}: {error}") from error
    except Damaged as error:
        file.close()
        raise Corrupt(path, str(error), name) from error
    except OSError:
        file.close()
        raise
    if problem:
        file.close()
        raise Corrupt(path, problem, name, foreign=problem == FOREIGN)
    return OpenObject(path, file, header, version)


def _read_metadata(file: OpenFile) -> tuple[Header, Version]:
    attribute = file.get_attribute(ATTRIBUTE)
    if attribute is None:
        raise Damaged("metadata missing")
    header = decode(attribute)
    if file.size() != header.file_size:
        raise Damaged("size differs from what was written")
    version = header.version
    if version is None:
        version = decode_version(header, file.pread(header.version_size, header.version_offset))
    return header, version


def _contradiction(version: Version, timestamp: int, kind: FileKind, name: str) -> str:
    if version.timestamp != timestamp or version.deleted != (kind is FileKind.TOMBSTONE):
        return "metadata of another file"
    if name and version.name != name:
        return FOREIGN
    return ""


def open_newest(fs: FileSystem, place: Place, files: Files, name: str) -> tuple[OpenObject, Version]:
    """Open the data file that counts; the version is as the newest POST left it. For objects alive.

    Raises FileNotFoundError when a file was replaced meanwhile, Corrupt, NodeError internal.
    """
    found = open_object(fs, place, files.timestamp, FileKind.DATA, name)
    if not files.meta:
        return found, found.version
    try:
        meta = read_version(fs, place, files.meta, FileKind.META, name)
    except BaseException:
        found.file.close()
        raise
    return found, merge_meta(found.version, meta)


def read_version(fs: FileSystem, place: Place, timestamp: int, kind: FileKind, name: str) -> Version:
    """What one file says of its object, verified. Raises FileNotFoundError, Corrupt, NodeError internal."""
    found = open_object(fs, place, timestamp, kind, name)
    found.file.close()
    return found.version


def read_newest(fs: FileSystem, place: Place, files: Files, name: str) -> Version:
    """The version, or the tombstone, that counts. For objects of which there is either.

    Raises FileNotFoundError when a file was replaced meanwhile, Corrupt, NodeError internal.
    """
    if files.deleted:
        return read_version(fs, place, files.timestamp, FileKind.TOMBSTONE, name)
    found, version = open_newest(fs, place, files, name)
    found.file.close()
    return version


def resolve_range(size: int, start: int, length: int) -> tuple[int, int]:
    """Start and length within a body of `size` bytes. `start` < 0: the last -start bytes; `length` -1: all that follows."""
    if start < 0:
        start = max(0, size + start)
    start = min(start, size)
    left = size - start
    return start, left if length < 0 else min(length, left)


def verify_body(found: OpenObject, first: int = 0, end: int | None = None, piece_bytes: int = 1 << 20) -> None:
    """Read a whole body, or its bytes [first, end). Raises Corrupt."""
    end = found.header.body_size if end is None else end
    for start in range(first, end, piece_bytes):
        found.read(start, min(piece_bytes, end - start))


def is_damaged(fs: FileSystem, place: Place, error: Corrupt) -> bool:
    """Whether the file at the path of `error` is corrupt, after reading all of it."""
    name = parse_file_name(error.path.rpartition("/")[2])
    try:
        found = open_object(fs, place, name.timestamp, name.kind, error.name)
        try:
            verify_body(found)
        finally:
            found.file.close()
    except Corrupt:
        return True
    except NodeError:  # a later release's
        return False
    return False


def _is_foreign(fs: FileSystem, place: Place, path: str, name: str) -> bool:
    """Whether a file is another object's than `name`."""
    found = parse_file_name(path.rpartition("/")[2])
    try:
        read_version(fs, place, found.timestamp, found.kind, name)
    except Corrupt as error:
        return error.foreign
    except (FileNotFoundError, NodeError):
        pass
    return False


def sweep(fs: FileSystem, place: Place, files: Files, obsolete: list[str]) -> bool:
    """Remove files that no longer count, once what counts is known to be sound and durable. Returns whether it did.

    The names of what counts are synced first: of two names in one directory, a crash may keep the removal and lose the other.
    """
    if not files.timestamp:
        return False
    kind = FileKind.TOMBSTONE if files.deleted else FileKind.DATA
    try:
        name = read_version(fs, place, files.timestamp, kind, "").name
    except (Corrupt, FileNotFoundError, NodeError):
        return False
    if any(_is_foreign(fs, place, path, name) for path in obsolete):
        return False  # one of the two was written in the wrong place, and nobody here knows which
    fs.sync_directory(place.directory)
    for path in obsolete:
        fs.unlink(path)
    return True
