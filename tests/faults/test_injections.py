"""Every call to the file system fails, one after the other, in every way: nothing is acknowledged that is not durable, nothing that
was there is harmed, and the device starts clean afterwards, after a power cut too.
"""

import asyncio
from collections.abc import Iterator
from itertools import islice

import pytest

from objstore.formats.filenames import FileKind
from objstore.formats.messages import Address, PushObject, RestoreQuarantine, Target
from objstore.model.errors import Code, NodeError
from objstore.object.quarantine import Quarantine
from tests.faults.crashfs import CrashFileSystem
from tests.faults.crashnodes import FileNode
from tests.faults.crashstates import crash_images
from tests.faults.failing import LASTING, FailingFileSystem, Injection
from tests.faults.figures import Count
from tests.faults.histories import CASES, LARGE, Case, four, group_of_new, large, posted, small
from tests.faults.ledger import ABSENT, Ledger, State, look, observed
from tests.faults.recorder import AFTERWARDS_S, World, sound
from tests.faults.rig import INDEX, ObjectNode, at

CUTS_MAX = 12
"""States after a power cut that are started on, of each injection."""
REFUSALS = (Code.DEVICE_FAILED, Code.NO_SPACE, Code.BUSY)


async def read_small(world: World) -> None:
    assert (await observed(world.node, world.ledger.subjects["a"])).body == b"old"


async def read_large(world: World) -> None:
    assert (await observed(world.node, world.ledger.subjects["a"])).body == LARGE


async def damaged(world: World) -> None:
    """An object whose bytes rotted, below another one."""
    await four(world)
    subject = world.ledger.subjects["a"]
    (name,) = (name for name in world.fs.directory(subject.place.directory).entries if name.startswith(subject.hash.hex()))
    node = world.fs.directory(subject.place.directory).entries[name]
    assert isinstance(node, FileNode)
    node.data = b"rot"
    world.ledger.damaged.add("a")
    world.ledger.settle(subject, ABSENT)


async def find_damage(world: World) -> None:
    with pytest.raises(NodeError) as caught:
        await observed(world.node, world.ledger.subjects["a"])
    if caught.value.code is not Code.CORRUPT:
        raise caught.value


async def set_aside(world: World) -> None:
    await small(world)
    subject = world.ledger.subjects["a"]
    Quarantine(world.fs, world.clock).move(subject.path(at(1), FileKind.DATA), "a mistake", subject.name)
    world.ledger.damaged.add("a")
    world.ledger.settle(subject, ABSENT)


async def restore(world: World) -> None:
    subject = world.ledger.subjects["a"]
    path = subject.path(at(1), FileKind.DATA)
    number = world.ledger.begin(subject, State(at(1), at(1), False, b"old", (), "a/b"), path)
    await world.node.server.restore_quarantine(RestoreQuarantine("d1", path.rpartition("/")[2]), None)
    world.ledger.promise(subject, number)


async def push_away(world: World) -> None:
    """To another node, of which nothing fails."""
    other = ObjectNode(CrashFileSystem(), world.wire, world.clock, Address("127.0.0.1", 101))
    await other.start()
    subject = world.ledger.subjects["a"]
    request = PushObject(subject.target, subject.hash, subject.name, "127.0.0.1", 101, Target("d1", 12), INDEX)
    try:
        await world.node.call(request)
        assert await observed(other, subject) == world.ledger.last(subject)
    finally:
        await other.stop()


async def four_in_a_group(world: World) -> None:
    """One that fails does not hide what became of the others."""
    client, of = world.client, world.ledger.subjects
    changes = (
        client.put(of["a"], b"new", 3),
        client.post(of["b"], 3, {"k": "v"}),
        client.delete(of["c"], 3),
        client.put_large(of["d"], LARGE, 3),
    )
    await _all(*changes)


