"""Three primaries and a handoff on file systems in memory, with copies on the handoff that it is to hand back."""

from collections.abc import Callable, Sequence

from objstore.formats.filenames import parse_file_name
from objstore.formats.messages import Address, MergeObjectRows
from objstore.model.names import ObjectName
from objstore.object.files import Files, Place, choose
from objstore.object.replication import ReplicationSettings
from objstore.placement.places import Placement, Rings
from tests.faults.crashfs import CrashFileSystem
from tests.faults.crashnodes import Content, Image, files_of
from tests.faults.ledger import Client, Ledger, State, observed
from tests.faults.rig import Containers, ObjectNode, StillClock, Subject, Wire
from tests.unit.objstore.proxy.cluster import ring_of

NODES = 4
HANDOFF = 3
PRIMARIES = (0, 1, 2)
LARGE = bytes(range(256)) * 400
PASSES_MAX = 6


class Fleet:
    """Four nodes, each on a file system of its own. `start` before use."""

    def __init__(self, file_systems: Sequence[CrashFileSystem]) -> None:
        self.clock = StillClock()
        self.wire = Wire(self.clock)
        self.containers = Containers()
        self.file_systems = file_systems
        ring = ring_of(NODES, PRIMARIES)
        self.rings = Rings(ring, ring, {0: ring}, b"pre", b"suf")
        self.placement = Placement(self.rings)
        self.nodes = []
        for number, fs in enumerate(file_systems):
            address = Address("127.0.0.1", 6000 + number)
            settings = ReplicationSettings(self.placement, frozenset({address}), lambda: 0, bytes(16))
            node = ObjectNode(fs, self.wire, self.clock, address, replication=settings)
            node.dispatcher.on(MergeObjectRows, self.containers.merge)
            self.nodes.append(node)

    async def start(self) -> None:
        for node in self.nodes:
            await node.start()

    async def stop(self) -> None:
        for node in self.nodes:
            await node.stop()

    def subject(self, text: str) -> Subject:
        """An object of partition 0, whose primaries are the first three nodes."""
        for attempt in range(1000):
            name = f"{text}.{attempt}"
            place = self.placement.object(ObjectName("acc", "con", name), 0)
            if place.replicas[0].target.partition == 0:
                return Subject(name, 0, place.hash)
        raise AssertionError("no such name")

    async def settle(self) -> None:
        """Replicator passes everywhere until nothing is left to do."""
        for _ in range(PASSES_MAX):
            figures = [await node.run("object-replicator") for node in self.nodes]
            if not any(one["pushed"] + one["removed"] + one["failed"] for one in figures):
                return
        raise AssertionError(f"no rest after {PASSES_MAX} passes: {figures}")


async def fill(fleet: Fleet) -> dict[str, tuple[Subject, State]]:
    """One object of each kind, by text, and the state that all must end in: that on the handoff."""
    found = {}

    async def make(text: str, old: Sequence[int], change: Callable[[Client, Subject], object], same: Sequence[int] = ()) -> None:
        subject, state = fleet.subject(text), State()
        for number in (*old, *same, HANDOFF):
            ledger = Ledger()
            client = Client(fleet.nodes[number], ledger)
            ledger.add(subject)
            if old:
                await client.put(subject, b"old", 1)
            if number not in old:
                await change(client, subject)  # type: ignore[misc]
            state = ledger.last(subject)
        found[text] = (subject, state)

    await make("fresh", (), lambda c, s: c.put(s, b"fresh", 2))
    await make("large", (), lambda c, s: c.put_large(s, LARGE, 2))
    await make("newer", PRIMARIES, lambda c, s: c.put(s, b"newer", 2))
    await make("posted", PRIMARIES, lambda c, s: c.post(s, 2, {"k": "v"}))
    await make("deleted", PRIMARIES, lambda c, s: c.delete(s, 2))
    await make("partly", (1,), lambda c, s: c.put(s, b"partly", 2), (0,))
    return found


async def filled() -> tuple[list[Image], dict[str, tuple[Subject, State]]]:
    """The four devices before the pass, all of it durable."""
    fleet = Fleet([CrashFileSystem() for _ in range(NODES)])
    await fleet.start()
    found = await fill(fleet)
    await fleet.stop()
    return [fs.image() for fs in fleet.file_systems], found


def holds(image: Image, place: Place, wanted: dict[str, Content]) -> bool:
    """Whether a device with this image has the object as in `wanted` (its files by path), whole."""
    there = {path: content for path, content in files_of(image) if path.startswith(place.directory + "/")}
    names = [parse_file_name(path.rpartition("/")[2]) for path in there]
    held, _ = choose([name for name in names if name.hash == place.hash])
    needed, _ = choose([parse_file_name(path.rpartition("/")[2]) for path in wanted])
    return held.covers(needed) and all(there.get(path) == content for path, content in wanted.items())


def wanted_of(image: Image, place: Place) -> dict[str, Content]:
    """The files that count of an object on the handoff, whose data may be there alone."""
    found = {path: content for path, content in files_of(image) if path.startswith(f"{place.directory}/{place.hash.hex()}")}
    files: Files = choose([parse_file_name(path.rpartition("/")[2]) for path in found])[0]
    return {path: found[path] for path in files.paths(place)}


async def differences(fleet: Fleet, subjects: dict[str, tuple[Subject, State]]) -> list[str]:
    """What each primary shows that is not as on the handoff, and what is left there."""
    found = []
    for text, (subject, state) in subjects.items():
        for number in PRIMARIES:
            if (seen := await observed(fleet.nodes[number], subject)) != state:
                found.append(f"{text} on {number} reads as {seen._replace(body=seen.body[:8])}")
    if left := fleet.file_systems[HANDOFF].list_directory("objects/0"):
        found.append(f"left on the handoff: {left}")
    return found
