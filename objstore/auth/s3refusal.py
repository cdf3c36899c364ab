"""Why S3 refuses who asks or what was signed: one closed set of codes, with S3's statuses and messages ("Error responses", API
reference; messages as S3 answers them). The S3 API renders a refusal as it is.
"""

from collections.abc import Mapping
from enum import StrEnum


class RefusalCode(StrEnum):
    """The `Code` of S3's error document."""

    ACCESS_DENIED = "AccessDenied"
    AUTHORIZATION_HEADER_MALFORMED = "AuthorizationHeaderMalformed"
    AUTHORIZATION_QUERY_PARAMETERS_ERROR = "AuthorizationQueryParametersError"
    BAD_DIGEST = "BadDigest"
    INCOMPLETE_BODY = "IncompleteBody"
    INVALID_ACCESS_KEY_ID = "InvalidAccessKeyId"
    INVALID_ARGUMENT = "InvalidArgument"
    INVALID_CHUNK_SIZE = "InvalidChunkSizeError"
    INVALID_REQUEST = "InvalidRequest"
    MALFORMED_TRAILER = "MalformedTrailerError"
    MISSING_CONTENT_LENGTH = "MissingContentLength"
    MISSING_SECURITY_HEADER = "MissingSecurityHeader"
    NOT_IMPLEMENTED = "NotImplemented"
    REQUEST_TIME_TOO_SKEWED = "RequestTimeTooSkewed"
    SIGNATURE_DOES_NOT_MATCH = "SignatureDoesNotMatch"
    CONTENT_SHA256_MISMATCH = "XAmzContentSHA256Mismatch"

    @property
    def status(self) -> int:
        """The HTTP status."""
        return _ANSWERS[self][0]

    @property
    def message(self) -> str:
        """What S3 says where it says nothing more precise."""
        return _ANSWERS[self][1]


_ANSWERS = {
    RefusalCode.ACCESS_DENIED: (403, "Access Denied"),
    RefusalCode.AUTHORIZATION_HEADER_MALFORMED: (400, "The authorization header that you provided is not valid."),
    RefusalCode.AUTHORIZATION_QUERY_PARAMETERS_ERROR: (
        400,
        "Query-string authentication version 4 requires the X-Amz-Algorithm, X-Amz-Credential, X-Amz-Signature, X-Amz-Date, "
        "X-Amz-SignedHeaders, and X-Amz-Expires parameters.",
    ),
    RefusalCode.BAD_DIGEST: (400, "The Content-MD5 or checksum value that you specified did not match what the server received."),
    RefusalCode.INCOMPLETE_BODY: (400, "The request body terminated unexpectedly"),
    RefusalCode.INVALID_ACCESS_KEY_ID: (403, "The AWS Access Key Id you provided does not exist in our records."),
    RefusalCode.INVALID_ARGUMENT: (400, "Invalid Argument"),
    RefusalCode.INVALID_CHUNK_SIZE: (403, "Only the last chunk is allowed to have a size less than 8192 bytes"),
    RefusalCode.INVALID_REQUEST: (400, "Invalid Request"),
    RefusalCode.MALFORMED_TRAILER: (
        400,
        "The request contained trailing data that was not well-formed or did not conform to our published schema.",
    ),
    RefusalCode.MISSING_CONTENT_LENGTH: (411, "You must provide the Content-Length HTTP header."),
    RefusalCode.MISSING_SECURITY_HEADER: (400, "Your request is missing a required header."),
    RefusalCode.NOT_IMPLEMENTED: (501, "A header that you provided implies functionality that is not implemented."),
    RefusalCode.REQUEST_TIME_TOO_SKEWED: (403, "The difference between the request time and the current time is too large."),
    RefusalCode.SIGNATURE_DOES_NOT_MATCH: (
        403,
        "The request signature we calculated does not match the signature you provided. Check your key and signing method.",
    ),
    RefusalCode.CONTENT_SHA256_MISMATCH: (400, "The provided 'x-amz-content-sha256' header does not match what was computed."),
}


class S3Refused(Exception):
    """`details` are further elements of the error document, by name; they may hold what the client sent, never a secret."""

    def __init__(self, code: RefusalCode, message: str = "", details: Mapping[str, str] | None = None) -> None:
        super().__init__(message or code.message)
        self.code = code
        self.message = message or code.message
        self.details = dict(details or {})

    @property
    def status(self) -> int:
        """The HTTP status."""
        return self.code.status


def invalid_argument(message: str, name: str, value: str) -> S3Refused:
    """InvalidArgument about one named argument."""
    return S3Refused(RefusalCode.INVALID_ARGUMENT, message, {"ArgumentName": name, "ArgumentValue": value})


def signature_mismatch(access_key: str, text: str, signature: str, request: bytes) -> S3Refused:
    """SignatureDoesNotMatch: the string that was to be signed, what the client gave for it, and the canonical request."""
    details = {
        "AWSAccessKeyId": access_key,
        "StringToSign": text,
        "SignatureProvided": signature,
        "StringToSignBytes": text.encode().hex(" "),
        "CanonicalRequest": request.decode("utf-8", "backslashreplace"),
        "CanonicalRequestBytes": request.hex(" "),
    }
    return S3Refused(RefusalCode.SIGNATURE_DOES_NOT_MATCH, details=details)


def headers_not_signed(names: list[str]) -> S3Refused:
    """AccessDenied because of headers that the signature does not cover."""
    message = "There were headers present in the request which were not signed"
    return S3Refused(RefusalCode.ACCESS_DENIED, message, {"HeadersNotSigned": ", ".join(sorted(names))})
