"""The body of an S3 request, verified as it comes: every body is read through one `Body`, whatever says what it must be."""

from collections.abc import Mapping
from hashlib import sha256
from hmac import compare_digest
from typing import Protocol

from objstore.auth.awschunked import ChunkDecoder
from objstore.auth.s3checks import NAMES, CheckedBytes, announced, decoded_size, incomplete
from objstore.auth.s3payload import Payload, PayloadMode
from objstore.auth.s3refusal import RefusalCode, S3Refused
from objstore.auth.sigv4keys import ChunkSigner
from objstore.model.checksums import ChecksumAlgorithm


class Body(Protocol):
    """Verifies one body."""

    def feed(self, data: bytes) -> list[bytes]:
        """The payload in the next bytes, in pieces. Raises S3Refused."""

    def finish(self) -> dict[ChecksumAlgorithm, bytes]:
        """There are no more bytes: the digests that were announced and verified. Raises S3Refused when the body is not whole, or
        not what it was said to be; then nothing of it may be kept.
        """


class WholeBody:
    """A body that is not encoded: of `size_bytes` (None: unknown), with the given sha256 in hexadecimal (None: any), and
    `checksums` as `s3checks` reads them of headers.
    """

    def __init__(self, size_bytes: int | None, digest: str | None, checksums: Mapping[str, str]) -> None:
        self._checked = CheckedBytes(size_bytes, [NAMES[name] for name in checksums])
        self._checksums = checksums
        self._digest = digest
        self._sha256 = sha256() if digest is not None else None

    def feed(self, data: bytes) -> list[bytes]:
        self._checked.expect(len(data))
        self._checked.update(data)
        if self._sha256 is not None:
            self._sha256.update(data)
        return [data] if data else []

    def finish(self) -> dict[ChecksumAlgorithm, bytes]:
        self._checked.expect_end()
        if self._sha256 is not None and self._digest is not None:
            computed = self._sha256.hexdigest()
            if not compare_digest(computed.encode(), self._digest.lower().encode("utf-8", "surrogatepass")):
                details = {"ClientComputedContentSHA256": self._digest, "S3ComputedContentSHA256": computed}
                raise S3Refused(RefusalCode.CONTENT_SHA256_MISMATCH, details=details)
        return self._checked.digests(self._checksums)


def body_of(payload: Payload, headers: Mapping[str, str], size_bytes: int | None, signer: ChunkSigner | None) -> Body:
    """What verifies the body of a request with these headers. `size_bytes` is that of the bytes on the wire, None when nobody said;
    `signer` is what proving the claim gave. Raises S3Refused when the headers contradict each other.
    """
    checksums, trailers = announced(headers, payload.mode)
    if payload.hopeless and size_bytes is not None and size_bytes != (size := decoded_size(headers)):
        raise incomplete(size_bytes, size)
    if not payload.mode.chunked:
        return WholeBody(size_bytes, payload.text if payload.mode is PayloadMode.HASHED else None, checksums)
    chunk_signer = signer if payload.mode.signs_chunks else None
    return ChunkDecoder(payload.mode, decoded_size(headers), trailers, chunk_signer, checksums)
