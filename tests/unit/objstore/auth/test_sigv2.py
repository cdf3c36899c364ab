"""Signature Version 2, in the header and in the query."""

import random
from base64 import b64encode
from dataclasses import replace
from hashlib import sha1
from hmac import digest
from urllib.parse import quote, urlsplit

import pytest
from botocore.auth import HmacV1Auth, HmacV1QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from objstore.auth.s3auth import S3Authenticator
from objstore.auth.s3dates import parse_date
from objstore.auth.s3payload import PayloadMode
from objstore.auth.s3refusal import RefusalCode
from objstore.auth.sigv2 import SUB_RESOURCES, SigV2Claim, string_to_sign
from tests.unit.objstore.auth.s3signing import ACCESS_KEY, REGION, SECRET, Sent, prove, refusal

URL = "http://localhost:8080/bucket/k%20ey?acl&prefix=x"


def sign(method: str, url: str, headers: list[tuple[str, str]] | None = None, expires_s: int | None = None) -> Sent:
    request = AWSRequest(method, url)
    request.auth_path = None
    for name, value in headers or []:
        request.headers.add_header(name, value)
    credentials = Credentials(ACCESS_KEY, SECRET)
    signer = HmacV1Auth(credentials) if expires_s is None else HmacV1QueryAuth(credentials, expires=expires_s)
    signer.add_auth(request)
    split = urlsplit(request.url)
    target = split.path + (f"?{split.query}" if split.query else "")
    now = parse_date(request.headers["Date"]) if expires_s is None else 0
    assert now is not None
    return Sent(method, target, [("Host", split.netloc), *request.headers.items()], now)


def claim_of(sent: Sent) -> SigV2Claim:
    claim = S3Authenticator(REGION).claim_of(sent.facts())
    assert isinstance(claim, SigV2Claim)
    return claim


def test_what_botocore_signs_is_accepted() -> None:
    rng, server = random.Random(5), S3Authenticator(REGION)
    names = [*(name.decode() for name in SUB_RESOURCES), "prefix", "marker", "max-keys"]
    for _ in range(2000):
        fields = [
            f"{name}={quote(rng.choice(['', 'a', 'a b', 'ä/ß+&=']), safe='')}" for name in rng.sample(names, k=rng.randrange(4))
        ]
        name = rng.choice(["x-amz-meta-a", "X-Amz-Meta-B", "Content-Type", "Content-MD5", "x-amz-acl"])
        times = rng.randrange(3) if name.lower().startswith("x-amz") else 1
        headers = [(name, rng.choice(["a", "b  c", "x:y"]))] * times
        url = f"http://h/b/{quote(rng.choice(['', 'k', 'ä ö', 'a//../b']), safe='/~')}" + (f"?{'&'.join(fields)}" if fields else "")
        expires_s = rng.choice([None, 60])
        sent = sign(rng.choice(["GET", "PUT"]), url, headers, expires_s)
        prove(sent, server=server)


def test_the_example_of_the_documentation() -> None:
    """Object GET of a virtual-host style request, user guide."""
    headers = [
        ("Host", "awsexamplebucket1.us-west-1.s3.amazonaws.com"),
        ("Date", "Tue, 27 Mar 2007 19:36:42 +0000"),
        ("Authorization", "AWS AKIAIOSFODNN7EXAMPLE:qgk2+6Sv9/oM7G3qLEjTH1a1l1g="),
    ]
    sent = Sent("GET", "/photos/puppy.jpg", headers, 1175024202, "awsexamplebucket1")
    text = string_to_sign(claim_of(sent), sent.facts())
    assert text == b"GET\n\n\nTue, 27 Mar 2007 19:36:42 +0000\n/awsexamplebucket1/photos/puppy.jpg"
    assert b64encode(digest(b"wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", text, sha1)) == b"qgk2+6Sv9/oM7G3qLEjTH1a1l1g="


