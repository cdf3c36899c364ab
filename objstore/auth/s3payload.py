"""What a signature says about the body: `x-amz-content-sha256` as a typed value. A value that is none of S3's is refused, or, where
the signature cannot carry signed chunks, is the hash of no body: so that none goes unverified because nobody knew how.
"""

from dataclasses import dataclass
from enum import StrEnum

from objstore.auth.s3refusal import RefusalCode, S3Refused, invalid_argument

HEADER = "x-amz-content-sha256"
UNSIGNED = "UNSIGNED-PAYLOAD"


class PayloadMode(StrEnum):
    """Values are those of the header, but that of HASHED."""

    HASHED = "hashed"  # the body has the given sha256, in hexadecimal
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


STREAMING = "STREAMING-"
_HEX = frozenset("0123456789abcdefABCDEF")
_CHUNKED = {mode.value: mode for mode in PayloadMode if mode.value.startswith(STREAMING)}
_ASYMMETRIC = ("STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD", "STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD-TRAILER")


@dataclass(frozen=True, slots=True)
class Payload:
    """`text` is the value as sent: it is part of what is signed. Where the mode is HASHED, it is that of the body, or of none."""

    mode: PayloadMode
    text: str

    @property
    def hopeless(self) -> bool:
        """Whether the value says that chunks are signed where nothing can sign them."""
        return self.mode is PayloadMode.HASHED and self.text.startswith(STREAMING)


def parse_payload(text: str, streaming: bool) -> Payload:
    """The payload of a header's value. `streaming` says whether the request's signature can carry signed chunks: that in a header
    of version 4 can. With any other one, S3 looks at the value only when it has read the body, and compares.

    Raises S3Refused: NotImplemented for the asymmetric modes, InvalidArgument for any other value that is not allowed.
    """
    if text == UNSIGNED:
        return Payload(PayloadMode.UNSIGNED, text)
    if not streaming or (len(text) == 64 and _HEX.issuperset(text)):
        return Payload(PayloadMode.HASHED, text)
    if text in _CHUNKED:
        return Payload(_CHUNKED[text], text)
    if text in _ASYMMETRIC:
        raise S3Refused(RefusalCode.NOT_IMPLEMENTED, details={"Header": HEADER})
    allowed = ", ".join([UNSIGNED, *_CHUNKED])
    raise invalid_argument(f"{HEADER} must be {allowed}, or a valid sha256 value.", HEADER, text)
