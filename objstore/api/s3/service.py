"""The service itself, and buckets: ListBuckets, CreateBucket, HeadBucket, DeleteBucket, GetBucketLocation."""

from objstore.api.reply import Reply
from objstore.api.s3.address import check_bucket_name
from objstore.api.s3.call import Call, Site
from objstore.api.s3.dates import iso_date
from objstore.api.s3.errors import S3Error
from objstore.api.s3.grants import grants_of_headers, lists_of
from objstore.api.s3.xml import TYPE_FIELD, document, group, leaf, owner_of, parse
from objstore.formats.messages import Query
from objstore.model.errors import AccountDeleted, AccountNotFound, Conflict
from objstore.model.rows import ContainerRow

BUCKETS_MAX = 10_000
CONFIGURATION_BYTES_MAX = 65_536


class ServiceHandlers:
    """ListBuckets."""

    def __init__(self, site: Site) -> None:
        self._site = site

    async def list_buckets(self, call: Call) -> Reply:
        """All containers of the requester's account; with `max-buckets`, a page."""
        if not call.account:
            raise S3Error("AccessDenied")
        limit = _limit(call.query.get("max-buckets"))
        query = Query(limit + 1, call.query.get("continuation-token", ""), "", call.query.get("prefix", ""))
        try:
            listing = await self._site.store.list_account(call.ctx, call.account, query)
            rows = [row for row in listing.rows if isinstance(row, ContainerRow)]
        except (AccountNotFound, AccountDeleted):
            rows = []
        buckets = [
            group("Bucket", (leaf("Name", row.name), leaf("CreationDate", iso_date(row.put_timestamp)))) for row in rows[:limit]
        ]
        parts = [owner_of(call.owner_id), group("Buckets", buckets)]
        if len(rows) > limit:
            parts.append(leaf("ContinuationToken", rows[limit - 1].name))
        if "prefix" in call.query:
            parts.append(leaf("Prefix", call.query["prefix"]))
        return Reply(200, [TYPE_FIELD], document("ListAllMyBucketsResult", parts))


def _limit(text: str | None) -> int:
    if text is None:
        return BUCKETS_MAX
    if not (text.isascii() and text.isdigit() and len(text) < 9 and 1 <= int(text) <= BUCKETS_MAX):
        raise S3Error("InvalidArgument", f"max-buckets must be an integer between 1 and {BUCKETS_MAX}")
    return int(text)


class BucketHandlers:
    """What is done to a bucket as a whole."""

    def __init__(self, site: Site) -> None:
        self._site = site

    async def put(self, call: Call) -> Reply:
        """CreateBucket. As S3 does outside us-east-1, a bucket that the requester has already is a conflict."""
        if not call.account:
            raise S3Error("AccessDenied")
        check_bucket_name(call.bucket)
        await self._check_configuration(call)
        values = lists_of(grants_of_headers(call.headers, (call.account, call.owner_id)) or []).values
        given = {key: value for key, value in values.items() if value}
        if not await self._site.store.create_bucket(call.ctx, call.account, call.bucket, given):
            raise S3Error("BucketAlreadyOwnedByYou", details={"BucketName": call.bucket})
        return Reply(200, [("Location", f"/{call.bucket}")])

    async def _check_configuration(self, call: Call) -> None:
        body = await call.payload.read(CONFIGURATION_BYTES_MAX)
        if not body:
            return
        location = parse(body, "CreateBucketConfiguration").findtext("LocationConstraint", "")
        if location not in ("", "EU", self._site.region, self._site.region.lower()):
            raise S3Error(
                "IllegalLocationConstraintException",
                f"The {location} location constraint is incompatible for the region specific endpoint this request was sent to.",
            )

    async def head(self, call: Call) -> Reply:
        """HeadBucket: whether it is there, and may be seen."""
        await self._site.store.head_container(call.ctx, call.owner, call.bucket)
        return Reply(200, [("x-amz-bucket-region", self._site.region), TYPE_FIELD])

    async def delete(self, call: Call) -> Reply:
        """DeleteBucket."""
        try:
            await self._site.store.delete_bucket(call.ctx, call.owner, call.bucket)
        except Conflict:
            raise S3Error("BucketNotEmpty", details={"BucketName": call.bucket}) from None
        return Reply(204)

    async def location(self, call: Call) -> Reply:
        """GetBucketLocation: "" stands for us-east-1."""
        await self._site.store.head_container(call.ctx, call.owner, call.bucket)
        region = "" if self._site.region == "us-east-1" else self._site.region
        return Reply(200, [TYPE_FIELD], document("LocationConstraint", (region,)))
