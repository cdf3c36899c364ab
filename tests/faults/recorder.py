"""Runs a case over a CrashFileSystem, cuts the power at every boundary, and checks each distinct state that may be left."""

import copy
from collections import deque
from collections.abc import Awaitable, Callable

from objstore.model.errors import NodeError
from objstore.model.rows import ObjectRow
from objstore.runtime.filesystem import TMP
from tests.faults.crashfs import CrashFileSystem
from tests.faults.crashnodes import Image
from tests.faults.crashstates import Figures, crash_images
from tests.faults.ledger import ABSENT, Client, Ledger, Truth, look, observed, row_problem
from tests.faults.rig import CONTAINER, Containers, ObjectNode, StillClock, Subject, Wire

CUTS_MAX = 3
"""A device is cut, cut again while it recovers, and once more."""
RECOVERIES_CUT_MAX = 50
"""Of the states of a case with a journal, so many recoveries are cut again: replaying it has many boundaries."""

Rows = tuple[tuple[str, ObjectRow], ...]
AFTERWARDS_S = 900.0


class World:
    """One device in use: its file system, the server on it, a container server, and the truth."""

    def __init__(
        self, fs: CrashFileSystem, ledger: Ledger, rows: Rows = (), *, segment_bytes_max: int = 1 << 20, journal: int = 0
    ) -> None:
        self.fs = fs
        self.ledger = ledger
        self.clock = StillClock()
        self.wire = Wire(self.clock)
        self.containers = Containers()
        self.containers.rows.update(rows)
        self.wire.plug(CONTAINER, self.containers.dispatcher)
        self.node = ObjectNode(fs, self.wire, self.clock, segment_bytes_max=segment_bytes_max, journal=journal)
        self.node.disk.durable = ledger.durable
        self.client = Client(self.node, ledger)

    def subject(self, text: str, partition: int = 12) -> Subject:
        return self.ledger.add(Subject(text, partition))

    def rows(self) -> Rows:
        return tuple(sorted(self.containers.rows.items()))


Check = Callable[[World, Truth], Awaitable[list[str]]]
"""Looks at a started world on what a cut has left; returns what is wrong."""


