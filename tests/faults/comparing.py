"""`python -m tests.faults.comparing DIRECTORY`: the same steps on ext4 and on CrashFS, then the power goes.

What ext4 has left must be among the states that CrashFS lists; prints how many rounds there were, and what was not.
"""

import argparse
import json
import os
import random
import sys
from collections.abc import Callable
from pathlib import Path

from objstore.runtime.filesystem import TMP, RealFileSystem
from objstore.runtime.interface import FileSystem
from tests.faults.crashfs import CrashFileSystem
from tests.faults.crashnodes import Content, FileNode, Image
from tests.faults.crashstates import Figures, crash_images, reachable
from tests.faults.loopfs import LoopFileSystem, NotHere, enter_namespace

DIRECTORIES = ("d", "e", "d/s", "d/t")
NAMES = ("a", "b", "c")
SIZES = (0, 10, 600, 9000)
STEPS_MAX = 7
ATTRIBUTE = "objstore.meta"

Step = tuple[str, Callable[[FileSystem], None]]


def image_of(root: Path) -> Image:
    """What is on the real file system, but for tmp/."""
    found: list[tuple[str, Content | None]] = []
    for path in sorted(root.rglob("*")):
        name = str(path.relative_to(root))
        if name.split("/")[0] in (TMP, "lost+found"):
            continue
        if path.is_dir():
            found.append((name, None))
            continue
        try:
            attributes: tuple[tuple[str, bytes], ...] = ((ATTRIBUTE, os.getxattr(path, f"user.{ATTRIBUTE}")),)
        except OSError:
            attributes = ()
        found.append((name, Content(path.read_bytes(), attributes)))
    return tuple(sorted(found, key=lambda entry: entry[0]))


def draw(rng: random.Random) -> Step:
    """One step, with its description."""
    path = f"{rng.choice(DIRECTORIES)}/{rng.choice(NAMES)}"
    match rng.choice(("put", "put", "put", "append", "unlink", "rename", "sync", "sync", "make")):
        case "put":
            data, synced = rng.randbytes(rng.choice(SIZES)), rng.random() < 0.5
            return f"put {path} {len(data)} synced={synced}", lambda fs: _put(fs, path, data, synced)
        case "append":
            data, synced = rng.randbytes(rng.choice(SIZES)), rng.random() < 0.5
            return f"append {path} {len(data)} synced={synced}", lambda fs: _append(fs, path, data, synced)
        case "unlink":
            return f"unlink {path}", lambda fs: fs.unlink(path)
        case "rename":
            other = f"{rng.choice(DIRECTORIES)}/{rng.choice(NAMES)}"
            return f"rename {path} {other}", lambda fs: fs.rename(path, other)
        case "sync":
            directory = rng.choice(("", *DIRECTORIES))
            return f"sync {directory or '.'}", lambda fs: fs.sync_directory(directory)
        case _:
            directory = rng.choice(DIRECTORIES)
            return f"make {directory}", lambda fs: fs.make_directory(directory) and None


def _put(fs: FileSystem, path: str, data: bytes, synced: bool) -> None:
    file = fs.create_temp()
    try:
        file.write(data)
        file.set_attribute(ATTRIBUTE, b"m" * 100)
        if synced:
            file.sync()
        fs.publish(file, path)
    finally:
        fs.discard(file)


def _append(fs: FileSystem, path: str, data: bytes, synced: bool) -> None:
    file = fs.open_append(path)
    try:
        file.write(data)
        if synced:
            file.sync()
    finally:
        file.close()


def attempt(fs: FileSystem, step: Step) -> str:
    """Do it; what kind of error it raised, if any."""
    try:
        step[1](fs)
    except OSError as error:
        return type(error).__name__
    return ""


def make_durable(model: CrashFileSystem) -> None:
    """All of it, as no file system does by itself."""
    for directory in reachable(model.root):
        directory.sync()
        for node in directory.entries.values():
            if isinstance(node, FileNode):
                node.sync()


def compare(loop: LoopFileSystem, rng: random.Random, *, weak: bool = False) -> tuple[bool, list[str]]:
    """One round: whether all states could be listed, and what is wrong. `weak`: with a model that loses nothing."""
    real = RealFileSystem(str(loop.path))
    model = CrashFileSystem(image_of(loop.path))
    steps = [draw(rng) for _ in range(rng.randint(1, STEPS_MAX))]
    problems = []
    for step in steps:
        outcomes = attempt(real, step), attempt(model, step)
        if outcomes[0] != outcomes[1]:
            problems.append(f"{step[0]}: ext4 {outcomes[0] or 'did it'}, CrashFS {outcomes[1] or 'did it'}")
        if weak:
            make_durable(model)
    del real
    loop.cut()
    loop.restart()
    left = image_of(loop.path)
    figures = Figures()
    listed = crash_images(model, 0, figures)
    known = {tuple(entry for entry in image if entry[0].split("/")[0] != TMP) for image in listed}
    if left not in known and not figures.sampled:
        shown = [(path, content and (len(content.data), bool(content.attributes))) for path, content in left]
        problems.append(f"not among {len(known)} states: {shown} after {[step[0] for step in steps]}")
    return not figures.sampled, problems


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--weak", action="store_true")
    parser.add_argument("directory")
    options = parser.parse_args()
    try:
        enter_namespace()
        loop = LoopFileSystem(Path(options.directory), 32)
    except NotHere as error:
        print(f"not run: {error}")
        return 3
    rng, problems, rounds = random.Random(options.seed), [], 0
    try:
        for _ in range(options.rounds):
            complete, found = compare(loop, rng, weak=options.weak)
            rounds += complete
            problems += found
    finally:
        loop.close()
    print(json.dumps({"rounds": rounds, "problems": problems}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
