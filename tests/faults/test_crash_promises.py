"""Power cuts at every boundary of promises: what was promised is kept afterwards, until it was given back or fulfilled."""

import pytest

from objstore.formats.messages import GiveBack, Prepare, Promised, PutObject, Ready, Stored
from objstore.model.errors import Code, NodeError
from objstore.model.version import Version
from tests.faults.crashfs import CrashFileSystem
from tests.faults.crashnodes import Image
from tests.faults.crashstates import crash_images
from tests.faults.figures import Count
from tests.faults.ledger import Ledger
from tests.faults.recorder import World
from tests.faults.rig import INDEX, Subject, at
from tests.faults.test_crash_controls import DirectoriesNotSynced, NewParentsNotSynced

STEPS = ("prepare 2", "prepare 4", "put 4", "prepare 6", "give back 6", "put 8", "prepare 10", "prepare 12")


class Left:
    """What cuts may leave, and the promise that stood at that moment: of those in question the lower one."""

    def __init__(self, fs: CrashFileSystem) -> None:
        self.states: dict[tuple[Image, int], None] = {}
        self.promised = 0
        self.boundaries = 0
        self._fs = fs
        fs.observer = self.note

    def note(self, _operation: str) -> None:
        self.boundaries += 1
        for image in crash_images(self._fs):
            self.states[image, self.promised] = None


async def play(world: World, subject: Subject, left: Left) -> None:
    for step in STEPS:
        action, _, text = step.rpartition(" ")
        second = int(text)
        if action == "prepare":
            reply = await world.node.call(Prepare(subject.target, subject.hash, subject.name, at(second), 0))
            assert isinstance(reply, Promised)
            left.promised = second
            continue
        left.promised = 0  # from here on nobody relies on it
        if action == "give back":
            assert isinstance(await world.node.call(GiveBack(subject.target, subject.hash, at(second))), Ready)
        else:
            assert isinstance(await world.node.call(put_of(subject, second)), Stored)
    left.note("end")


def put_of(subject: Subject, second: float) -> PutObject:
    return PutObject(subject.target, subject.hash, Version(subject.name, at(second), size=1, etag="e"), b"x", INDEX)


async def broken(image: Image, promised: int) -> bool:
    """Whether a change below the promise is taken on what a cut left."""
    world = World(CrashFileSystem(image), Ledger())
    subject = world.subject("a")
    await world.node.start()
    try:
        await world.node.call(put_of(subject, promised - 0.5))
    except NodeError as error:
        assert error.code is Code.NEWER_EXISTS
        return False
    finally:
        await world.node.stop()
    return True


async def violations(make: type[CrashFileSystem], count: Count | None = None) -> int:
    left = await played(make)
    found = 0
    for image, promised in left.states:
        if promised:
            found += await broken(image, promised)
    if count is not None:
        count("promise crash states", **{"distinct states": len(left.states), "boundaries": left.boundaries, "violations": found})
    return found


async def played(make: type[CrashFileSystem]) -> Left:
    world = World(make(()), Ledger())
    subject = world.subject("a")
    await world.node.start()
    left = Left(world.fs)
    await play(world, subject, left)
    world.fs.observer = None
    await world.node.stop()
    return left


async def test_a_promise_outlives_a_power_cut(count: Count) -> None:
    assert await violations(CrashFileSystem, count) == 0


@pytest.mark.parametrize("wrong", [DirectoriesNotSynced, NewParentsNotSynced])
async def test_it_would_not_without_syncing_directories(wrong: type[CrashFileSystem]) -> None:
    assert await violations(wrong) > 0