class Recorder:
    """Collects states while cases run, then checks them. One recorder may serve many cases."""

    def __init__(
        self, *, seed: int = 1, make: Callable[[Image], CrashFileSystem] = CrashFileSystem, violations_max: int = 100
    ) -> None:
        """`make` gives the file system that a case runs on: a wrong setting is a subclass of CrashFileSystem. Checking ends
        after `violations_max`.
        """
        self.seed = seed
        self._violations_max = violations_max
        self.make = make
        self.boundaries = 0
        self.recovery_boundaries = 0
        self.images: set[Image] = set()
        self.violations: list[str] = []
        self.figures = Figures()
        self._seen: set[tuple[Image, Truth, Rows]] = set()
        self._recoveries_cut = 0
        self._queue: deque[tuple[Image, Truth, Rows, int]] = deque()

    def watch(self, world: World, truth: Truth | None = None, cuts: int = 0) -> None:
        """From here on every boundary of this world is recorded; in recovery after `cuts` with the `truth` before them."""

        def boundary(_operation: str) -> None:
            if truth is None:
                self.boundaries += 1
            else:
                self.recovery_boundaries += 1
            self.cut(world, world.ledger.truth() if truth is None else truth, cuts)

        world.fs.observer = boundary

    def cut(self, world: World, truth: Truth, cuts: int = 0) -> None:
        """Note every state that a cut at this moment may leave."""
        rows = world.rows()
        for image in crash_images(world.fs, self.seed, self.figures):
            state = (image, truth, rows)
            if state not in self._seen:
                self._seen.add(state)
                self.images.add(image)
                self._queue.append((*state, cuts + 1))

    async def run(
        self,
        case: Callable[[World], Awaitable[None]],
        setup: Callable[[World], Awaitable[None]] | None = None,
        check: Check | None = None,
        **options: int,
    ) -> None:
        """`setup` is not recorded, and durable when `case` begins."""
        world = await self._set_up(setup, options)
        self.watch(world)
        await case(world)
        self.boundaries += 1
        self.cut(world, world.ledger.truth())
        world.fs.observer = None
        await world.node.stop()
        await self._check_all(world.ledger, check or sound, options)

    async def run_killed(
        self,
        case: Callable[[World], Awaitable[None]],
        setup: Callable[[World], Awaitable[None]] | None = None,
        **options: int,
    ) -> None:
        """At each boundary of `case` the process is killed, not the power: the next process changes every object, on top of what
        is there and was never synced, and then the power is cut.
        """
        world = await self._set_up(setup, options)
        killed: list[tuple[CrashFileSystem, Ledger, Rows]] = []

        def boundary(_operation: str) -> None:
            killed.append((world.fs.after_a_kill(), copy.deepcopy(world.ledger), world.rows()))

        world.fs.observer = boundary
        await case(world)
        boundary("end")
        world.fs.observer = None
        await world.node.stop()
        for fs, ledger, rows in killed:
            again = World(fs, ledger, rows, **options)
            await again.node.start()
            self.watch(again)
            for subject in ledger.subjects.values():
                await again.client.put(subject, b"after the kill", AFTERWARDS_S / 2)
            self.cut(again, ledger.truth())
            again.fs.observer = None
            await again.node.stop()
            await self._check_all(ledger, sound, options)

    async def _set_up(self, setup: Callable[[World], Awaitable[None]] | None, options: dict[str, int]) -> World:
        ledger = Ledger()
        world = World(self.make(()), ledger, **options)
        await world.node.start()
        if setup is not None:
            await setup(world)
            await world.node.stop()
            world = World(self.make(world.fs.image()), ledger, world.rows(), **options)
            await world.node.start()
        return world

    async def _check_all(self, ledger: Ledger, check: Check, options: dict[str, int]) -> None:
        """Recovery is recorded as well: the states that a second cut leaves join the queue."""
        while self._queue and len(self.violations) < self._violations_max:
            image, truth, rows, cuts = self._queue.popleft()
            try:
                world = World(self.make(image), ledger, rows, **options)
                if cuts < CUTS_MAX and self._recoveries_cut < RECOVERIES_CUT_MAX:
                    self._recoveries_cut += bool(options.get("journal"))
                    self.watch(world, truth, cuts)
                await world.node.start()
                problems = await check(world, truth)
                await world.node.stop()
            except NodeError as error:
                problems = [f"refused: {error.code} {error.text}"]
            for problem in problems:
                self.violations.append(f"{problem}\n    left: {[path for path, _ in image]}")


async def sound(world: World, truth: Truth) -> list[str]:
    """Every object is in a state it may be in, whole; its row is delivered or pending; nothing temporary is left; the device
    takes changes.
    """
    problems, states = [], {}
    for name, allowed in truth:
        subject = world.ledger.subjects[name]
        state = states[name] = await look(world.node, world.ledger, subject)
        if state not in allowed:
            seen = state._replace(body=state.body[:8])
            problems.append(f"{name}: reads as {seen}, none of {[one._replace(body=one.body[:8]) for one in allowed]}")
    figures = await world.node.update()
    if figures["pending"] or figures["failed"]:
        problems.append(f"the updater left {figures}")
    for name, state in states.items():
        problem = row_problem(world.containers.rows.get(name), state)
        if problem and name not in world.ledger.damaged:
            problems.append(f"{name}: {problem}")
    if left := world.fs.list_directory(TMP):
        problems.append(f"left in tmp: {left}")
    world.fs.observer = None
    subject = world.ledger.subjects[truth[0][0]]
    await Client(world.node, _Nothing()).put(subject, b"afterwards", AFTERWARDS_S)
    if (await observed(world.node, subject)).body != b"afterwards":
        problems.append("the device takes no change")
    return problems


class _Nothing(Ledger):
    """For changes that no truth is kept of."""

    def begin(self, subject: Subject, state: object, path: str) -> int:
        return 0

    def promise(self, subject: Subject, number: int) -> None:
        pass

    def last(self, subject: Subject):  # type: ignore[no-untyped-def]
        return ABSENT
