"""The S3 API: which handler answers a request for the service, a bucket or an object."""

from collections.abc import Awaitable, Callable

from objstore.api.limits import EdgeLimits
from objstore.api.reply import Fields, Reply
from objstore.api.request import Request
from objstore.api.s3.acl import AclHandlers
from objstore.api.s3.address import address_of, check_bucket_name, names_bucket
from objstore.api.s3.call import Call, Site, no_such_key, owner_of_bucket
from objstore.api.s3.deletes import DeleteHandlers
from objstore.api.s3.errors import S3Error, invalid_argument, s3_error
from objstore.api.s3.listings import ListingHandlers
from objstore.api.s3.multipart import MultipartHandlers
from objstore.api.s3.objects import ObjectHandlers
from objstore.api.s3.probes import SUB_RESOURCES, ProbeHandlers
from objstore.api.s3.service import BucketHandlers, ServiceHandlers
from objstore.api.s3.signing import Signing, carries_signature
from objstore.api.s3.xml import TYPE_FIELD, document, leaf
from objstore.auth.accesskeys import AccessKeys
from objstore.model.errors import (
    BodyIncomplete,
    BodyTimeout,
    ContainerNotFound,
    NotModified,
    ObjectNotFound,
    RangeNotSatisfiable,
    StoreError,
)
from objstore.proxy.operations import Context, Store
from objstore.runtime.interface import Clock, Rng

Handler = Callable[[Call], Awaitable[Reply]]
READ_ONLY = frozenset({"location", "versions", "uploads", "delete"})
"""What of a bucket can be neither put nor deleted."""


