"""Gets back what a device lost: fetches the newest copy from the other primaries, or learns from them that there is none to get.

Every other primary is asked before anything is believed: the first to answer may be the one that missed the newest change.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from objstore.formats.filenames import policy_of_directory
from objstore.formats.messages import Address, GetObject, IndexTarget, ObjectReply, PushObject
from objstore.model.errors import Code, NodeError, Unavailable
from objstore.model.lost import NONE, Lost
from objstore.model.names import ObjectName
from objstore.model.quorum import NOTHING, outvoted
from objstore.model.timestamps import seconds_of
from objstore.object.device import ObjectDevice, read_failed
from objstore.object.files import Place
from objstore.object.merge import valid_name
from objstore.object.reader import Corrupt
from objstore.placement.places import Placement, Replica
from objstore.rpc.interface import Caller, PeerUnavailable
from objstore.runtime.interface import Clock

logger = logging.getLogger("objstore.object")

UNDER_WAY_MAX = 64
AT_ONCE_MAX = 16
ASK_TIMEOUT_S = 10.0
PUSH_TIMEOUT_S = 60.0
IN_FLIGHT_S = 60.0
"""So long after its timestamp a change may still be on its way to other replicas, and be acknowledged."""


@dataclass(frozen=True, slots=True)
class _Answer:
    """What a primary holds, sound. `name` "" where there is nothing, or a tombstone. One that lost something newer itself is as one
    that never heard of the object: what it still holds proves nothing.
    """

    replica: Replica
    order: tuple[int, int]
    name: str


class Repairs:
    """Of all devices of a node. Used in the event loop alone; `stop` at the end."""

    def __init__(
        self, placement: Placement, own: frozenset[Address], caller: Caller, clock: Clock, horizon: Callable[[], int]
    ) -> None:
        """`own`: the addresses of this process in the rings. `horizon()`: the timestamp below which deletions may be forgotten."""
        self._placement = placement
        self._own = own
        self._caller = caller
        self._clock = clock
        self._horizon = horizon
        self._tasks: set[asyncio.Task[None]] = set()

    def damaged(self, device: ObjectDevice, place: Place, error: Corrupt) -> None:
        """A file went to quarantine: act at once, without waiting for anybody's next pass."""
        if len(self._tasks) < UNDER_WAY_MAX:
            task = asyncio.get_running_loop().create_task(self._begin(device, place, error.name))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def settled(self) -> None:
        """Wait for what was begun."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def stop(self) -> None:
        """End what is under way; the next pass does what is left."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def run(self, device: ObjectDevice) -> int:
        """Try again for all that a device lost; returns how many objects still miss something, those included that could
        not be looked at.
        """
        gate = asyncio.Semaphore(AT_ONCE_MAX)

        async def one(place: Place, since_s: float) -> bool:
            async with gate:
                try:
                    if device.lost(place, await device.files(place)) != NONE:
                        return await self._repair(device, place, "", since_s)
                    return not await self._supersede(device, place, NONE)  # it was written or deleted since
                except NodeError as error:
                    logger.warning("not repaired", extra={"device": device.name, "path": place.directory, "error": str(error)})
                    return True

        return sum(await asyncio.gather(*(one(place, since_s) for place, since_s in device.with_losses())))

    async def _begin(self, device: ObjectDevice, place: Place, name: str) -> None:
        try:
            await self._repair(device, place, name, self._clock.now())
        except NodeError as error:
            logger.warning("object not repaired", extra={"device": device.name, "object": name, "error": str(error)})

    async def _repair(self, device: ObjectDevice, place: Place, name: str, since_s: float) -> bool:
        """Returns whether something is still missed. Raises NodeError device_failed, busy."""
        here, others = self._primaries(device, place)
        if here is None:
            return False  # another device's to hold; what is lost here is forgotten with the partition
        if device.disk.failed is not None:
            return True
        answers = [one for one in await asyncio.gather(*(self._ask(other, place, name) for other in others)) if one is not None]
        fetched = True
        for answer in sorted(answers, key=lambda one: one.order, reverse=True):
            files = await device.files(place)
            if answer.order[0] > files.timestamp or answer.order[1] > files.newest:
                fetched &= await self._fetch(here, answer, place, name)
        missed = device.lost(place, await device.files(place))
        if missed != NONE and not (fetched and self._is_void(missed, answers, len(others), since_s)):
            return True
        if not await self._supersede(device, place, missed):
            return True
        what = "object repaired" if missed == NONE else "what was lost was never acknowledged, or deleted long ago"
        found = name or next((one.name for one in answers if one.name), "")
        logger.warning(what, extra={"device": device.name, "object": found, "asked": len(answers)})
        return False

    def _primaries(self, device: ObjectDevice, place: Place) -> tuple[Replica | None, list[Replica]]:
        """This device as a primary of the partition, None when it is not; and the others."""
        top, _, number = place.directory.partition("/")
        policy = policy_of_directory(top)
        assert policy is not None
        try:
            replicas = self._placement.primaries(policy, int(number))
        except (IndexError, Unavailable):  # of a ring with more partitions, or that is not here
            return None, []
        here = [one for one in replicas if one.address in self._own and one.target.device == device.name]
        return (here[0] if here else None), [one for one in replicas if one not in here]

    async def _ask(self, other: Replica, place: Place, name: str) -> _Answer | None:
        """None when it does not answer."""
        request = GetObject(other.target, place.hash, name)
        try:
            reply = await self._caller.call(other.address, request, timeout_s=ASK_TIMEOUT_S)
        except PeerUnavailable:
            return None
        except NodeError as refusal:
            if refusal.code is Code.CORRUPT and refusal.lost != NONE:
                return _Answer(other, NOTHING, "")
            if refusal.code is not Code.NOT_FOUND:
                return None
            return _Answer(other, (refusal.timestamp, refusal.timestamp), "")
        assert isinstance(reply, ObjectReply)
        return _Answer(other, reply.version.order, reply.version.name)

    async def _fetch(self, here: Replica, answer: _Answer, place: Place, name: str) -> bool:
        """Have another primary push what it holds; whether it did."""
        name = answer.name or name
        (ip, port), target = here
        request = PushObject(answer.replica.target, place.hash, name, ip, port, target, self._index(place, here, name))
        try:
            await self._caller.call(answer.replica.address, request, timeout_s=PUSH_TIMEOUT_S)
        except (NodeError, PeerUnavailable) as refusal:
            peer = f"{answer.replica.address.ip}:{answer.replica.address.port}"
            logger.info("no copy from a peer", extra={"peer": peer, "error": str(refusal)})
            return False
        return True

    def _index(self, place: Place, here: Replica, name: str) -> IndexTarget | None:
        if not valid_name(name):
            return None
        found = self._placement.object(ObjectName(*name[1:].split("/", 2)), here.target.policy)
        return found.index[found.replicas.index(here)] if found.hash == place.hash and here in found.replicas else None

    def _is_void(self, missed: Lost, answers: Sequence[_Answer], others: int, since_s: float) -> bool:
        """Whether nobody needs to miss it: it was never acknowledged and cannot be any more; or it may have been deleted, and the
        deletion forgotten, while this device was away. Nobody can say so of an object's only replica.
        """
        if not others or len(answers) < others:
            return False
        age_s = self._clock.now() - seconds_of(missed.newest)
        if abs(age_s) > IN_FLIGHT_S and outvoted(missed, [answer.order for answer in answers], others + 1):
            return True
        horizon = self._horizon()
        return missed.newest < horizon and since_s < seconds_of(horizon)

    async def _supersede(self, device: ObjectDevice, place: Place, judged: Lost) -> bool:
        """Nothing is missed any more, unless something but what was judged has been lost meanwhile; returns whether it is so."""
        try:
            async with device.locks.of(place):
                if device.lost(place, await device.files(place)) not in (NONE, judged):
                    return False
                await device.supersede(place)
                return True
        except OSError as error:
            raise read_failed(error) from error
