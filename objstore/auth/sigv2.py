"""AWS Signature Version 2: what came before version 4 and old clients still send, in the header `Authorization: AWS
key:signature` or in the query parameters AWSAccessKeyId, Expires and Signature.

    method \\n Content-MD5 \\n Content-Type \\n date or Expires \\n x-amz-header:value \\n ... resource

It covers every `x-amz-*` header and the query parameters that choose a sub-resource, and no other header or parameter: that is the
signature's own weakness. It says nothing of the body.

Source: "Signing and authenticating REST requests (AWS signature version 2)", Amazon S3 user guide.
"""

import base64
import hmac
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

from objstore.auth.s3dates import format_extended, parse_date
from objstore.auth.s3facts import S3Facts
from objstore.auth.s3payload import HEADER, UNSIGNED, Payload, parse_payload
from objstore.auth.s3refusal import RefusalCode, S3Refused, invalid_argument
from objstore.auth.sigv4 import check_skew
from objstore.auth.sigv4keys import same
from objstore.model.octets import bytes_of

SCHEME = "AWS"
FIELDS = ("AWSAccessKeyId", "Expires", "Signature")
SUB_RESOURCES = frozenset(
    b"accelerate acl analytics cors defaultObjectAcl delete inventory lifecycle location logging metrics notification object-lock "
    b"partNumber policy replication requestPayment response-cache-control response-content-disposition response-content-encoding "
    b"response-content-language response-content-type response-expires restore select select-type storageClass tagging torrent "
    b"uploadId uploads versionId versioning versions website".split()
)
"""The query parameters that are signed."""


@dataclass(frozen=True, slots=True)
class SigV2Claim:
    """What a request says of itself, well-formed and otherwise unproven. `date` is the text in the place of the date: that of
    `Date` ("" beside `x-amz-date`) or of `Expires`. `signed_s` is the time of a header, `expires_s` the end of a URL, since the
    epoch.
    """

    access_key: str
    signature: str
    date: str
    payload: Payload
    signed_s: int | None = None
    expires_s: int | None = None


def carries_query(facts: S3Facts) -> bool:
    """Whether the query has a parameter that only a signed one has."""
    return bool(facts.query) and any(facts.field(name) is not None for name in ("AWSAccessKeyId", "Signature"))


def parse_header(facts: S3Facts) -> SigV2Claim:
    """The claim of an `Authorization` header of this scheme. Raises S3Refused."""
    access_key, colon, signature = facts.headers["authorization"].removeprefix(SCHEME).strip().rpartition(":")
    if not (access_key and colon and signature):
        message = "AWS authorization header is invalid.  Expected AwsAccessKeyId:signature"
        raise invalid_argument(message, "Authorization", facts.headers["authorization"])
    amz_date, date = facts.headers.get("x-amz-date"), facts.headers.get("date", "")
    signed_s = parse_date(date if amz_date is None else amz_date)
    if signed_s is None:
        raise S3Refused(RefusalCode.ACCESS_DENIED, "AWS authentication requires a valid Date or x-amz-date header")
    return SigV2Claim(access_key, signature, date if amz_date is None else "", _payload(facts), signed_s=signed_s)


def parse_query(facts: S3Facts) -> SigV2Claim:
    """The claim of a query. Raises S3Refused."""
    access_key, expires, signature = (facts.field(name) for name in FIELDS)
    if not (access_key and expires and signature):
        message = "Query-string authentication requires the Signature, Expires and AWSAccessKeyId parameters"
        raise S3Refused(RefusalCode.ACCESS_DENIED, message)
    if not (expires.isascii() and expires.isdigit() and len(expires) <= 10 and int(expires) < 2**31):
        raise S3Refused(RefusalCode.ACCESS_DENIED, "Invalid date (should be seconds since epoch): " + expires)
    return SigV2Claim(access_key, signature, expires, _payload(facts), expires_s=int(expires))


def _payload(facts: S3Facts) -> Payload:
    return parse_payload(facts.headers.get(HEADER, UNSIGNED), streaming=False)


def string_to_sign(claim: SigV2Claim, facts: S3Facts) -> bytes:
    """What the signature is made of."""
    head = [facts.method.encode(), *(_value(facts, name) for name in ("content-md5", "content-type")), bytes_of(claim.date)]
    amz = [b"%b:%b" % (bytes_of(name), _value(facts, name)) for name in facts.amz_headers]
    bucket = f"/{facts.bucket_in_host}" if facts.bucket_in_host else ""
    resource = (bucket + facts.path).encode() + _sub_resources(facts.query)
    return b"\n".join([*head, *amz, resource])


def _value(facts: S3Facts, name: str) -> bytes:
    return bytes_of(facts.headers.get(name, "")).strip()


def _sub_resources(query: str) -> bytes:
    """Sorted by name, values decoded; a parameter without `=` stays without."""
    fields = []
    for part in query.split("&"):
        name, equals, value = part.replace("+", " ").partition("=")
        if name.encode() in SUB_RESOURCES:
            fields.append((name.encode(), equals.encode() + unquote_to_bytes(value)))
    return b"?" + b"&".join(name + rest for name, rest in sorted(fields)) if fields else b""


def sign(secret: str, text: bytes) -> str:
    """The signature: base64 of HMAC-SHA1."""
    return base64.b64encode(hmac.digest(secret.encode("utf-8", "surrogatepass"), text, "sha1")).decode("ascii")


def verify(claim: SigV2Claim, secret: str, facts: S3Facts, now: float) -> None:
    """Returns when the claim is proven: `secret` is that of its access key, `now` in seconds since the epoch.

    Raises S3Refused: RequestTimeTooSkewed or AccessDenied for the time, else SignatureDoesNotMatch.
    """
    if claim.signed_s is not None:
        check_skew(claim.signed_s, facts.headers.get("x-amz-date", claim.date), now)
    if claim.expires_s is not None and now > claim.expires_s:
        details = {"Expires": format_extended(claim.expires_s), "ServerTime": format_extended(now)}
        raise S3Refused(RefusalCode.ACCESS_DENIED, "Request has expired", details)
    text = string_to_sign(claim, facts)
    if not same(sign(secret, text), claim.signature):
        details = {
            "AWSAccessKeyId": claim.access_key,
            "StringToSign": text.decode("utf-8", "backslashreplace"),
            "SignatureProvided": claim.signature,
            "StringToSignBytes": text.hex(" "),
        }
        raise S3Refused(RefusalCode.SIGNATURE_DOES_NOT_MATCH, details=details)
