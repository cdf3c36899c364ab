"""What every FileSystem promises. What only the kernel can show (links, pipes, modes) is in its unit test."""

import socket
import time
from pathlib import Path

import pytest

from objstore.runtime.interface import FileSystem
from tests.contract.implementations import FILE_SYSTEMS


@pytest.fixture(params=FILE_SYSTEMS)
def fs(request: pytest.FixtureRequest, tmp_path: Path) -> FileSystem:
    return FILE_SYSTEMS[request.param](tmp_path)


def store(fs: FileSystem, path: str, content: bytes) -> None:
    file = fs.create_temp()
    file.write(content)
    file.sync()
    fs.publish(file, path)
    file.close()


def read(fs: FileSystem, path: str) -> bytes:
    file = fs.open(path)
    try:
        return file.pread(file.size() + 1, 0)
    finally:
        file.close()


def test_a_file_gets_its_name_last(fs: FileSystem) -> None:
    fs.make_directory("objects/12")
    file = fs.create_temp()
    file.write(b"one ")
    file.write(memoryview(b"two"))
    file.set_attribute("meta", b"\0\xff")
    assert fs.list_directory("objects/12") == []
    fs.publish(file, "objects/12/a.data")
    assert file.pread(10, 0) == b"one two", "it stays open"
    file.close()
    fs.sync_directory("objects/12")
    assert read(fs, "objects/12/a.data") == b"one two"
    found = fs.open("objects/12/a.data")
    assert found.get_attribute("meta") == b"\0\xff"
    assert found.get_attribute("other") is None
    found.close()


def test_publish_replaces(fs: FileSystem) -> None:
    fs.make_directory("d")
    store(fs, "d/a", b"old")
    before = fs.open("d/a")
    store(fs, "d/a", b"new")
    store(fs, "d/a", b"newest")
    assert read(fs, "d/a") == b"newest"
    assert before.pread(10, 0) == b"old", "who had it open reads on"
    before.close()
    assert fs.list_directory("d") == ["a"] and fs.list_directory("tmp") == []


def test_publish_needs_the_directory(fs: FileSystem) -> None:
    file = fs.create_temp()
    with pytest.raises(FileNotFoundError):
        fs.publish(file, "missing/a")
    fs.make_directory("missing")
    fs.publish(file, "missing/a")
    file.close()


def test_discard_leaves_nothing(fs: FileSystem) -> None:
    file = fs.create_temp()
    file.write(b"x" * 1000)
    fs.discard(file)
    fs.discard(file)
    assert fs.list_directory("tmp") == []
    fs.make_directory("d")
    kept = fs.create_temp()
    fs.publish(kept, "d/a")
    fs.discard(kept)
    assert fs.list_directory("d") == ["a"], "what has a name stays"


def test_bytes_go_to_a_socket(fs: FileSystem) -> None:
    content = bytes(range(256)) * 8192
    fs.make_directory("d")
    store(fs, "d/a", content)
    file, (here, there) = fs.open("d/a"), socket.socketpair()
    here.setblocking(False)
    assert file.send_to(here.fileno(), 20, 300) == 20 and there.recv(99) == content[300:320]
    assert file.send_to(here.fileno(), 20, len(content) - 5) == 5 and there.recv(99) == content[-5:]
    assert file.send_to(here.fileno(), 20, len(content)) == 0
    at = 0
    with pytest.raises(BlockingIOError):
        while True:  # nobody reads
            at += file.send_to(here.fileno(), len(content) - at, at)
            assert at < len(content)
    there.close()
    with pytest.raises(ConnectionError):
        file.send_to(here.fileno(), 20, 0)
    here.close()
    file.close()


def test_pread(fs: FileSystem) -> None:
    file = fs.create_temp()
    file.write(b"0123456789")
    assert file.size() == 10
    assert (file.pread(3, 2), file.pread(5, 8), file.pread(5, 10), file.pread(5, 99)) == (b"234", b"89", b"", b"")
    fs.discard(file)


def test_append(fs: FileSystem) -> None:
    fs.make_directory("pending")
    for piece in (b"a", b"b"):
        file = fs.open_append("pending/log")
        file.write(piece)
        file.sync()
        file.close()
    assert read(fs, "pending/log") == b"ab"


def test_make_directory_tells_what_to_sync(fs: FileSystem) -> None:
    assert fs.make_directory("objects/12") == ["", "objects"]
    assert fs.make_directory("objects/12") == []
    assert fs.make_directory("objects/13") == ["objects"]
    for path in ("", "objects", "objects/12"):
        fs.sync_directory(path)


def test_list_directory(fs: FileSystem) -> None:
    fs.make_directory("d")
    for name in ("b", "a", "c"):
        store(fs, f"d/{name}", b"")
    assert fs.list_directory("d") == ["a", "b", "c"]
    assert fs.list_directory("missing") == [] and fs.list_directory("missing/too") == []
    assert "d" in fs.list_directory("")


def test_open_missing(fs: FileSystem) -> None:
    fs.make_directory("d")
    for path in ("d/missing", "missing/a"):
        with pytest.raises(FileNotFoundError):
            fs.open(path)


