"""A file system that fails on purpose. That it works when it does not is shown by the contract of FileSystem."""

import errno
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from objstore.runtime.filesystem import RealFileSystem
from objstore.runtime.interface import FileSystem
from objstore.testing.faultyfs import (
    OPERATIONS,
    DiskFaults,
    FaultyFileSystem,
    FollowingFileSystem,
    Rule,
    Script,
    load_scripts,
    save_scripts,
)


@pytest.fixture
def faults() -> DiskFaults:
    return DiskFaults()


@pytest.fixture
def fs(tmp_path: Path, faults: DiskFaults) -> FaultyFileSystem:
    made = FaultyFileSystem(RealFileSystem(str(tmp_path)), faults)
    made.make_directory("d")
    file = made.create_temp()
    file.write(b"there")
    made.publish(file, "d/there")
    file.close()
    return made


def store(fs: FileSystem, path: str) -> None:
    file = fs.create_temp()
    try:
        file.write(b"content")
        file.set_attribute("meta", b"m")
        fs.allocate(file, 100)
        file.sync()
        fs.publish(file, path)
        fs.sync_directory("d")
    finally:
        fs.discard(file)


def reads(fs: FileSystem) -> None:
    file = fs.open("d/there")
    file.size()
    file.pread(5, 0)
    file.get_attribute("meta")
    file.close()


def overwrites(fs: FileSystem) -> None:
    file = fs.open_write("d/there")
    try:
        file.pwrite(b"x", 0)
    finally:
        file.close()


CALLS: dict[str, Callable[[FileSystem], object]] = {
    **dict.fromkeys(
        ("create_temp", "write", "set_attribute", "allocate", "sync", "publish", "sync_directory", "discard"),
        lambda fs: store(fs, "d/new"),
    ),
    **dict.fromkeys(("open", "size", "pread", "get_attribute"), reads),
    **dict.fromkeys(("open_write", "pwrite"), overwrites),
    "sync_all": lambda fs: fs.sync_all(),
    "open_append": lambda fs: fs.open_append("d/log"),
    "make_directory": lambda fs: fs.make_directory("e"),
    "remove_directory": lambda fs: fs.remove_directory("d"),
    "list_directory": lambda fs: fs.list_directory("d"),
    "directory_state": lambda fs: fs.directory_state("d"),
    "unlink": lambda fs: fs.unlink("d/there"),
    "rename": lambda fs: fs.rename("d/there", "d/moved"),
    "free": lambda fs: fs.free(),
    "size_of": lambda fs: fs.size_of("d/there"),
}


@pytest.mark.parametrize("operation", OPERATIONS)
def test_every_operation_can_fail(fs: FaultyFileSystem, faults: DiskFaults, operation: str) -> None:
    faults.fail(operation, errno.EIO)
    with pytest.raises(OSError, match=os.strerror(errno.EIO)):
        CALLS[operation](fs)
    assert faults.injected >= 1
    faults.clear()
    CALLS[operation](fs)
    assert fs.list_directory("tmp") == []


def test_a_rule_is_for_its_paths(fs: FaultyFileSystem, faults: DiskFaults) -> None:
    faults.fail("open", errno.EIO, "objects/*")
    fs.open("d/there").close()
    fs.make_directory("objects/1")
    with pytest.raises(OSError, match="Input/output"):
        fs.open("objects/1/x")


def test_a_file_has_the_path_it_was_published_at(fs: FaultyFileSystem, faults: DiskFaults) -> None:
    faults.fail("sync", errno.EIO, "d/named")
    file = fs.create_temp()
    file.sync()
    fs.publish(file, "d/named")
    with pytest.raises(OSError, match="Input/output"):
        file.sync()
    file.close()


@pytest.mark.parametrize(
    ("nth", "lasting", "failing"), [(0, False, [1, 2, 3, 4]), (2, False, [2]), (2, True, [2, 3, 4]), (9, True, [])]
)
def test_the_nth_call(fs: FaultyFileSystem, faults: DiskFaults, nth: int, lasting: bool, failing: list[int]) -> None:
    faults.fail("list_directory", errno.EACCES, nth=nth, lasting=lasting)
    failed = []
    for number in range(1, 5):
        try:
            fs.list_directory("d")
        except PermissionError:
            failed.append(number)
    assert failed == failing
    assert (faults.calls["list_directory"], faults.injected) == (4, len(failing))


def test_a_delay_comes_before_the_call(fs: FaultyFileSystem, faults: DiskFaults) -> None:
    faults.delay("sync", 0.1)
    started = time.monotonic()
    store(fs, "d/slow")
    assert time.monotonic() - started >= 0.1


def test_a_full_disk(fs: FaultyFileSystem, faults: DiskFaults) -> None:
    total, free = fs.free()
    assert free > 10_000
    faults.fill(10)
    assert fs.free() == (total, 10)
    file = fs.create_temp()
    with pytest.raises(OSError, match="No space"):
        fs.allocate(file, 11)
    file.write(b"1234567")
    with pytest.raises(OSError, match="No space"):
        file.write(b"1234")
    assert fs.free() == (total, 3), "what was refused takes no space"
    file.write(b"123")
    for action in (fs.create_temp, lambda: fs.make_directory("e"), lambda: file.set_attribute("a", b"")):
        with pytest.raises(OSError, match="No space"):
            action()
    fs.discard(file)
    fs.unlink("d/there")
    faults.clear()
    store(fs, "d/fits again")


def test_scripts_are_followed(tmp_path: Path) -> None:
    (tmp_path / "d1").mkdir()
    path = str(tmp_path / "faults.json")
    fs = FollowingFileSystem(RealFileSystem(str(tmp_path / "d1")), path, "d1")
    fs.list_directory("")
    save_scripts(path, {"d2": Script((Rule("*", error="EIO"),))})
    fs.list_directory("")
    scripts = {"d1": Script((Rule("list_directory", error="EIO", nth=2),), free_bytes=7)}
    save_scripts(path, scripts)
    assert load_scripts(path) == scripts
    assert fs.free()[1] == 7
    fs.list_directory("")
    with pytest.raises(OSError, match="Input/output"):
        fs.list_directory("")
    save_scripts(path, {})
    fs.list_directory("")


@pytest.mark.parametrize(
    ("rule", "words"), [({"operation": "fsync"}, "there is no operation fsync"), ({"operation": "sync", "error": "EDISK"}, "EDISK")]
)
def test_mistakes_are_told(rule: dict[str, str], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Rule(**rule)
