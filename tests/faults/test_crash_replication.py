"""A handoff hands its copies back while the power goes or calls fail: at no moment is the last copy lost."""

import errno
import random

import pytest

from tests.faults.crashfs import CrashFileSystem
from tests.faults.crashnodes import Image
from tests.faults.crashstates import crash_images
from tests.faults.failing import FailingFileSystem, Injection
from tests.faults.figures import Count
from tests.faults.ledger import State
from tests.faults.replicarig import HANDOFF, NODES, PRIMARIES, Fleet, differences, filled, holds, wanted_of
from tests.faults.rig import Subject

COMBINATIONS = 12
"""Of what a cut leaves of the four devices, that many are started on, of each boundary."""
EVERY = 2
"""Each second call of a pass is made to fail."""


class Watch:
    """Looks at all four devices before each of their steps."""

    def __init__(
        self, fleet: Fleet, images: list[Image], subjects: dict[str, tuple[Subject, State]], only: tuple[str, ...] = ()
    ) -> None:
        """`only` before these operations, where given."""
        self.fleet = fleet
        self._only = only
        self.problems: list[str] = []
        self.boundaries = 0
        self.combinations: dict[tuple[Image, ...], None] = {}
        self._subjects = subjects
        self._wanted = {text: wanted_of(images[HANDOFF], subject.place) for text, (subject, _) in subjects.items()}
        self._left: list[list[Image]] = [[] for _ in range(NODES)]
        self._stale: set[int] = set()
        """Devices that did something since they were looked at."""
        self._rng = random.Random(1)

    def arm(self) -> None:
        for number in range(NODES):
            self._look_at(number)
        for number, fs in enumerate(self.fleet.file_systems):
            fs.observer = lambda operation, number=number: self._before(number, operation)  # type: ignore[misc]

    def _before(self, number: int, operation: str) -> None:
        if not self._only or operation in self._only:
            self.step(number)
        self._stale.add(number)

    def _look_at(self, number: int) -> None:
        self._left[number] = list(dict.fromkeys(crash_images(self.fleet.file_systems[number])))

    def step(self, number: int) -> None:
        self.boundaries += 1
        for stale in {*self._stale, number}:
            self._look_at(stale)
        self._stale = set()
        for text, (subject, _) in self._subjects.items():
            sure = [all(holds(image, subject.place, self._wanted[text]) for image in left) for left in self._left]
            if not any(sure):
                self.problems.append(f"{text} may be gone from every device")
            elif not sure[HANDOFF] and not all(sure[primary] for primary in PRIMARIES):
                self.problems.append(f"{text} may be gone from the handoff, and is sure on {sure} only")
        for _ in range(COMBINATIONS):
            self.combinations[tuple(self._rng.choice(left) for left in self._left)] = None


async def test_a_power_cut_of_all_never_loses_the_last_copy(count: Count) -> None:
    images, subjects = await filled()
    fleet = Fleet([CrashFileSystem(image) for image in images])
    await fleet.start()
    watch = Watch(fleet, images, subjects)
    watch.arm()
    figures = await fleet.nodes[HANDOFF].run("object-replicator")
    for number in range(NODES):
        watch.step(number)
        fleet.file_systems[number].observer = None
    assert figures["removed"] == len(subjects) and figures["failed"] == 0
    await fleet.stop()
    for combination in watch.combinations:
        watch.problems += await healed(combination, subjects)
    count(
        "replication crash states",
        **{
            "distinct states": len(watch.combinations),
            "boundaries": watch.boundaries,
            "violations": len(watch.problems),
        },
    )
    assert len(watch.combinations) > 100
    assert not watch.problems, watch.problems[:5]


async def healed(images: tuple[Image, ...], subjects: dict[str, tuple[Subject, State]]) -> list[str]:
    """Start all four on what is left: the replicators bring every object to all primaries, and nothing stays behind."""
    fleet = Fleet([CrashFileSystem(image) for image in images])
    await fleet.start()
    await fleet.settle()
    found = await differences(fleet, subjects)
    await fleet.stop()
    return found


async def test_a_handoff_that_believes_too_soon_is_seen() -> None:
    """The control: the directories of one primary are never synced."""

    class Lying(CrashFileSystem):
        def sync_entries(self, directory, path):  # type: ignore[no-untyped-def]
            pass

    images, subjects = await filled()
    fleet = Fleet([Lying(image) if number == 1 else CrashFileSystem(image) for number, image in enumerate(images)])
    await fleet.start()
    watch = Watch(fleet, images, subjects)
    watch.arm()
    await fleet.nodes[HANDOFF].run("object-replicator")
    assert any("may be gone from the handoff" in problem for problem in watch.problems)


@pytest.mark.parametrize("failing", [HANDOFF, 0])
async def test_failing_calls_never_lose_the_last_copy(failing: int, count: Count) -> None:
    images, subjects = await filled()
    done, problems, number = 0, [], 1
    reached = True
    while reached:
        for injection in (Injection(number), Injection(number, errno.ENOSPC), Injection(number, lasting=True)):
            fleet = Fleet([FailingFileSystem(image) for image in images])
            await fleet.start()
            watch = Watch(fleet, images, subjects, ("unlink", "remove_directory"))
            watch.arm()
            fs = fleet.file_systems[failing]
            assert isinstance(fs, FailingFileSystem)
            fs.arm(injection)
            await fleet.nodes[HANDOFF].run("object-replicator")
            reached = fs.calls >= number
            fs.disarm()
            watch.step(failing)
            for one in fleet.file_systems:
                one.observer = None
            left = tuple(one.image() for one in fleet.file_systems)
            await fleet.stop()
            if fs.first == number:
                done += 1
                problems += [f"{injection} ({fs.failed[0]}): {problem}" for problem in watch.problems]
                problems += [f"{injection} ({fs.failed[0]}): {problem}" for problem in await healed(left, subjects)]
        number += EVERY
    count("injections", **{"injections": done, "violations": len(problems)})
    assert done > 40
    assert not problems, "\n".join(problems[:8])
