"""All that a power cut may leave of a CrashFileSystem: each file's and each directory's fate apart from the others'.

A file keeps of its unsynced content nothing, all, its size without the data, or a part torn at 512 bytes, at 4 KiB or between two
writes; its attributes the old ones or the new. Of a directory's pending steps any subset happened ("wild"), which includes every
prefix ("ordered", what journalling file systems do). Up to LIMIT combinations (twelve independent steps) all are listed; beyond,
all ordered ones as far as LIMIT, both extremes, and SAMPLES wild ones drawn from a seed. Where names and contents are undecided
together (a journal not settled) and there are more than TOGETHER_MAX combinations, so many are drawn instead: each name and each
content by itself, and each ordered prefix of the names with contents drawn.
"""

import random
from collections.abc import Iterable, Iterator
from itertools import combinations, product
from math import prod

from objstore.runtime.filesystem import TMP
from tests.faults.crashfs import CrashFileSystem
from tests.faults.crashnodes import Content, DirectoryNode, FileNode, Image, Node, Step, flat

LIMIT = 1 << 12
SAMPLES = 256
TOGETHER_MAX = 1 << 8
TOGETHER_SAMPLES = 40
SECTOR, BLOCK = 512, 4096
EDGES_MAX = 3

Entries = dict[str, Node]


class Choice:
    """One fate of one directory: its entries, and which steps happened."""

    __slots__ = ("entries", "happened")

    def __init__(self, directory: DirectoryNode, steps: tuple[Step, ...]) -> None:
        self.entries = dict(directory.durable)
        for step in steps:
            step.apply(self.entries)
        self.happened = frozenset(map(id, steps))


class Figures:
    """How the listing went, over all calls."""

    def __init__(self) -> None:
        self.draws = 0
        self.sampled = 0
        """Times that there were too many combinations to list them all."""


def crash_images(fs: CrashFileSystem, seed: int = 0, figures: Figures | None = None, draws: int = 0) -> Iterator[Image]:
    """Every image that a cut at this moment may leave; some may come twice. `draws`: so many more fates of each file, in which each
    sector is kept or lost by chance.
    """
    figures = figures or Figures()
    figures.draws = draws
    tmp = fs.root.entries.get(TMP)
    directories = [directory for directory in reachable(fs.root) if directory.pending and directory is not tmp]
    steps = sum(len(directory.pending) for directory in directories)
    temps = _temp_choices(fs, tmp)
    contents = prod(len(fates(file, draws)) for file in _dirty_with_names(fs, tmp))
    if steps and contents > 1 and (1 << steps) * contents > TOGETHER_MAX:
        figures.sampled += 1
        yield from _drawn_together(fs, directories, temps, random.Random(f"{seed} {steps} {contents}"), figures)
        return
    if 1 << steps <= LIMIT:
        plans = product(*([Choice(d, subset) for subset in _subsets(d)] for d in directories))
        yield from _images_of(fs, directories, plans, temps, tmp, figures)
        return
    figures.sampled += 1
    plans = product(*([Choice(d, tuple(d.pending[:n])) for n in range(len(d.pending) + 1)] for d in directories))
    ordered = [plan for _, plan in zip(range(LIMIT), plans, strict=False)]
    rng = random.Random(f"{seed} {steps}")
    ordered.append(tuple(Choice(d, tuple(d.pending)) for d in directories))
    for _ in range(SAMPLES):
        ordered.append(tuple(Choice(d, tuple(s for s in d.pending if rng.random() < 0.5)) for d in directories))
    yield from _images_of(fs, directories, ordered, temps, tmp, figures)


def _dirty_with_names(fs: CrashFileSystem, tmp: Node | None) -> list[FileNode]:
    found: dict[int, FileNode] = {}
    for directory in reachable(fs.root):
        if directory is not tmp:
            for node in (*directory.entries.values(), *directory.durable.values()):
                if isinstance(node, FileNode) and node.dirty:
                    found[id(node)] = node
    return list(found.values())


def _drawn_together(
    fs: CrashFileSystem, directories: list[DirectoryNode], temps: list[Entries], rng: random.Random, figures: Figures
) -> Iterator[Image]:
    plans = [
        tuple(Choice(d, tuple(d.pending[: round(len(d.pending) * part)])) for d in directories) for part in (0, 0.25, 0.5, 0.75, 1)
    ]
    plans *= TOGETHER_SAMPLES // 20
    plans += [
        tuple(Choice(d, tuple(s for s in d.pending if rng.random() < 0.5)) for d in directories) for _ in range(TOGETHER_SAMPLES)
    ]
    pairs = [(id(step), id(step.pair)) for d in directories for step in d.pending if step.pair is not None]
    tmp = fs.root.entries.get(TMP)
    for plan in plans:
        happened: frozenset[int] = frozenset().union(*(choice.happened for choice in plan))
        if any((one in happened) != (other in happened) for one, other in pairs):
            continue
        chosen = {id(d): choice.entries for d, choice in zip(directories, plan, strict=True)}
        chosen[id(tmp)] = rng.choice(temps)
        of: dict[int, Content] = {}

        def fate(file: FileNode, of: dict[int, Content] = of) -> Content:
            if file.dirty and id(file) not in of:
                of[id(file)] = rng.choice(fates(file, figures.draws))
            return of.get(id(file), file.durable)

        yield flat(fs.root, lambda directory, chosen=chosen: chosen.get(id(directory), directory.durable), fate)  # type: ignore[misc]


