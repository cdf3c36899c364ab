"""The old pseudo-directory listing, `path=`: the objects right below a directory, never a common prefix."""

import msgspec

from objstore.api.swift.call import Call
from objstore.formats.messages import Query
from objstore.model.rows import ObjectRow, Subdir
from objstore.proxy.operations import ContainerListing, Store

LOOKUPS_MAX = 1_000
"""Common prefixes for which one request asks whether an object of just this name exists."""


async def list_directory(store: Store, call: Call, query: Query, path: str) -> ContainerListing:
    """The objects right below `path`. `dir/sub/` is one of `dir` when it is an object; the object `dir/` itself is not.

    A page may hold fewer rows than asked for once LOOKUPS_MAX prefixes have been looked at.
    """
    prefix = path.rstrip("/") + "/" if path else ""
    if path and not path.strip("/"):
        prefix = path
    rows: list[ObjectRow | Subdir] = []
    view = None
    marker, lookups = query.marker, 0
    while True:
        asked = msgspec.structs.replace(query, prefix=prefix, delimiter="/", marker=marker)
        page = await store.list_container(call.ctx, call.account, call.container, asked)
        view = view or page.view
        for row in page.rows:
            found: ObjectRow | None = None
            if isinstance(row, ObjectRow):
                found = row if row.name != prefix else None
            elif lookups < LOOKUPS_MAX:
                lookups += 1
                found = await _object_named(store, call, row.name)
            if found is not None:
                rows.append(found)
        ended = len(page.rows) < query.limit
        if ended or not page.rows or len(rows) >= query.limit or (lookups >= LOOKUPS_MAX and rows):
            return ContainerListing(view, rows[: query.limit])
        marker = page.rows[-1].name


async def _object_named(store: Store, call: Call, name: str) -> ObjectRow | None:
    """The row of the object of just this name, which comes first of all names that begin with it."""
    page = await store.list_container(call.ctx, call.account, call.container, Query(limit=1, prefix=name))
    first = page.rows[0] if page.rows else None
    return first if isinstance(first, ObjectRow) and first.name == name else None
