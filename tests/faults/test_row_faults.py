"""Rows under power cuts at every step of SQLite's to its files, and with every such step failing: SQLite itself, as it is used."""

import errno
import os
from collections.abc import Callable
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest

from objstore.model.errors import Code
from objstore.tables import schema
from objstore.tables.device import Action, TableDevice
from objstore.tables.place import Place
from objstore.testing.faultyfs import DiskFaults, FaultyFileSystem
from tests.faults.crashnodes import Image
from tests.faults.crashstates import crash_images
from tests.faults.cutload import RowsNotSynced
from tests.faults.failing import Injection
from tests.faults.figures import Count
from tests.faults.rowrig import Group, Promises, Shadow, problems_of, running, scratch, table_device, unpack, write_rows
from tests.faults.sqlitevfs import missing
from tests.unit.objstore.tables.rig import PLACE

DRAWS = 16
PAGES_MAX = 8
CUTS_MAX = 8
"""States after a power cut that are started on, of each injection."""
REFUSALS = (Code.DEVICE_FAILED, Code.NO_SPACE)


@pytest.fixture(autouse=True)
def shim() -> None:
    if missing():
        pytest.skip(f"SQLite's files: not run: {missing()}")


@pytest.fixture(autouse=True)
def short_logs(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a commit of many rows has a checkpoint of its own."""
    monkeypatch.setattr(schema, "WAL_BYTES_MAX", PAGES_MAX * schema.PAGE_BYTES)


def names(prefix: str, count: int) -> Group:
    """Rows long enough that some dozen fill a page."""
    return tuple(f"{prefix}{number:03d}" + "x" * 60 for number in range(count))


def history(device: TableDevice, promises: Promises) -> None:
    """Transactions small and large, a log moved into the database and begun anew, the database closed and opened."""
    for prefix, count in (("a", 1), ("b", 3), ("c", 120), ("d", 1)):
        promises.ask(device, names(prefix, count))
    device._run_group(PLACE, [Flush()])
    for prefix, count in (("e", 1), ("f", 40), ("g", 2)):
        promises.ask(device, names(prefix, count))
    device._close_all()
    for prefix, count in (("h", 1), ("i", 5)):
        promises.ask(device, names(prefix, count))
    device._close_all()


class Flush(Action[None]):
    """A checkpoint promises nothing: its failure shows in what comes after, but for a failed sync."""

    def act(self, device: TableDevice, place: Place) -> None:
        if (database := device.peek(place)) is not None:
            database.flush()


def cut_everywhere(make: type[TableDevice]) -> tuple[int, int, list[str]]:
    """States, boundaries, problems of the history with these devices."""
    seen: dict[tuple[Image, tuple[tuple[Group, bool], ...]], None] = {}
    promises, boundaries = Promises(), 0
    with scratch() as root:
        device = table_device(root, make)
        promises.ask(device, names("0", 2))
        device._close_all()
        shadow = Shadow(root)

        def boundary() -> None:
            nonlocal boundaries
            boundaries += 1
            for image in crash_images(shadow.fs, draws=DRAWS):
                seen.setdefault((image, promises.now()))

        shadow.boundary = boundary
        with running(root, shadow):
            history(table_device(root, make), promises)
        boundary()
    problems = []
    for image, promised in seen:
        with scratch() as root:
            unpack(image, root)
            problems += problems_of(root, promised)
    return len({image for image, _ in seen}), boundaries, problems


def test_a_power_cut_loses_no_acknowledged_row(count: Count) -> None:
    states, boundaries, problems = cut_everywhere(TableDevice)
    count("row crash states", **{"distinct states": states, "boundaries": boundaries, "violations": len(problems)})
    assert states > 200
    assert not problems, problems[:5]


def test_rows_that_are_not_synced_are_lost(count: Count) -> None:
    """The control: SQLite's synchronous=NORMAL."""
    _, _, problems = cut_everywhere(RowsNotSynced)
    assert any(problem.startswith("lost") for problem in problems)
    count("crash controls", **{"wrong settings": 1, "seen": 1})


# --- failing calls ----------------------------------------------------------------------------------------------


WAYS = {
    "once": Injection(0),
    "from then on": Injection(0, lasting=True),
    "full": Injection(0, errno.ENOSPC),
    "full from then on": Injection(0, errno.ENOSPC, lasting=True),
}


def attempt(injection: Injection) -> tuple[bool, bool, list[str]]:
    """Run the history with one injection: whether its call was reached, whether it failed there, and what came of it."""
    promises = Promises()
    with scratch() as root:
        device = table_device(root)
        promises.ask(device, names("0", 2))
        device._close_all()
        shadow = Shadow(root)
        shadow.injection = injection
        with running(root, shadow):
            device = table_device(root)
            history(device, promises)
            shadow.injection = None
            problems = [f"refused with {refusal.code}" for refusal in promises.refusals if refusal.code not in REFUSALS]
            if shadow.sync_failed and device.disk.failed is None:
                problems.append("a sync failed, and the device goes on")
            if device.disk.failed is None and (refusal := promises.ask(device, names("next", 1))) is not None:
                problems.append(f"the disk recovered, but the device refuses: {refusal.text}")
            if device.disk.failed is not None and write_rows(device, names("never", 1)) is None:
                problems.append("a failed device takes rows")
            device._close_all()
        if shadow.first != injection.number:
            return shadow.calls >= injection.number, False, []
        problems += [f"after a restart: {problem}" for problem in problems_of(root, promises.now())]
        problems += _cut(shadow, promises)
    return True, True, [f"{injection} ({', '.join(shadow.failed[:3])}): {problem}" for problem in problems]


def _cut(shadow: Shadow, promises: Promises) -> list[str]:
    problems = []
    for image in islice(dict.fromkeys(crash_images(shadow.fs)), CUTS_MAX):
        with scratch() as root:
            unpack(image, root)
            problems += [f"after a cut: {problem}" for problem in problems_of(root, promises.now())]
    return problems


@pytest.mark.parametrize("way", WAYS)
def test_every_call_to_the_files_fails(way: str, count: Count) -> None:
    done, problems, number, reached = 0, [], 1, True
    while reached:
        reached, injected, found = attempt(replace(WAYS[way], number=number))
        done += injected
        problems += found
        number += 1
    count("injections", **{"injections": done, "violations": len(problems)})
    assert done > 50
    assert not problems, "\n".join(problems[:10])


# --- failing calls to the file system -----------------------------------------------------------------------------

Act = Callable[[TableDevice, Promises, Path], list[str]]


def file_attempt(number: int, code: int, lasting: bool, setup: Callable[[Path], None], act: Act) -> tuple[bool, bool, list[str]]:
    """As `attempt`, with the n-th call to the FileSystem failing."""
    faults = DiskFaults()
    with scratch() as root:
        setup(root)
        device = table_device(root, wrap=lambda fs: FaultyFileSystem(fs, faults))
        before = sum(faults.calls.values())
        faults.fail("*", code, nth=number, lasting=lasting)
        promises = Promises()
        problems = act(device, promises, root)
        reached, injected = sum(faults.calls.values()) - before >= number, bool(faults.injected)
        faults.clear()
        problems += [f"refused with {refusal.code}" for refusal in promises.refusals if refusal.code not in REFUSALS]
        if device.disk.failed is None and (refusal := promises.ask(device, names("next", 1))) is not None:
            problems.append(f"the disk recovered, but the device refuses: {refusal.text}")
        device._close_all()
        problems += [f"after a restart: {problem}" for problem in problems_of(root, promises.now())]
        if left := os.listdir(root / "tmp"):
            problems.append(f"left in tmp: {left}")
    return reached, injected, [f"call {number} {errno.errorcode[code]}{' lasting' * lasting}: {found}" for found in problems]


def create(device: TableDevice, promises: Promises, _root: Path) -> list[str]:
    promises.ask(device, names("a", 2))
    return []


def with_rows(root: Path) -> None:
    device = table_device(root)
    write_rows(device, names("old", 2))
    device._close_all()


def quarantine(device: TableDevice, promises: Promises, root: Path) -> list[str]:
    promises.groups.append((names("old", 2), False))  # they may go with it
    device._quarantine(PLACE, "a test")
    found = [path for path in root.rglob("*.db") if path.is_file()]
    return [] if len(found) == 1 else [f"{len(found)} databases"]


def nothing(_root: Path) -> None:
    """The device is empty."""


@pytest.mark.parametrize(("setup", "act"), [(nothing, create), (with_rows, quarantine)])
def test_every_call_to_the_file_system_fails(setup: Callable[[Path], None], act: Act, count: Count) -> None:
    done, problems, number, left = 0, [], 1, True
    while left:
        left = False
        for code in (errno.EIO, errno.ENOSPC, errno.EROFS, errno.EDQUOT):
            for lasting in (False, True):
                reached, injected, found = file_attempt(number, code, lasting, setup, act)
                left |= reached
                done += injected
                problems += found
        number += 1
    count("injections", **{"injections": done, "violations": len(problems)})
    assert done > 50
    assert not problems, "\n".join(problems[:10])
