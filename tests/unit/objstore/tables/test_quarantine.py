"""Corrupt databases set aside are listed beside corrupt objects, and never overwrite each other."""

from pathlib import Path

from objstore.formats.quarantinerecord import QuarantineRecord
from objstore.object.quarantine import Quarantine
from objstore.runtime.clock import SystemClock
from objstore.runtime.crashpoints import NoCrashPoints
from objstore.runtime.filesystem import RealFileSystem
from objstore.tables.quarantine import set_aside
from tests.unit.objstore.tables.rig import PLACE


def test_databases_of_one_place_are_all_kept_and_listed(tmp_path: Path) -> None:
    fs = RealFileSystem(str(tmp_path))
    fs.make_directory(PLACE.directory)
    path = tmp_path / PLACE.path
    for number in range(3):
        path.write_text(f"database {number}")
        (tmp_path / f"{PLACE.path}-wal").write_text(f"log {number}")
        set_aside(fs, NoCrashPoints(), QuarantineRecord(PLACE.path, f"reason {number}", "/acc/con", 1.0 + number))
        assert not list(path.parent.iterdir())
    entries = Quarantine(fs, SystemClock()).entries()
    assert [(entry.path, entry.reason, entry.name) for entry in entries] == [
        (PLACE.path, f"reason {number}", "/acc/con") for number in range(3)
    ]
    kept = [(tmp_path / "quarantine" / entry.id / path.name) for entry in entries]
    assert [file.read_text() for file in kept] == ["database 0", "database 1", "database 2"]
    assert [Path(f"{file}-wal").read_text() for file in kept] == ["log 0", "log 1", "log 2"]
