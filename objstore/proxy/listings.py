"""Listings that show every acknowledged change (G6): one replica sends the page, the others of R = n - W + 1 the digest of their
whole table, tombstones included. Who has another table is asked for a digest of the same range; rows are merged only where that
differs too.
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import msgspec

from objstore.formats.messages import ContainerPage, Kind, ListTable, Message, ObjectPage, Query, Settings, Stats
from objstore.model.errors import Unavailable
from objstore.model.listing import MergedPage
from objstore.model.quorum import read_count
from objstore.model.rows import merge_container_rows, merge_object_rows
from objstore.placement.places import TablePlace
from objstore.proxy.infocache import InfoCache, choose_stats, merge_answers, repair_request
from objstore.proxy.nodes import FanOut, Nodes

Page = ObjectPage | ContainerPage
_pack = msgspec.msgpack.Encoder().encode


@dataclass(frozen=True, slots=True)
class Listing:
    """A page: its rows, where the next page begins ("" after the last), and what is known of the table.

    Rows are ObjectRow, ContainerRow or Subdir, by the kind of table.
    """

    rows: list[Any]
    until: str
    settings: Settings
    stats: Stats


class _KeptPages:
    """Pages as they were last read, the least recently used forgotten. A replica whose table has the digest of the one that a page
    was read from has that very page, so it need not be read and sent again.
    """

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._bytes = 0
        self._pages: OrderedDict[tuple[Kind, str, Query], tuple[Page, int]] = OrderedDict()

    def get(self, place: TablePlace, query: Query) -> Page | None:
        """The page, which says what table it is of."""
        key = place.kind, place.name, query
        if key not in self._pages:
            return None
        self._pages.move_to_end(key)
        return self._pages[key][0]

    def put(self, place: TablePlace, query: Query, page: Page) -> None:
        """Keep it, if it says what table it is of."""
        key = place.kind, place.name, query
        self._bytes -= self._pages.pop(key, (page, 0))[1]
        if not page.table or (size := len(_pack(page)) + len(_pack(key))) > self._bytes_max:
            return
        self._pages[key] = page, size
        self._bytes += size
        while self._bytes > self._bytes_max:
            self._bytes -= self._pages.popitem(last=False)[1][1]


class Lister:
    """Reads pages; not thread-safe."""

    def __init__(self, nodes: Nodes, cache: InfoCache) -> None:
        self._nodes = nodes
        self._cache = cache
        self._turn = 0
        self._kept = _KeptPages(nodes.knobs.kept_pages_bytes_max)

    async def page(self, place: TablePlace, query: Query, txn: str) -> Listing:
        """One page, as long as was asked for where there is so much. A table that nobody ever made is an empty page with
        settings that do not exist. Raises Unavailable.
        """
        rows: list[Any] = []
        for _ in range(self._nodes.knobs.listing_rounds_max):
            # A replica may end its page early (long names, many tombstones): to a client that would be the end of the listing.
            part = await self._part(place, query, txn)
            rows += part.rows
            left = query.limit - len(part.rows)
            if not part.until or left <= 0:
                return Listing(rows, part.until, part.settings, part.stats)
            query = msgspec.structs.replace(query, marker=part.until, limit=left)
        raise Unavailable("the listing holds too many deleted names; try again")

    async def _part(self, place: TablePlace, query: Query, txn: str) -> Listing:
        """A page that may end before its limit is reached, `until` saying where to go on."""
        self._turn += 1
        order = self._nodes.failures.order(place.replicas, self._turn)
        first, needed = order[0], read_count(len(place.replicas))
        kept = self._kept.get(place, query)

        def question(index: int) -> Message:
            if index == first:
                return _question(place, query, index, packed=True, known=b"" if kept is None else kept.table)
            return _question(place, query, index, packed=True, digest_only=True, table_only=True)

        pages = await self._ask(place, order, question, txn, needed)
        if first not in pages:
            others = [i for i in order if i != first]
            pages = await self._ask(place, others, partial(_question, place, query, packed=True), txn, needed)
            first = next(i for i in others if i in pages)
        if kept is not None and pages[first].table == kept.table:
            pages[first] = msgspec.structs.replace(kept, info=pages[first].info)
        else:
            self._kept.put(place, query, pages[first])
        await self._look_closer(place, order, query, txn, pages, first)
        infos = {index: page.info for index, page in pages.items()}
        settings = merge_answers(place.name, list(infos.values()))
        self._cache.repair(place, settings, infos)
        rows = _rows(pages[first])
        until = pages[first].until
        if not all(_same(page, pages[first]) for page in pages.values()):
            rows, until = await self._merge(place, order, query, txn)
        return Listing(rows, until, settings, choose_stats(list(infos.values())))

    async def _look_closer(
        self, place: TablePlace, order: list[int], query: Query, txn: str, pages: dict[int, Page], first: int
    ) -> None:
        """Of the answers, those that tell of nothing but a table, and of another one than the first, become digests of the page.
        Raises Unavailable.
        """
        table = pages[first].table
        unread = [i for i, page in pages.items() if i != first and not page.digest and (not table or page.table != table)]
        if unread:
            for index in unread:
                del pages[index]
            others = [*unread, *(i for i in order if i not in pages and i not in unread)]
            question = partial(_question, place, query, packed=True, digest_only=True)
            pages.update(await self._ask(place, others, question, txn, len(unread)))

    async def _merge(self, place: TablePlace, order: list[int], query: Query, txn: str) -> tuple[list[Any], str]:
        """The page that the replicas have in common, from their raw rows; it may end early."""
        merge: Any = merge_object_rows if place.kind == "container" else merge_container_rows
        merged: MergedPage[Any] = MergedPage(query, merge)
        for _ in range(self._nodes.knobs.listing_rounds_max):
            if (ask := merged.ask) is None:
                break
            part = msgspec.structs.replace(query, marker=ask[0], limit=ask[1])
            question = partial(_question, place, part, raw_rows=True)
            pages = await self._ask(place, order, question, txn, read_count(len(place.replicas)))
            lacking = merged.feed([(page.rows, page.until) for page in pages.values()])
            await self._complete(place, dict(zip(pages, lacking, strict=True)), txn)
        return merged.items, merged.until

    async def _complete(self, place: TablePlace, lacking: dict[int, list[Any]], txn: str) -> None:
        """Give each replica that answered the rows it lacks: what a listing showed once, later ones show too. A replica that
        fails here keeps its gap for the next reader.
        """
        fan = FanOut(self._nodes, txn)
        for index, rows in lacking.items():
            if rows:
                fan.call(index, place.replicas[index].address, repair_request(place, index, None, rows))
        try:
            while fan.outstanding:
                await fan.next()
        finally:
            fan.leave()

    async def _ask(
        self, place: TablePlace, order: list[int], question: Callable[[int], Message], txn: str, needed: int
    ) -> dict[int, Page]:
        """So many replicas' answers by index, of those in `order`. Raises Unavailable."""
        fan, pages, asked = FanOut(self._nodes, txn), dict[int, Page](), 0
        patient = True
        try:
            while len(pages) < needed:
                wanted = needed if patient else needed + 1
                while asked < len(order) and len(pages) + fan.outstanding < wanted:
                    fan.call(order[asked], place.replicas[order[asked]].address, question(order[asked]))
                    asked += 1
                if not fan.outstanding:
                    raise Unavailable(f"too few replicas of {place.name} answered")
                ended = await fan.next(self._nodes.knobs.listing_hedge_s if patient else None)
                if ended is None:
                    patient = False
                    for address in fan.pending:
                        self._nodes.failures.slow(address)
                elif isinstance(ended[1], (ObjectPage, ContainerPage)):
                    pages[ended[0]] = ended[1]
        finally:
            fan.cancel()
        return pages


def _rows(page: Page) -> list[Any]:
    """Raises Unavailable for what no node of ours sends."""
    if isinstance(page, ContainerPage):
        return page.rows
    try:
        return page.all_rows()
    except msgspec.MsgspecError as error:
        raise Unavailable(f"a replica's page cannot be read: {error}") from error


def _same(answer: Page, page: Page) -> bool:
    """Whether a replica has the page that another one sent."""
    return (answer.digest, answer.until) == (page.digest, page.until) if answer.digest else answer.table == page.table


def _question(place: TablePlace, query: Query, index: int, **how: Any) -> Message:
    return ListTable(place.kind, place.replicas[index].target, place.hash, place.name, query, **how)
