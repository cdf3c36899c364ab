"""One S3 request, taken apart: whose, of what, and what the handlers share."""

import base64
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from hashlib import md5

from objstore.api.limits import EdgeLimits
from objstore.api.request import Request
from objstore.api.s3.errors import S3Error, bad_md5, refused
from objstore.auth.s3body import Body
from objstore.auth.s3payload import PayloadMode
from objstore.auth.s3refusal import S3Refused
from objstore.model.checksums import ChecksumAlgorithm, checksum_text
from objstore.model.errors import BodyIncomplete, ChecksumMismatch, ObjectNotFound
from objstore.model.names import ObjectName
from objstore.proxy.operations import Context, Store, Upload
from objstore.runtime.interface import Clock, Rng

OBJECT_BYTES_MAX = 5 * 2**30
FRAMING_BYTES_MAX = 2**30
"""What the framing of signed chunks may add to a body."""


@dataclass(frozen=True, slots=True)
class Site:
    """What every handler needs of the process it runs in. `domains`: below which host names are buckets."""

    store: Store
    clock: Clock
    rng: Rng
    edge_limits: EdgeLimits
    region: str = "us-east-1"
    domains: tuple[str, ...] = ()


@dataclass(slots=True)
class Payload:
    """A request's body, verified as it comes; `checksums` are known once all of it was read."""

    request: Request
    body: Body
    mode: PayloadMode
    size: int | None
    """Of the payload, None when the client does not say."""
    piece_bytes: int
    checksums: dict[ChecksumAlgorithm, bytes] = field(default_factory=dict)

    async def pieces(self) -> AsyncIterator[bytes]:
        """Raises S3Error, BodyIncomplete, BodyTimeout, TooLarge."""
        size_max = OBJECT_BYTES_MAX + (FRAMING_BYTES_MAX if self.mode.chunked else 0)
        try:
            async for data in self.request.pieces(self.piece_bytes, size_max):
                for piece in self.body.feed(data):
                    yield piece
            self.checksums = self.body.finish()
        except S3Refused as error:
            raise refused(error) from None

    async def read(self, size_max: int) -> bytes:
        """The whole of a document, which has the Content-MD5 that is given. Raises as `pieces`, and S3Error MalformedXML beyond
        `size_max`, BadDigest, InvalidDigest.
        """
        expected = md5_of(self.request.headers)
        if self.size is not None and self.size > size_max:
            raise S3Error("MalformedXML")
        parts, total = [], 0
        async for piece in self.pieces():
            total += len(piece)
            if total > size_max:
                raise S3Error("MalformedXML")
            parts.append(piece)
        if self.size is not None and total != self.size:
            raise BodyIncomplete
        body = b"".join(parts)
        computed = "" if expected is None else md5(body, usedforsecurity=False).hexdigest()
        if expected is not None and expected != computed:
            raise bad_md5(self.request.headers["content-md5"], computed)
        return body

    def upload(self) -> Upload:
        """What the store reads. Its facts are the checksums that were announced and verified, as kept with the data."""
        return Upload(self.pieces(), self.size, self._facts)

    def _facts(self) -> dict[str, str]:
        return {f"checksum-{algorithm}": checksum_text(digest) for algorithm, digest in self.checksums.items()}


@dataclass(frozen=True, slots=True)
class Call:
    """One request. `account` is the requester's own storage account ("" for an anonymous one); `owner` that of the bucket."""

    request: Request
    ctx: Context
    account: str
    owner: str
    bucket: str
    key: str
    payload: Payload

    @property
    def headers(self) -> Mapping[str, str]:
        return self.request.headers

    @property
    def query(self) -> dict[str, str]:
        return self.request.query

    @property
    def owner_id(self) -> str:
        """How documents call the owner of the bucket: by the requester's own name where it is the requester's account."""
        return self.ctx.identity.user if self.owner == self.account else self.owner

    @property
    def name(self) -> ObjectName:
        return ObjectName(self.owner, self.bucket, self.key)


async def owner_of_bucket(store: Store, account: str, bucket: str, txn: str) -> str:
    """Whose bucket is meant: the requester's own container of that name before what anybody claimed; the requester's where there is
    neither. Raises Unavailable; S3Error NoSuchBucket for an anonymous requester, who has none.
    """
    if not bucket or (account and await store.peek_container(account, bucket) is not None):
        return account
    holder = await store.bucket_holder(bucket, txn)
    if not holder and not account:
        raise S3Error("NoSuchBucket", details={"BucketName": bucket})
    return holder or account


@asynccontextmanager
async def missing_told(store: Store, ctx: Context, account: str, bucket: str) -> AsyncIterator[None]:
    """Around what may find that an object of a bucket is not there: who may not list the bucket is not told. Raises, instead of
    ObjectNotFound, AccessDenied, NotAuthenticated, ContainerNotFound, or S3Error NoSuchKey: that is the last word, so what is
    missing in a copy's source is not judged by the right to list its target.
    """
    try:
        yield
    except ObjectNotFound:
        raise await no_such_key(store, ctx, account, bucket) from None


async def no_such_key(store: Store, ctx: Context, account: str, bucket: str) -> S3Error:
    """The last word of `missing_told`, which raises the others."""
    if not ctx.identity.owner_of(account):
        await store.head_container(ctx, account, bucket)
    return S3Error("NoSuchKey")


def md5_of(headers: Mapping[str, str]) -> str | None:
    """The hex digest in Content-MD5. Raises S3Error InvalidDigest."""
    text = headers.get("content-md5")
    if text is None:
        return None
    try:
        digest = base64.b64decode(text, validate=True)
    except ValueError:
        digest = b""
    if len(digest) != 16:
        raise S3Error("InvalidDigest", details={"Content-MD5": text})
    return digest.hex()


@contextmanager
def md5_compared(expected: str | None) -> Iterator[None]:
    """Around the storing of a body with this md5 hex digest: another one is BadDigest."""
    try:
        yield
    except ChecksumMismatch as error:
        raise bad_md5(expected or "", error.computed) from None
