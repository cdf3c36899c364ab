"""ListObjects, versions 1 and 2, and ListObjectVersions."""

import base64
import binascii
from collections.abc import Callable, Sequence
from urllib.parse import quote

from objstore.api.reply import Reply
from objstore.api.s3.call import Call, Site
from objstore.api.s3.dates import iso_date
from objstore.api.s3.errors import invalid_argument
from objstore.api.s3.xml import TYPE_FIELD, document, escape, group, leaf, owner_of
from objstore.formats.messages import Query
from objstore.model.rows import ObjectRow, Subdir

KEYS_MAX = 1000
_SLO_ETAG = "; slo_etag="


class ListingHandlers:
    """The two forms differ in how a page names where the next one begins."""

    def __init__(self, site: Site) -> None:
        self._site = site

    async def list_v1(self, call: Call) -> Reply:
        """ListObjects. NextMarker is given with a delimiter only, as S3 does: else it is the last key."""
        fields = call.query
        limit, show = limit_of(fields), shown(fields)
        marker, delimiter = fields.get("marker", ""), fields.get("delimiter", "")
        rows, more = await self._page(call, limit, marker)
        parts = [leaf("Marker", show(marker))]
        if more and delimiter and rows:
            parts.append(leaf("NextMarker", show(rows[-1].name)))
        return self._reply(call, limit, more, parts, _contents(call, rows, show, owners=True))

    async def list_v2(self, call: Call) -> Reply:
        """ListObjectsV2. A continuation token is the last name of the page before, encoded."""
        fields = call.query
        limit, show = limit_of(fields), shown(fields)
        token, start = fields.get("continuation-token"), fields.get("start-after", "")
        rows, more = await self._page(call, limit, start if token is None else _name_of(token))
        parts = [leaf("NextContinuationToken", _token_of(rows[-1].name))] if more and rows else []
        if token is not None:
            parts.append(leaf("ContinuationToken", token))
        if "start-after" in fields:
            parts.append(leaf("StartAfter", show(start)))
        parts.append(leaf("KeyCount", len(rows)))
        owners = fields.get("fetch-owner") == "true"
        return self._reply(call, limit, more, parts, _contents(call, rows, show, owners=owners))

    async def list_versions(self, call: Call) -> Reply:
        """ListObjectVersions of a bucket that never had versions: every object is its own only version, "null"."""
        fields = call.query
        limit, show = limit_of(fields), shown(fields)
        marker, prefix = fields.get("key-marker", ""), fields.get("prefix", "")
        rows, more = await self._page(call, limit, marker)
        parts = [leaf("Name", call.bucket), leaf("Prefix", show(prefix)), leaf("KeyMarker", show(marker))]
        parts.append(leaf("VersionIdMarker", fields.get("version-id-marker", "")))
        if more and rows:
            parts.append(leaf("NextKeyMarker", show(rows[-1].name)))
            parts += [] if isinstance(rows[-1], Subdir) else [leaf("NextVersionIdMarker", "null")]
        parts.append(leaf("MaxKeys", limit))
        if "encoding-type" in fields:
            parts.append(leaf("EncodingType", "url"))
        if "delimiter" in fields:
            parts.append(leaf("Delimiter", show(fields["delimiter"])))
        parts.append(leaf("IsTruncated", more))
        contents = _contents(
            call, rows, show, owners=True, element="Version", more=(leaf("VersionId", "null"), leaf("IsLatest", True))
        )
        return Reply(200, [TYPE_FIELD], document("ListVersionsResult", [*parts, *contents]))

    async def _page(self, call: Call, limit: int, marker: str) -> tuple[list[ObjectRow | Subdir], bool]:
        """At most `limit` entries behind `marker`, and whether there are more."""
        query = Query(limit + 1, marker, "", call.query.get("prefix", ""), call.query.get("delimiter", ""))
        if limit == 0:
            await self._site.store.list_container(call.ctx, call.owner, call.bucket, query)
            return [], False
        listing = await self._site.store.list_container(call.ctx, call.owner, call.bucket, query)
        return listing.rows[:limit], len(listing.rows) > limit

    @staticmethod
    def _reply(call: Call, limit: int, more: bool, marks: list[str], contents: list[str]) -> Reply:
        fields, show = call.query, shown(call.query)
        head = [leaf("Name", call.bucket), leaf("Prefix", show(fields.get("prefix", ""))), *marks, leaf("MaxKeys", limit)]
        if fields.get("delimiter"):
            head.append(leaf("Delimiter", show(fields["delimiter"])))
        if "encoding-type" in fields:
            head.append(leaf("EncodingType", "url"))
        head.append(leaf("IsTruncated", more))
        return Reply(200, [TYPE_FIELD], document("ListBucketResult", [*head, *contents]))


def _contents(
    call: Call,
    rows: list[ObjectRow | Subdir],
    show: Callable[[str], str],
    *,
    owners: bool,
    element: str = "Contents",
    more: Sequence[str] = (),
) -> list[str]:
    """The entries of a page; `more` goes into each object's. Few calls for each row: a page has up to 1,000."""
    between = f"{''.join(more)}<Size>"
    end = f"</Size>{owner_of(call.owner_id) if owners else ''}<StorageClass>STANDARD</StorageClass></{element}>"
    contents, prefixes = [], []
    for row in rows:
        if isinstance(row, Subdir):
            prefixes.append(group("CommonPrefixes", (leaf("Prefix", show(row.name)),)))
            continue
        changed = iso_date(row.meta_timestamp if row.meta_timestamp > row.timestamp else row.timestamp)
        etag = row.etag.partition(_SLO_ETAG)[2] or row.etag  # a large object's is kept beside that of its manifest
        contents.append(
            f"<{element}><Key>{escape(show(row.name))}</Key><LastModified>{changed}</LastModified>"
            f"<ETag>&quot;{escape(etag)}&quot;</ETag>{between}{row.size}{end}"
        )
    return contents + prefixes


def limit_of(fields: dict[str, str], name: str = "max-keys") -> int:
    """How many entries a page may have. Raises S3Error InvalidArgument."""
    text = fields.get(name)
    if text is None or text == "":
        return KEYS_MAX
    if not (text.isascii() and text.isdigit() and len(text) <= 10 and int(text) < 2**31):
        raise invalid_argument(f"Provided {name} not an integer or within integer range", name, text)
    return min(int(text), KEYS_MAX)


def shown(fields: dict[str, str]) -> Callable[[str], str]:
    """How names are written. Raises S3Error InvalidArgument for another encoding than `url`."""
    encoding = fields.get("encoding-type")
    if encoding is None:
        return str
    if encoding.lower() != "url":
        raise invalid_argument("Invalid Encoding Method specified in Request", "encoding-type", encoding)
    return lambda text: quote(text, safe="/~-._*", errors="replace")


def _token_of(name: str) -> str:
    return base64.urlsafe_b64encode(name.encode()).decode("ascii")


def _name_of(token: str) -> str:
    try:
        return base64.b64decode(token.encode(), altchars=b"-_", validate=True).decode()
    except (ValueError, binascii.Error):
        raise invalid_argument("The continuation token provided is incorrect", "continuation-token", token) from None
