"""What only a real kernel shows: nothing planted in a device leads out of it, and descriptors follow what they stand for."""

import errno
import os
import shutil
import socket
import stat
from pathlib import Path

import pytest

from objstore.runtime.filesystem import RealFileSystem


@pytest.fixture
def fs(tmp_path: Path) -> RealFileSystem:
    (tmp_path / "device").mkdir()
    return RealFileSystem(str(tmp_path / "device"))


@pytest.fixture
def device(tmp_path: Path) -> Path:
    return tmp_path / "device"


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret").write_bytes(b"secret")
    return tmp_path / "outside"


def test_links_to_files_are_not_followed(fs: RealFileSystem, device: Path, outside: Path) -> None:
    fs.make_directory("d")
    (device / "d" / "link").symlink_to(outside / "secret")
    for action in (fs.open, fs.open_append):
        with pytest.raises(OSError, match=r"symbolic links"):
            action("d/link")
    file = fs.create_temp()
    file.write(b"new")
    fs.publish(file, "d/link")
    file.close()
    assert (outside / "secret").read_bytes() == b"secret"
    assert (device / "d" / "link").read_bytes() == b"new", "the link itself was replaced"


def test_links_to_directories_are_not_followed(fs: RealFileSystem, device: Path, outside: Path) -> None:
    (device / "objects").symlink_to(outside)
    for action in (fs.open, fs.unlink, fs.open_append):
        with pytest.raises(NotADirectoryError):
            action("objects/secret")
    with pytest.raises(NotADirectoryError):
        fs.list_directory("objects")
    with pytest.raises(NotADirectoryError):
        fs.make_directory("objects/12")
    file = fs.create_temp()
    with pytest.raises(NotADirectoryError):
        fs.publish(file, "objects/new")
    fs.discard(file)
    assert sorted(os.listdir(outside)) == ["secret"]


def test_a_pipe_does_not_hang(fs: RealFileSystem, device: Path) -> None:
    os.mkfifo(device / "pipe")
    with pytest.raises(OSError, match="not a regular file"):
        fs.open("pipe")


def test_modes_are_private(fs: RealFileSystem, device: Path) -> None:
    before = os.umask(0)
    try:
        fs.make_directory("d/e")
        file = fs.create_temp()
        fs.publish(file, "d/e/a")
        file.close()
    finally:
        os.umask(before)
    assert stat.S_IMODE((device / "d").stat().st_mode) == 0o700
    assert stat.S_IMODE((device / "d/e/a").stat().st_mode) == 0o600


def test_a_directory_removed_and_made_again(fs: RealFileSystem, device: Path) -> None:
    """The cached descriptor is that of the old one."""
    fs.make_directory("d/e")
    for name in ("a", "b"):
        file = fs.create_temp()
        fs.publish(file, f"d/e/{name}")
        file.close()
    shutil.rmtree(device / "d")
    assert fs.list_directory("d/e") == []
    (device / "d/e").mkdir(parents=True)
    (device / "d/e/c").write_bytes(b"c")
    assert fs.list_directory("d/e") == ["c"]
    shutil.rmtree(device / "d")
    (device / "d/e").mkdir(parents=True)
    (device / "d/e/c").write_bytes(b"c")
    found = fs.open("d/e/c")
    assert found.pread(5, 0) == b"c"
    found.close()
    shutil.rmtree(device / "d")
    (device / "d/e").mkdir(parents=True)
    file = fs.create_temp()
    fs.publish(file, "d/e/f")
    file.close()
    assert os.listdir(device / "d/e") == ["f"]


def test_open_directories_are_bounded(device: Path) -> None:
    device.mkdir()
    fs = RealFileSystem(str(device), directories_open_max=4)
    before = len(os.listdir("/proc/self/fd"))
    for number in range(50):
        fs.make_directory(f"objects/{number}")
        fs.sync_directory(f"objects/{number}")
    assert len(os.listdir("/proc/self/fd")) <= before + 5


def test_leftovers_of_a_dead_process_are_removed(device: Path) -> None:
    (device / "tmp").mkdir(parents=True)
    (device / "tmp" / "17.tmp").write_bytes(b"half a body")
    fs = RealFileSystem(str(device))
    assert fs.list_directory("tmp") == []


def test_files_close_when_forgotten(fs: RealFileSystem) -> None:
    fs.discard(fs.create_temp())
    before = len(os.listdir("/proc/self/fd"))
    fs.create_temp()
    assert len(os.listdir("/proc/self/fd")) == before


def test_large_writes_are_finished(fs: RealFileSystem) -> None:
    file = fs.create_temp()
    body = os.urandom(3 << 20)
    file.write(memoryview(body))
    assert file.pread(len(body) + 1, 0) == body
    file.start_sync()
    file.sync()
    fs.discard(file)