async def _all(*work) -> None:  # type: ignore[no-untyped-def]
    results = await asyncio.gather(*work, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result


WORK: dict[str, Case] = {
    **{name: CASES[name] for name in CASES if name not in ("a group of new objects", "a group of each kind")},
    "a group of new objects": Case(group_of_new),
    "a group of each kind": Case(four_in_a_group, four),
    "read": Case(read_small, small),
    "read of a large body": Case(read_large, large),
    "read after a post": Case(read_small, posted),
    "quarantine": Case(find_damage, damaged),
    "restore": Case(restore, set_aside),
    "push": Case(push_away, posted),
    "push of a large body": Case(push_away, large),
}


def injections(number: int) -> Iterator[Injection]:
    """All ways in which call `number` may fail."""
    for code in LASTING:
        yield Injection(number, code)
        yield Injection(number, code, lasting=True)
    yield Injection(number, late=True)


@pytest.mark.parametrize("journal", [0, 2])
@pytest.mark.parametrize("name", WORK)
async def test_every_call_fails(name: str, journal: int, count: Count) -> None:
    case, done, problems = WORK[name], 0, []
    number, left = 1, True
    while left:
        left = False
        for injection in injections(number):
            attempt = Attempt(case, injection, journal)
            await attempt.run()
            left |= attempt.reached
            if attempt.injected:
                done += 1
                problems += [f"{injection} ({', '.join(attempt.fs.failed[:3])}): {problem}" for problem in attempt.problems]
        number += 1
    count("injections", **{"injections": done, "violations": len(problems)})
    assert done > 20
    assert not problems, "\n".join(problems[:8])


class Attempt:
    """One run of a case with one injection."""

    def __init__(self, case: Case, injection: Injection, journal: int = 0) -> None:
        self.case = case
        self.options = {**case.options, "journal": journal}
        self.injection = injection
        self.problems: list[str] = []
        self.fs = FailingFileSystem()
        self.ledger = Ledger()

    async def run(self) -> None:
        world = World(self.fs, self.ledger, **self.options)
        await world.node.start()
        if self.case.setup is not None:
            await self.case.setup(world)
            await world.node.stop()
            self.fs = FailingFileSystem(world.fs.image())
            world = World(self.fs, self.ledger, world.rows(), **self.options)
            await world.node.start()
        self.fs.arm(self.injection)
        refusal = await self._act(world)
        self.reached = self.fs.calls >= self.injection.number
        self.injected = self.fs.first == self.injection.number
        if self.injected:
            await self._judge(world)
        else:
            await world.node.stop()
            if refusal is not None and not self.fs.failed:
                raise refusal

    async def _act(self, world: World) -> NodeError | None:
        try:
            await self.case.act(world)
        except NodeError as error:
            if error.code not in REFUSALS:
                self.problems.append(f"refused with {error.code}: {error.text}")
            return error
        return None

    async def _judge(self, world: World) -> None:
        must_refuse = self.fs.device_lost
        self.fs.disarm()
        for name, allowed in self.ledger.truth():
            state = await look(world.node, self.ledger, self.ledger.subjects[name])
            if state not in allowed:
                self.problems.append(f"{name} reads as {state} while the process lives")
        await self._try_a_change(world, must_refuse)
        rows, truth = world.rows(), self.ledger.truth()
        images = [self.fs.image(), *islice(crash_images(self.fs), CUTS_MAX)]
        await world.node.stop()
        for image in dict.fromkeys(images):
            again = World(CrashFileSystem(image), self.ledger, rows, **self.options)
            try:
                await again.node.start()
                found = await sound(again, truth)
                await again.node.stop()
            except NodeError as error:
                found = [f"refused: {error.code} {error.text}"]
            self.problems += [f"after a restart: {problem}" for problem in found]

    async def _try_a_change(self, world: World, must_refuse: bool) -> None:
        """A device whose sync failed refuses; any other goes on as if nothing had been."""
        subject = next(iter(self.ledger.subjects.values()))
        try:
            await world.client.put(subject, b"next", AFTERWARDS_S - 1)
        except NodeError as error:
            if world.node.disk.failed is None:
                self.problems.append(f"the device recovered, but refuses: {error.code} {error.text}")
            return
        if must_refuse or world.node.disk.failed is not None:
            self.problems.append("a sync failed, and the device goes on")
