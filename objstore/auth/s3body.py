"""The body of an S3 request, verified as it comes: every body is read through one `Body`, whatever says what it must be."""

from collections.abc import Mapping
from hashlib import sha256
from hmac import compare_digest
from typing import Protocol

from objstore.auth.awschunked import ChunkDecoder
from objstore.auth.s3checks import NAMES, CheckedBytes, announced_checksums, announced_trailers, decoded_size
from objstore.auth.s3payload import Payload
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
    """A body that is not encoded: of `size_bytes` (None: unknown), with the given sha256 (b"": any), and `checksums` as `s3checks`
    reads them of headers.
    """

    def __init__(self, size_bytes: int | None, digest: bytes, checksums: Mapping[str, str]) -> None:
        self._checked = CheckedBytes(size_bytes, [NAMES[name] for name in checksums])
        self._checksums = checksums
        self._digest = digest
        self._sha256 = sha256() if digest else None

    def feed(self, data: bytes) -> list[bytes]:
        self._checked.expect(len(data))
        self._checked.update(data)
        if self._sha256 is not None:
            self._sha256.update(data)
        return [data] if data else []

    def finish(self) -> dict[ChecksumAlgorithm, bytes]:
        self._checked.expect_end()
        if self._sha256 is not None and not compare_digest(self._sha256.digest(), self._digest):
            details = {"ClientComputedContentSHA256": self._digest.hex(), "S3ComputedContentSHA256": self._sha256.hexdigest()}
            raise S3Refused(RefusalCode.CONTENT_SHA256_MISMATCH, details=details)
        return self._checked.digests(self._checksums)


def body_of(payload: Payload, headers: Mapping[str, str], size_bytes: int | None, signer: ChunkSigner | None) -> Body:
    """What verifies the body of a request with these headers. `size_bytes` is that of the bytes on the wire, None when nobody said;
    `signer` is what proving the claim gave. Raises S3Refused when the headers contradict each other.
    """
    checksums, trailers = announced_checksums(headers), announced_trailers(headers, payload.mode)
    if checksums and trailers:
        raise S3Refused(RefusalCode.INVALID_REQUEST, "Expecting a single x-amz-checksum- header")
    if not payload.mode.chunked:
        return WholeBody(size_bytes, payload.sha256, checksums)
    chunk_signer = signer if payload.mode.signs_chunks else None
    return ChunkDecoder(payload.mode, decoded_size(headers), trailers, chunk_signer, checksums)
