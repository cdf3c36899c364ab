"""What a signature says about the body: `x-amz-content-sha256` as a typed value. A value that is none of S3's is refused, so
that no body goes unverified because nobody knew how.
"""

from dataclasses import dataclass
from enum import StrEnum

from objstore.auth.s3refusal import RefusalCode, S3Refused, invalid_argument

HEADER = "x-amz-content-sha256"
UNSIGNED = "UNSIGNED-PAYLOAD"


class PayloadMode(StrEnum):
    """Values are those of the header, but that of HASHED."""

    HASHED = "hashed"  # the body has the given sha256
    UNSIGNED = "UNSIGNED-PAYLOAD"
    CHUNKS_SIGNED = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
    CHUNKS_SIGNED_TRAILER = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"
    CHUNKS_UNSIGNED_TRAILER = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"

    @property
    def chunked(self) -> bool:
        """Whether the body is encoded as aws-chunked."""
        return self.value.startswith("STREAMING-")

    @property
    def signs_chunks(self) -> bool:
        """Whether each chunk has a signature."""
        return self in (PayloadMode.CHUNKS_SIGNED, PayloadMode.CHUNKS_SIGNED_TRAILER)

    @property
    def has_trailers(self) -> bool:
        """Whether header fields may follow the last chunk."""
        return self in (PayloadMode.CHUNKS_SIGNED_TRAILER, PayloadMode.CHUNKS_UNSIGNED_TRAILER)


_HEX = frozenset("0123456789abcdefABCDEF")
_CHUNKED = {mode.value: mode for mode in PayloadMode if mode.value.startswith("STREAMING-")}
_ASYMMETRIC = ("STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD", "STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD-TRAILER")


@dataclass(frozen=True, slots=True)
class Payload:
    """`text` is the value as sent: it is part of what is signed. `sha256` is the body's, b"" unless the mode is HASHED."""

    mode: PayloadMode
    text: str
    sha256: bytes = b""


def parse_payload(text: str, streaming: bool) -> Payload:
    """The payload of a header's value. `streaming` says whether the request's signature can carry signed chunks.

    Raises S3Refused: NotImplemented for the asymmetric modes, InvalidArgument for any other value that is not allowed.
    """
    if text == UNSIGNED:
        return Payload(PayloadMode.UNSIGNED, text)
    if len(text) == 64 and _HEX.issuperset(text):
        return Payload(PayloadMode.HASHED, text, bytes.fromhex(text))
    if streaming and text in _CHUNKED:
        return Payload(_CHUNKED[text], text)
    if text in _ASYMMETRIC:
        raise S3Refused(RefusalCode.NOT_IMPLEMENTED, details={"Header": HEADER})
    allowed = ", ".join([UNSIGNED, *(_CHUNKED if streaming else ())])
    raise invalid_argument(f"{HEADER} must be {allowed}, or a valid sha256 value.", HEADER, text)
