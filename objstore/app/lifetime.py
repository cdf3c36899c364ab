"""Whether devices may be used: none that was away for longer than deletions are remembered (G9), none that is not there any more.

Each device carries a stamp of the cluster's age (see `runtime.uptime`), renewed every minute. At the start, and then every minute,
other nodes are told our age and tell theirs; a device whose stamp lies too far behind would bring deleted objects back: it is
refused. So is one that holds data and has no stamp, once the cluster is old enough to have forgotten something: nobody knows when
it was last in use.
"""

import asyncio
import logging
import statistics
from collections.abc import Callable, Iterable, Sequence

from objstore.app.storage import OpenedDevice
from objstore.formats.devicestamp import Stamp, decode_stamp, encode_stamp
from objstore.formats.messages import Address, ClusterAge, Message, TellAge
from objstore.model.errors import NodeError
from objstore.rpc.interface import CallContext, Caller, Dispatcher, PeerUnavailable
from objstore.runtime.interface import Clock, FileSystem, Rng
from objstore.runtime.uptime import Uptime

STAMP = "stamp.json"
ASK_TIMEOUT_S = 1.5
PEERS_ASKED_MAX = 8
KEEP_INTERVAL_S = 60.0
MEET_INTERVAL_S = 1.0
MEET_ATTEMPTS_MAX = 20
SKEW_MAX_S = 60.0
_DATA = ("objects", "containers", "accounts")
"""What the directories that hold data begin with."""
log = logging.getLogger("objstore.device")


