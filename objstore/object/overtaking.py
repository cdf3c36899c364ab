"""Of versions of one object that wait for their turn, only the newest is written.

When an older one has its turn, a newer one may be waiting behind it. Then it is left to that one: where both would have been
accepted one right after the other, nobody can tell for how long the older one was there. So an object that many clients overwrite
at once costs a flush for all that wait, not one for each.
"""

import asyncio
from collections.abc import Callable, Hashable
from types import TracebackType

from objstore.formats.messages import Stored


class Coming:
    """A version that waits for its turn, `with` which it must be entered and left."""

    __slots__ = ("_among", "_behind", "_forget", "_outcome", "stored", "timestamp")

    def __init__(self, among: "list[Coming]", timestamp: int, forget: Callable[[], None]) -> None:
        self.timestamp = timestamp
        self.stored: Stored | None = None
        """Set when it is durable."""
        self._among = among
        self._behind: list[Coming] = []
        self._outcome: asyncio.Future[Stored | None] | None = None
        self._forget = forget

    def __enter__(self) -> "Coming":
        self._among.append(self)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._wait_no_more()
        self._end(self._behind, self.stored)

    def is_overtaken(self) -> bool:
        """At its turn: whether a newer one waits, to which it is left now; then `outcome` tells. Else it waits no more."""
        # One to which others were left is not left to another: else none would be written while newer ones keep coming.
        heirs = [one for one in self._among if one._behind and one.timestamp >= self.timestamp]
        newest = max(heirs or self._among, key=lambda one: one.timestamp)
        self._wait_no_more()
        if newest is self:
            return False
        self._outcome = asyncio.get_running_loop().create_future()
        newest._behind += [self, *self._behind]
        self._behind = []
        return True

    async def outcome(self) -> Stored | None:
        """Of the newer one; None when this one must be tried alone after all."""
        assert self._outcome is not None
        return await self._outcome

    def keep(self, check: Callable[[int], bool]) -> None:
        """At the turn of the newest: go on without those whose timestamps would not be accepted now."""
        refused = [one for one in self._behind if not check(one.timestamp)]
        self._behind = [one for one in self._behind if one not in refused]
        self._end(refused, None)

    def _wait_no_more(self) -> None:
        if self in self._among:
            self._among.remove(self)
            if not self._among:
                self._forget()

    def _end(self, those: "list[Coming]", stored: Stored | None) -> None:
        for one in those:
            if one._outcome is not None and not one._outcome.done():
                one._outcome.set_result(stored)


class Overtaking:
    """All that wait. Used in the event loop alone."""

    def __init__(self) -> None:
        self._coming: dict[Hashable, list[Coming]] = {}

    def come(self, key: Hashable, timestamp: int) -> Coming:
        """One more. Only those with the same key can be left to each other."""
        among = self._coming.setdefault(key, [])
        return Coming(among, timestamp, lambda: self._forget(key, among))

    def _forget(self, key: Hashable, among: list[Coming]) -> None:
        if self._coming.get(key) is among:
            del self._coming[key]
