"""Pages of listings against a brute force over all names."""

from dataclasses import dataclass, replace

from hypothesis import example, given, settings
from hypothesis import strategies as st

from objstore.model.listing import CODE_POINT_MAX, ListingQuery, MergedPage, Page, Span, after_prefix, span_of
from objstore.model.rows import ObjectRow, Subdir, merge_object_rows


@dataclass(frozen=True)
class Query:
    limit: int = 100
    marker: str = ""
    end_marker: str = ""
    prefix: str = ""
    delimiter: str = ""
    reverse: bool = False


def row(name: str, deleted: bool = False, timestamp: int = 1) -> ObjectRow:
    return ObjectRow(name, timestamp, deleted, type_timestamp=timestamp, meta_timestamp=timestamp)


def brute(rows: list[ObjectRow], query: ListingQuery) -> list[str]:
    """The entries of a page, from the words of the API's documentation."""
    low, high = (query.end_marker, query.marker) if query.reverse else (query.marker, query.end_marker)
    entries: list[str] = []
    for name in sorted((r.name for r in rows if not r.deleted), reverse=query.reverse):
        if not name.startswith(query.prefix) or name <= low or (high and name >= high):
            continue
        at = name.find(query.delimiter, len(query.prefix)) if query.delimiter else -1
        entry = name if at < 0 else name[: at + len(query.delimiter)]
        if entry == low or (entries and entries[-1] == entry):
            continue
        entries.append(entry)
    return entries[: query.limit]


def paged(rows: list[ObjectRow], query: ListingQuery, batch: int, raw: bool = False) -> Page[ObjectRow]:
    """What a server does: reads the span in batches, and jumps when told."""
    page: Page[ObjectRow] = Page(query, raw=raw)
    while (span := page.span) is not None:
        found = sorted((r for r in rows if r.name in span), key=lambda r: r.name, reverse=query.reverse)[:batch]
        if not found:
            page.end()
        page.look(found)
    return page


def names(page: Page[ObjectRow] | MergedPage[ObjectRow]) -> list[str]:
    return [item.name for item in page.items]


alphabet = st.sampled_from(["a", "b", "/", "-", "é", "\ud7ff", "\ue000", "😀", CODE_POINT_MAX, "\0"])
texts = st.text(alphabet, max_size=4)
some_rows = st.dictionaries(st.text(alphabet, min_size=1, max_size=5), st.booleans(), max_size=25).map(
    lambda found: [row(name, deleted) for name, deleted in found.items()]
)
queries = st.builds(
    Query,
    st.integers(0, 8),
    texts,
    texts,
    st.text(alphabet, max_size=2),
    st.sampled_from(["", "", "/", "-", "//", "a/", "😀", CODE_POINT_MAX]),
    st.booleans(),
)


@settings(max_examples=600)
@given(some_rows, queries, st.integers(1, 6))
def test_a_page_shows_what_the_brute_force_shows(rows: list[ObjectRow], query: Query, batch: int) -> None:
    assert names(paged(rows, query, batch)) == brute(rows, query)


@settings(max_examples=400)
@given(some_rows, queries, st.integers(1, 6))
def test_until_is_the_marker_of_the_next_page(rows: list[ObjectRow], query: Query, batch: int) -> None:
    """Pages one after the other show what one endless page shows."""
    query = replace(query, limit=max(1, query.limit))
    whole = brute(rows, replace(query, limit=1000))
    shown: list[str] = []
    part = query
    for _ in range(100):
        page = paged(rows, part, batch)
        shown += names(page)
        if not page.until:
            break
        part = replace(part, marker=page.until)
    assert shown == whole


@settings(max_examples=400)
@given(some_rows, queries, st.integers(1, 6))
def test_the_batch_size_does_not_show(rows: list[ObjectRow], query: Query, batch: int) -> None:
    """Digests of two servers must not differ because one reads in larger pieces."""

    def looked_at(batch: int) -> tuple[list[ObjectRow], str]:
        page: Page[ObjectRow] = Page(query)
        seen: list[ObjectRow] = []
        while (span := page.span) is not None:
            found = sorted((r for r in rows if r.name in span), key=lambda r: r.name, reverse=query.reverse)[:batch]
            if not found:
                page.end()
            seen += page.look(found)
        return seen, page.until

    assert looked_at(batch)[0] == looked_at(1000)[0]