def test_where_the_file_system_has_no_sendfile(fs: RealFileSystem, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: int) -> int:
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(os, "sendfile", refuse)
    file, (here, there) = fs.create_temp(), socket.socketpair()
    file.write(b"0123456789")
    assert file.send_to(here.fileno(), 4, 3) == 4 and there.recv(99) == b"3456"
    assert file.send_to(here.fileno(), 4, 8) == 2 and file.send_to(here.fileno(), 4, 10) == 0
    for end in (here, there):
        end.close()
    fs.discard(file)


def test_a_device_that_moved_away_is_not_present(tmp_path: Path) -> None:
    root = tmp_path / "d1"
    root.mkdir()
    fs = RealFileSystem(str(root))
    root.rename(tmp_path / "unmounted")
    assert not fs.present()
    root.mkdir()
    assert not fs.present(), "an empty mount point is another directory"
    root.rmdir()
    (tmp_path / "unmounted").rename(root)
    assert fs.present()


def test_whoever_watches_hears_of_a_failed_sync(fs: RealFileSystem, device: Path) -> None:
    heard: list[str | None] = []
    fs.sync_failed = lambda _error, directory: heard.append(directory)
    fs.make_directory("d")
    fs.sync_directory("d")
    file = fs.create_temp()
    file.sync()
    assert heard == []
    reader, writer = os.pipe()  # cannot be synced
    os.dup2(reader, file.fd)
    with pytest.raises(OSError, match=r".+"):
        file.sync()
    with pytest.raises(OSError, match="an earlier sync failed"):
        fs.sync_directory("d")
    with pytest.raises(OSError, match="an earlier sync failed"):
        fs.create_temp().sync()
    os.dup2(reader, fs._directories["d"].fd)
    with pytest.raises(OSError, match=r".+"):
        fs.sync_directory("d")
    assert heard == [None]
    fs = RealFileSystem(str(device))
    fs.sync_failed = lambda _error, directory: heard.append(directory)
    fs.sync_directory("d")
    os.dup2(reader, fs._directories["d"].fd)
    with pytest.raises(OSError, match=r".+"):
        fs.sync_directory("d")
    assert heard == [None, "d"]
    os.close(reader)
    os.close(writer)


class SyncsNoted(RealFileSystem):
    """Writes down which directories are synced."""

    def sync_directory(self, path: str) -> None:
        super().sync_directory(path)
        self.__dict__.setdefault("synced", []).append(path)


def test_a_directory_that_could_not_be_made_leaves_its_parents_durable(device: Path) -> None:
    device.mkdir()
    fs = SyncsNoted(str(device))
    fs.__dict__["synced"].clear()
    with pytest.raises(OSError, match=r"(?i)name too long"):
        fs.make_directory("objects/12/" + "x" * 300)
    assert fs.__dict__["synced"] == ["", "objects", "objects/12"]
    assert fs.make_directory("objects/12") == []


def test_opening_makes_the_names_of_directories_durable(device: Path) -> None:
    (device / "objects" / "12").mkdir(parents=True)
    (device / "identity.json").write_bytes(b"{}")
    assert SyncsNoted(str(device)).__dict__["synced"] == ["", "objects", "tmp"]


def test_a_file_is_made_in_the_directory_that_it_is_published_in(fs: RealFileSystem, device: Path) -> None:
    fs.make_directory("d/e")
    for near, where in (("d/e", "d/e"), ("", "tmp"), ("d/missing", "tmp"), ("d/e/f/g", "tmp")):
        file = fs.create_temp(near)
        assert Path(os.readlink(f"/proc/self/fd/{file.fd}")).parent == device / where, "where ext4 looks for room"
        fs.publish(file, "d/e/f")
        fs.discard(file)
    assert fs.list_directory("d/e") == ["f"] and fs.list_directory("tmp") == []


def test_a_file_may_be_made_where_the_directory_is_removed(fs: RealFileSystem) -> None:
    fs.make_directory("d")
    file = fs.create_temp("d")
    assert fs.remove_directory("d")
    other = fs.create_temp("d")
    fs.make_directory("d")
    for one, name in ((file, "d/a"), (other, "d/b")):
        fs.publish(one, name)
        fs.discard(one)
    assert fs.list_directory("d") == ["a", "b"]


def test_temporary_files_that_have_names_stay_in_tmp(fs: RealFileSystem, device: Path) -> None:
    fs.make_directory("d")
    fs.nameless = False
    file = fs.create_temp("d")
    assert os.listdir(device / "d") == [] and len(os.listdir(device / "tmp")) == 1
    fs.publish(file, "d/a")
    fs.discard(file)
    assert fs.list_directory("d") == ["a"] and fs.list_directory("tmp") == []
