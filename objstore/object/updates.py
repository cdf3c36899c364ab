"""Delivers container rows: each object change tells the container replica that its own replica is paired with.

Rows to one database share calls: while one call is under way the next rows queue, and go together. What is not delivered stays
in the device's pending log for the updater.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from objstore.formats.messages import Address, IndexTarget, MergeObjectRows, Target
from objstore.model.errors import NodeError
from objstore.model.rows import ObjectRow
from objstore.rpc.interface import Caller, PeerUnavailable
from objstore.runtime.interface import Clock

logger = logging.getLogger("objstore.object")


@dataclass(slots=True)
class _Waiting:
    row: ObjectRow
    settled: Callable[[bool], None]
    reply: "asyncio.Future[bool]"


class Updates:
    """Used in the event loop alone. Call `stop` at the end."""

    def __init__(
        self,
        caller: Caller,
        clock: Clock,
        *,
        queue_rows_max: int = 10_000,
        call_rows_max: int = 500,
        call_timeout_s: float = 5.0,
        down_hold_s: float = 2.0,
    ) -> None:
        self._caller = caller
        self._clock = clock
        self._queue_rows_max = queue_rows_max
        self._call_rows_max = call_rows_max
        self._call_timeout_s = call_timeout_s
        self._down_hold_s = down_hold_s
        self._lanes: dict[IndexTarget, deque[_Waiting]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._down_until: dict[object, float] = {}
        """Servers, and databases, that failed: when to try them again. They stay in here until one call succeeds."""
        self.queued = 0
        self.delivered = 0
        self.deferred = 0

    def is_down(self, index: IndexTarget) -> bool:
        """The server failed a moment ago: not worth trying."""
        return self._down_until_when(index) > self._clock.monotonic()

    def _down_until_when(self, index: IndexTarget) -> float:
        """0 for one that works, as far as anybody knows."""
        if not self._down_until:
            return 0.0
        return max(self._down_until.get(_address(index), 0.0), self._down_until.get(index, 0.0))

    async def deliver(
        self, index: IndexTarget, container: str, row: ObjectRow, settled: Callable[[bool], None], wait_s: float
    ) -> bool:
        """Send one row; True once the container server has it durably. After `wait_s` seconds False, and the row goes on its
        way. `settled` is called once with the outcome, whenever that is known, even when the caller has gone.

        Nobody waits for a server that failed: from time to time a row goes there to see whether it is back.
        """
        down_until, now = self._down_until_when(index), self._clock.monotonic()
        if self.queued >= self._queue_rows_max or down_until > now:
            self.deferred += 1
            settled(False)
            return False
        if down_until:
            wait_s = 0.0
            self._down_until[index] = now + self._down_hold_s
        loop = asyncio.get_running_loop()
        reply: asyncio.Future[bool] = loop.create_future()
        waiting = _Waiting(row, settled, reply)
        self.queued += 1
        lane = self._lanes.get(index)
        if lane is None:
            self._lanes[index] = deque((waiting,))
            task = asyncio.create_task(self._run(index, container))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        else:
            lane.append(waiting)
        if wait_s <= 0:
            return False
        timer = loop.call_later(wait_s, self._give_up, index, reply)
        try:
            return await reply
        finally:
            timer.cancel()

    def _give_up(self, index: IndexTarget, reply: "asyncio.Future[bool]") -> None:
        """This row waited long enough; the next ones need not wait as long to learn the same."""
        if not reply.done():
            reply.set_result(False)
            self._down_until[index] = self._clock.monotonic() + self._down_hold_s

    async def _run(self, index: IndexTarget, container: str) -> None:
        lane = self._lanes[index]
        batch: list[_Waiting] = []
        done = True
        try:
            while lane:
                batch = [lane.popleft() for _ in range(min(len(lane), self._call_rows_max))]
                done = (done or not self.is_down(index)) and await self.call(index, container, [one.row for one in batch])
                self._settle(batch, done)
                batch = []
        finally:
            del self._lanes[index]
            self._settle([*batch, *lane], False)

    def _settle(self, batch: list[_Waiting], done: bool) -> None:
        self.queued -= len(batch)
        if done:
            self.delivered += len(batch)
        else:
            self.deferred += len(batch)
        for waiting in batch:
            waiting.settled(done)
            if not waiting.reply.done():
                waiting.reply.set_result(done)

    async def call(self, index: IndexTarget, container: str, rows: list[ObjectRow]) -> bool:
        """One MergeObjectRows; False when the server did not confirm it, whatever the reason."""
        target = Target(index.device, index.partition)
        try:
            await self._caller.call(
                _address(index), MergeObjectRows(target, index.hash, container, rows), timeout_s=self._call_timeout_s
            )
        except PeerUnavailable as error:
            self._hold(_address(index), index, container, error)
            return False
        except NodeError as error:
            self._hold(index, index, container, error)
            return False
        if self._down_until:
            self._down_until.pop(_address(index), None)
            self._down_until.pop(index, None)
        return True

    def _hold(self, key: object, index: IndexTarget, container: str, error: Exception) -> None:
        now = self._clock.monotonic()
        self._down_until = {known: until for known, until in self._down_until.items() if until > now}
        self._down_until[key] = now + self._down_hold_s
        logger.warning(
            "container update failed",
            extra={"container": container, "peer": f"{index.ip}:{index.port}", "device": index.device, "error": str(error)},
        )

    async def stop(self) -> None:
        """End what is under way; its rows stay pending."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)


def _address(index: IndexTarget) -> Address:
    return Address(index.ip, index.port)
