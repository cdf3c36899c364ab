"""Which names a listing shows: marker, end marker, prefix, delimiter, order and limit, decided on names alone.

The rules are those of Swift's account and container listings (API reference, "Pagination" and "Pseudo-hierarchical folders"):
names are ordered by the bytes of their UTF-8 form, which is the order of code points and thus of Python's strings; both markers
are exclusive; with a delimiter, all names that have it after the prefix fold into one `Subdir`, and a marker that is itself such
a subdirectory leaves out all of it.

A page reads no more than it must: a folded subdirectory is known by its first live name, the rest is skipped. What was looked at
determines the page, so two replicas that looked at equal rows have equal pages, and would have that page after merging too.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from objstore.model.rows import Subdir

CODE_POINT_MAX = "\U0010ffff"
MERGE_ROWS_MIN = 128
MERGE_ROWS_MAX = 4096


class Listed(Protocol):
    """A row of a listing."""

    @property
    def name(self) -> str: ...

    @property
    def deleted(self) -> bool: ...


class ListingQuery(Protocol):
    """What is asked for; `formats.messages.Query` is one."""

    @property
    def limit(self) -> int: ...

    @property
    def marker(self) -> str: ...

    @property
    def end_marker(self) -> str: ...

    @property
    def prefix(self) -> str: ...

    @property
    def delimiter(self) -> str: ...

    @property
    def reverse(self) -> bool: ...


R = TypeVar("R", bound=Listed)


@dataclass(frozen=True, slots=True)
class Span:
    """A range of names: `low` is in it when `inclusive`; `high` never is, and None is no bound."""

    low: str
    inclusive: bool
    high: str | None

    def __contains__(self, name: str) -> bool:
        above = name >= self.low if self.inclusive else name > self.low
        return above and (self.high is None or name < self.high)


def after_prefix(prefix: str) -> str | None:
    """The least text greater than every text that starts with `prefix`; None when there is none."""
    kept = prefix.rstrip(CODE_POINT_MAX)
    if not kept:
        return None
    following = ord(kept[-1]) + 1
    if following == 0xD800:  # surrogates are no characters and have no UTF-8 form
        following = 0xE000
    return kept[:-1] + chr(following)


def span_of(query: ListingQuery) -> Span | None:
    """The names that `query` ranges over; None when it can match none."""
    marker, end = (query.end_marker, query.marker) if query.reverse else (query.marker, query.end_marker)
    low, inclusive = marker, not marker
    if is_subdir(query, marker):
        after = after_prefix(marker)
        if after is None:
            return None
        low, inclusive = after, True
    if query.prefix and query.prefix > low:
        low, inclusive = query.prefix, True
    bounds = [bound for bound in (end, after_prefix(query.prefix)) if bound]
    high = min(bounds) if bounds else None
    if high is not None and high <= low:
        return None
    return Span(low, inclusive, high)


def is_subdir(query: ListingQuery, name: str) -> bool:
    """Whether `name` is one of the subdirectories that `query` folds names into."""
    if not query.delimiter or not name.startswith(query.prefix):
        return False
    at = name.find(query.delimiter, len(query.prefix))
    return at >= 0 and at + len(query.delimiter) == len(name)


class Page(Generic[R]):
    """One page in the making. Give it the rows of `span` in listing order, as many at a time as you like, until `span` is None.

    With `raw`, deleted rows are listed too and nothing is folded (a marker that is a subdirectory still skips all of it): what
    the merging of two replicas reads.
    """

    def __init__(self, query: ListingQuery, *, raw: bool = False) -> None:
        self.items: list[R | Subdir] = []
        self.until = ""
        """Where a next page goes on (as its marker): the last name looked at; "" once the listing ended."""
        self.jumped = False
        """Whether the last `look` moved `span` further than behind the rows it was given."""
        self._query = query
        self._raw = raw
        self._folds = bool(query.delimiter) and not raw
        self._span = span_of(query) if query.limit > 0 else None
        self._subdir = ""

    @property
    def span(self) -> Span | None:
        """What is still to be read; None when the page is complete."""
        return self._span

    @property
    def room(self) -> int:
        """How many more entries fit."""
        return self._query.limit - len(self.items)

    @property
    def skipping(self) -> str:
        """The subdirectory whose further names are not looked at, or ""."""
        return self._subdir

    def look(self, rows: Sequence[R]) -> Sequence[R]:
        """Decide on the next rows of the span; returns those that were looked at."""
        self.jumped = False
        if not rows or self._span is None:
            return ()
        looked = self._look_folding(rows) if self._folds else self._look_plain(rows)
        if self.room <= 0:
            self._span = None
        elif self._folds and self._subdir and rows[-1].name.startswith(self._subdir):
            self._continue_after_subdir(self._span)
        else:
            self._continue_after(rows[-1].name, self._span)
        return looked

    def end(self) -> None:
        """The span holds no further rows."""
        self._span = None
        self.until = ""

    def _look_plain(self, rows: Sequence[R]) -> Sequence[R]:
        shown = rows if self._raw else [row for row in rows if not row.deleted]
        room = self.room
        if len(shown) > room or (len(shown) == room and shown[-1] is not rows[-1]):
            last = shown[room - 1]
            shown = shown[:room]
            rows = rows[: next(i for i, row in enumerate(rows) if row is last) + 1]
        self.items.extend(shown)
        self.until = self._behind(rows[-1].name)
        return rows

    def _look_folding(self, rows: Sequence[R]) -> Sequence[R]:
        delimiter, start = self._query.delimiter, len(self._query.prefix)
        looked: list[R] = []
        for row in rows:
            name = row.name
            if self._subdir and name.startswith(self._subdir):
                continue
            looked.append(row)
            self.until = name
            if row.deleted:
                self.until = self._behind(name)
                continue
            at = name.find(delimiter, start)
            if at < 0:
                self.items.append(row)
            else:
                self.until = self._subdir = name[: at + len(delimiter)]
                self.items.append(Subdir(self._subdir))
            if self.room <= 0:
                break
        return looked

    def _behind(self, name: str) -> str:
        """The marker that goes on behind a name that was not folded. One that looks like a subdirectory would, as a marker, skip
        all that lies in it; with a NUL behind it, it does not (no name has one: Swift's API refuses them).
        """
        return name + "\0" if not self._query.reverse and is_subdir(self._query, name) else name

    def _continue_after(self, name: str, span: Span) -> None:
        self._span = Span(span.low, span.inclusive, name) if self._query.reverse else Span(name, False, span.high)

    def _continue_after_subdir(self, span: Span) -> None:
        self.jumped = True
        if self._query.reverse:
            self._span = Span(span.low, span.inclusive, self._subdir) if self._subdir > span.low else None
        else:
            after = after_prefix(self._subdir)
            open_above = after is not None and (span.high is None or after < span.high)
            self._span = Span(after, True, span.high) if after is not None and open_above else None
        if self._span is None:
            self.until = ""


class MergedPage(Generic[R]):
    """The page that several replicas of one table have in common once merged, built from raw reads of each.

    While `ask` is not None: read (raw) the same query with this marker and limit from every replica and `feed` the answers.
    """

    def __init__(self, query: ListingQuery, merge: Callable[[R, R], R]) -> None:
        self._query = query
        self._merge = merge
        self._page: Page[R] = Page(query)
        self._marker = query.marker
        self._rows_min = MERGE_ROWS_MIN

    @property
    def items(self) -> list[R | Subdir]:
        return self._page.items

    @property
    def until(self) -> str:
        """As `Page.until`."""
        return self._page.until

    @property
    def ask(self) -> tuple[str, int] | None:
        """Marker and limit of the raw reads to make next; None when the page is complete."""
        if self._page.span is None:
            return None
        return self._marker, min(max(self._page.room, self._rows_min), MERGE_ROWS_MAX)

    def feed(self, answers: Sequence[tuple[Sequence[R], str]]) -> list[list[R]]:
        """Take each replica's rows and `until`, all read with the same `ask`. Returns, for each, the merged rows it lacks."""
        reverse = self._query.reverse
        self._rows_min *= 2  # many tombstones are passed over in few reads
        untils = [until for _, until in answers if until]
        bound = (max(untils) if reverse else min(untils)) if untils else ""
        merged: dict[str, R] = {}
        for rows, _ in answers:
            for row in rows:
                known = merged.get(row.name)
                merged[row.name] = row if known is None else self._merge(known, row)
        # Beyond the nearest end of an answer, that replica may know rows it did not send.
        names = sorted(merged, reverse=reverse)
        if bound:
            names = [name for name in names if (name >= bound if reverse else name <= bound)]
        self._page.look([merged[name] for name in names])
        self._move_on(bound)
        return [_lacking(rows, [merged[name] for name in names]) for rows, _ in answers]

    def _move_on(self, bound: str) -> None:
        if self._page.span is None:
            return
        if not bound:
            self._page.end()
        elif self._page.skipping and bound.startswith(self._page.skipping):
            self._marker = self._page.skipping
        else:
            self._marker = bound


def _lacking(held: Sequence[R], merged: Sequence[R]) -> list[R]:
    known = {row.name: row for row in held}
    return [row for row in merged if known.get(row.name) != row]
