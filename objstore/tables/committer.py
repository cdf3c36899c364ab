"""One writer thread for all databases of a device.

There is no timer: what queues for a database while the thread is busy makes up that database's next group, one transaction
and one flush for all of it. A lone write waits for nobody.
"""

import asyncio
import logging
import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from objstore.model.errors import Code, NodeError
from objstore.tables.database import Outcome

logger = logging.getLogger("objstore.tables")

QUEUE_MAX = 8192
GROUP_MAX = 1024

K = TypeVar("K", bound=Hashable)
J = TypeVar("J")


@dataclass(slots=True)
class CommitFigures:
    """Counters since the start, written by the writer thread alone."""

    groups: int = 0
    operations: int = 0
    refused: int = 0


class Committer(Generic[K, J]):
    """Queues jobs by key and hands them, grouped, to `run_group` in its thread. Belongs to the event loop that started it."""

    def __init__(
        self,
        name: str,
        run_group: Callable[[K, Sequence[J]], list[Outcome]],
        at_end: Callable[[], None],
        settled: Callable[[K], None],
        *,
        queue_max: int = QUEUE_MAX,
        group_max: int = GROUP_MAX,
    ) -> None:
        """`run_group` returns one outcome per job: a result, or an exception to raise in who submitted it. `at_end` is the
        last thing the thread does. `settled` is called on the event loop after each group, whether anybody still waits or not.
        """
        self.figures = CommitFigures()
        self._run_group = run_group
        self._at_end = at_end
        self._settled = settled
        self._queue_max = queue_max
        self._group_max = group_max
        self._groups: OrderedDict[K, deque[tuple[J, asyncio.Future[Outcome]]]] = OrderedDict()
        self._queued = 0  # counted on the event loop only
        self._wake = threading.Condition()
        self._idle = True
        self._stopping = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=self._run, name=f"tables-{name}", daemon=True)
        self._ended: asyncio.Event = asyncio.Event()

    @property
    def queued(self) -> int:
        """Jobs not answered yet."""
        return self._queued

    def start(self) -> None:
        """From the event loop that will submit."""
        self._loop = asyncio.get_running_loop()
        self._thread.start()

    async def stop(self) -> None:
        """Finish what is queued, then end the thread. Later jobs are refused."""
        with self._wake:
            self._stopping = True
            self._wake.notify()
        if self._thread.is_alive():
            await self._ended.wait()

    async def submit(self, key: K, job: J) -> Outcome:
        """The job's result, once durable. Cancel-safe: the job then runs or not.

        Raises what the job was refused with; NodeError busy when too many wait, device_failed when stopped.
        """
        if self._queued >= self._queue_max:
            self.figures.refused += 1
            raise NodeError(Code.BUSY, "too many changes wait for the device")
        return await self.enqueue(key, job)

    def enqueue(self, key: K, job: J) -> "asyncio.Future[Outcome]":
        """As `submit`, at once and however many wait. Raises NodeError device_failed when stopped."""
        if self._loop is None or self._stopping:
            raise NodeError(Code.DEVICE_FAILED, "the device is closed")
        future: asyncio.Future[Outcome] = self._loop.create_future()
        self._queued += 1
        with self._wake:
            group = self._groups.get(key)
            if group is None:
                group = self._groups[key] = deque()
            group.append((job, future))
            if self._idle:
                self._idle = False
                self._wake.notify()
        return future

    # --- the writer thread -------------------------------------------------------------------------------------

    def _run(self) -> None:
        assert self._loop is not None
        while (taken := self._next_group()) is not None:
            key, group = taken
            try:
                outcomes = self._run_group(key, [job for job, _ in group])
            except Exception as error:  # the thread must outlive a defect; those who wait learn of it
                logger.exception("writer failed", extra={"key": str(key)})
                outcomes = [NodeError(Code.INTERNAL, f"defect in the writer: {type(error).__name__}")] * len(group)
            self.figures.groups += 1
            self.figures.operations += len(group)
            self._tell(self._settle, key, group, outcomes)
        try:
            self._at_end()
        finally:
            self._tell(self._ended.set)

    def _next_group(self) -> tuple[K, list[tuple[J, "asyncio.Future[Outcome]"]]] | None:
        with self._wake:
            while not self._groups:
                if self._stopping:
                    return None
                self._idle = True
                self._wake.wait()
            self._idle = False
            key, waiting = self._groups.popitem(last=False)
            group = [waiting.popleft() for _ in range(min(len(waiting), self._group_max))]
            if waiting:
                self._groups[key] = waiting
            return key, group

    def _tell(self, callback: Callable[..., object], *arguments: object) -> None:
        assert self._loop is not None
        try:
            self._loop.call_soon_threadsafe(callback, *arguments)
        except RuntimeError:  # the loop is closed: nobody waits any more
            logger.debug("event loop closed before the writer")

    def _settle(self, key: K, group: list[tuple[J, "asyncio.Future[Outcome]"]], outcomes: list[Outcome]) -> None:
        """On the event loop: answer those who wait."""
        self._queued -= len(group)
        self._settled(key)
        for (_, future), outcome in zip(group, outcomes, strict=True):
            if future.done():
                continue
            if isinstance(outcome, BaseException):
                future.set_exception(outcome)
            else:
                future.set_result(outcome)
