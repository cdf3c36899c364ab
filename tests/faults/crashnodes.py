"""What a device consists of in the crash model: files and directories, each with what is durable and what came since."""

from collections.abc import Callable, Iterable
from typing import NamedTuple


class Content(NamedTuple):
    """What a file holds after a crash; `attributes` sorted by name."""

    data: bytes
    attributes: tuple[tuple[str, bytes], ...] = ()


EMPTY = Content(b"")

Image = tuple[tuple[str, Content | None], ...]
"""A whole device after a crash: (path, content), None for a directory, sorted by path."""


class FileNode:
    """A regular file."""

    __slots__ = ("attributes", "data", "durable", "edges", "lost", "number")

    def __init__(self, number: int, content: Content = EMPTY) -> None:
        self.number = number
        self.data = content.data
        self.attributes = content.attributes
        self.durable = content
        self.edges: list[int] = []
        """Where each write since the last sync ended."""
        self.lost = False

    @property
    def content(self) -> Content:
        return Content(self.data, self.attributes)

    @property
    def dirty(self) -> bool:
        """Whether a cut may lose anything of it."""
        return self.data is not self.durable.data or self.attributes is not self.durable.attributes

    def sync(self) -> None:
        if not self.lost:
            self.durable = self.content
            self.edges = []


class Step:
    """One operation on a directory's entries: names set to a node, or removed (None). `pair` is the other half of a rename
    between directories, as long as the two share one fate; `lost`: a failed sync was to save it.
    """

    __slots__ = ("effects", "lost", "pair")

    def __init__(self, *effects: "tuple[str, Node | None]") -> None:
        self.effects = effects
        self.lost = False
        self.pair: Step | None = None

    def apply(self, entries: "dict[str, Node]") -> None:
        for name, node in self.effects:
            if node is None:
                entries.pop(name, None)
            else:
                entries[name] = node


class DirectoryNode:
    """A directory. `entries` are what a running system sees."""

    __slots__ = ("changes", "durable", "entries", "number", "pending")

    def __init__(self, number: int) -> None:
        self.number = number
        self.changes = 0
        self.entries: dict[str, Node] = {}
        self.durable: dict[str, Node] = {}
        self.pending: list[Step] = []

    def do(self, step: Step) -> Step:
        step.apply(self.entries)
        self.pending.append(step)
        self.changes += 1
        return step

    def sync(self) -> None:
        for step in self.pending:
            if not step.lost:
                step.apply(self.durable)
                if step.pair is not None:
                    step.pair.pair = None
        self.pending = [step for step in self.pending if step.lost]


Node = FileNode | DirectoryNode


def flat(
    root: DirectoryNode,
    entries_of: "Callable[[DirectoryNode], dict[str, Node]]",
    content_of: Callable[[FileNode], Content],
) -> Image:
    """The tree below `root` as an image."""
    found: list[tuple[str, Content | None]] = []

    def walk(directory: DirectoryNode, prefix: str) -> None:
        for name, node in entries_of(directory).items():
            if isinstance(node, FileNode):
                found.append((prefix + name, content_of(node)))
            else:
                found.append((prefix + name, None))
                walk(node, f"{prefix}{name}/")

    walk(root, "")
    return tuple(sorted(found, key=lambda entry: entry[0]))


def files_of(image: Image) -> Iterable[tuple[str, Content]]:
    """The files alone."""
    return ((path, content) for path, content in image if content is not None)
