"""One change at a time per object, in order of arrival."""

import asyncio
from collections import deque
from collections.abc import Hashable

from objstore.model.errors import Code, NodeError


class ObjectLocks:
    """A lock per key that costs nothing while nobody holds it. `async with locks.of(key)`."""

    def __init__(self, *, waiters_max: int = 64) -> None:
        self._waiters_max = waiters_max
        self._held: dict[Hashable, deque[asyncio.Future[None]]] = {}

    def of(self, key: Hashable) -> "_Hold":
        """Enter raises NodeError busy when `waiters_max` already wait for this key."""
        return _Hold(self, key)

    def held(self, key: Hashable) -> bool:
        """Whether whoever comes now must wait."""
        return key in self._held

    async def acquire(self, key: Hashable) -> None:
        waiters = self._held.get(key)
        if waiters is None:
            self._held[key] = deque()
            return
        if len(waiters) >= self._waiters_max:
            raise NodeError(Code.BUSY, "too many changes of one object at once")
        turn = asyncio.get_running_loop().create_future()
        waiters.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():  # it was our turn just when we were cancelled
                self.release(key)
            raise

    def release(self, key: Hashable) -> None:
        waiters = self._held[key]
        while waiters:
            turn = waiters.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        del self._held[key]


class _Hold:
    __slots__ = ("_key", "_locks")

    def __init__(self, locks: ObjectLocks, key: Hashable) -> None:
        self._locks = locks
        self._key = key

    async def __aenter__(self) -> None:
        await self._locks.acquire(self._key)

    async def __aexit__(self, *_: object) -> None:
        self._locks.release(self._key)
