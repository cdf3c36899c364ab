"""What headers and trailers announce of a body: its size and its checksums."""

from collections.abc import Iterable, Mapping
from hmac import compare_digest

from objstore.auth.s3payload import PayloadMode
from objstore.auth.s3refusal import RefusalCode, S3Refused
from objstore.model.checksums import ChecksumAlgorithm, hasher_of, parse_checksum

CHECKSUM_PREFIX = "x-amz-checksum-"
NAMES = {CHECKSUM_PREFIX + algorithm: algorithm for algorithm in ChecksumAlgorithm}
ALGORITHM_HEADER = "x-amz-sdk-checksum-algorithm"
NOT_CHECKSUMS = frozenset({"x-amz-checksum-mode", "x-amz-checksum-algorithm", "x-amz-checksum-type"})
MANY_CHECKSUMS = "Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed."
SIZE_DIGITS_MAX = 18


def incomplete(provided: int | None = None, expected: int | None = None) -> S3Refused:
    """IncompleteBody, with the numbers of bytes where they are what is wrong."""
    if provided is None:
        return S3Refused(RefusalCode.INCOMPLETE_BODY)
    message = "You did not provide the number of bytes specified by the Content-Length HTTP header"
    details = {"NumberBytesExpected": str(expected), "NumberBytesProvided": str(provided)}
    return S3Refused(RefusalCode.INCOMPLETE_BODY, message, details)


class CheckedBytes:
    """Counts payload and computes its checksums. `size_bytes` None: any number of bytes."""

    def __init__(self, size_bytes: int | None, algorithms: Iterable[ChecksumAlgorithm]) -> None:
        self._size_bytes = size_bytes
        self._count_bytes = 0
        self._hashers = {algorithm: hasher_of(algorithm) for algorithm in algorithms}

    def expect(self, count_bytes: int) -> None:
        """Raises IncompleteBody when so many more bytes would be too many."""
        if self._size_bytes is not None and self._count_bytes + count_bytes > self._size_bytes:
            raise incomplete(self._count_bytes + count_bytes, self._size_bytes)

    def update(self, piece: bytes) -> None:
        self._count_bytes += len(piece)
        for hasher in self._hashers.values():
            hasher.update(piece)

    def expect_end(self) -> None:
        """Raises IncompleteBody when bytes are missing."""
        if self._size_bytes is not None and self._count_bytes != self._size_bytes:
            raise incomplete(self._count_bytes, self._size_bytes)

    def digests(self, texts: Mapping[str, str]) -> dict[ChecksumAlgorithm, bytes]:
        """The digests, which are those that `texts` give for the headers' or trailers' names.

        Raises S3Refused: InvalidRequest for a text that is none, BadDigest for another digest.
        """
        for name, text in texts.items():
            algorithm = NAMES[name]
            expected = parse_announced(name, text, "trailing header")
            if not compare_digest(self._hashers[algorithm].digest(), expected):
                message = f"The {algorithm.name} you specified did not match the calculated checksum."
                raise S3Refused(RefusalCode.BAD_DIGEST, message)
        return {algorithm: hasher.digest() for algorithm, hasher in self._hashers.items()}


def parse_announced(name: str, text: str, where: str) -> bytes:
    """The digest in a header or trailer. Raises InvalidRequest, without repeating the text."""
    try:
        return parse_checksum(NAMES[name], text)
    except ValueError:
        raise S3Refused(RefusalCode.INVALID_REQUEST, f"Value for {name} {where} is invalid.") from None


def announced(headers: Mapping[str, str], mode: PayloadMode) -> tuple[dict[str, str], tuple[str, ...]]:
    """The checksum that a header gives and the names of the trailers: at most one of both. Raises S3Refused, in S3's order: too
    many, then one where none can be, then one of another algorithm than the client's software said it would send.
    """
    checksums, trailers = announced_checksums(headers), announced_trailers(headers)
    if checksums and trailers:
        raise S3Refused(RefusalCode.INVALID_REQUEST, "Expecting a single x-amz-checksum- header")
    if trailers and not mode.has_trailers:
        raise S3Refused(RefusalCode.MALFORMED_TRAILER)
    algorithm = headers.get(ALGORITHM_HEADER)
    if algorithm is not None:
        names = [*checksums, *trailers]
        if not names:
            message = f"{ALGORITHM_HEADER} specified, but no corresponding x-amz-checksum-* or x-amz-trailer headers were found."
            raise S3Refused(RefusalCode.INVALID_REQUEST, message)
        if names != [CHECKSUM_PREFIX + algorithm.lower()]:
            raise S3Refused(RefusalCode.INVALID_REQUEST, f"Value for {ALGORITHM_HEADER} header is invalid.")
    return checksums, trailers


def announced_checksums(headers: Mapping[str, str]) -> dict[str, str]:
    """The `x-amz-checksum-*` headers that give a checksum of this body: at most one. Raises InvalidRequest."""
    names = [name for name in headers if name.startswith(CHECKSUM_PREFIX) and name not in NOT_CHECKSUMS]
    if any(name not in NAMES for name in names):
        message = "The algorithm type you specified in x-amz-checksum- header is invalid."
        raise S3Refused(RefusalCode.INVALID_REQUEST, message)
    if len(names) > 1:
        raise S3Refused(RefusalCode.INVALID_REQUEST, MANY_CHECKSUMS)
    for name in names:
        parse_announced(name, headers[name], "header")
    return {name: headers[name] for name in names}


def announced_trailers(headers: Mapping[str, str]) -> tuple[str, ...]:
    """The names in `x-amz-trailer`: at most one checksum, and no other header besides it. Raises S3Refused."""
    text = headers.get("x-amz-trailer", "").strip(" ").rstrip(",")
    names = [name.strip(" ").lower() for name in text.split(",")] if text else []
    if any(name not in NAMES for name in names):
        raise S3Refused(RefusalCode.INVALID_REQUEST, "The value specified in the x-amz-trailer header is not supported")
    if len(names) > 1:
        raise S3Refused(RefusalCode.INVALID_REQUEST, MANY_CHECKSUMS)
    return tuple(names)


def decoded_size(headers: Mapping[str, str]) -> int:
    """`x-amz-decoded-content-length`. Raises MissingContentLength when it is missing or no number."""
    text = headers.get("x-amz-decoded-content-length", "")
    if not (text.isascii() and text.isdigit() and len(text) <= SIZE_DIGITS_MAX):
        raise S3Refused(RefusalCode.MISSING_CONTENT_LENGTH)
    return int(text)
