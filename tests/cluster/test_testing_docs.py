"""The testing guide: its examples run in a project of their own, and it names everything that there is."""

import os
import re
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from objstore.testing import BlockingCluster
from objstore.testing.layout import Shape

ROOT = Path(__file__).resolve().parents[2]
GUIDE = (ROOT / "docs" / "testing.md").read_text()
EXAMPLES = dict(re.findall(r"^```python\n# (test_\w+\.py)\n(.*?)^```", GUIDE, re.MULTILINE | re.DOTALL))


@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_examples_run_in_an_empty_project(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text(EXAMPLES[name])
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    installed = any(point.value == "objstore.testing.plugin" for point in entry_points(group="pytest11"))
    plugin = [] if installed else ["-p", "objstore.testing.plugin"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *plugin, name],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    expected = len(re.findall(r"^def test_", EXAMPLES[name], re.MULTILINE))
    assert f"{expected} passed" in done.stdout


def test_there_are_examples() -> None:
    assert len(EXAMPLES) == 3 == GUIDE.count("```python")


def test_every_method_is_in_the_guide() -> None:
    members = {name for base in BlockingCluster.__mro__[:-1] for name in vars(base) if not name.startswith("_")}
    assert [name for name in sorted(members) if not re.search(rf"`(cluster\.)?{name}\b", GUIDE)] == []
    assert [name for name in sorted(re.findall(r"`cluster\.(\w+)", GUIDE)) if name not in members] == []


def test_every_argument_is_in_the_guide() -> None:
    section = GUIDE.partition("## The cluster")[2].partition("\n## ")[0]
    assert [name for name in Shape.__slots__ if f"`{name}`" not in section] == []