@pytest.mark.parametrize("expires_s", [None, 60])
@pytest.mark.parametrize(
    "change",
    [
        {"method": "HEAD"},
        {"path": "/bucket/other"},
        {"extra": "uploads"},
        {"extra": "versionId=1"},
        {"header": ("x-amz-copy-source", "/secret/key")},
        {"header": ("x-amz-acl", "public-read")},
        {"header": ("x-amz-meta-a", "other")},
        {"header": ("Content-Type", "text/html")},
        {"header": ("Content-MD5", "x")},
    ],
)
def test_what_was_changed_is_refused(change: dict[str, str], expires_s: int | None) -> None:
    sent = sign("GET", URL, [("x-amz-meta-a", "b")], expires_s)
    prove(sent)
    path, _, query = sent.target.partition("?")
    target = change.get("path", path) + "?" + query + (f"&{change['extra']}" if "extra" in change else "")
    headers = [*sent.headers, change["header"]] if "header" in change else sent.headers
    refused = refusal(replace(sent, method=change.get("method", sent.method), target=target, headers=headers))
    assert (refused.code, refused.status) == (RefusalCode.SIGNATURE_DOES_NOT_MATCH, 403)
    assert SECRET not in str(refused.details) and refused.details["AWSAccessKeyId"] == ACCESS_KEY


def test_every_byte_of_signature_and_key_counts() -> None:
    sent = sign("GET", URL)
    at = next(index for index, (name, _) in enumerate(sent.headers) if name == "Authorization")
    value = sent.headers[at][1]
    for place in range(len("AWS "), len(value)):
        other = value[:place] + chr(ord(value[place]) ^ 1) + value[place + 1 :]
        refusal(replace(sent, headers=[*sent.headers[:at], ("Authorization", other), *sent.headers[at + 1 :]]))


def test_the_clock() -> None:
    sent = sign("GET", URL)
    for off in (-900, 900):
        prove(sent, sent.now + off)
    for off in (-901, 901):
        assert refusal(sent, sent.now + off).code is RefusalCode.REQUEST_TIME_TOO_SKEWED


def test_x_amz_date_takes_the_place_of_date() -> None:
    sent = sign("GET", URL)
    headers = [(name, value) for name, value in sent.headers if name != "Authorization"]
    moved = replace(sent, headers=[*headers, ("x-amz-date", dict(headers)["Date"]), ("Authorization", "AWS a:b")])
    assert claim_of(moved).date == ""
    text = string_to_sign(claim_of(moved), moved.facts())
    signature = b64encode(digest(SECRET.encode(), text, sha1)).decode()
    prove(replace(moved, headers=[*moved.headers[:-1], ("Authorization", f"AWS {ACCESS_KEY}:{signature}")]))
    assert refusal(replace(moved, headers=[*moved.headers[:-2], ("x-amz-date", "today"), moved.headers[-1]])).status == 403


def test_the_query_expires() -> None:
    sent = sign("GET", URL, expires_s=60)
    end = claim_of(sent).expires_s
    assert end is not None
    prove(sent, end)
    refused = refusal(sent, end + 1)
    assert (refused.code, refused.message) == (RefusalCode.ACCESS_DENIED, "Request has expired")


@pytest.mark.parametrize("expires", ["", "-1", "x", "1.5", "9" * 30, "%D9%A1"])
def test_expiries_that_are_none(expires: str) -> None:
    refused = refusal(Sent("GET", f"/b?AWSAccessKeyId=a&Signature=b&Expires={expires}", [("Host", "h")]))
    assert (refused.code, refused.status) == (RefusalCode.ACCESS_DENIED, 403)


def test_payload() -> None:
    assert claim_of(sign("PUT", URL)).payload.mode is PayloadMode.UNSIGNED
    assert claim_of(sign("PUT", URL, [("x-amz-content-sha256", "ab" * 32)])).payload.mode is PayloadMode.HASHED
    for value in ("STREAMING-UNSIGNED-PAYLOAD-TRAILER", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD", "", "x"):
        for expires_s in (None, 60):
            payload = claim_of(sign("PUT", URL, [("x-amz-content-sha256", value)], expires_s)).payload
            assert (payload.mode, payload.text) == (PayloadMode.HASHED, value)  # the hash of no body
