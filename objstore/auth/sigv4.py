"""AWS Signature Version 4 for the service s3, in two steps, because the secret is looked up between them: `parse` reads what the
request claims, `verify` decides whether it is true. Nothing of the claim may be used before.

The signature is in the header `Authorization` or in the query (`sigv4presigned`). Either must cover the host and every `x-amz-*`
header: one that it does not cover could be added by whoever gets hold of a presigned URL.

Source: "Authenticating Requests (AWS Signature Version 4)", Amazon S3 API reference.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache

from objstore.auth.s3dates import SKEW_S_MAX, format_basic, format_extended, parse_basic, parse_date
from objstore.auth.s3facts import S3Facts
from objstore.auth.s3payload import HEADER, Payload, parse_payload
from objstore.auth.s3refusal import RefusalCode, S3Refused, headers_not_signed, signature_mismatch
from objstore.auth.sigv4canonical import canonical_request
from objstore.auth.sigv4keys import ALGORITHM, SERVICE, TERMINATOR, ChunkSigner, KeyCache, Scope, same, sign, string_to_sign

GLOBAL_REGION = "us-east-1"
ACCEPT_ENCODING = "accept-encoding"
ENCODINGS_SIGNED = ("identity", "gzip", "gzip, deflate", "gzip, deflate, br", "gzip, deflate, br, zstd")
"""What clients send, and sign, as Accept-Encoding. Proxies on the way put another value in its place."""

PARSED_MAX = 256
"""Clients repeat the same few credentials and lists of headers: so many are kept as parsed."""
_PARTS = ("Credential", "SignedHeaders", "Signature")


@dataclass(frozen=True, slots=True)
class SigV4Claim:
    """What a request says of itself, well-formed and otherwise unproven.

    `signed_headers` are in lower case and sorted; `timestamp` is `20130524T000000Z`, `signed_s` the same in seconds since the
    epoch; `expires_s` counts from it, None in a header.
    """

    access_key: str
    scope: Scope
    signed_headers: tuple[str, ...]
    signature: str
    timestamp: str
    signed_s: int
    payload: Payload
    expires_s: int | None = None


@dataclass(frozen=True, slots=True)
class Regions:
    """The regions a scope may name: the configured one, also in lower case, and `us-east-1`, which clients take when nobody told
    them.

    The region has no other effect than to separate keys, so that a client with the default works costs nothing.
    """

    configured: str = GLOBAL_REGION

    def accept(self, region: str) -> bool:
        return region in (self.configured, self.configured.lower(), GLOBAL_REGION)


def parse_header(facts: S3Facts, regions: Regions) -> SigV4Claim:
    """The claim of an `Authorization` header that begins with the algorithm. Raises S3Refused."""
    parts = _split(facts.headers["authorization"])
    signed_s = _request_time(facts)
    timestamp = facts.headers.get("x-amz-date") or format_basic(signed_s)
    access_key, scope = parse_credential(parts["Credential"], regions, _malformed)
    if scope.date != timestamp[:8]:
        raise _malformed(f'Invalid credential date "{scope.date}". This date is not the same as X-Amz-Date.')
    names = parse_signed_headers(parts["SignedHeaders"])
    if not names:
        raise _malformed("SignedHeaders is empty.")
    if HEADER not in facts.headers:
        raise S3Refused(RefusalCode.INVALID_REQUEST, f"Missing required header for this request: {HEADER}")
    payload = parse_payload(facts.headers[HEADER], streaming=True)
    check_signed(facts, names)
    return SigV4Claim(access_key, scope, names, parts["Signature"], timestamp, signed_s, payload)


def _split(header: str) -> dict[str, str]:
    """The three parts of the header, whatever white space is between them."""
    parts: dict[str, str] = {}
    for part in header.removeprefix(ALGORITHM).split(","):
        name, equals, value = part.strip().partition("=")
        if name not in _PARTS or not equals or not value or name in parts:
            raise _malformed("expecting one Credential, one SignedHeaders and one Signature.")
        parts[name] = value
    for name in _PARTS:
        if name not in parts:
            raise _malformed(f"the authorization header requires {name}.")
    return parts


@lru_cache(maxsize=PARSED_MAX)
def parse_credential(text: str, regions: Regions, error: Callable[[str], S3Refused]) -> tuple[str, Scope]:
    """Access key and scope of `key/20130524/region/s3/aws4_request`; the key may hold slashes. Raises what `error` makes of a
    text."""
    fields = text.rsplit("/", 4)
    if len(fields) != 5 or not fields[0]:
        raise error('the Credential is mal-formed; expecting "<YOUR-AKID>/YYYYMMDD/REGION/SERVICE/aws4_request".')
    access_key, date, region, service, terminator = fields
    if parse_basic(f"{date}T000000Z") is None:
        raise error(f'incorrect date format "{date}". This date in the credential must be in the format "yyyyMMdd".')
    if service != SERVICE:
        raise error(f'incorrect service "{service}". This endpoint belongs to "{SERVICE}".')
    if terminator != TERMINATOR:
        raise error(f'incorrect terminal "{terminator}". This endpoint uses "{TERMINATOR}".')
    if not regions.accept(region):
        refused = error(f"the region '{region}' is wrong; expecting '{regions.configured}'")
        refused.details["Region"] = regions.configured
        raise refused
    return access_key, Scope(date, region)


@lru_cache(maxsize=PARSED_MAX)
def parse_signed_headers(text: str) -> tuple[str, ...]:
    """The names of a list like `host;x-amz-date`, in the order in which they are signed. One in upper case is no header's name."""
    return tuple(sorted({name for name in text.split(";") if name}))