@settings(max_examples=600)
@example([], [("a/", True, 1), ("a/b", False, 1)], Query(1, delimiter="/"), 1)
@example([], [("\U0010ffff", True, 1), ("\U0010ffffa", False, 1)], Query(1, delimiter="\U0010ffff"), 1)
@given(
    st.lists(st.tuples(st.text(alphabet, min_size=1, max_size=4), st.booleans(), st.integers(1, 9)), max_size=30),
    st.lists(st.tuples(st.text(alphabet, min_size=1, max_size=4), st.booleans(), st.integers(1, 9)), max_size=30),
    queries,
    st.integers(1, 5),
)
def test_merged_pages_show_what_the_merged_rows_show(
    first: list[tuple[str, bool, int]], second: list[tuple[str, bool, int]], query: Query, limit_max: int
) -> None:
    replicas = [merged_rows(first), merged_rows(second)]
    page: MergedPage[ObjectRow] = MergedPage(query, merge_object_rows)
    for _ in range(200):
        ask = page.ask
        if ask is None:
            break
        part = replace(query, marker=ask[0], limit=min(ask[1], limit_max))
        answers = [paged(rows, part, 3, raw=True) for rows in replicas]
        page.feed([([item for item in answer.items if isinstance(item, ObjectRow)], answer.until) for answer in answers])
    assert page.ask is None
    assert names(page) == brute(merged_rows(first + second), query)


def merged_rows(entries: list[tuple[str, bool, int]]) -> list[ObjectRow]:
    merged: dict[str, ObjectRow] = {}
    for name, deleted, timestamp in entries:
        new = row(name, deleted, timestamp)
        merged[name] = merge_object_rows(merged.get(name, new), new)
    return list(merged.values())


@settings(max_examples=300)
@given(some_rows, some_rows, queries)
def test_equal_looks_mean_that_merging_changes_nothing(a: list[ObjectRow], b: list[ObjectRow], query: Query) -> None:
    """Why a digest of the rows looked at is enough, although a folded subdirectory's other names are not read."""
    page_a, page_b = paged(a, query, 1000), paged(b, query, 1000)
    if looks(a, query) == looks(b, query) and page_a.until == page_b.until:
        both = {r.name: r for r in a}
        for r in b:
            both[r.name] = merge_object_rows(both.get(r.name, r), r)
        assert names(page_a) == brute(list(both.values()), query)


def looks(rows: list[ObjectRow], query: Query) -> list[ObjectRow]:
    page: Page[ObjectRow] = Page(query)
    seen: list[ObjectRow] = []
    while (span := page.span) is not None:
        found = sorted((r for r in rows if r.name in span), key=lambda r: r.name, reverse=query.reverse)
        if not found:
            page.end()
        seen += page.look(found)
    return seen


@given(st.text(alphabet, min_size=1, max_size=4), st.text(alphabet, max_size=4))
def test_after_prefix_is_above_all_that_start_with_it(prefix: str, rest: str) -> None:
    after = after_prefix(prefix)
    if after is None:
        assert prefix.strip(CODE_POINT_MAX) == ""
    else:
        assert prefix + rest < after
        assert not after.startswith(prefix)
        after.encode()


@given(st.text(alphabet, max_size=4), st.text(alphabet, max_size=4))
def test_text_order_is_byte_order(a: str, b: str) -> None:
    assert (a < b) == (a.encode() < b.encode())


def test_subdirectories_and_markers_as_swift_shows_them() -> None:
    rows = [row(name) for name in ("a", "b/", "b/1", "b/2", "b0", "c/x/y")]
    assert names(paged(rows, Query(delimiter="/"), 2)) == ["a", "b/", "b0", "c/"]
    assert names(paged(rows, Query(delimiter="/", prefix="b/"), 2)) == ["b/", "b/1", "b/2"]
    assert names(paged(rows, Query(delimiter="/", marker="b/"), 2)) == ["b0", "c/"]
    assert names(paged(rows, Query(delimiter="/", marker="b/1"), 2)) == ["b/", "b0", "c/"]
    assert names(paged(rows, Query(delimiter="/", reverse=True, end_marker="b/"), 2)) == ["c/", "b0"]
    assert names(paged(rows, Query(delimiter="/", reverse=True, limit=2), 2)) == ["c/", "b0"]
    assert isinstance(paged(rows, Query(delimiter="/"), 2).items[1], Subdir)


def test_no_limit_no_page() -> None:
    page = paged([row("a")], Query(limit=0), 5)
    assert (page.items, page.until) == ([], "")


def test_spans_that_cannot_match_are_not_read() -> None:
    assert span_of(Query(marker="m", end_marker="m")) is None
    assert span_of(Query(prefix="a", marker="b")) is None
    assert span_of(Query(prefix="b", marker="a")) == Span("b", True, "c")
