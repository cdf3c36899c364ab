"""Signature Version 4 in the query of a presigned URL.

Whoever holds the URL may do what it says until it expires, and nothing else: every parameter is signed, and so must every `x-amz-*`
header be. Chunks cannot be signed with it, since the holder has no key: the modes of streaming are refused.
"""

from objstore.auth.s3dates import parse_basic
from objstore.auth.s3facts import S3Facts
from objstore.auth.s3payload import HEADER, UNSIGNED, parse_payload
from objstore.auth.s3refusal import RefusalCode, S3Refused, invalid_argument
from objstore.auth.sigv4 import Regions, SigV4Claim, check_signed, parse_credential, parse_signed_headers
from objstore.auth.sigv4keys import ALGORITHM

EXPIRES_S_MAX = 604_800
FIELDS = ("X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Signature", "X-Amz-Date", "X-Amz-SignedHeaders", "X-Amz-Expires")

_PAYLOAD_FIELD = "X-Amz-Content-Sha256"
_CODE = RefusalCode.AUTHORIZATION_QUERY_PARAMETERS_ERROR


def carries_presigned(facts: S3Facts) -> bool:
    """Whether the query has any parameter that only a presigned URL has."""
    return bool(facts.query) and any(facts.field(name) is not None for name in FIELDS if name != "X-Amz-Date")


def parse_presigned(facts: S3Facts, regions: Regions) -> SigV4Claim:
    """The claim of a presigned URL. Raises S3Refused."""
    fields = {name: facts.field(name) for name in FIELDS}
    algorithm, credential, signature, date, signed, expires = fields.values()
    if algorithm is not None and algorithm != ALGORITHM:
        raise S3Refused(_CODE, f'X-Amz-Algorithm only supports "{ALGORITHM}"')
    if not (algorithm and credential and signature and date and signed and expires):
        raise S3Refused(_CODE)
    access_key, scope = parse_credential(credential, regions, _error)
    signed_s = parse_basic(date)
    if signed_s is None:
        raise S3Refused(_CODE, "X-Amz-Date must be in the ISO8601 Long Format \"yyyyMMdd'T'HHmmss'Z'\"")
    if scope.date != date[:8]:
        raise S3Refused(_CODE, f'Invalid credential date "{scope.date}". This date is not the same as X-Amz-Date: "{date[:8]}".')
    names = parse_signed_headers(signed)
    check_signed(facts, names)
    in_query, in_header = facts.field(_PAYLOAD_FIELD), facts.headers.get(HEADER)
    if in_query is not None and in_header is not None and in_query != in_header:
        raise invalid_argument(f"{HEADER} is given twice and differs", HEADER, in_header)
    said = in_header if in_query is None else in_query
    payload = parse_payload(UNSIGNED if said is None else said, streaming=False)
    return SigV4Claim(access_key, scope, names, signature, date, signed_s, payload, _parse_expires(expires))


def _parse_expires(text: str) -> int:
    """1 to 604800 seconds."""
    if not (text.isascii() and text.removeprefix("-").isdigit()) or len(text) > 19:
        raise S3Refused(_CODE, "X-Amz-Expires should be a number")
    if int(text) <= 0:
        raise S3Refused(_CODE, "X-Amz-Expires must be positive")
    if int(text) > EXPIRES_S_MAX:
        less = f"the given X-Amz-Expires must be less than {EXPIRES_S_MAX} seconds"
        raise S3Refused(_CODE, f"X-Amz-Expires must be less than a week (in seconds); that is, {less}")
    return int(text)


def _error(text: str) -> S3Refused:
    return S3Refused(_CODE, f"Error parsing the X-Amz-Credential parameter; {text}")
