"""What S3 answers when something fails: one table of codes, and one from the store's errors to them.

Codes and statuses as in S3's API reference, "Error responses"; messages as there, or as S3 answers them.
"""

import base64
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from objstore.auth.s3refusal import S3Refused
from objstore.model import errors
from objstore.model.conditions import Conditions
from objstore.model.errors import StoreError
from objstore.model.parts import PART_BYTES_MIN

CODES: Mapping[str, tuple[int, str]] = {
    "AccessControlListNotSupported": (400, "The bucket does not allow ACLs of single objects that differ from its own."),
    "AccessDenied": (403, "Access Denied"),
    "BadDigest": (400, "The Content-MD5 you specified did not match what we received."),
    "BucketAlreadyExists": (
        409,
        "The requested bucket name is not available. The bucket namespace is shared by all users of the system. "
        "Specify a different name and try again.",
    ),
    "BucketAlreadyOwnedByYou": (409, "Your previous request to create the named bucket succeeded and you already own it."),
    "BucketNotEmpty": (409, "The bucket that you tried to delete is not empty."),
    "ConditionalRequestConflict": (
        409,
        "The conditional request cannot succeed due to a conflicting operation against this resource.",
    ),
    "EntityTooLarge": (400, "Your proposed upload exceeds the maximum allowed object size."),
    "EntityTooSmall": (400, "Your proposed upload is smaller than the minimum allowed size"),
    "IllegalLocationConstraintException": (400, "The specified location constraint is not valid."),
    "IncompleteBody": (400, "The request body terminated unexpectedly"),
    "InsufficientCapacity": (507, "The devices of the store are full."),
    "InternalError": (500, "An internal error occurred. Try again."),
    "InvalidArgument": (400, "Invalid Argument"),
    "InvalidBucketName": (400, "The specified bucket is not valid."),
    "InvalidDigest": (400, "The Content-MD5 you specified was invalid."),
    "InvalidObjectState": (403, "The operation is not valid for the current state of the object."),
    "InvalidPart": (
        400,
        "One or more of the specified parts could not be found.  The part may not have been uploaded, or the specified entity tag "
        "may not match the part's entity tag.",
    ),
    "InvalidPartNumber": (416, "The requested partnumber is not satisfiable"),
    "InvalidPartOrder": (
        400,
        "The list of parts was not in ascending order. Parts must be ordered by part number.",
    ),
    "InvalidRange": (416, "The requested range cannot be satisfied."),
    "InvalidRequest": (400, "Invalid Request"),
    "InvalidURI": (400, "Couldn't parse the specified URI."),
    "KeyTooLongError": (400, "Your key is too long"),
    "MalformedACLError": (400, "The XML you provided was not well-formed or did not validate against our published schema"),
    "MalformedXML": (400, "The XML you provided was not well-formed or did not validate against our published schema"),
    "MetadataTooLarge": (400, "Your metadata headers exceed the maximum allowed metadata size."),
    "MethodNotAllowed": (405, "The specified method is not allowed against this resource."),
    "MissingContentLength": (411, "You must provide the Content-Length HTTP header."),
    "MissingRequestBodyError": (400, "Request Body is empty"),
    "MissingSecurityHeader": (400, "Your request was missing a required header"),
    "NoSuchBucket": (404, "The specified bucket does not exist."),
    "NoSuchBucketPolicy": (404, "The bucket policy does not exist"),
    "NoSuchCORSConfiguration": (404, "The CORS configuration does not exist"),
    "NoSuchKey": (404, "The specified key does not exist."),
    "NoSuchLifecycleConfiguration": (404, "The lifecycle configuration does not exist"),
    "NoSuchTagSet": (404, "The TagSet does not exist"),
    "NoSuchUpload": (404, "The specified multipart upload does not exist."),
    "NoSuchWebsiteConfiguration": (404, "The specified bucket does not have a website configuration"),
    "NotImplemented": (501, "A header or query that you provided implies functionality that is not implemented."),
    "NotModified": (304, "Not Modified"),
    "ObjectLockConfigurationNotFoundError": (404, "Object Lock configuration does not exist for this bucket"),
    "NoSuchObjectLockConfiguration": (404, "The specified object does not have a ObjectLock configuration"),
    "OperationAborted": (409, "A conflicting conditional operation is currently in progress against this resource. Try again."),
    "OwnershipControlsNotFoundError": (404, "The bucket ownership controls were not found"),
    "NoSuchPublicAccessBlockConfiguration": (404, "The public access block configuration was not found"),
    "PreconditionFailed": (412, "At least one of the preconditions that you specified did not hold."),
    "ReplicationConfigurationNotFoundError": (404, "The replication configuration was not found"),
    "RequestTimeout": (400, "Your socket connection to the server was not read from or written to within the timeout period."),
    "ServerSideEncryptionConfigurationNotFoundError": (404, "The server side encryption configuration was not found"),
    "ServiceUnavailable": (503, "Too few replicas answered. Reduce your request rate and try again."),
    "TooManyBuckets": (400, "You have attempted to create more buckets than are allowed for this account."),
    "UnexpectedContent": (400, "This request does not support content"),
    "UserKeyMustBeSpecified": (
        400,
        "The bucket POST must contain the specified field name. If it is specified, check the order of the fields.",
    ),
    "UnresolvableGrantByEmailAddress": (400, "The email address you provided does not match any account on record."),
}

