"""Leases on what proxies cache of an account or container.

A lease promises its holder: until it ends, no change of these settings is acknowledged before you were told. The server counts
from when it answers, the holder from when it asked, so the holder's lease always ends first. `LeaseTable` decides, `Leases` calls.
"""

import asyncio
from collections import deque
from typing import Generic, NamedTuple, TypeVar

from objstore.formats.messages import Kind, RevokeLease
from objstore.model.errors import NodeError
from objstore.rpc.interface import Peer, PeerUnavailable
from objstore.runtime.interface import Clock

LEASE_S = 2.0
LEASES_MAX = 100_000
HOLDERS_PER_NAME_MAX = 256

Key = tuple[Kind, str]
H = TypeVar("H")


class Held(NamedTuple, Generic[H]):
    """A lease as it was when looked at; `end` in monotonic seconds."""

    holder: H
    end: float


class LeaseTable(Generic[H]):
    """Who holds a lease on what until when. Bounded: what does not fit gets no lease. Times are monotonic seconds."""

    def __init__(self, lease_s: float = LEASE_S, leases_max: int = LEASES_MAX) -> None:
        self._lease_s = lease_s
        self._leases_max = leases_max
        self._ends: dict[Key, dict[H, float]] = {}
        # All leases are of one length, so they end in the order in which they were granted.
        self._granted: deque[tuple[float, Key, H]] = deque()

    def __len__(self) -> int:
        return sum(len(holders) for holders in self._ends.values())

    def grant(self, key: Key, holder: H, now: float) -> float:
        """The length of the holder's lease from now on, 0 for none."""
        self._forget_ended(now)
        holders = self._ends.get(key, {})
        if len(self._granted) >= self._leases_max or len(holders) >= HOLDERS_PER_NAME_MAX:
            return 0.0
        end = now + self._lease_s
        self._ends.setdefault(key, {})[holder] = end
        self._granted.append((end, key, holder))
        return self._lease_s

    def held(self, key: Key, now: float) -> list[Held[H]]:
        """All leases on `key` that have not run out."""
        return [Held(holder, end) for holder, end in self._ends.get(key, {}).items() if end > now]

    def release(self, key: Key, lease: Held[H]) -> None:
        """The holder forgot what it knew under this lease. A later lease of the same holder stays."""
        holders = self._ends.get(key, {})
        if holders.get(lease.holder) == lease.end:
            del holders[lease.holder]
            if not holders:
                del self._ends[key]

    def _forget_ended(self, now: float) -> None:
        while self._granted and self._granted[0][0] <= now:
            end, key, holder = self._granted.popleft()
            self.release(key, Held(holder, end))


class Leases:
    """Grants and revokes. Grant in the same turn of the event loop in which the settings are looked at, and revoke after the
    change is committed: then no lease on the old settings escapes.
    """

    def __init__(self, clock: Clock, lease_s: float = LEASE_S, leases_max: int = LEASES_MAX) -> None:
        self.table: LeaseTable[Peer] = LeaseTable(lease_s, leases_max)
        self.revoked = 0
        self.waited_out = 0
        self._clock = clock

    def grant(self, kind: Kind, name: str, peer: Peer) -> float:
        """Seconds from now, 0 for no lease."""
        return self.table.grant((kind, name), peer, self._clock.monotonic())

    async def revoke(self, kind: Kind, name: str) -> None:
        """Returns when each holder has confirmed that it forgot, or its lease has run out: at most one lease length."""
        held = self.table.held((kind, name), self._clock.monotonic())
        if len(held) == 1:
            await self._revoke_one(kind, name, held[0])
        elif held:
            await asyncio.gather(*(self._revoke_one(kind, name, lease) for lease in held))

    async def _revoke_one(self, kind: Kind, name: str, lease: Held[Peer]) -> None:
        left = lease.end - self._clock.monotonic()
        if left > 0 and lease.holder.alive:
            try:
                await lease.holder.call(RevokeLease(kind, name), timeout_s=left)
            except (PeerUnavailable, NodeError):
                pass  # it may still trust its lease
            else:
                self.revoked += 1
                self.table.release((kind, name), lease)
                return
        left = lease.end - self._clock.monotonic()
        if left > 0:
            self.waited_out += 1
            await self._clock.sleep(left)
        self.table.release((kind, name), lease)
