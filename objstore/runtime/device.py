"""A device: a directory that belongs to one cluster under one name, and to one process at a time."""

import fcntl
import json
import logging
import os
import uuid
from dataclasses import dataclass

from objstore.runtime.filesystem import RealFileSystem
from objstore.runtime.interface import FileSystem, Rng
from objstore.runtime.realfile import RealFile

IDENTITY_NAME = "identity.json"
LOCK_NAME = ".lock"
IDENTITY_VERSION = 1
IDENTITY_BYTES_MAX = 4096
logger = logging.getLogger("objstore.device")


class DeviceRefused(Exception):
    """The device must not be used; one plain line says why, and what to do."""


class DeviceInUse(DeviceRefused):
    """Another process owns it; it may be about to end."""


@dataclass(frozen=True, slots=True)
class Identity:
    """What `identity.json` says. `cluster` is the cluster's fingerprint in hex."""

    cluster: str
    device: str
    id: str

    def encode(self) -> bytes:
        fields = {"cluster": self.cluster, "device": self.device, "id": self.id, "version": IDENTITY_VERSION}
        return json.dumps(fields).encode() + b"\n"


@dataclass(slots=True)
class Device:
    """An open device; the lock is held until `close`."""

    path: str
    identity: Identity
    fs: FileSystem
    _lock_fd: int

    def close(self) -> None:
        """Give the lock back. Whoever uses `fs` must be done."""
        fd, self._lock_fd = self._lock_fd, -1
        if fd >= 0:
            os.close(fd)


def init_device(path: str, cluster: str, name: str, rng: Rng) -> Identity:
    """Make `path` a device of the cluster, durably; the directory and its parents are made when missing. Does nothing when it
    is this very device already. Raises DeviceRefused for another's device, a directory that holds anything else, or a file
    system without extended attributes.
    """
    try:
        os.makedirs(path, mode=0o700, exist_ok=True)
        found = sorted(set(os.listdir(path)) - {"lost+found"})
    except OSError as error:
        raise DeviceRefused(f"{path}: {error.strerror}") from error
    if IDENTITY_NAME in found:
        identity = _read_identity(path)
        _check_identity(path, identity, cluster, name)
        return identity
    if set(found) - {"tmp", LOCK_NAME}:
        raise DeviceRefused(f"{path}: holds other files ({found[0]}): give an empty directory")
    identity = Identity(cluster, name, str(uuid.UUID(bytes=rng.token_bytes(16), version=4)))
    try:
        fs = RealFileSystem(path)
        _probe(path, fs)
        write_identity(fs, identity)
        _sync_name(path)
    except OSError as error:
        raise DeviceRefused(f"{path}: {error.strerror}") from error
    logger.info("device made", extra={"device": name, "path": path})
    return identity


def write_identity(fs: FileSystem, identity: Identity) -> None:
    """Make the directory of `fs` this device. Durable when it returns, and whole or not there at all before. Raises OSError."""
    file = fs.create_temp()
    try:
        file.write(identity.encode())
        file.sync()
        fs.publish(file, IDENTITY_NAME)
    finally:
        fs.discard(file)
    fs.sync_directory("")


def _sync_name(path: str) -> None:
    """The directory's own entry is durable when it returns."""
    fd = os.open(os.path.dirname(os.path.abspath(path)), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def open_device(path: str, cluster: str, name: str) -> Device:
    """Check a device and lock it for this process.

    Raises DeviceRefused: not there, not a directory, no identity file (a disk not mounted?), another cluster's, another
    device's, in use by another process, or on a file system without extended attributes. Nothing is written before all but
    the last check.
    """
    if not os.path.isdir(path):
        raise DeviceRefused(f"{path}: not a directory: mount the disk, or run `objstore device init`")
    identity = _read_identity(path)
    _check_identity(path, identity, cluster, name)
    lock_fd = _lock(path)
    try:
        fs = RealFileSystem(path)
        _probe(path, fs)
    except OSError as error:
        os.close(lock_fd)
        raise DeviceRefused(f"{path}: {error.strerror}") from error
    except DeviceRefused:
        os.close(lock_fd)
        raise
    return Device(path, identity, fs, lock_fd)


def _read_identity(path: str) -> Identity:
    try:
        fd = os.open(os.path.join(path, IDENTITY_NAME), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise DeviceRefused(f"{path}: no {IDENTITY_NAME}: mount the disk, or run `objstore device init`") from None
    except OSError as error:
        raise DeviceRefused(f"{path}/{IDENTITY_NAME}: {error.strerror}") from error
    try:
        fields = json.loads(os.read(fd, IDENTITY_BYTES_MAX))
        identity = Identity(fields["cluster"], fields["device"], fields["id"])
        version = fields["version"]
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise DeviceRefused(f"{path}/{IDENTITY_NAME}: unreadable: {error}") from error
    finally:
        os.close(fd)
    if version != IDENTITY_VERSION:
        raise DeviceRefused(f"{path}/{IDENTITY_NAME}: version {version}, this program knows {IDENTITY_VERSION}")
    return identity


def _check_identity(path: str, identity: Identity, cluster: str, name: str) -> None:
    if identity.cluster != cluster:
        raise DeviceRefused(f"{path}: belongs to another cluster ({identity.cluster}, this one is {cluster})")
    if identity.device != name:
        raise DeviceRefused(f"{path}: is device {identity.device}, not {name}: disks swapped?")


def _lock(path: str) -> int:
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        fd = os.open(os.path.join(path, LOCK_NAME), flags, 0o600)
    except OSError as error:
        raise DeviceRefused(f"{path}/{LOCK_NAME}: {error.strerror}") from error
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        raise DeviceInUse(f"{path}: in use by another process") from None
    except OSError as error:
        os.close(fd)
        raise DeviceRefused(f"{path}: cannot lock: {error.strerror}") from error
    return fd


def _probe(path: str, fs: RealFileSystem) -> None:
    file: RealFile = fs.create_temp()
    try:
        file.set_attribute("objstore.probe", b"probe")
        if file.get_attribute("objstore.probe") != b"probe":
            raise DeviceRefused(f"{path}: extended attributes are not kept")
    except OSError as error:
        advice = "choose a file system that keeps them, such as XFS or ext4"
        raise DeviceRefused(f"{path}: no extended attributes ({error.strerror}): {advice}") from error
    finally:
        fs.discard(file)


class DeviceFloor:
    """FloorStore in a small file, written through a temporary one: for HybridClock."""

    def __init__(self, fs: FileSystem, path: str) -> None:
        self._fs = fs
        self._path = path

    def load(self) -> int:
        try:
            file = self._fs.open(self._path)
        except FileNotFoundError:
            return 0
        try:
            return int(file.pread(32, 0))
        finally:
            file.close()

    def save(self, ticks: int) -> None:
        file = self._fs.create_temp()
        try:
            file.write(b"%d\n" % ticks)
            file.sync()
            self._fs.publish(file, self._path)
            self._fs.sync_directory(self._path.rpartition("/")[0])
        finally:
            self._fs.discard(file)
