"""Changes without a user: what the object-expirer, the container-reviver and the account-reaper do to objects, containers and
listings.

As for users, a read asks a majority and a deletion is durable on one. Each deletion has a timestamp just late enough for what it is
meant for, and no later than it must be: whatever a client writes meanwhile wins.
"""

from collections.abc import Sequence

from objstore.formats.messages import DeleteObject, IndexTarget, Query, Ready, Settings, Target
from objstore.formats.settings import revived
from objstore.model.errors import Unavailable
from objstore.model.listed import row_of
from objstore.model.names import ObjectName
from objstore.model.policy import ONE_POLICY, Policies
from objstore.model.quorum import majority
from objstore.model.rows import ContainerRow, ObjectRow
from objstore.model.timestamps import from_seconds
from objstore.model.version import Version
from objstore.placement.places import Placement, Rings, TablePlace
from objstore.proxy.collecting import PartCollector
from objstore.proxy.completion import Completion
from objstore.proxy.found import NO_BYTES, NOTHING_FOUND
from objstore.proxy.infocache import InfoCache, repair_request
from objstore.proxy.knobs import DEFAULTS, ProxyKnobs
from objstore.proxy.listings import Lister, Listing
from objstore.proxy.nodes import FanOut, Nodes
from objstore.proxy.reads import Finder
from objstore.proxy.tablewrites import Missing, NotEmpty, TableChange, TableWriter
from objstore.proxy.writes import Writer
from objstore.rpc.interface import Caller, Dispatcher
from objstore.runtime.clock import HybridClock
from objstore.runtime.interface import Clock

PAGE_ROWS = 1000
SKEW_S = 60
"""An expired object is deleted as of so long before its time. Whatever a client writes after that time is later than the deletion
then, even by a proxy whose clock is as much behind.
"""