def _subsets(directory: DirectoryNode) -> Iterator[tuple[Step, ...]]:
    for count in range(len(directory.pending) + 1):
        yield from combinations(directory.pending, count)


def _temp_choices(fs: CrashFileSystem, tmp: Node | None) -> list[Entries]:
    """tmp/ is emptied at the next start, whatever is in it: as it is, as it was, and with old names back is enough."""
    if not isinstance(tmp, DirectoryNode):
        return [{}]
    found: list[Entries] = []
    for entries in (tmp.entries, tmp.durable, {**tmp.entries, **fs.temps_removed}):
        if entries not in found:
            found.append(entries)
    return found


def _images_of(
    fs: CrashFileSystem,
    directories: list[DirectoryNode],
    plans: Iterable[tuple[Choice, ...]],
    temps: list[Entries],
    tmp: Node | None,
    figures: Figures,
) -> Iterator[Image]:
    pairs = [(id(step), id(step.pair)) for d in directories for step in d.pending if step.pair is not None]
    for plan in plans:
        happened: frozenset[int] = frozenset().union(*(choice.happened for choice in plan))
        if any((one in happened) != (other in happened) for one, other in pairs):
            continue
        entries = {id(d): choice.entries for d, choice in zip(directories, plan, strict=True)}
        for temp_entries in temps:
            entries[id(tmp)] = temp_entries
            yield from _with_contents(fs.root, entries, figures)


def _with_contents(root: DirectoryNode, chosen: dict[int, Entries], figures: Figures) -> Iterator[Image]:
    """One tree of names, with every fate of the files in it."""
    dirty: dict[int, FileNode] = {}

    def entries_of(directory: DirectoryNode) -> Entries:
        return chosen.get(id(directory), directory.durable)

    def durable(file: FileNode) -> Content:
        if file.dirty:
            dirty[id(file)] = file
        return file.durable

    image = flat(root, entries_of, durable)
    yield image
    if not dirty:
        return
    files = list(dirty.values())
    of_each = [fates(file, figures.draws) for file in files]
    contents_all: Iterable[tuple[Content, ...]] = product(*of_each)
    if prod(map(len, of_each)) > LIMIT:
        figures.sampled += 1
        rng = random.Random(len(files))
        contents_all = [tuple(map(rng.choice, of_each)) for _ in range(SAMPLES)]
    for contents in contents_all:
        of = dict(zip(map(id, files), contents, strict=True))
        yield flat(root, entries_of, lambda file, of=of: of.get(id(file), file.durable))  # type: ignore[misc]


def fates(file: FileNode, draws: int = 0) -> list[Content]:
    """What a cut may leave in one file."""
    old, new = file.durable.data, file.data
    kept = [old]
    if new is not old:
        kept += [new, *_torn(old, new, file.edges)]
        kept += [_drawn(old, new, random.Random(f"{file.number} {len(new)} {number}")) for number in range(draws)]
    attributes = [file.durable.attributes]
    if file.attributes is not file.durable.attributes:
        attributes.append(file.attributes)
    return [Content(data, some) for data in dict.fromkeys(kept) for some in attributes]


def _torn(old: bytes, new: bytes, edges: list[int]) -> Iterator[bytes]:
    """Parts of what was written to a file that had `old` and got `new`, in writes that ended at `edges`."""
    size = len(new)
    blank = old + bytes(max(0, size - len(old)))  # the size came, the data did not
    yield blank[:size]
    start = next((at for at in range(0, size, SECTOR) if old[at : at + SECTOR] != new[at : at + SECTOR]), size)
    for end in (start - start % SECTOR + SECTOR, start - start % BLOCK + BLOCK, *edges[:EDGES_MAX], *edges[-EDGES_MAX:]):
        if end < size:
            if end >= len(old):
                yield new[:end]  # a shorter append
            yield new[:end] + blank[end:size]  # the head came, the rest did not
            yield blank[:end] + new[end:]  # the rest came first
    for head in (SECTOR, BLOCK):
        if start + head < size:
            at = (size - 1) // head * head
            yield blank[:at] + new[at:]  # the tail came first
            yield new[: start + head] + blank[start + head : at] + new[at:]  # a hole between


def _drawn(old: bytes, new: bytes, rng: random.Random) -> bytes:
    """Each sector, or each block, as it was or as it was to be."""
    unit, blank = rng.choice((SECTOR, BLOCK)), old + bytes(max(0, len(new) - len(old)))
    return b"".join((new if rng.random() < 0.5 else blank)[at : at + unit] for at in range(0, len(new), unit))


def reachable(root: DirectoryNode) -> list[DirectoryNode]:
    """Every directory that may be in the tree after a cut, each once, in a fixed order."""
    found: dict[int, DirectoryNode] = {}

    def walk(directory: DirectoryNode) -> None:
        if id(directory) in found:
            return
        found[id(directory)] = directory
        nodes = [*directory.durable.values(), *directory.entries.values()]
        nodes += [node for step in directory.pending for _, node in step.effects if node is not None]
        for node in nodes:
            if isinstance(node, DirectoryNode):
                walk(node)

    walk(root)
    return list(found.values())
