"""Wrong settings, on purpose: each loses something at a power cut, and the same checks must see it."""

from collections.abc import Callable

import pytest

from tests.faults.crashfs import CrashFile, CrashFileSystem
from tests.faults.crashnodes import DirectoryNode, FileNode, Image
from tests.faults.figures import Count
from tests.faults.histories import CASES
from tests.faults.recorder import Recorder


class FilesNotSynced(CrashFileSystem):
    """The sync of a file returns at once."""

    def sync_node(self, node: FileNode) -> None:
        pass


class DirectoriesNotSynced(CrashFileSystem):
    """The sync of a directory returns at once."""

    def sync_entries(self, directory: DirectoryNode, path: str) -> None:
        pass


class NewParentsNotSynced(CrashFileSystem):
    """Only partitions are synced, not the directory that a new partition is in."""

    def sync_entries(self, directory: DirectoryNode, path: str) -> None:
        if "/" in path:
            super().sync_entries(directory, path)


class LogNotSynced(CrashFileSystem):
    """What is appended to the pending log is left to the kernel."""

    def __init__(self, image: Image = ()) -> None:
        self._logs: set[int] = set()
        super().__init__(image)

    def open_append(self, path: str) -> CrashFile:
        file = super().open_append(path)
        self._logs.add(file.node.number)
        return file

    def sync_node(self, node: FileNode) -> None:
        if node.number not in self._logs:
            super().sync_node(node)


class LogNotNamed(CrashFileSystem):
    """The pending log's directory is not synced."""

    def sync_entries(self, directory: DirectoryNode, path: str) -> None:
        if path != "pending":
            super().sync_entries(directory, path)


class OpenedAsItIs(CrashFileSystem):
    """What a killed process left unsynced is not synced when the next one opens the device."""

    def _open(self) -> None:
        if self.root.entries:
            return
        super()._open()


class NothingSyncedAtOnce(CrashFileSystem):
    """The sync of the whole file system returns at once: the journal forgets what is nowhere else."""

    def sync_tree(self) -> None:
        pass


class JournalNotSynced(CrashFileSystem):
    """What is written to the journal is left to the kernel."""

    def __init__(self, image: Image = ()) -> None:
        self._segments: set[int] = set()
        super().__init__(image)

    def open_write(self, path: str) -> CrashFile:
        file = super().open_write(path)
        self._segments.add(file.node.number)
        return file

    def sync_node(self, node: FileNode) -> None:
        if node.number not in self._segments:
            super().sync_node(node)


Make = Callable[[Image], CrashFileSystem]
WRONG: dict[str, tuple[Make, str, str]] = {
    "files not synced": (FilesNotSynced, "put", "refused: corrupt"),
    "files not synced, overwrite": (FilesNotSynced, "large over small", "refused: corrupt"),
    "directories not synced": (DirectoriesNotSynced, "put", "reads as"),
    "directories not synced, delete": (DirectoriesNotSynced, "delete", "reads as"),
    "directories not synced, post": (DirectoriesNotSynced, "post", "reads as"),
    "new parents not synced": (NewParentsNotSynced, "put", "reads as"),
    "log not synced": (LogNotSynced, "row waits", "not listed"),
    "log not named": (LogNotNamed, "row waits", "listed"),
}


WRONG_WITH_A_JOURNAL: dict[str, tuple[Make, str, str]] = {
    "journal not synced": (JournalNotSynced, "put", "refused: corrupt"),
    "journal not synced, delete": (JournalNotSynced, "delete", "reads as"),
    "journal not synced, row": (JournalNotSynced, "row waits", "not listed"),
    "nothing synced at once": (NothingSyncedAtOnce, "a group of each kind", "refused: corrupt"),
}


@pytest.mark.parametrize("setting", WRONG_WITH_A_JOURNAL)
async def test_a_wrong_setting_of_the_journal_is_seen(setting: str, count: Count) -> None:
    make, name, symptom = WRONG_WITH_A_JOURNAL[setting]
    case, recorder = CASES[name], Recorder(make=make, violations_max=5)
    await recorder.run(case.act, case.setup, **case.options, journal=2)
    assert any(symptom in violation for violation in recorder.violations), recorder.violations[:3]
    count("crash controls", **{"wrong settings": 1, "seen": int(bool(recorder.violations))})


@pytest.mark.parametrize("setting", WRONG)
async def test_a_wrong_setting_is_seen(setting: str, count: Count) -> None:
    make, name, symptom = WRONG[setting]
    case, recorder = CASES[name], Recorder(make=make, violations_max=5)
    await recorder.run(case.act, case.setup, **case.options)
    assert any(symptom in violation for violation in recorder.violations), recorder.violations[:3]
    count("crash controls", **{"wrong settings": 1, "seen": int(bool(recorder.violations))})


async def test_a_device_opened_as_it_is_loses_what_follows(count: Count) -> None:
    case, recorder = CASES["put"], Recorder(make=OpenedAsItIs, violations_max=5)
    await recorder.run_killed(case.act, case.setup, **case.options)
    assert any("reads as" in violation for violation in recorder.violations), recorder.violations[:3]
    count("crash controls", **{"wrong settings": 1, "seen": 1})
