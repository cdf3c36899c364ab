"""The input of the main job: a real directory tree with the names that break things."""

import hashlib
import os
import random
import shutil
import sysconfig
from pathlib import Path

AWKWARD = [
    "with space.txt", "ünïcødé/naïve café.txt", "日本語/ファイル", "percent%20literal", "percent%", "question?mark", "#hash",
    ".leading-dot", ".hidden/inside", "plus+plus", "quote'\"quote", "back\\slash", "semi;colon&amp", "emoji-🦊", "tilde~", "a=b",
]  # fmt: skip


def make_tree(root: Path, files_max: int | None = None) -> int:
    """Copy Python's standard library below `root`, add awkward names and an empty file; returns the number of files."""
    source = Path(sysconfig.get_paths()["stdlib"])
    count = 0
    for directory, names, files in os.walk(source):
        names[:] = sorted(n for n in names if n != "site-packages")
        for name in sorted(files):
            if files_max is not None and count >= files_max:
                break
            path = Path(directory) / name
            if path.is_file() and not path.is_symlink():
                target = root / "stdlib" / path.relative_to(source)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, target)
                count += 1
    for name in AWKWARD:
        target = root / "awkward" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(name.encode() * 7)
    (root / "awkward" / "empty").write_bytes(b"")
    return count + len(AWKWARD) + 1


def make_big(path: Path, mib: int, seed: int = 1) -> None:
    """A file of `mib` MiB that does not compress; the same for the same seed."""
    rng = random.Random(seed)
    with path.open("wb") as file:
        for _ in range(mib):
            file.write(rng.randbytes(1 << 20))


def digests(root: Path) -> dict[str, tuple[int, str]]:
    """relative name -> (size, md5) of every file below `root`: what `diff -r` compares."""
    found = {}
    for directory, _, files in os.walk(root):
        for name in files:
            path = Path(directory) / name
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "md5").hexdigest()
            found[str(path.relative_to(root))] = (path.stat().st_size, digest)
    return found