class Cleaner:
    """Has no durable state. Used in the event loop alone; `stop` at the end."""

    def __init__(
        self,
        rings: Rings,
        caller: Caller,
        clock: Clock,
        *,
        policies: Policies = ONE_POLICY,
        knobs: ProxyKnobs = DEFAULTS,
    ) -> None:
        """The rings in `rings` may be replaced at any time."""
        self.nodes = Nodes(caller, clock, knobs)
        self._placement = Placement(rings, [policy.index for policy in policies if policy.sloppy])
        self._finder = Finder(self.nodes, self._placement, Completion(self.nodes, self._placement))
        never_asked = HybridClock(clock, 0)  # when something was deleted follows from what it was
        self._writer = Writer(self.nodes, self._placement, never_asked)
        self._cache = InfoCache(self.nodes, Dispatcher())  # asked anew each time: no lease is taken, so none is revoked
        self._lister = Lister(self.nodes, self._cache)
        self._tables = TableWriter(self.nodes, self._cache, never_asked)
        self.parts = PartCollector(self.nodes, self._placement, self._finder, self._cache, self._lister, self.delete_object)

    async def stop(self) -> None:
        """Wait, for a bounded time, for what goes on in the background."""
        await self.nodes.stop()

    # --- objects that have expired -----------------------------------------------------------------------------

    async def expire(self, name: ObjectName, policy: int, row: ObjectRow) -> bool:
        """Delete an object if it has expired, as `row` says. False when it has not: then the row was old, and its container's
        replicas were told of the present one. The deletion has the same timestamp whoever carries it out, and however often.

        Of an object whose copies are all damaged the row is believed, if it is of the version that was lost.

        Raises Unavailable, InsufficientStorage, Conflict when something newer came in between.
        """
        place = self._placement.object(name, policy)
        try:
            found = await self._finder.find(place, NO_BYTES, "", everywhere=True)
        except Unavailable as error:
            if not 0 < error.lost.newest <= max(row.timestamp, row.meta_timestamp):
                raise
            found = NOTHING_FOUND
        version, newest = found.version, found.timestamp
        if version is None:
            version = Version(str(name), found.tombstone, deleted=True)
            newest, delete_at = max(row.timestamp, row.meta_timestamp), row.delete_at
            is_over = found.tombstone <= newest  # else it was deleted, and only the row lags behind
        else:
            delete_at = version.delete_at
            is_over = 0 < delete_at <= self.nodes.clock.now()
        if not is_over:
            await self._tell(self._placement.container(name.account, name.container), None, [row_of(version)])
            return False
        timestamp = max(from_seconds(delete_at - SKEW_S), newest + 1)

        def request(target: Target, index: IndexTarget | None) -> DeleteObject:
            return DeleteObject(target, place.hash, place.name, timestamp, index, expected_delete_at=delete_at)

        await self._writer.write_once(place, request, "")
        return True

    async def _tell(self, table: TablePlace, settings: Settings | None, rows: Sequence[ObjectRow]) -> None:
        """Raises Unavailable when no majority of the container's replicas took it."""
        fan, told = FanOut(self.nodes, ""), 0
        for index, replica in enumerate(table.replicas):
            fan.call(index, replica.address, repair_request(table, index, settings, rows))
        try:
            while (ended := await fan.next()) is not None:
                told += isinstance(ended[1], Ready)
        finally:
            fan.leave()
        if told < majority(len(table.replicas)):
            raise Unavailable("too few replicas of the container took what they were told")

    # --- containers that were deleted, and hold objects ---------------------------------------------------------

    async def revive(self, account: str, container: str) -> bool:
        """Make a deleted container exist again if an object in it does. False when none does, or it exists: rows of objects that
        were deleted are put right. Idempotent. Raises Unavailable.
        """
        marker, unknown = "", None
        while True:
            page = await self._contents(account, container, Query(PAGE_ROWS, marker))
            if page.settings.exists:
                return False
            for row in page.rows:
                try:
                    lives = await self._lives(ObjectName(account, container, row.name), page.settings.policy, row)
                except Unavailable as error:  # one behind it may live
                    unknown = unknown or error
                    continue
                if lives:
                    table = self._placement.container(account, container)
                    await self._tell(table, revived(page.settings), [])
                    return True
            if not page.rows:
                if unknown is not None:
                    raise unknown
                return False
            marker = page.rows[-1].name

    async def _lives(self, name: ObjectName, policy: int, row: ObjectRow) -> bool:
        """An object whose copies are all damaged is there, and not missing."""
        try:
            found = await self._finder.find(self._placement.object(name, policy), NO_BYTES, "", everywhere=True)
        except Unavailable as error:
            if not error.lost.beyond(0, 0).data:  # what was lost last may be its deletion
                raise
            return not 0 < row.delete_at <= self.nodes.clock.now()
        if found.version is not None:
            return not 0 < found.version.delete_at <= self.nodes.clock.now()
        if found.tombstone:
            deletion = Version(str(name), found.tombstone, deleted=True)
            await self._tell(self._placement.container(name.account, name.container), None, [row_of(deletion)])
        return False

    # --- accounts that were deleted ----------------------------------------------------------------------------

    async def account(self, account: str) -> Settings:
        """As a majority of its replicas know it. Raises Unavailable."""
        return (await self._cache.fresh(self._placement.account(account))).settings

    async def containers(self, account: str, marker: str) -> list[ContainerRow]:
        """Those that an account has, behind `marker`; none at the end. Raises Unavailable."""
        page = await self._lister.page(self._placement.account(account), Query(PAGE_ROWS, marker), "")
        return page.rows

    async def objects(self, account: str, container: str, marker: str) -> tuple[int, list[ObjectRow]]:
        """The storage policy of a container, and its objects behind `marker`; none at the end. Raises Unavailable."""
        page = await self._contents(account, container, Query(PAGE_ROWS, marker))
        return page.settings.policy, page.rows

    async def _contents(self, account: str, container: str, query: Query) -> Listing:
        return await self._lister.page(self._placement.container(account, container), query, "")

    async def delete_object(self, name: ObjectName, policy: int, at: int) -> None:
        """As of timestamp `at`. Raises Unavailable, InsufficientStorage, Conflict when something newer is there."""
        place = self._placement.object(name, policy)

        def request(target: Target, index: IndexTarget | None) -> DeleteObject:
            return DeleteObject(target, place.hash, place.name, at, index)

        await self._writer.write_once(place, request, "")

    async def delete_container(self, account: str, container: str, at: int) -> bool:
        """The same for a container, which is left alone if it is not empty (False)."""
        place = self._placement.container(account, container)
        try:
            await self._tables.write(place, TableChange("delete", {}), "", at=at)
        except Missing:
            pass  # its account will hear of it
        except NotEmpty as error:
            if error.applied:  # nobody would find what it holds if some replicas said that it is gone
                await self.revive(account, container)
            return False
        return True
