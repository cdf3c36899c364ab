"""Looking at object files one after another, as an audit does: what each holds, or what is wrong with it. Blocking."""

import errno
from collections.abc import Sequence
from dataclasses import dataclass

from objstore.formats.filenames import FileKind
from objstore.model.errors import NodeError
from objstore.model.version import Version
from objstore.object.files import Files, Place
from objstore.object.merge import merge_meta
from objstore.object.reader import Corrupt, OpenObject, open_object, read_version
from objstore.runtime.interface import FileSystem

PIECE_BYTES = 1 << 18
"""Read at once: the thread that reads serves clients too."""
_UNREADABLE = (errno.EIO, errno.EBADMSG, errno.EUCLEAN)
"""The device has lost what it was given; EBADMSG and EUCLEAN are a file system's own checksums."""


@dataclass(slots=True)
class Examined:
    """One object. `version`: as its newest files leave it, None where there is only metadata, or a problem. `name`: what its files
    say of themselves. `rest`: an open file whose body is still to be read (the receiver closes it); `size` bytes of it were.
    """

    place: Place
    files: Files
    name: str = ""
    version: Version | None = None
    problem: Corrupt | NodeError | None = None
    size: int = 0
    rest: OpenObject | None = None


def examine(fs: FileSystem, todo: Sequence[tuple[Place, Files]]) -> list[Examined | None]:
    """The first objects of `todo`, at least one, until PIECE_BYTES were read or a body is larger. None: replaced meanwhile, or
    gone. Raises OSError for what speaks of the device rather than of a file.
    """
    done: list[Examined | None] = []
    size = 0
    for place, files in todo:
        examined = _examine(fs, place, files)
        done.append(examined)
        if examined is not None:
            size += examined.size
            if examined.rest is not None or size >= PIECE_BYTES:
                break
    return done


def _examine(fs: FileSystem, place: Place, files: Files) -> Examined | None:
    path = files.paths(place)[0]
    try:
        if files.deleted or not files.timestamp:
            kind = FileKind.TOMBSTONE if files.deleted else FileKind.META
            version = read_version(fs, place, files.newest, kind, "")
            return Examined(place, files, version.name, version if files.deleted else None)
        return _examine_data(fs, place, files)
    except FileNotFoundError:
        return None
    except (Corrupt, NodeError) as problem:
        return Examined(place, files, problem=problem)
    except OSError as error:
        return Examined(place, files, problem=unreadable(path, error))


def _examine_data(fs: FileSystem, place: Place, files: Files) -> Examined:
    found = open_object(fs, place, files.timestamp, FileKind.DATA, "")
    examined = Examined(place, files, found.version.name, found.version)
    is_small = found.version.size <= PIECE_BYTES
    try:
        if is_small:
            found.read(0, found.version.size)
            examined.size = found.version.size
        if files.meta:
            examined.version = _with_meta(fs, place, files.meta, found.version)
    except BaseException:
        found.file.close()
        raise
    if is_small:
        found.file.close()
    else:
        examined.rest = found
    return examined


def _with_meta(fs: FileSystem, place: Place, timestamp: int, data: Version) -> Version:
    try:
        return merge_meta(data, read_version(fs, place, timestamp, FileKind.META, data.name))
    except OSError as error:
        if isinstance(error, FileNotFoundError):
            raise
        raise unreadable(place.path(timestamp, FileKind.META), error, data.name) from error


def unreadable(path: str, error: OSError, name: str = "") -> Corrupt:
    """What a failed read says of a file. Raises the error itself when it says nothing of it."""
    if error.errno not in _UNREADABLE:
        raise error
    return Corrupt(path, f"unreadable: {error.strerror}", name)