class Lifetime:
    """Of all devices of a process. `ask` as early as possible, `begin` before the devices serve, `keep` while they do."""

    def __init__(
        self,
        own: Iterable[Address],
        peers: Callable[[], Iterable[Address]],
        caller: Caller,
        clock: Clock,
        rng: Rng,
        reclaim_age_s: float,
    ) -> None:
        """`own`: this process's addresses; `peers()`: every storage process of the rings."""
        self.uptime = Uptime(clock, reclaim_age_s)
        self.uptime.hold()
        self.met = asyncio.Event()
        """Another node has told the cluster's age, or there is none that does: now replicas may be compared."""
        self._devices: Sequence[OpenedDevice] = ()
        self._own = set(own)
        self._peers = peers
        self._caller = caller
        self._clock = clock
        self._rng = rng
        self._interval_s = min(KEEP_INTERVAL_S, reclaim_age_s / 20)
        self._stamps: dict[str, float] = {}
        """Age at which each device was last known to be in use. An empty device has none before the cluster's age is known: a
        stamp of zero would look like a long absence.
        """
        self._heard = False
        self._skews: list[float] = []
        """How far our clock is ahead of those of the nodes asked last."""

    def register(self, dispatcher: Dispatcher) -> None:
        dispatcher.on(TellAge, self._tell)

    async def begin(self, devices: Sequence[OpenedDevice]) -> None:
        """Read the stamps; refuse what was away for too long."""
        self._devices = devices
        stamps = {}
        for device in devices:
            if device.device is None:
                continue
            try:
                stamp = await asyncio.to_thread(_read, device)
            except OSError as error:
                device.give_up(f"{device.path}: cannot be listed: {error.strerror or error}")
                continue
            if stamp is not None:
                stamps[device.name] = stamp
        if stamps:
            newest = max(stamps.values(), key=lambda stamp: stamp.age_s)
            self.uptime.restore(newest.age_s, newest.samples)
        self._stamps = {name: stamp.age_s for name, stamp in stamps.items()}
        self._refuse()
        await self._note()

    async def keep(self) -> None:
        """Until cancelled. At first until somebody answers: nodes that start together do not hear each other at once."""
        for _ in range(MEET_ATTEMPTS_MAX):
            if self.met.is_set():
                break
            await self._clock.sleep(MEET_INTERVAL_S)
            await self.ask()
            self._refuse()
        self.met.set()
        await self._note()
        while True:
            await self._clock.sleep(self._interval_s)
            await self.ask()
            self._refuse()
            await self._note()

    def clock_trusted(self) -> bool:
        """Whether most nodes, this one included, have its time: jobs that remove what is over must not run on a wrong clock."""
        agreeing = 1 + sum(abs(skew) <= SKEW_MAX_S for skew in self._skews)
        return 2 * agreeing > 1 + len(self._skews)

    # --- other nodes -------------------------------------------------------------------------------------------

    async def _tell(self, request: Message, _context: CallContext) -> Message:
        assert isinstance(request, TellAge)
        self.uptime.learn(request.age_s)
        self._heard = True
        return ClusterAge(self.uptime.age_s, self._clock.now())

    async def ask(self) -> None:
        """Exchange ages with some other nodes; takes ASK_TIMEOUT_S at most."""
        peers = sorted(set(self._peers()) - self._own)
        while len(peers) > PEERS_ASKED_MAX:
            peers.pop(int(self._rng.random() * len(peers)))
        answers = await asyncio.gather(*(self._ask_one(peer) for peer in peers))
        was_trusted = self.clock_trusted()
        self._skews = [skew for skew in answers if skew is not None]
        if self._skews or not peers:
            self._heard = True
            self.met.set()
        if 2 * len(self._skews) >= len(peers):
            self.uptime.go_on()
        else:
            self.uptime.hold()
        if not self.clock_trusted() and was_trusted:
            ahead_s = statistics.median(self._skews)
            log.error("clock differs from the other nodes'", extra={"ahead_s": round(ahead_s, 1)})

    async def _ask_one(self, peer: Address) -> float | None:
        """How far our clock is ahead of the peer's; None when it did not answer."""
        try:
            answer = await self._caller.call(peer, TellAge(self.uptime.age_s), timeout_s=ASK_TIMEOUT_S)
        except (PeerUnavailable, NodeError):
            return None
        assert isinstance(answer, ClusterAge)
        self.uptime.learn(answer.age_s)
        return self._clock.now() - answer.now_s

    # --- our devices -------------------------------------------------------------------------------------------

    def _refuse(self) -> None:
        for device in self._devices:
            age_s = self._stamps.get(device.name)
            if age_s is None or device.disk is None or device.refused or not self.uptime.missed(age_s):
                continue
            days = (self.uptime.age_s - age_s) / 86_400
            absence = f"was away for {days:.1f} days of the cluster's time" if age_s else "was away for an unknown time"
            device.give_up(
                f"{device.path}: {absence}, longer than deletions are remembered: empty it, run `objstore device init` and send "
                "the node SIGHUP; the replicators fill it again"
            )

    async def _note(self) -> None:
        self.uptime.note()
        stamp = Stamp(self.uptime.age_s, self.uptime.samples)
        for device in self._devices:
            if device.device is None or device.state() != "ok" or not (self._heard or device.name in self._stamps):
                continue
            try:
                await asyncio.to_thread(_write, device.device.fs, stamp)
            except OSError as error:
                log.warning("stamp not written", extra={"device": device.name, "error": error.strerror})
            else:
                self._stamps[device.name] = stamp.age_s


def _read(device: OpenedDevice) -> Stamp | None:
    """None for an empty device that has none yet. One that holds data may not have been in use since its cluster's first day: it
    was killed before its first stamp was written, or the stamp cannot be read. Raises OSError when its root cannot be listed.
    """
    assert device.device is not None
    fs = device.device.fs
    try:
        file = fs.open(STAMP)
        try:
            return decode_stamp(file.pread(file.size(), 0))
        finally:
            file.close()
    except FileNotFoundError:
        pass
    except (OSError, ValueError) as error:
        log.warning("stamp unreadable", extra={"device": device.name, "error": str(error)})
    return Stamp(0.0) if any(name.startswith(_DATA) for name in fs.list_directory("")) else None


def _write(fs: FileSystem, stamp: Stamp) -> None:
    file = fs.create_temp()
    try:
        file.write(encode_stamp(stamp))
        file.sync()
        fs.publish(file, STAMP)
        fs.sync_directory("")
    finally:
        fs.discard(file)
