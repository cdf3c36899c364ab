"""What making a group of small objects durable costs, by directory layout and by way of syncing.

    python bench/layout.py [--dir DIR] [--groups 60] [--group 16]

DIR must be on the file system to measure, not on tmpfs. Each file has 4 KiB of body and 200 bytes of attribute, as an object of the
store has. Two ways of syncing:

- `each`: start the write-out of all files, fdatasync each, link each, fsync each directory whose entries changed;
- `syncfs`: write all, link all, one syncfs (which also waits for everything else that is dirty on the file system).

Directories exist before, but for those that the layout needs anew for each object. Prints CPU (user + system of this process)
and wall time per file, medians of the groups. Kernel threads (the journal's) are not in the CPU figure.
"""

import argparse
import ctypes
import hashlib
import os
import statistics
import tempfile
import time
from collections.abc import Callable

BODY = os.urandom(4096)
ATTRIBUTE_BYTES = 200
PARTITIONS = 256

_libc = ctypes.CDLL(None, use_errno=True)


def shared(_: str) -> str:
    return "objects"


def per_partition(hash_: str) -> str:
    return f"objects/{int(hash_[:4], 16) % PARTITIONS}"


def partition_and_hash(hash_: str) -> str:
    return f"{per_partition(hash_)}/{hash_}"


def partition_suffix_and_hash(hash_: str) -> str:
    return f"{per_partition(hash_)}/{hash_[-3:]}/{hash_}"


LAYOUTS: dict[str, Callable[[str], str]] = {
    "shared": shared,
    "partition": per_partition,
    "partition/hash": partition_and_hash,
    "partition/suffix/hash": partition_suffix_and_hash,
}


def make_directories(path: str, changed: dict[str, None]) -> None:
    """mkdir -p that notes the directories whose entries changed."""
    if os.path.isdir(path):
        return
    parent = os.path.dirname(path)
    make_directories(parent, changed)
    os.mkdir(path)
    changed[parent] = None


def write_files(root: str, count: int) -> list[int]:
    files = []
    for _ in range(count):
        fd = os.open(root, os.O_TMPFILE | os.O_WRONLY, 0o600)
        os.write(fd, BODY)
        # As in life, no two alike: ext4 shares equal attribute blocks.
        os.setxattr(fd, "user.objstore.meta", os.urandom(ATTRIBUTE_BYTES))
        files.append(fd)
    return files


def name_files(root: str, files: list[int], hashes: list[str], layout: Callable[[str], str]) -> list[str]:
    """Returns the directories to sync."""
    changed: dict[str, None] = {}
    for fd, hash_ in zip(files, hashes, strict=True):
        directory = f"{root}/{layout(hash_)}"
        make_directories(directory, changed)
        name = f"{directory}/{hash_}.1763849577.12345_0a3f.data"
        os.link(f"/proc/self/fd/{fd}", name, src_dir_fd=0, follow_symlinks=True)
        changed[directory] = None
    return list(changed)


def sync_each(root: str, count: int, hashes: list[str], layout: Callable[[str], str]) -> None:
    files = write_files(root, count)
    for fd in files:
        _libc.sync_file_range(fd, ctypes.c_int64(0), ctypes.c_int64(0), 2)
    for fd in files:
        os.fdatasync(fd)
    for path in name_files(root, files, hashes, layout):
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        os.fsync(fd)
        os.close(fd)
    for fd in files:
        os.close(fd)


def sync_all(root: str, count: int, hashes: list[str], layout: Callable[[str], str]) -> None:
    files = write_files(root, count)
    name_files(root, files, hashes, layout)
    if _libc.syncfs(files[0]):
        raise OSError(ctypes.get_errno(), "syncfs")
    for fd in files:
        os.close(fd)


Way = Callable[[str, int, list[str], Callable[[str], str]], None]
WAYS: dict[str, Way] = {"each": sync_each, "syncfs": sync_all}


def prepare(root: str) -> None:
    os.makedirs(f"{root}/objects")
    for partition in range(PARTITIONS):
        os.mkdir(f"{root}/objects/{partition}")


def measure(top: str, groups: int, size: int) -> dict[tuple[str, str], list[tuple[float, float]]]:
    """CPU and wall microseconds per file of each group. All combinations take turns, so that what else the machine does
    strikes them alike.
    """
    found: dict[tuple[str, str], list[tuple[float, float]]] = {(name, way): [] for name in LAYOUTS for way in WAYS}
    roots = {pair: f"{top}/{number}" for number, pair in enumerate(found)}
    for root in roots.values():
        prepare(root)
    os.sync()
    for group in range(groups):
        hashes = [hashlib.md5(b"%d %d" % (group, n)).hexdigest() for n in range(size)]
        for (name, way), samples in found.items():
            cpu_start, wall_start = time.process_time(), time.perf_counter()
            WAYS[way](roots[name, way], size, hashes, LAYOUTS[name])
            cpu, wall = time.process_time() - cpu_start, time.perf_counter() - wall_start
            samples.append((cpu / size * 1e6, wall / size * 1e6))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--dir", default=".", help="where to write (default: the current directory)")
    parser.add_argument("--groups", type=int, default=100, help="groups per combination")
    parser.add_argument("--group", type=int, default=16, help="files per group")
    options = parser.parse_args()
    # Nothing is removed before the end: for half a minute ext4 searches around the inodes of removed files, which makes new
    # ones up to ten times dearer.
    with tempfile.TemporaryDirectory(dir=options.dir, prefix="layout-") as top:
        found = measure(top, options.groups, options.group)
        print(f"{'layout':24}{'sync':8}{'CPU us/file':>14}{'wall us/file':>14}   groups of {options.group}, medians")
        for (name, way), samples in found.items():
            cpu, wall = (statistics.median(column) for column in zip(*samples, strict=True))
            print(f"{name:24}{way:8}{cpu:14.0f}{wall:14.0f}")


if __name__ == "__main__":
    main()