def test_open_is_for_regular_files(fs: FileSystem) -> None:
    fs.make_directory("d/e")
    with pytest.raises(OSError, match=r".+"):
        fs.open("d/e")


def test_unlink(fs: FileSystem) -> None:
    fs.make_directory("d")
    store(fs, "d/a", b"")
    fs.unlink("d/a")
    fs.unlink("d/a")
    fs.unlink("missing/a")
    assert fs.list_directory("d") == []


def test_rename(fs: FileSystem) -> None:
    fs.make_directory("d")
    fs.make_directory("quarantine")
    store(fs, "d/a", b"a")
    store(fs, "quarantine/b", b"b")
    fs.rename("d/a", "quarantine/b")
    assert read(fs, "quarantine/b") == b"a" and fs.list_directory("d") == []
    with pytest.raises(FileNotFoundError):
        fs.rename("d/a", "d/b")


def test_a_renamed_directory_is_found_under_its_new_name(fs: FileSystem) -> None:
    fs.make_directory("d/e")
    store(fs, "d/e/a", b"a")
    fs.rename("d", "f")
    assert read(fs, "f/e/a") == b"a"
    with pytest.raises(FileNotFoundError):
        fs.open("d/e/a")
    fs.make_directory("d/e")
    assert fs.list_directory("d/e") == []


@pytest.mark.parametrize("path", ["../x", "d/../../x", "/etc/passwd", "d//a", "./a", "d/", ""])
def test_only_plain_components(fs: FileSystem, path: str) -> None:
    fs.make_directory("d")
    for action in (fs.open, fs.unlink, fs.open_append, fs.make_directory):
        with pytest.raises(ValueError):
            action(path)
    file = fs.create_temp()
    with pytest.raises(ValueError):
        fs.publish(file, path)
    fs.discard(file)


def test_allocate_and_free(fs: FileSystem) -> None:
    total, free = fs.free()
    assert 0 < free <= total
    file = fs.create_temp()
    fs.allocate(file, 1 << 20)
    with pytest.raises(OSError, match=r".+"):
        fs.allocate(file, 1 << 62)
    fs.discard(file)


def test_attributes_do_not_grow_without_bound(fs: FileSystem) -> None:
    file = fs.create_temp()
    with pytest.raises(OSError, match=r".+"):
        file.set_attribute("large", bytes(1 << 17))
    assert file.get_attribute("large") is None
    fs.discard(file)


def test_a_size_is_told_without_opening(fs: FileSystem) -> None:
    fs.make_directory("d/e")
    store(fs, "d/e/a", b"12345")
    assert fs.size_of("d/e/a") == 5
    with pytest.raises(FileNotFoundError):
        fs.size_of("d/e/b")
    with pytest.raises(FileNotFoundError):
        fs.size_of("d/f/a")
    with pytest.raises(OSError, match="regular"):
        fs.size_of("d/e")


def test_a_directory_tells_when_its_names_changed(fs: FileSystem) -> None:
    assert fs.directory_state("d/e") is None
    fs.make_directory("d/e")
    empty = fs.directory_state("d/e")
    assert empty == fs.directory_state("d/e") != fs.directory_state("d")
    time.sleep(0.02)
    store(fs, "d/e/a", b"1")
    named = fs.directory_state("d/e")
    assert named is not None and empty is not None
    assert named[0] == empty[0] and named[1] > empty[1]
    time.sleep(0.02)
    fs.unlink("d/e/a")
    assert fs.directory_state("d/e") not in (named, None)


def test_only_empty_directories_are_removed(fs: FileSystem) -> None:
    fs.make_directory("d/e")
    store(fs, "d/e/a", b"1")
    assert fs.remove_directory("d/e") is False
    assert fs.list_directory("d/e") == ["a"]
    fs.unlink("d/e/a")
    assert fs.remove_directory("d/e") is True
    assert fs.remove_directory("d/e") is True, "missing is no error"
    assert fs.directory_state("d/e") is None and fs.list_directory("d") == []
    with pytest.raises(FileNotFoundError):
        store(fs, "d/e/a", b"2")
    assert fs.make_directory("d/e") == ["d"]
    store(fs, "d/e/a", b"3")
    assert read(fs, "d/e/a") == b"3"


def test_it_knows_that_it_is_there(fs: FileSystem) -> None:
    assert fs.present()


def test_writing_over_a_part_of_a_file(fs: FileSystem) -> None:
    fs.make_directory("d")
    store(fs, "d/a", b"0123456789")
    file = fs.open_write("d/a")
    file.pwrite(b"xyz", 3)
    file.pwrite(b"++", 9)
    file.sync()
    assert file.pread(99, 0) == b"012xyz678++"
    file.close()
    with pytest.raises(FileNotFoundError):
        fs.open_write("d/missing")


def test_all_can_be_synced(fs: FileSystem) -> None:
    assert fs.can_sync_all
    fs.make_directory("d")
    store(fs, "d/a", b"x")
    fs.sync_all()