_OF_STORE: Mapping[type[StoreError], str] = {
    errors.InvalidInput: "InvalidArgument",
    errors.NotAuthenticated: "AccessDenied",
    errors.AccessDenied: "AccessDenied",
    errors.AccountNotFound: "NoSuchBucket",
    errors.AccountDeleted: "NoSuchBucket",
    errors.ContainerNotFound: "NoSuchBucket",
    errors.ObjectNotFound: "NoSuchKey",
    errors.Conflict: "OperationAborted",
    errors.BucketClaimed: "BucketAlreadyExists",
    errors.PreconditionFailed: "PreconditionFailed",
    errors.NotModified: "NotModified",
    errors.RangeNotSatisfiable: "InvalidRange",
    errors.TooLarge: "EntityTooLarge",
    errors.ChecksumMismatch: "BadDigest",
    errors.BodyIncomplete: "IncompleteBody",
    errors.BodyTimeout: "RequestTimeout",
    errors.Unavailable: "ServiceUnavailable",
    errors.InsufficientStorage: "InsufficientCapacity",
    errors.ManifestInvalid: "InvalidPart",
    errors.UploadNotFound: "NoSuchUpload",
    errors.PartMissing: "InvalidPart",
    errors.PartTooSmall: "EntityTooSmall",
    errors.WrongChecksum: "InvalidRequest",
}
TEXT_SHOWN = ("InvalidArgument", "InvalidRequest")
"""Codes for which the store's own words say more than S3's."""


class S3Error(StoreError):
    """A failure in S3's words. `details` are further elements of the document, by name."""

    def __init__(self, code: str, message: str = "", details: Mapping[str, str] | None = None, status: int = 0) -> None:
        self.code = code
        self.status = status or CODES[code][0]
        self.details = dict(details or {})
        super().__init__(message or CODES[code][1])


def refused(error: S3Refused) -> S3Error:
    """A signature's or a body's refusal, as it is."""
    return S3Error(error.code.value, error.message, error.details, error.status)


def invalid_argument(message: str, name: str, value: str) -> S3Error:
    """InvalidArgument about one named argument."""
    return S3Error("InvalidArgument", message, {"ArgumentName": name, "ArgumentValue": value})


def bad_md5(expected: str, computed: str) -> S3Error:
    """BadDigest about Content-MD5: `expected` as it is to be shown, `computed` the hex digest of what came, "" when not known."""
    details = {"ExpectedDigest": expected}
    if computed:
        details["CalculatedDigest"] = base64.b64encode(bytes.fromhex(computed)).decode()
    return S3Error("BadDigest", details=details)


@contextmanager
def under_conditions(conditions: Conditions, *, missing: bool = False) -> Iterator[None]:
    """Around a write under conditions: Conflict is ConditionalRequestConflict; with `missing`, If-Match where no object is, is
    ObjectNotFound (user guide, "How to prevent object overwrites with conditional writes", "Conditional write behavior").
    """
    try:
        yield
    except errors.Conflict:
        if conditions.empty:
            raise
        raise S3Error("ConditionalRequestConflict") from None
    except errors.PreconditionFailed as failed:
        if not missing or conditions.if_match is None or failed.etag:
            raise
        raise errors.ObjectNotFound from None


def s3_error(error: StoreError) -> S3Error:
    """Any failure in S3's words."""
    if isinstance(error, S3Error):
        return error
    if isinstance(error, errors.PartTooSmall):
        details = {"ETag": error.etag, "MinSizeAllowed": str(PART_BYTES_MIN), "PartNumber": str(error.number)}
        return S3Error("EntityTooSmall", details={**details, "ProposedSize": str(error.size)})
    if isinstance(error, errors.PartMissing):
        return S3Error("InvalidPart", details={"PartNumber": str(error.number)})
    if isinstance(error, errors.RangeNotSatisfiable) and error.parts is not None:
        return S3Error("InvalidPartNumber", details={"ActualPartCount": str(error.parts)})
    code = _OF_STORE[type(error)]
    return S3Error(code, error.text if code in TEXT_SHOWN else "")
