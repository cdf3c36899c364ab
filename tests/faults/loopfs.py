"""An ext4 file system on a loop device, of which the power can be cut: all that no sync made durable is gone.

Everything lives in a mount namespace of the process, and the loop device is one that clears itself: whatever ends the process,
the kernel unmounts and detaches.
"""

import ctypes
import fcntl
import os
import struct
import subprocess
from pathlib import Path

CLONE_NEWNS = 0x00020000  # linux/sched.h
EXT4_IOC_SHUTDOWN = 0x8004587D  # linux/fs/ext4/ext4.h
NO_LOG_FLUSH = 2
PR_SET_PDEATHSIG = 1  # linux/prctl.h


class NotHere(Exception):
    """This machine cannot do it; one line says why."""


def enter_namespace() -> None:
    """From here on, mounts of this process are its own. Raises NotHere."""
    if os.geteuid() != 0:
        raise NotHere("power cuts need root")
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNS) != 0:
        raise NotHere(f"no mount namespace: {os.strerror(ctypes.get_errno())}")
    run("mount", "--make-rprivate", "/")


def die_with_parent() -> None:
    """The kernel kills this process when its parent ends."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, 9)


def run(*words: str) -> str:
    """Run a command of the system's; returns what it said. Raises NotHere."""
    environment = {**os.environ, "PATH": f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"}
    try:
        done = subprocess.run(words, check=False, capture_output=True, text=True, timeout=30, env=environment)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NotHere(f"{words[0]}: {error}") from error
    if done.returncode:
        raise NotHere(f"{' '.join(words)}: {done.stderr.strip() or done.returncode}")
    return done.stdout


class LoopFileSystem:
    """One file system, mounted at `path` while it is in use."""

    def __init__(self, directory: Path, size_mib: int) -> None:
        """Make and mount it. Raises NotHere."""
        self._image = directory / "image"
        self.path = directory / "mounted"
        self.path.mkdir()
        with self._image.open("wb") as file:
            file.truncate(size_mib << 20)
        run("mkfs.ext4", "-q", "-F", str(self._image))
        self._fd = -1
        self._mount()

    def _mount(self) -> None:
        run("mount", "-o", "loop", str(self._image), str(self.path))
        self._fd = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def cut(self) -> None:
        """Now. What uses the file system gets errors from here on."""
        fcntl.ioctl(self._fd, EXT4_IOC_SHUTDOWN, struct.pack("I", NO_LOG_FLUSH))

    def restart(self) -> None:
        """Mount again what the cut left. Nobody may use it."""
        self.close()
        self._mount()

    def close(self) -> None:
        """Unmount; the loop device goes with it."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
            run("umount", str(self.path))


def probe(directory: Path) -> None:
    """Raises NotHere unless a cut loses what was not synced, and nothing else."""
    fs = LoopFileSystem(directory, 16)
    try:
        for name in ("synced", "unsynced"):
            fd = os.open(fs.path / name, os.O_CREAT | os.O_WRONLY)
            os.write(fd, b"data")
            if name == "synced":
                os.fsync(fd)
                os.fsync(fs._fd)
            os.close(fd)
        fs.cut()
        fs.restart()
        found = sorted(path.name for path in fs.path.iterdir() if path.name != "lost+found")
    except OSError as error:
        raise NotHere(f"ext4 cannot be shut down here: {error.strerror}") from error
    finally:
        fs.close()
    if found != ["synced"]:
        raise NotHere(f"a cut left {found}")
