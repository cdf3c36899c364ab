"""Access lists of buckets and objects: GetBucketAcl, PutBucketAcl, GetObjectAcl, PutObjectAcl."""

from objstore.api.reply import Reply
from objstore.api.s3.call import Call, Site
from objstore.api.s3.errors import S3Error
from objstore.api.s3.grants import (
    OWNERS_OWN,
    Grant,
    Lists,
    check_object_grants,
    grants_of,
    grants_of_document,
    grants_of_headers,
    lists_of,
    policy_document,
    require_nothing_new,
)
from objstore.api.s3.xml import TYPE_FIELD, parse
from objstore.model.conditions import NO_CONDITIONS
from objstore.model.errors import ContainerNotFound
from objstore.proxy.operations import ReadRequest, TableView

ACL_BYTES_MAX = 65_536


async def lists_of_bucket(site: Site, call: Call) -> Lists:
    """The lists of the bucket of a call, whoever asks: for checks that come after its own right to the object. Raises
    ContainerNotFound.
    """
    settings = await site.store.peek_container(call.owner, call.bucket)
    if settings is None:
        raise ContainerNotFound("there is no such container")
    return Lists.of(settings)


async def check_new_object(site: Site, call: Call) -> None:
    """Check the list that comes with a new object, if any. Raises S3Error."""
    if any(name.startswith(("x-amz-acl", "x-amz-grant-")) for name in call.headers):
        check_object_grants(call.headers, (call.owner, call.owner_id), await lists_of_bucket(site, call))


class AclHandlers:
    """The owner alone reads and changes lists."""

    def __init__(self, site: Site) -> None:
        self._site = site

    async def get_bucket(self, call: Call) -> Reply:
        """GetBucketAcl."""
        view = await self._owners_view(call)
        return Reply(200, [TYPE_FIELD], policy_document(call.owner_id, grants_of(Lists.of(view.settings))))

    async def put_bucket(self, call: Call) -> Reply:
        """PutBucketAcl: canned, as headers, or as a document."""
        await self._owners_view(call)
        lists = lists_of(await self._given(call))
        await self._site.store.post_container(call.ctx, call.owner, call.bucket, lists.values)
        return Reply(200)

    async def get_object(self, call: Call) -> Reply:
        """GetObjectAcl: what the bucket gives."""
        view = await self._owners_view(call)
        await self._require_object(call)
        return Reply(200, [TYPE_FIELD], policy_document(call.owner_id, grants_of(Lists.of(view.settings), bucket=False)))

    async def put_object(self, call: Call) -> Reply:
        """PutObjectAcl: accepted when it says what the bucket gives anyway, or nothing beside the owner's rights."""
        view = await self._owners_view(call)
        await self._require_object(call)
        if call.headers.get("x-amz-acl") in OWNERS_OWN:
            await call.payload.read(ACL_BYTES_MAX)
        else:
            require_nothing_new(await self._given(call), Lists.of(view.settings))
        return Reply(200)

    async def _given(self, call: Call) -> list[Grant]:
        """Raises S3Error, also when there is both or neither of headers and a document."""
        body = await call.payload.read(ACL_BYTES_MAX)
        grants = grants_of_headers(call.headers, (call.owner, call.owner_id))
        if grants is None:
            if not body:
                raise S3Error("MissingSecurityHeader", details={"MissingHeaderName": "x-amz-acl"})
            return grants_of_document(parse(body, "AccessControlPolicy"), (call.owner, call.owner_id))
        if body:
            raise S3Error("UnexpectedContent")
        return grants

    async def _owners_view(self, call: Call) -> TableView:
        """Raises AccessDenied for everybody else."""
        view = await self._site.store.head_container(call.ctx, call.owner, call.bucket)
        if not view.owner:
            raise S3Error("AccessDenied")
        return view

    async def _require_object(self, call: Call) -> None:
        read = await self._site.store.open_object(call.ctx, ReadRequest(call.name, NO_CONDITIONS, head=True))
        await read.close()
