"""How operations reach the storage nodes: calls that remember which peers fail, several calls at once, and work that goes on
after its client was answered.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any

from objstore.formats.messages import Address, IndexTarget, Message
from objstore.model.errors import NodeError
from objstore.proxy.failures import FailingPeers
from objstore.proxy.knobs import DEFAULTS, ProxyKnobs
from objstore.rpc.interface import Caller, Exchange, PeerTimeout, PeerUnavailable
from objstore.runtime.interface import Clock

logger = logging.getLogger("objstore.proxy")

Outcome = Message | NodeError | PeerUnavailable


class Nodes:
    """The cluster's nodes as one proxy process sees them."""

    def __init__(self, caller: Caller, clock: Clock, knobs: ProxyKnobs = DEFAULTS) -> None:
        self.clock = clock
        self.knobs = knobs
        self.failures = FailingPeers(clock, knobs)
        self._caller = caller
        self._background: set[asyncio.Task[Any]] = set()

    async def call(self, address: Address, request: Message, txn: str = "", timeout_s: float = 0.0) -> Message:
        """As Caller.call, with the usual deadline where none is given."""
        started = self.clock.monotonic()
        try:
            reply = await self._caller.call(address, request, timeout_s=timeout_s or self.knobs.node_timeout_s, txn=txn)
        except PeerUnavailable:
            self.failures.failed(address)
            raise
        except NodeError:
            self._answered(address, started)
            raise
        self._answered(address, started)
        return reply

    async def open(self, address: Address, request: Message, txn: str, timeout_s: float) -> Exchange:
        """As Caller.open, but connecting takes no longer than the usual deadline."""
        try:
            async with asyncio.timeout(self.knobs.node_timeout_s):
                return await self._caller.open(address, request, timeout_s=timeout_s, txn=txn)
        except TimeoutError:
            self.failures.failed(address)
            raise PeerTimeout("not connected in time") from None
        except PeerUnavailable:
            self.failures.failed(address)
            raise

    def _answered(self, address: Address, started: float) -> None:
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
        return len(self._background) >= self.knobs.background_tasks_max

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
        while self._background and (left := deadline - self.clock.monotonic()) > 0:
            await asyncio.wait(set(self._background), timeout=left)
        for task in self._background:
            task.cancel()
        if self._background:
            await asyncio.wait(set(self._background), timeout=1.0)


class FanOut:
    """Calls to several nodes at once, their outcomes taken in order of arrival. Each call has a key of the caller's choice."""

    __slots__ = ("_arrived", "_late", "_nodes", "_tasks", "_txn", "_waiter")

    def __init__(self, nodes: Nodes, txn: str) -> None:
        self._nodes = nodes
        self._txn = txn
        self._tasks: dict[int, tuple[asyncio.Task[Message], Address]] = {}
        self._arrived: deque[tuple[int, Outcome | BaseException]] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._late: Callable[[int, Outcome], None] | None = None

    def call(self, key: int, address: Address, request: Message, timeout_s: float = 0.0) -> None:
        """Start a call, with the usual deadline where none is given."""
        task = asyncio.get_running_loop().create_task(self._nodes.call(address, request, self._txn, timeout_s))
        self._tasks[key] = (task, address)
        task.add_done_callback(lambda ended: self._take(key, ended))

    @property
    def outstanding(self) -> int:
        """How many outcomes `next` has still to give."""
        return len(self._tasks) + len(self._arrived)

    @property
    def pending(self) -> list[Address]:
        """Whom calls wait for."""
        return [address for _, address in self._tasks.values()]

    def waits_for(self, key: int) -> bool:
        """Whether this call has not ended."""
        return key in self._tasks

    def hopeless(self) -> bool:
        """Whether no outcome is here, and calls wait for troubled peers only."""
        return not self._arrived and all(self._nodes.failures.troubled(address) for address in self.pending)

    def _take(self, key: int, task: asyncio.Task[Message]) -> None:
        outcome = _outcome_of(task)
        known = self._tasks.get(key)
        if known is None or known[0] is not task:
            return  # cancelled by us
        del self._tasks[key]
        if self._late is None:
            self._arrived.append((key, outcome))
            self._wake()
        elif isinstance(outcome, (Message, NodeError, PeerUnavailable)):
            self._late(key, outcome)

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def next(self, timeout_s: float | None = None) -> tuple[int, Outcome] | None:
        """The next outcome; None when there was none within `timeout_s`, or no call is pending."""
        if not self._arrived:
            if not self._tasks:
                return None
            loop = asyncio.get_running_loop()
            self._waiter = loop.create_future()
            timer = loop.call_later(timeout_s, self._wake) if timeout_s is not None else None
            try:
                await self._waiter
            finally:
                self._waiter = None
                if timer is not None:
                    timer.cancel()
            if not self._arrived:
                return None
        key, outcome = self._arrived.popleft()
        if isinstance(outcome, (Message, NodeError, PeerUnavailable)):
            return key, outcome
        raise outcome

    def leave(self, late: Callable[[int, Outcome], None] | None = None) -> None:
        """Let the pending calls go on in the background; each outcome goes to `late`."""
        if not self._tasks:
            return
        self._late = late or _ignore
        for task, _ in self._tasks.values():
            self._nodes.adopt(task)

    def cancel(self) -> None:
        """Cancel the pending calls."""
        tasks, self._tasks = self._tasks, {}
        for task, _ in tasks.values():
            task.cancel()


def _ignore(key: int, outcome: Outcome) -> None:
    pass


def _outcome_of(task: asyncio.Task[Message]) -> Outcome | BaseException:
    if task.cancelled():
        return PeerUnavailable("the call was cancelled")
    error = task.exception()
    return task.result() if error is None else error
