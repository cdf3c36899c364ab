"""Headers of objects <-> what the store keeps. Only what is named here is ever taken from a client."""

from collections.abc import Mapping

from objstore.api.dates import last_modified
from objstore.api.reply import Fields
from objstore.api.s3.errors import S3Error
from objstore.model.octets import octets
from objstore.model.version import Version

KEPT = ("cache-control", "content-disposition", "content-encoding", "content-language", "expires")
USER_PREFIX = "x-amz-meta-"
USER_BYTES_MAX = 2048
OVERRIDES = {
    "response-cache-control": "Cache-Control",
    "response-content-disposition": "Content-Disposition",
    "response-content-encoding": "Content-Encoding",
    "response-content-language": "Content-Language",
    "response-content-type": "Content-Type",
    "response-expires": "Expires",
}
_ENCRYPTION, _LOCK = "server-side-encryption", "x-amz-object-lock-"
_TITLES = {name: name.title() for name in KEPT}


def kept_headers(headers: Mapping[str, str], framed: bool = True) -> dict[str, str]:
    """What is kept with an object and given back. The framing of a body that has one (`framed`) is no encoding of the object; where
    there was none, S3 keeps what the client says.
    """
    kept = {name: headers[name] for name in KEPT if headers.get(name)}
    if framed and "aws-chunked" in kept.get("content-encoding", ""):
        codings = [coding.strip() for coding in kept["content-encoding"].split(",")]
        kept["content-encoding"] = ", ".join(coding for coding in codings if coding != "aws-chunked")
        if not kept["content-encoding"]:
            del kept["content-encoding"]
    return kept


def user_metadata(headers: Mapping[str, str]) -> dict[str, str]:
    """The user metadata of a PUT or copy. Raises S3Error MetadataTooLarge."""
    user = {name[len(USER_PREFIX) :]: value for name, value in headers.items() if name.startswith(USER_PREFIX)}
    size = sum(octets(name) + octets(value) for name, value in user.items())
    if size > USER_BYTES_MAX:
        raise S3Error("MetadataTooLarge", details={"Size": str(size), "MaxSizeAllowed": str(USER_BYTES_MAX)})
    return user


def check_promises(headers: Mapping[str, str]) -> None:
    """What is written must not be taken for safer than it is. Raises S3Error NotImplemented for encryption, and InvalidRequest for
    a lock, as S3 does in a bucket without them.
    """
    for name in headers:
        if _ENCRYPTION in name:
            raise S3Error("NotImplemented", details={"Header": name})
        if name.startswith(_LOCK):
            raise S3Error("InvalidRequest", "Bucket is missing ObjectLockConfiguration")


def check_no_keys(headers: Mapping[str, str]) -> None:
    """A read with what would decrypt. Raises S3Error InvalidRequest, as nothing is encrypted."""
    if any(_ENCRYPTION in name for name in headers):
        raise S3Error("InvalidRequest", "The encryption parameters are not applicable to this object.")


def override_fields(query: Mapping[str, str]) -> Fields:
    """The `response-*` fields of a query. Raises S3Error InvalidArgument for one that would break the response apart."""
    fields = [(OVERRIDES[name], value) for name, value in query.items() if name in OVERRIDES]
    if any(not value.isprintable() for _, value in fields):
        raise S3Error("InvalidArgument", "Header value cannot be represented.")
    return fields


def object_fields(version: Version, etag: str, overrides: Fields) -> Fields:
    """What every answer about an object tells."""
    named = {"Content-Type": version.content_type}
    named |= {_TITLES[name]: value for name, value in version.headers.items() if name in _TITLES}
    named |= dict(overrides)
    changed = max(version.timestamp, version.meta_timestamp)
    fields = [("Last-Modified", last_modified(changed)), ("ETag", f'"{etag}"'), ("Accept-Ranges", "bytes"), *named.items()]
    return fields + [(USER_PREFIX + name, value) for name, value in version.user.items()]
