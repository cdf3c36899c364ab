"""The documents: links lead somewhere, every configuration key is explained, every command and make target exists."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import msgspec
import pytest

from objstore.app.cli import cli
from objstore.app.config import Config, Section
from objstore.app.version import VERSION

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
COMMANDS = ("objstore", "bin/objstore", "ring-builder", "bin/ring-builder", "make")
IDS = [str(path.relative_to(ROOT)) for path in DOCUMENTS]


def config_keys(section: type[Section], prefix: str = "") -> Iterator[str]:
    for field in msgspec.structs.fields(section):
        if isinstance(field.type, type) and issubclass(field.type, Section):
            yield from config_keys(field.type, f"{prefix}{field.name}.")
        else:
            yield prefix + field.name


def anchors(text: str) -> set[str]:
    """The ids that headings get (GitHub's rule: lower case, spaces to hyphens, punctuation dropped)."""
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def commands(text: str) -> Iterator[list[str]]:
    """The words of every command of ours: in shell blocks, and in code spans that begin with one."""
    lines: list[str] = []
    for block in re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        lines += block.replace("\\\n", " ").splitlines()
    lines += re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL))
    for line in lines:
        line = re.split(r"[|>&;]", line)[0].strip()
        if line.split(" ")[0] in COMMANDS:
            yield shlex.split(line)


@pytest.mark.parametrize("path", DOCUMENTS, ids=IDS)
def test_links_lead_somewhere(path: Path) -> None:
    text = path.read_text()
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        file, _, anchor = target.partition("#")
        there = (path.parent / file).resolve() if file else path
        if not there.exists() or (anchor and anchor not in anchors(there.read_text())):
            broken.append(target)
    assert not broken


def test_every_configuration_key_is_documented() -> None:
    text = (ROOT / "docs" / "operating.md").read_text()
    assert [key for key in config_keys(Config) if f"`{key}`" not in text] == []


def test_every_documented_key_exists() -> None:
    sections = "|".join(field.name for field in msgspec.structs.fields(Config))
    keys = set(config_keys(Config))
    for path in DOCUMENTS:
        named = set(re.findall(rf"`((?:{sections})\.\w+)`", path.read_text()))
        files = {name for name in named if name.endswith((".py", ".toml", ".md", ".log"))}
        assert named - files <= keys, path.name


@pytest.mark.parametrize("path", DOCUMENTS, ids=IDS)
def test_every_command_exists(path: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for words in commands(path.read_text()):
        if words[0] == "make":
            assert [word for word in words[1:] if "=" not in word and word not in targets] == [], words
        elif words[0].endswith("objstore"):
            check_objstore(words)


def check_objstore(words: list[str]) -> None:
    """Sub-commands and options are ones that the command line has."""
    command: click.Command = cli
    rest = words[1:]
    while rest and isinstance(command, click.Group):
        name = rest.pop(0)
        assert name in command.commands, f"{' '.join(words)}: there is no {name}"
        command = command.commands[name]
    known = {name for parameter in command.params for name in parameter.opts}
    options = [word for word in rest if word.startswith("--")]
    assert [option for option in options if option.partition("=")[0] not in known] == [], " ".join(words)


def test_every_command_is_documented() -> None:
    text = "".join(path.read_text() for path in DOCUMENTS)
    for name, command in cli.commands.items():
        names = [f"{name} {sub}" for sub in command.commands] if isinstance(command, click.Group) else [name]
        for full in names:
            assert f"objstore {full}" in text or full == "version", f"objstore {full} stands in no document"


def test_every_command_and_option_explains_itself() -> None:
    def walk(command: click.Command) -> None:
        assert command.help, f"{command.name} has no help"
        for parameter in command.params:
            assert not isinstance(parameter, click.Option) or parameter.help, f"{command.name} {parameter.opts} has no help"
        for child in command.commands.values() if isinstance(command, click.Group) else ():
            walk(child)

    walk(cli)


def test_the_version_is_one() -> None:
    project = (ROOT / "pyproject.toml").read_text()
    assert f'version = "{VERSION}"' in project


def test_the_changelog_begins_with_what_is_coming() -> None:
    assert re.search(r"^## Unreleased", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)


@pytest.mark.parametrize("path", DOCUMENTS, ids=IDS)
def test_every_test_that_is_named_exists(path: Path) -> None:
    """`tests/folder/test_file.py` or `tests/folder/test_file.py::test_name`."""
    missing = []
    for file, name in re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", path.read_text()):
        there = ROOT / file
        if not there.exists() or (name and not re.search(rf"def {name}\(", there.read_text())):
            missing.append(f"{file}::{name}")
    assert not missing
