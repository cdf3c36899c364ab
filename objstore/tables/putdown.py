"""The file in which rows are put down that cannot go into their databases for a while, so that the journal may forget them."""

import msgspec
from crc32c import crc32c

from objstore.runtime.interface import FileSystem, Note

DIRECTORY = "rows"
PATH = f"{DIRECTORY}/held"
_CRC_BYTES = 4
_DECODER = msgspec.msgpack.Decoder(list[tuple[str, bytes]])


def put_down(fs: FileSystem, notes: list[Note]) -> None:
    """Durable when it returns; what was put down before is replaced. Blocking. Raises OSError."""
    payload = msgspec.msgpack.encode([(note.path, note.record) for note in notes])
    for changed in fs.make_directory(DIRECTORY):
        fs.sync_directory(changed)
    file = fs.create_temp()
    try:
        file.write(crc32c(payload).to_bytes(_CRC_BYTES, "little") + payload)
        file.sync()
        fs.publish(file, PATH)
    finally:
        fs.discard(file)
    fs.sync_directory(DIRECTORY)


def pick_up(fs: FileSystem) -> list[Note] | None:
    """What was put down; None when there is nothing. Blocking. Raises OSError, ValueError for a damaged file."""
    try:
        file = fs.open(PATH)
    except FileNotFoundError:
        return None
    try:
        data = file.pread(file.size(), 0)
    finally:
        file.close()
    payload = data[_CRC_BYTES:]
    if crc32c(payload) != int.from_bytes(data[:_CRC_BYTES], "little"):
        raise ValueError("checksum mismatch")
    return [Note(path, record) for path, record in _DECODER.decode(payload)]


def clear(fs: FileSystem) -> None:
    """All of it is in the databases: merged once more after a crash, it would change nothing. Blocking. Raises OSError."""
    fs.unlink(PATH)
