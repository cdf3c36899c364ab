"""The sub-resources that clients ask for before they do anything: each answers as S3 does where nothing was ever configured. To set
one says NotImplemented.
"""

from collections.abc import Mapping

from objstore.api.reply import Reply
from objstore.api.s3.call import Call, Site
from objstore.api.s3.errors import S3Error
from objstore.api.s3.xml import TYPE_FIELD, document, group, leaf
from objstore.model.conditions import NO_CONDITIONS
from objstore.proxy.operations import ReadRequest

BUCKET_ERRORS: Mapping[str, str] = {
    "cors": "NoSuchCORSConfiguration",
    "encryption": "ServerSideEncryptionConfigurationNotFoundError",
    "lifecycle": "NoSuchLifecycleConfiguration",
    "object-lock": "ObjectLockConfigurationNotFoundError",
    "ownershipControls": "OwnershipControlsNotFoundError",
    "policy": "NoSuchBucketPolicy",
    "publicAccessBlock": "NoSuchPublicAccessBlockConfiguration",
    "replication": "ReplicationConfigurationNotFoundError",
    "tagging": "NoSuchTagSet",
    "website": "NoSuchWebsiteConfiguration",
}
BUCKET_EMPTY: Mapping[str, str] = {
    "accelerate": "AccelerateConfiguration",
    "logging": "BucketLoggingStatus",
    "notification": "NotificationConfiguration",
    "versioning": "VersioningConfiguration",
}
OBJECT_ERRORS: Mapping[str, str] = {"legal-hold": "NoSuchObjectLockConfiguration", "retention": "NoSuchObjectLockConfiguration"}
LISTS: Mapping[str, str] = {
    "analytics": "ListBucketAnalyticsConfigurationResult",
    "intelligent-tiering": "ListBucketIntelligentTieringConfigurationsOutput",
    "inventory": "ListInventoryConfigurationsResult",
    "metrics": "ListMetricsConfigurationsResult",
}
OTHERS = frozenset({"policyStatus", "requestPayment", "restore", "select", "torrent"})
SUB_RESOURCES = frozenset({*BUCKET_ERRORS, *BUCKET_EMPTY, *OBJECT_ERRORS, *LISTS, *OTHERS})


class ProbeHandlers:
    """GETs of sub-resources."""

    def __init__(self, site: Site) -> None:
        self._site = site

    async def of_bucket(self, call: Call, name: str) -> Reply:
        """Raises S3Error with the code for what is not configured."""
        await self._site.store.head_container(call.ctx, call.owner, call.bucket)
        if name in BUCKET_ERRORS:
            raise S3Error(BUCKET_ERRORS[name], details={"BucketName": call.bucket})
        if name in BUCKET_EMPTY:
            return Reply(200, [TYPE_FIELD], document(BUCKET_EMPTY[name], ()))
        if name in LISTS:
            return Reply(200, [TYPE_FIELD], document(LISTS[name], (leaf("IsTruncated", False),)))
        if name == "requestPayment":
            return Reply(200, [TYPE_FIELD], document("RequestPaymentConfiguration", (leaf("Payer", "BucketOwner"),)))
        raise S3Error("NotImplemented", f"?{name} is not implemented.")

    async def of_object(self, call: Call, name: str) -> Reply:
        """The same of an object, which must be there."""
        read = await self._site.store.open_object(call.ctx, ReadRequest(call.name, NO_CONDITIONS, head=True))
        await read.close()
        if name in OBJECT_ERRORS:
            raise S3Error(OBJECT_ERRORS[name])
        if name == "tagging":
            return Reply(200, [TYPE_FIELD], document("Tagging", (group("TagSet", ()),)))
        raise S3Error("NotImplemented", f"?{name} is not implemented.")
