"""Sections of documents that measurements write: what stands between two marks is theirs, the rest is the authors'."""

import os
import platform
import time
from pathlib import Path

from bench.cluster import ROOT

PERFORMANCE = ROOT / "docs" / "performance.md"


def begin(name: str) -> str:
    return f"<!-- {name}: from here on `make {name}` writes, with --write-docs -->"


def end(name: str) -> str:
    return f"<!-- {name}: end -->"


def write(name: str, section: str, document: Path = PERFORMANCE) -> None:
    """Put `section` between the marks of `name`. Raises SystemExit when they are not there."""
    text = document.read_text()
    if text.count(begin(name)) != 1 or text.count(end(name)) != 1:
        raise SystemExit(f"{document.name} lacks the marks of `make {name}`")
    before, _, rest = text.partition(begin(name))
    after = rest.partition(end(name))[2]
    document.write_text(f"{before}{begin(name)}\n\n{section.strip()}\n\n{end(name)}{after}")
    print(f"written: {document}")


def circumstances() -> str:
    """When and on what: "2024-05-01, 2 cores, Python 3.11.7"."""
    return f"{time.strftime('%Y-%m-%d')}, {os.cpu_count()} cores, Python {platform.python_version()}"


def markdown(head: list[str], rows: list[list[str]]) -> str:
    """A table; the first column holds words, the others figures."""
    lines = [head, ["---", *["--:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def plain(head: list[str], rows: list[list[str]]) -> str:
    """The same for a terminal."""
    widths = [max(len(line[at]) for line in [head, *rows]) for at in range(len(head))]
    lines = []
    for line in [head, *rows]:
        first, *rest = (
            text.ljust(width) if at == 0 else text.rjust(width) for at, (text, width) in enumerate(zip(line, widths, strict=True))
        )
        lines.append("  ".join([first, *rest]).rstrip())
    return "\n".join(lines)