def check_signed(facts: S3Facts, names: tuple[str, ...]) -> None:
    """Raises AccessDenied when the host or an `x-amz-*` header is not among the signed headers."""
    unsigned = [name for name in ("host", *facts.amz_headers) if name not in names]
    if unsigned:
        raise headers_not_signed(unsigned)


def _request_time(facts: S3Facts) -> int:
    """`x-amz-date`, else `Date`. Raises AccessDenied when that is missing or no date."""
    amz_date = facts.headers.get("x-amz-date")
    seconds = parse_date(facts.headers.get("date", "")) if amz_date is None else parse_basic(amz_date)
    if seconds is None:
        raise S3Refused(RefusalCode.ACCESS_DENIED, "AWS authentication requires a valid Date or x-amz-date header")
    return seconds


def _malformed(text: str) -> S3Refused:
    return S3Refused(RefusalCode.AUTHORIZATION_HEADER_MALFORMED, f"The authorization header is malformed; {text}")


class SigV4Verifier:
    """Decides whether claims are true. Holds nothing but keys it has derived before."""

    def __init__(self) -> None:
        self._keys = KeyCache()

    def verify(self, claim: SigV4Claim, secret: str, facts: S3Facts, now: float) -> ChunkSigner:
        """What verifies the chunks of the body, once the claim is proven: `secret` is that of its access key, `now` in seconds
        since the epoch. Raises S3Refused: RequestTimeTooSkewed or AccessDenied for the time, else SignatureDoesNotMatch.
        """
        check_time(claim, now)
        key = self._keys.get(claim.access_key, secret, claim.scope)
        missing = [name for name in claim.signed_headers if name not in facts.headers and name != ACCEPT_ENCODING]
        genuine = (request for request, text in _texts(claim, facts) if same(sign(key, text), claim.signature))
        request = next(genuine, None)
        if missing or request is None:
            raise _mismatch(claim, facts)
        self._keys.keep(claim.access_key, secret, claim.scope, key)
        return ChunkSigner(key, claim.timestamp, claim.scope, claim.signature, claim.access_key, request)


def _texts(claim: SigV4Claim, facts: S3Facts) -> Iterator[tuple[bytes, str]]:
    """As `claim_text`; with a signed Accept-Encoding, also those for the values that proxies replace."""
    yield claim_text(claim, facts)
    if ACCEPT_ENCODING in claim.signed_headers:
        for value in ENCODINGS_SIGNED:
            yield claim_text(claim, replace(facts, headers={**facts.headers, ACCEPT_ENCODING: value}))


def claim_text(claim: SigV4Claim, facts: S3Facts) -> tuple[bytes, str]:
    """Canonical request and string to sign."""
    request = canonical_request(facts, claim.signed_headers, claim.payload.text)
    return request, string_to_sign(claim.timestamp, claim.scope, request)


def check_time(claim: SigV4Claim, now: float) -> None:
    """Raises RequestTimeTooSkewed for a header whose clock is more than 15 minutes off; AccessDenied for a presigned URL that is
    expired, or of more than 15 minutes in the future.
    """
    signed = claim.signed_s
    if claim.expires_s is None:
        check_skew(signed, claim.timestamp, now)
    elif signed > now + SKEW_S_MAX:
        raise S3Refused(RefusalCode.ACCESS_DENIED, "Request is not valid yet", {"ServerTime": format_extended(now)})
    elif now > signed + claim.expires_s:
        details = {"X-Amz-Expires": str(claim.expires_s), "Expires": format_extended(signed + claim.expires_s)}
        raise S3Refused(RefusalCode.ACCESS_DENIED, "Request has expired", {**details, "ServerTime": format_extended(now)})


def check_skew(signed: int, shown: str, now: float) -> None:
    """Raises RequestTimeTooSkewed; `shown` is how the client wrote its time."""
    if abs(now - signed) > SKEW_S_MAX:
        details = {"RequestTime": shown, "ServerTime": format_extended(now), "MaxAllowedSkewMilliseconds": str(SKEW_S_MAX * 1000)}
        raise S3Refused(RefusalCode.REQUEST_TIME_TOO_SKEWED, details=details)


def _mismatch(claim: SigV4Claim, facts: S3Facts) -> S3Refused:
    request, text = claim_text(claim, facts)
    return signature_mismatch(claim.access_key, text, claim.signature, request)