class S3Api:
    """See `edge.Api`."""

    def __init__(
        self,
        store: Store,
        keys: AccessKeys,
        clock: Clock,
        rng: Rng,
        edge_limits: EdgeLimits | None = None,
        region: str = "us-east-1",
        domains: tuple[str, ...] = (),
        signature_doctor: bool = False,
    ) -> None:
        site = self._site = Site(store, clock, rng, edge_limits or EdgeLimits(), region, domains)
        self._signing = Signing(keys, clock, region, site.edge_limits.piece_bytes, signature_doctor)
        self._service, self._buckets = ServiceHandlers(site), BucketHandlers(site)
        self._listings, self._objects = ListingHandlers(site), ObjectHandlers(site)
        self._deletes, self._probes = DeleteHandlers(site), ProbeHandlers(site)
        self._multipart, self._acl = MultipartHandlers(site), AclHandlers(site)

    def claims(self, request: Request) -> bool:
        """See `edge.OtherApi`."""
        return carries_signature(request) or names_bucket(request.headers.get("host", ""), self._site.domains)

    async def handle(self, request: Request) -> Reply:
        """Raises StoreError."""
        address = address_of(request, self._site.domains)
        key, payload = self._signing.identify(request, address.bucket if address.in_host else "")
        request.user = key.identity.user
        ctx = Context(key.identity, request.txn, request.headers.get("referer", ""))
        creating = request.method == "PUT" and not address.key and not request.query_text
        owner = key.account if creating else await owner_of_bucket(self._site.store, key.account, address.bucket, request.txn)
        call = Call(request, ctx, key.account, owner, address.bucket, address.key, payload)
        try:
            try:
                return _identified(await self._handler(call)(call), request)
            except ObjectNotFound:  # as missing_told, without its cost
                raise await no_such_key(self._site.store, ctx, owner, call.bucket) from None
        except ContainerNotFound:  # Swift's names are freer than S3's, so one that exists is taken
            check_bucket_name(call.bucket)
            raise

    def error_reply(self, request: Request, error: StoreError) -> Reply:
        """See `edge.Api`."""
        failure = s3_error(error)
        fields: Fields = []
        if isinstance(error, NotModified):
            return _identified(Reply(304, [("ETag", f'"{error.etag}"')]), request)
        if isinstance(error, RangeNotSatisfiable):
            fields.append(("Content-Range", f"bytes */{error.size}"))
            failure.details["ActualObjectSize"] = str(error.size)
        if failure.status == 503:
            fields.append(("Retry-After", "1"))
        parts = [leaf("Code", failure.code), leaf("Message", failure.text)]
        parts += [leaf(name, value) for name, value in failure.details.items()]
        parts += [leaf("RequestId", request.txn), leaf("HostId", request.txn)]
        body = b"" if request.method == "HEAD" else document("Error", parts, "")
        reply = Reply(failure.status, [TYPE_FIELD, *fields], body)
        reply.close = isinstance(error, BodyIncomplete | BodyTimeout) or failure.code == "IncompleteBody"
        return _identified(reply, request)

    def _handler(self, call: Call) -> Handler:
        """Raises S3Error MethodNotAllowed, NotImplemented."""
        if not call.bucket:
            return self._of_service(call.request.method)
        asked = sorted(SUB_RESOURCES.intersection(call.query)) if call.request.query_text else []
        if "acl" in call.query:
            return self._of_acl(call)
        if asked:
            return self._of_sub_resource(call, asked[0])
        return self._of_object(call) if call.key else self._of_bucket(call)

    def _of_service(self, method: str) -> Handler:
        if method != "GET":
            raise S3Error("MethodNotAllowed", details={"Method": method, "ResourceType": "SERVICE"})
        return self._service.list_buckets

    def _of_bucket(self, call: Call) -> Handler:
        method, query = call.request.method, call.query
        match method:
            case "PUT" | "DELETE" if not READ_ONLY.isdisjoint(query):  # not the bucket itself
                raise S3Error("MethodNotAllowed", details={"Method": method, "ResourceType": "BUCKET"})
            case "GET" if "location" in query:
                return self._buckets.location
            case "GET" if "versions" in query:
                return self._listings.list_versions
            case "GET" if "uploads" in query:
                return self._multipart.list_uploads
            case "GET" if query.get("list-type") == "2":
                return self._listings.list_v2
            case "GET":
                return self._listings.list_v1
            case "HEAD":
                return self._buckets.head
            case "PUT":
                return self._buckets.put
            case "DELETE":
                return self._buckets.delete
            case "POST" if "delete" in query:
                return self._deletes.delete
            case "POST":
                raise S3Error("NotImplemented", "Uploads by HTML forms are not implemented.")
        raise S3Error("MethodNotAllowed", details={"Method": method, "ResourceType": "BUCKET"})

    def _of_object(self, call: Call) -> Handler:
        method = call.request.method
        if call.query.get("versionId", "null") != "null":  # no object has another version
            raise invalid_argument("Invalid version id specified", "versionId", call.query["versionId"])
        if "uploadId" in call.query or "uploads" in call.query:
            return self._of_upload(call, method)
        match method:
            case "PUT" | "DELETE" if "attributes" in call.query:  # not the object itself
                raise S3Error("MethodNotAllowed", details={"Method": method, "ResourceType": "OBJECT"})
            case "GET" if "attributes" in call.query:
                return self._objects.attributes
            case "GET" | "HEAD":
                return self._objects.get
            case "PUT":
                return self._objects.copy if "x-amz-copy-source" in call.headers else self._objects.put
            case "DELETE":
                return self._objects.delete
        raise S3Error("MethodNotAllowed", details={"Method": method, "ResourceType": "OBJECT"})

    def _of_upload(self, call: Call, method: str) -> Handler:
        if "uploads" in call.query:
            if method == "POST":
                return self._multipart.begin
            raise S3Error("MethodNotAllowed", details={"Method": method, "ResourceType": "UPLOADS"})
        match method:
            case "PUT":
                return self._multipart.copy_part if "x-amz-copy-source" in call.headers else self._multipart.put_part
            case "POST":
                return self._multipart.complete
            case "GET":
                return self._multipart.list_parts
            case "DELETE":
                return self._multipart.abort
        raise S3Error("MethodNotAllowed", details={"Method": method, "ResourceType": "UPLOAD"})

    def _of_acl(self, call: Call) -> Handler:
        match call.request.method:
            case "GET":
                return self._acl.get_object if call.key else self._acl.get_bucket
            case "PUT":
                return self._acl.put_object if call.key else self._acl.put_bucket
        raise S3Error("MethodNotAllowed", details={"Method": call.request.method, "ResourceType": "ACL"})

    def _of_sub_resource(self, call: Call, name: str) -> Handler:
        if call.request.method not in ("GET", "HEAD"):
            raise S3Error("NotImplemented", f"{call.request.method} of ?{name} is not implemented.")
        probe = self._probes.of_object if call.key else self._probes.of_bucket
        return lambda call: probe(call, name)


def _identified(reply: Reply, request: Request) -> Reply:
    """What S3 has in every response."""
    reply.fields += [("x-amz-request-id", request.txn), ("x-amz-id-2", request.txn)]
    return reply
