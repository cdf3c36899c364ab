"""How operations reach the storage nodes: calls that remember which peers fail, several calls at once, and work that goes on
after its client was answered.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any

from objstore.formats.messages import Address, IndexTarget, Message, Stored
from objstore.model.errors import NodeError
from objstore.proxy.alarms import Alarms
from objstore.proxy.failures import FailingPeers
from objstore.proxy.knobs import DEFAULTS, ProxyKnobs
from objstore.rpc.interface import Begun, Caller, Exchange, Outcome, PeerTimeout, PeerUnavailable
from objstore.runtime.interface import Clock

logger = logging.getLogger("objstore.proxy")

STOPPING_LOOK_S = 0.01
"""How often stopping looks whether calls that were left have ended."""


class Nodes:
    """The cluster's nodes as one proxy process sees them."""

    def __init__(self, caller: Caller, clock: Clock, knobs: ProxyKnobs = DEFAULTS) -> None:
        self.clock = clock
        self.knobs = knobs
        self.failures = FailingPeers(clock, knobs)
        self.alarms = Alarms()
        self.caller = caller
        self._background: set[asyncio.Task[Any]] = set()
        self._left: set[Call] = set()

    async def call(self, address: Address, request: Message, txn: str = "", timeout_s: float = 0.0) -> Message:
        """As Caller.call, with the usual deadline where none is given."""
        started = self.clock.monotonic()
        try:
            reply = await self.caller.call(address, request, timeout_s=timeout_s or self.knobs.node_timeout_s, txn=txn)
        except PeerUnavailable:
            self.failures.failed(address)
            raise
        except NodeError:
            self.answered(address, started)
            raise
        self.answered(address, started)
        return reply

    async def open(self, address: Address, request: Message, txn: str, timeout_s: float) -> Exchange:
        """As Caller.open, but connecting takes no longer than the usual deadline."""
        try:
            async with asyncio.timeout(self.knobs.node_timeout_s):
                return await self.caller.open(address, request, timeout_s=timeout_s, txn=txn)
        except TimeoutError:
            self.failures.failed(address)
            raise PeerTimeout("not connected in time") from None
        except PeerUnavailable:
            self.failures.failed(address)
            raise

    def answered(self, address: Address, started: float) -> None:
        """It gave an answer, or a refusal, to a call that began at `started` (monotonic)."""
        if self.clock.monotonic() - started < self.knobs.straggler_grace_s:
            self.failures.well(address)
        else:
            self.failures.late(address)

    def troubled(self, index: IndexTarget | None) -> bool:
        """Whether the container replica is on a peer that nobody should wait for."""
        return index is not None and not self.failures.none and self.failures.troubled(Address(index.ip, index.port))

    @property
    def crowded(self) -> bool:
        """So much goes on in the background that no more should be left to it."""
        return len(self._background) + len(self._left) >= self.knobs.background_tasks_max

    def leave(self, call: "Call") -> None:
        """Keep a call in mind that nobody waits for, until `left_ended`."""
        self._left.add(call)

    def left_ended(self, call: "Call") -> None:
        """It has its outcome."""
        self._left.discard(call)

    def adopt(self, task: asyncio.Task[Any]) -> None:
        """Keep a task going that nobody awaits."""
        self._background.add(task)
        task.add_done_callback(self._ended)

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Start work that nobody awaits."""
        task = asyncio.get_running_loop().create_task(work)
        self.adopt(task)
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._background.discard(task)
        if task.cancelled():
            return
        error = task.exception()
        if error is not None and not isinstance(error, (NodeError, PeerUnavailable)):
            logger.error("background work failed", exc_info=error)

    async def stop(self) -> None:
        """Wait for what goes on in the background, at most `stop_timeout_s`; then cancel it."""
        deadline = self.clock.monotonic() + self.knobs.stop_timeout_s
        while (self._background or self._left) and (left := deadline - self.clock.monotonic()) > 0:
            if self._background:
                await asyncio.wait(set(self._background), timeout=left)
            else:
                await self.clock.sleep(min(left, STOPPING_LOOK_S))
        for call in list(self._left):
            call.cancel()
        self._left.clear()
        for task in self._background:
            task.cancel()
        if self._background:
            await asyncio.wait(set(self._background), timeout=1.0)


class Call:
    """One call of a FanOut."""

    __slots__ = ("_begun", "_fan", "_started", "address", "key")

    def __init__(self, fan: "FanOut", key: int, address: Address) -> None:
        self.key = key
        self.address = address
        self._fan = fan
        self._begun: Begun | None = None
        self._started = 0.0

    def begin(self, nodes: Nodes, request: Message, txn: str, timeout_s: float) -> None:
        """Call: with the usual deadline where none is given."""
        self._started = nodes.clock.monotonic()
        timeout_s = timeout_s or nodes.knobs.node_timeout_s
        self._begun = nodes.caller.begin(self.address, request, self._ended, timeout_s=timeout_s, txn=txn)

    def cancel(self) -> None:
        if self._begun is not None:
            self._begun.cancel()

    def _ended(self, outcome: Outcome | BaseException) -> None:
        self._begun = None  # it refers to this: nothing of a call that ended is left to the collector of cycles
        nodes = self._fan.nodes
        if isinstance(outcome, Message | NodeError):
            nodes.answered(self.address, self._started)
            if self._fan.majority and isinstance(outcome, Stored):
                self._fan.compare(self.address, self._started)
        elif isinstance(outcome, PeerUnavailable):
            nodes.failures.failed(self.address)
        self._fan.take(self, outcome)


class FanOut:
    """Calls to several nodes at once, their outcomes taken in order of arrival. Each call has a key of the caller's choice."""

    __slots__ = (
        "_arrived", "_calls", "_due", "_enough", "_late", "_stored", "_timeout_s", "_together", "_txn", "_waiter",
        "alarm", "majority", "nodes", "overdue",
    )  # fmt: skip

    def __init__(self, nodes: Nodes, txn: str, majority: int = 0) -> None:
        """`majority`: how many are enough of a change that all peers carry out alike, so that others lag; 0 for any other calls."""
        self.nodes = nodes
        self.alarm = 0
        self.majority = majority
        self._stored = 0
        self._due = 0.0
        self._txn = txn
        self._calls: dict[int, Call] = {}
        self._arrived: deque[tuple[int, Outcome | BaseException]] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._together = 1
        self._enough: int | None = None
        self._timeout_s: float | None = None
        self.overdue = False
        """The last wait ended by its time limit."""
        self._late: Callable[[int, Outcome], None] | None = None

    def call(self, key: int, address: Address, request: Message, timeout_s: float = 0.0) -> None:
        """Start a call, with the usual deadline where none is given."""
        self._calls[key] = call = Call(self, key, address)
        call.begin(self.nodes, request, self._txn, timeout_s)

    @property
    def outstanding(self) -> int:
        """How many outcomes `next` has still to give."""
        return len(self._calls) + len(self._arrived)

    @property
    def pending(self) -> list[Address]:
        """Whom calls wait for."""
        return [call.address for call in self._calls.values()]

    def waits_for(self, key: int) -> bool:
        """Whether this call has not ended."""
        return key in self._calls

    def compare(self, address: Address, started: float) -> None:
        """A peer has carried out the change."""
        self._stored += 1
        if self._stored >= self.majority:
            now = self.nodes.clock.monotonic()
            if self._stored == self.majority:
                self._due = now + max(self.nodes.knobs.lag_min_s, now - started)
            elif now > self._due:
                self.nodes.failures.lagged(address)
                return
        if self.nodes.failures.lags:
            self.nodes.failures.kept_up(address)

    def hopeless(self) -> bool:
        """Whether no outcome is here, and calls wait for troubled peers only."""
        return not self._arrived and all(self.nodes.failures.troubled(address) for address in self.pending)

    def take(self, call: Call, outcome: Outcome | BaseException) -> None:
        """One of the calls has its outcome."""
        key = call.key
        if self._calls.get(key) is not call:
            return  # another one took its place
        del self._calls[key]
        if self._late is None:
            self._arrived.append((key, outcome))
            if self._waiter is not None:
                self._arrived_while_waiting(outcome)
            return
        self.nodes.left_ended(call)
        if isinstance(outcome, Message | NodeError | PeerUnavailable):
            self._late(key, outcome)
        else:
            logger.error("background work failed", exc_info=outcome)

    def _arrived_while_waiting(self, outcome: Outcome | BaseException) -> None:
        count = len(self._arrived)
        if count >= self._together or not self._calls or not isinstance(outcome, Message):
            self._awaken()
        elif self._enough is None:
            if self._timeout_s is not None:
                self.alarm = self.nodes.alarms.set(self, self._timeout_s)
        elif count >= self._enough and not self.nodes.failures.none:
            self._awaken()
        elif count == self._enough and self._timeout_s is not None:
            self.alarm = self.nodes.alarms.set(self, self._timeout_s)

    def _awaken(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def wake(self) -> None:
        """As Sleeper: what has arrived so far must do."""
        self.overdue = True
        self._awaken()

    async def next(self, timeout_s: float | None = None, together: int = 1) -> tuple[int, Outcome] | None:
        """The next outcome; None when there was none within `timeout_s`, or no call is pending.

        `together`: how many answers are worth being woken for, where fewer would change nothing; the time limit is then for each of
        them after the last. Any other outcome is told at once.
        """
        if not self._arrived:
            if not self._calls:
                return None
            self._together, self._timeout_s, self._enough = together, timeout_s, None
            if timeout_s is not None:
                self.alarm = self.nodes.alarms.set(self, timeout_s)
            await self._woken()
            if not self._arrived:
                return None
        key, outcome = self._arrived.popleft()
        if isinstance(outcome, Message | NodeError | PeerUnavailable):
            return key, outcome
        raise outcome

    async def most(self, enough: int, grace_s: float) -> None:
        """Wait until `next` has something to decide on: all answers; or `enough` of them, when the others do not come within
        `grace_s` after that (then it is `overdue`), or some peer is in trouble; or any other outcome.
        """
        if not self._arrived and self._calls:
            self._together, self._timeout_s, self._enough = len(self._calls), grace_s, enough
            await self._woken()

    async def _woken(self) -> None:
        self._waiter = asyncio.get_running_loop().create_future()
        self.overdue = False
        try:
            await self._waiter
        finally:
            self._waiter = None
            self.alarm = 0

    def leave(self, late: Callable[[int, Outcome], None] | None = None) -> None:
        """Let the pending calls go on in the background; each outcome goes to `late`."""
        if not self._calls:
            return
        self._late = late or _ignore
        for call in self._calls.values():
            self.nodes.leave(call)

    def cancel(self) -> None:
        """Cancel the pending calls."""
        calls, self._calls = self._calls, {}
        for call in calls.values():
            call.cancel()


def _ignore(key: int, outcome: Outcome) -> None:
    pass
