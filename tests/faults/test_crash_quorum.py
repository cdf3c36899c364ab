"""What a proxy acknowledges survives a power cut of all nodes on a majority of the devices, whatever else the cut drops."""

from collections.abc import Awaitable, Callable

from objstore.formats.messages import Message, Settings, Stats, StatTable, TableInfo
from objstore.model.conditions import NO_CONDITIONS
from objstore.model.identity import Identity
from objstore.model.names import ObjectName
from objstore.proxy.operations import Context, NewObject
from objstore.proxy.store import ClusterStore
from objstore.rpc.interface import CallContext, Caller, Dispatcher
from objstore.runtime.clock import HybridClock
from tests.faults.crashfs import CrashFileSystem
from tests.faults.crashnodes import Content
from tests.faults.crashstates import crash_images
from tests.faults.cutload import OneIsEnough
from tests.faults.figures import Count
from tests.faults.replicarig import LARGE, NODES, PRIMARIES, Fleet, holds, wanted_of
from tests.faults.rig import Subject, at
from tests.unit.objstore.proxy.cluster import QUICK, put

MAJORITY = 2
OWNER = Context(Identity("acc:owner", frozenset({"acc"}), frozenset({"acc"})), "tx1")

Change = Callable[[ClusterStore, ObjectName], Awaitable[object]]
CHANGES: dict[str, Change] = {
    "put": lambda store, name: put(store, name, b"body", OWNER),
    "large put": lambda store, name: put(store, name, LARGE, OWNER),
    "overwrite": lambda store, name: put(store, name, b"another body", OWNER),
    "post": lambda store, name: store.post_object(OWNER, name, NewObject("", user={"k": "v"}), None),
    "delete": lambda store, name: store.delete_object(OWNER, name, NO_CONDITIONS),
}


class ProxiedFleet(Fleet):
    """Four nodes that answer for one container, and a proxy."""

    def __init__(self, one_is_enough: bool) -> None:
        super().__init__([CrashFileSystem() for _ in range(NODES)])
        for node in self.nodes:
            node.dispatcher.on(StatTable, self._stat)
        caller: Caller = self.wire
        if one_is_enough:
            caller = OneIsEnough(self.wire, self.nodes[0].address)
        self.store = ClusterStore(self.rings, caller, self.clock, HybridClock(self.clock, 100), Dispatcher(), knobs=QUICK)

    async def _stat(self, request: Message, _context: CallContext) -> Message:
        assert isinstance(request, StatTable)
        settings = Settings(request.name, put_timestamp=at(1), created_timestamp=at(1))
        return TableInfo(settings, Stats(), 2.0)

    def sure(self, subject: Subject) -> int:
        """On how many primaries the object's newest files are whole in everything that a cut may leave."""
        newest: dict[str, Content] = {}
        for number in PRIMARIES:
            wanted = wanted_of(self.file_systems[number].image(), subject.place)
            if wanted and (not newest or max(wanted) > max(newest)):
                newest = wanted
        assert newest
        return sum(
            all(holds(image, subject.place, newest) for image in crash_images(self.file_systems[number])) for number in PRIMARIES
        )


async def acknowledged(one_is_enough: bool) -> dict[str, int]:
    """Per change, on how many devices it was sure when it was acknowledged."""
    fleet = ProxiedFleet(one_is_enough)
    await fleet.start()
    subject = fleet.subject("o")
    name = ObjectName("acc", "con", subject.row_name)
    found = {}
    for change, work in CHANGES.items():
        await work(fleet.store, name)
        found[change] = fleet.sure(subject)
    await fleet.store.stop()
    await fleet.stop()
    return found


async def test_acknowledged_is_on_a_majority(count: Count) -> None:
    found = await acknowledged(one_is_enough=False)
    count("crash states", **{"acknowledgements of a proxy": len(found)})
    assert all(sure >= MAJORITY for sure in found.values()), found


async def test_one_of_three_is_seen(count: Count) -> None:
    """The control: two of three replicas confirm what they have not seen yet."""
    found = await acknowledged(one_is_enough=True)
    assert found["put"] < MAJORITY and found["delete"] < MAJORITY, found
    count("crash controls", **{"wrong settings": 1, "seen": 1})
