"""DeleteObjects: up to a thousand keys in one request, each with an outcome of its own."""

import asyncio

from objstore.api.reply import Reply
from objstore.api.s3.address import KEY_BYTES_MAX
from objstore.api.s3.call import Call, Site
from objstore.api.s3.errors import S3Error, s3_error, under_conditions
from objstore.api.s3.xml import TYPE_FIELD, Element, document, group, leaf, parse
from objstore.model.conditions import NO_CONDITIONS, Conditions
from objstore.model.errors import AccessDenied, ObjectNotFound, StoreError
from objstore.model.names import ObjectName

KEYS_MAX = 1000
BODY_BYTES_MAX = 2 * 2**20
TAGS_MAX = 12 * KEYS_MAX + 100
"""An object has up to six elements."""
AT_ONCE_MAX = 8


class DeleteHandlers:
    """Deletes many objects of one bucket."""

    def __init__(self, site: Site) -> None:
        self._site = site

    async def delete(self, call: Call) -> Reply:
        """With Content-MD5, a checksum, or neither: S3 wants one of them, but there are clients that send none."""
        body = await call.payload.read(BODY_BYTES_MAX)
        if not body:
            raise S3Error("MissingRequestBodyError")
        wanted, quiet = _read(body)
        try:
            await self._site.store.head_container(call.ctx, call.owner, call.bucket)
        except AccessDenied:  # who may not see the bucket may delete in it all the same: the right to write counts, key by key
            pass
        slots = asyncio.Semaphore(AT_ONCE_MAX)

        async def one(key: str, conditions: Conditions) -> str:
            async with slots:
                return await self._delete_one(call, key, conditions, quiet)

        outcomes = await asyncio.gather(*(one(key, conditions) for key, conditions in wanted))
        return Reply(200, [TYPE_FIELD], document("DeleteResult", outcomes))

    async def _delete_one(self, call: Call, key: str, conditions: Conditions, quiet: bool) -> str:
        try:
            if len(key.encode()) > KEY_BYTES_MAX:
                raise S3Error("KeyTooLongError")
            with under_conditions(conditions):
                await self._site.store.delete_object(call.ctx, ObjectName(call.owner, call.bucket, key), conditions)
        except ObjectNotFound:
            pass
        except StoreError as failure:
            error = s3_error(failure)
            return group("Error", (leaf("Key", key), leaf("Code", error.code), leaf("Message", error.text)))
        return "" if quiet else group("Deleted", (leaf("Key", key),))


def _read(body: bytes) -> tuple[list[tuple[str, Conditions]], bool]:
    """The keys with their conditions, and whether only failures are to be told. Raises S3Error."""
    root = parse(body, "Delete", TAGS_MAX)
    objects = root.findall("Object")
    if not 1 <= len(objects) <= KEYS_MAX:
        raise S3Error("MalformedXML")
    return [_one(element) for element in objects], root.findtext("Quiet", "").strip().lower() == "true"


def _one(element: Element) -> tuple[str, Conditions]:
    key = element.findtext("Key", "")
    if not key:
        raise S3Error("UserKeyMustBeSpecified" if element.findall("Key") else "MalformedXML")
    if element.findtext("VersionId", "null") not in ("", "null"):
        raise S3Error("NotImplemented", "Versions are not implemented.")
    if element.findall("Size") or element.findall("LastModifiedTime"):  # conditions that only directory buckets have
        raise S3Error("MalformedXML")
    etag = element.findtext("ETag", "")
    return key, Conditions(if_match=frozenset((etag.strip('"'),))) if etag else NO_CONDITIONS
