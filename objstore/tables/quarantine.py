"""Setting a corrupt database aside: it moves to `quarantine/<id>/` under its own name, beside a `record` that says why.

The layout is that of quarantined objects (`object.quarantine`), so one listing shows both. Blocking; raises OSError.
"""

from objstore.formats.quarantinerecord import QuarantineRecord, encode_record
from objstore.runtime.interface import CrashPoints, FileSystem

DIRECTORY = "quarantine"
RECORD = "record"
LOG = "-wal"
COMPANIONS = (LOG, "-shm")
SAME_NAME_MAX = 1000
CRASH_POINTS = ("tables.quarantine.record", "tables.quarantine.moved")


def set_aside(fs: FileSystem, crash: CrashPoints, record: QuarantineRecord) -> str:
    """Move the closed database at `record.path`, with what SQLite keeps beside it; returns the entry's id.

    A crash leaves it where it was, or in quarantine, at the worst without its write-ahead log; a log left behind is removed
    before a new database is made in the same place.
    """
    source, _, base = record.path.rpartition("/")
    id_ = _new_entry(fs, base)
    directory = f"{DIRECTORY}/{id_}"
    file = fs.create_temp()
    try:
        file.write(encode_record(record))
        file.sync()
        fs.publish(file, f"{directory}/{RECORD}")
    finally:
        fs.discard(file)
    fs.sync_directory(directory)
    crash.reach("tables.quarantine.record")
    fs.rename(record.path, f"{directory}/{base}")
    # The new name first, and both before the log follows: without its log the database may look sound, and lacks rows.
    fs.sync_directory(directory)
    fs.sync_directory(source)
    crash.reach("tables.quarantine.moved")
    for ending in COMPANIONS:
        try:
            fs.rename(record.path + ending, f"{directory}/{base}{ending}")
        except FileNotFoundError:
            pass
    fs.sync_directory(directory)
    fs.sync_directory(source)
    return id_


def _new_entry(fs: FileSystem, base: str) -> str:
    """A free id, its directory made durably. One whose database was never moved there is free too."""
    for count in range(SAME_NAME_MAX):
        id_ = f"{base}-{count}" if count else base
        changed = fs.make_directory(f"{DIRECTORY}/{id_}")
        if base not in fs.list_directory(f"{DIRECTORY}/{id_}"):
            for directory in changed:
                fs.sync_directory(directory)
            return id_
    raise FileExistsError(f"{SAME_NAME_MAX} databases of the name {base} are in quarantine")
