"""A few threads that run short blocking calls for the event loop: cheaper than concurrent.futures (no futures of two kinds, one
wake-up of the loop for all that finished meanwhile), bounded, and never in the way of the process's exit.
"""

import asyncio
import queue
import threading
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from objstore.model.errors import Code, NodeError

T = TypeVar("T")
_Job = tuple[Callable[[], Any], "asyncio.Future[Any]"]
_Done = tuple["asyncio.Future[Any]", Any, BaseException | None]


async def until_done(call: Coroutine[Any, Any, T]) -> T:
    """Await what runs in a thread and uses what its caller frees next: when cancelled, leave only once the thread is done. An event
    loop that ends cancels all tasks at once, and waits for no thread.
    """
    job = asyncio.ensure_future(call)
    try:
        return await asyncio.shield(job)
    finally:
        if not job.done():
            await asyncio.wait([job])
            if not job.cancelled():
                job.exception()  # nobody else will ask


class ReaderPool:
    """Used from one event loop."""

    def __init__(self, name: str, threads: int, waiting_max: int) -> None:
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._done: deque[_Done] = deque()
        self._signalled = False
        self._waiting = 0
        self._waiting_max = waiting_max
        self._closed = False
        self._threads = [threading.Thread(target=self._run, name=f"{name}-{i}", daemon=True) for i in range(threads)]
        for thread in self._threads:
            thread.start()

    async def run(self, fn: Callable[[], T]) -> T:
        """As Disk.run."""
        if self._closed:
            raise NodeError(Code.DEVICE_FAILED, "the device is closed")
        if self._waiting >= self._waiting_max:
            raise NodeError(Code.BUSY, "too many calls wait for the device")
        self._waiting += 1
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._jobs.put((fn, future))
        return await future

    def close(self) -> None:
        """Ask the threads to end after what is queued."""
        if not self._closed:
            self._closed = True
            for _ in self._threads:
                self._jobs.put(None)

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            fn, future = job
            result, failure = None, None
            try:
                result = fn()
            except BaseException as error:  # handed to the caller, whatever it is
                failure = error
            self._done.append((future, result, failure))
            if not self._signalled:
                self._signalled = True
                try:
                    future.get_loop().call_soon_threadsafe(self._deliver)
                except RuntimeError:  # the loop is closed: nobody waits any more
                    return
            del fn, future, job, result, failure

    def _deliver(self) -> None:
        self._signalled = False
        while self._done:
            future, result, failure = self._done.popleft()
            self._waiting -= 1
            if future.done():
                continue
            if failure is None:
                future.set_result(result)
            else:
                future.set_exception(failure)
