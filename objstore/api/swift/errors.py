"""The one table from the core's failures to Swift's responses."""

from objstore.api.dates import last_modified
from objstore.api.pages import error_page, realm_field
from objstore.api.reply import Fields, Reply
from objstore.api.swift.headers import shown_etag
from objstore.model import errors
from objstore.model.errors import StoreError
from objstore.model.timestamps import to_swift
from objstore.model.version import Version

STATUS: dict[type[StoreError], int] = {
    errors.InvalidInput: 400,
    errors.ManifestInvalid: 400,
    errors.UploadNotFound: 404,
    errors.PartMissing: 400,
    errors.PartTooSmall: 400,
    errors.WrongChecksum: 400,
    errors.NotAuthenticated: 401,
    errors.AccessDenied: 403,
    errors.AccountNotFound: 404,
    errors.AccountDeleted: 410,
    errors.ContainerNotFound: 404,
    errors.ObjectNotFound: 404,
    errors.BodyTimeout: 408,
    errors.Conflict: 409,
    errors.BucketClaimed: 409,
    errors.PreconditionFailed: 412,
    errors.NotModified: 304,
    errors.TooLarge: 413,
    errors.RangeNotSatisfiable: 416,
    errors.ChecksumMismatch: 422,
    errors.BodyIncomplete: 499,
    errors.Unavailable: 503,
    errors.InsufficientStorage: 507,
}


class Refusal(StoreError):
    """A refusal that only this API knows: a status of its own, one plain line, fields beside the usual ones."""

    def __init__(self, status: int, text: str = "", fields: Fields | None = None) -> None:
        super().__init__(text)
        self.status = status
        self.fields = fields or []


def status_of(error: StoreError) -> int:
    return error.status if isinstance(error, Refusal) else STATUS[type(error)]


def error_reply(error: StoreError, realm: str) -> Reply:
    """The response to a failure; `realm` is the account asked for, or "unknown"."""
    status = status_of(error)
    reply = error_page(status, error.text, _fields(error, realm))
    if isinstance(error, errors.PreconditionFailed | errors.NotModified) and error.etag:
        reply.body = b""
    if isinstance(error, errors.BodyIncomplete | errors.BodyTimeout):
        reply.close = True
    return reply


def _fields(error: StoreError, realm: str) -> Fields:
    if isinstance(error, Refusal):
        return error.fields
    if isinstance(error, errors.NotAuthenticated):
        return [realm_field(realm)]
    if isinstance(error, errors.Unavailable):
        return [("Retry-After", "1")]
    if isinstance(error, errors.NotModified):
        return [*_version_fields(error.etag, error.manifest, error.version, error.timestamp), ("Accept-Ranges", "bytes")]
    if isinstance(error, errors.PreconditionFailed) and error.etag:
        return _version_fields(error.etag, error.manifest, error.version, 0)
    if isinstance(error, errors.RangeNotSatisfiable):
        fields = _version_fields(error.etag, error.manifest, error.version, error.timestamp)
        fields += [("Accept-Ranges", "bytes"), ("Content-Range", f"bytes */{error.size}")]
        if error.parts is not None:
            fields.append(("X-Parts-Count", str(error.parts)))
        return fields
    return []


def _version_fields(etag: str, manifest: str, version: Version | None, timestamp: int) -> Fields:
    fields = [("Etag", shown_etag(etag, manifest))]
    changed = max(version.timestamp, version.meta_timestamp) if version else timestamp
    if changed:
        fields += [("Last-Modified", last_modified(changed)), ("X-Timestamp", to_swift(changed))]
    if manifest == "slo":
        fields.append(("X-Static-Large-Object", "True"))
        if version:
            fields.append(("X-Manifest-Etag", version.etag))
    return fields
