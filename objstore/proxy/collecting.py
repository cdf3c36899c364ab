"""What the multipart-collector does to the uploads of one bucket: those that nobody goes on with end, and parts that nothing refers
to go.

A part stays while the record of its upload is there, or the object that it was uploaded for is made of it. When neither holds, it
stays for the grace all the same: an answer may be on its way that was begun before, and a completion that read the record before it
went.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from itertools import groupby

import msgspec

from objstore.formats.messages import Query
from objstore.model.errors import Conflict, Unavailable
from objstore.model.manifest import ManifestError, decode_manifest
from objstore.model.names import ObjectName
from objstore.model.parts import (
    PARTS,
    RECORDS,
    hidden_account,
    record_name,
    upload_of,
)
from objstore.model.ranges import Span
from objstore.model.rows import ObjectRow
from objstore.model.timestamps import from_seconds, seconds_of
from objstore.placement.places import Placement
from objstore.proxy.bodies import Body
from objstore.proxy.found import NO_BYTES, Found
from objstore.proxy.infocache import InfoCache
from objstore.proxy.listings import Lister
from objstore.proxy.nodes import Nodes
from objstore.proxy.reads import Finder

PAGE_ROWS = 1000
AT_ONCE_MAX = 16

Delete = Callable[[ObjectName, int, int], Awaitable[None]]
"""Delete an object of a storage policy as of a timestamp. Raises StoreError."""


class PartCollector:
    """Has no durable state. Used in the event loop alone."""

    def __init__(
        self, nodes: Nodes, placement: Placement, finder: Finder, cache: InfoCache, lister: Lister, delete: Delete
    ) -> None:
        self._nodes = nodes
        self._placement = placement
        self._finder = finder
        self._cache = cache
        self._lister = lister
        self._delete = delete

    async def collect(self, account: str, bucket: str, abandoned_s: float, grace_s: float) -> Counter[str]:
        """Of the bucket `bucket` of `account`: end uploads that began before the last `abandoned_s` seconds, remove parts. Figures:
        ended (uploads), removed (parts), failed (uploads that could not be looked into). Idempotent. Raises Unavailable.
        """
        figures: Counter[str] = Counter(ended=0, removed=0, failed=0)
        hidden, now = hidden_account(account), self._nodes.clock.now()
        policy = (await self._cache.fresh(self._placement.container(hidden, bucket))).settings.policy
        async for row in self._rows(hidden, bucket, RECORDS):
            if now - seconds_of(row.timestamp) > abandoned_s:
                # As of now, so that the grace begins: a completion may have read the record a moment ago.
                await self._delete(ObjectName(hidden, bucket, row.name), policy, from_seconds(now))
                figures["ended"] += 1
        rows = [row async for row in self._rows(hidden, bucket, PARTS)]
        for (key, id_), found in groupby(rows, lambda row: upload_of(row.name)):
            try:
                unneeded = await self._unneeded(ObjectName(account, bucket, key), id_, policy, list(found), now - grace_s)
                await self._remove([ObjectName(hidden, bucket, row.name) for row in unneeded], unneeded, policy)
                figures["removed"] += len(unneeded)
            except (Unavailable, Conflict):
                figures["failed"] += 1
        return figures

    async def _rows(self, hidden: str, bucket: str, prefix: str) -> AsyncIterator[ObjectRow]:
        table, query = self._placement.container(hidden, bucket), Query(PAGE_ROWS, prefix=prefix)
        while True:
            page = await self._lister.page(table, query, "")
            for row in page.rows:
                yield row
            if not page.until:
                return
            query = msgspec.structs.replace(query, marker=page.until)

    async def _unneeded(
        self, name: ObjectName, id_: str, policy: int, rows: Sequence[ObjectRow], before_s: float
    ) -> list[ObjectRow]:
        """Those parts of an upload that nothing has referred to since `before_s`. Raises Unavailable."""
        hidden = hidden_account(name.account)
        record = await self._find(ObjectName(hidden, name.container, record_name(name.object, id_)), policy)
        if record.version is not None or seconds_of(record.tombstone) >= before_s:
            return []
        bucket = await self._cache.fresh(self._placement.container(name.account, name.container))
        whole = await self._find(name, bucket.settings.policy)
        needed: set[str] = set()
        if whole.version is not None and whole.version.system.get("upload-id") == id_:
            needed = await self._named(name, bucket.settings.policy, whole)
        elif seconds_of(whole.timestamp) >= before_s:
            return []  # it may be read still, as it was
        return [row for row in rows if row.name not in needed and seconds_of(row.timestamp) < before_s]

    async def _find(self, name: ObjectName, policy: int) -> Found:
        return await self._finder.find(self._placement.object(name, policy), NO_BYTES, "", everywhere=True)

    async def _named(self, name: ObjectName, policy: int, whole: Found) -> set[str]:
        """The names of the parts that an object is made of."""
        version = whole.version
        assert version is not None
        source = Body(self._nodes, self._placement.object(name, policy), version, whole.holders + whole.others, "")
        document = b"".join([piece async for piece in source.read(Span(0, version.size))])
        try:
            return {segment.names[1] for segment in decode_manifest(document)}
        except ManifestError as error:
            raise Unavailable(f"the manifest of {name} is damaged") from error

    async def _remove(self, names: Sequence[ObjectName], rows: Sequence[ObjectRow], policy: int) -> None:
        slots = asyncio.Semaphore(AT_ONCE_MAX)

        async def one(name: ObjectName, row: ObjectRow) -> None:
            async with slots:
                await self._delete(name, policy, row.timestamp + 1)

        await asyncio.gather(*(one(name, row) for name, row in zip(names, rows, strict=True)))
