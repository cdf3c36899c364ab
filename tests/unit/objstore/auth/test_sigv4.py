"""Signature Version 4: what botocore signs is accepted, what was changed on the way is not."""

import os
import random
from dataclasses import replace
from urllib.parse import quote, unquote

import pytest

from objstore.auth.s3auth import S3Authenticator
from objstore.auth.s3payload import PayloadMode
from objstore.auth.s3refusal import RefusalCode, S3Refused
from objstore.auth.sigv4 import ENCODINGS_SIGNED, SigV4Claim
from objstore.auth.sigv4canonical import canonical_request
from objstore.auth.sigv4keys import KeyCache, Scope, derive_key
from tests.unit.objstore.auth.s3signing import ACCESS_KEY, KEY, REGION, SECRET, Sent, claim_of, prove, random_sent, refusal, sign

RANDOM_REQUESTS = int(os.environ.get("OBJSTORE_SIGV4_REQUESTS", "10000"))
URL = "http://localhost:8080/bucket/k%20ey?prefix=a%2Fb&acl="
AMZ = [("x-amz-acl", "private"), ("x-amz-meta-a", "b  c"), ("Content-Type", "text/plain")]


def changed(sent: Sent, name: str, value: str | None) -> Sent:
    """With another value of a header; without it for None."""
    kept = [one for one in sent.headers if one[0].lower() != name.lower()]
    return replace(sent, headers=kept if value is None else [*kept, (name, value)])


def authorization(sent: Sent, old: str, new: str) -> Sent:
    value = dict(sent.headers)["Authorization"]
    assert old in value
    return changed(sent, "Authorization", value.replace(old, new))


def test_what_botocore_signs_is_accepted() -> None:
    rng, server = random.Random(4), S3Authenticator(REGION)
    for _ in range(RANDOM_REQUESTS):
        sent = random_sent(rng)
        try:
            prove(sent, server=server)
        except S3Refused as refused:
            raise AssertionError(f"{sent}\n{refused} {refused.details}") from refused


def test_a_wrong_secret_is_refused() -> None:
    for expires_s in (None, 60):
        refused = refusal(sign("GET", URL, secret="wrong", expires_s=expires_s))
        assert (refused.code, refused.status) == (RefusalCode.SIGNATURE_DOES_NOT_MATCH, 403)
        assert refused.details["AWSAccessKeyId"] == ACCESS_KEY
        assert refused.details["CanonicalRequest"].startswith("GET\n/bucket/k%20ey\n")
        assert bytes.fromhex(refused.details["StringToSignBytes"]).decode() == refused.details["StringToSign"]
        assert SECRET not in str(refused.details)


def test_the_example_of_the_documentation() -> None:
    """GET Object in "Signature Calculations for the Authorization Header", API reference."""
    empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    headers = [
        ("Host", "examplebucket.s3.amazonaws.com"),
        ("Range", "bytes=0-9"),
        ("x-amz-content-sha256", empty),
        ("x-amz-date", "20130524T000000Z"),
        (
            "Authorization",
            "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,"
            "SignedHeaders=host;range;x-amz-content-sha256;x-amz-date,"
            "Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
        ),
    ]
    sent = Sent("GET", "/test.txt", headers, 1369353600)
    server, facts = S3Authenticator(REGION), sent.facts()
    claim = server.claim_of(facts)
    assert isinstance(claim, SigV4Claim)
    key = replace(KEY, secret="wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
    server.verify(claim, key, facts, sent.now)
    with pytest.raises(S3Refused):
        server.verify(claim, KEY, facts, sent.now)


def test_any_changed_byte_is_refused() -> None:
    """One bit of every byte of what is signed, in turn; only other spellings of the same canonical request may pass."""
    rng, spellings, refusals = random.Random(9), 0, 0
    for turn in range(12):
        sent = sign("PUT", URL, AMZ, b"body") if turn % 2 else sign("GET", URL, AMZ, expires_s=300)
        original = canonical_request(sent.facts(), claim_of(sent).signed_headers, claim_of(sent).payload.text)
        for other in flipped(sent, rng):
            if not proven(other):
                refusals += 1
                continue
            claim = claim_of(other)
            same = canonical_request(other.facts(), claim.signed_headers, claim.payload.text) == original
            assert same and claim == claim_of(sent), other
            spellings += 1
    assert refusals > 3000 and spellings < refusals / 50


def proven(sent: Sent) -> bool:
    """Not so when it is refused, nor when nothing of a signature is left in it: then it is anonymous."""
    try:
        return S3Authenticator(REGION).claim_of(sent.facts()) is not None and bool(prove(sent))
    except S3Refused:
        return False


def flipped(sent: Sent, rng: random.Random) -> list[Sent]:
    """One for each byte of method, target and headers, the names of headers included."""

    def flips(text: str) -> list[str]:
        return [text[:at] + chr(ord(text[at]) ^ 1 << rng.randrange(7)) + text[at + 1 :] for at in range(len(text))]

    signed = claim_of(sent).signed_headers
    others = [replace(sent, method=method) for method in flips(sent.method)]
    others += [replace(sent, target=target) for target in flips(sent.target)]
    for at, (name, value) in enumerate(sent.headers):
        if name.lower() in (*signed, "authorization"):
            for one in [
                *((name, text) for text in flips(value)),
                *((text, value) for text in flips(name) if text.lower() != name.lower()),
            ]:
                others.append(replace(sent, headers=[*sent.headers[:at], one, *sent.headers[at + 1 :]]))
    return others


@pytest.mark.parametrize("expires_s", [None, 60])
@pytest.mark.parametrize(
    "target",
    [
        "/bucket/k%20%65y?prefix=a%2Fb&acl=",
        "/bucket/k%20ey?acl&prefix=a/b",
        "/bucket/k%20ey?prefix=a%2fb&&acl",
        "/b%75cket/k%20ey?%61cl=&prefix=a%2Fb&",
    ],
)
def test_other_spellings_of_the_target(target: str, expires_s: int | None) -> None:
    sent = sign("GET", URL, expires_s=expires_s)
    extra = sent.target.partition("acl=")[2]
    prove(replace(sent, target=target + ("&" if extra and not target.endswith("&") else "") + extra.removeprefix("&")))


def test_a_plus_in_the_query_is_a_space_and_one_in_the_path_is_not() -> None:
    sent = sign("GET", "http://h/b/k%2Bey?prefix=a%20b%2Bc")
    prove(replace(sent, target="/b/k+ey?prefix=a+b%2Bc"))
    assert refusal(replace(sent, target="/b/k%20ey?prefix=a+b%2Bc")).code is RefusalCode.SIGNATURE_DOES_NOT_MATCH
    assert refusal(replace(sent, target="/b/k+ey?prefix=a%2Bb%2Bc")).code is RefusalCode.SIGNATURE_DOES_NOT_MATCH


@pytest.mark.parametrize(
    "path", ["/b//k", "/b/./k", "/b/../k", "//b/k", "/b/k/", "/b/%2E%2E/k", "/", "/b/..", "/%FF%00", "/b/~%7e"]
)
def test_paths_are_not_normalised(path: str) -> None:
    sent = sign("GET", f"http://h{quote(unquote(path, 'latin-1').encode('latin-1'), safe='/~')}")
    prove(replace(sent, target=path))
    assert refusal(replace(sent, target=path.rstrip("/") + "/x")).code is RefusalCode.SIGNATURE_DOES_NOT_MATCH


def test_unsorted_and_repeated_query_fields() -> None:
    sent = sign("GET", "http://h/b?b=2&a=2&a=1&A=3&a-=4&b=")
    prove(sent)
    prove(replace(sent, target="/b?a=1&b=&A=3&a=2&b=2&a-=4"))
    assert refusal(replace(sent, target="/b?b=2&a=2&a=1&A=3&a-=4")).code is RefusalCode.SIGNATURE_DOES_NOT_MATCH


def test_white_space_and_repeated_headers() -> None:
    sent = sign("GET", "http://h/b", [("x-amz-meta-a", "  one   two "), ("x-amz-meta-a", "three"), ("x-amz-meta-b", "")])
    prove(sent)
    prove(changed(sent, "x-amz-meta-a", "one two,three"))
    assert refusal(changed(sent, "x-amz-meta-a", "onetwo,three")).code is RefusalCode.SIGNATURE_DOES_NOT_MATCH
    assert refusal(changed(sent, "x-amz-meta-a", "three,one two")).code is RefusalCode.SIGNATURE_DOES_NOT_MATCH


def test_accept_encoding_may_be_rewritten_on_the_way_and_nothing_else() -> None:
    for value in ENCODINGS_SIGNED:
        sent = sign("GET", "http://h/b", [("Accept-Encoding", value), ("x-amz-meta-a", "b")])
        for seen in ("br", "gzip", None):
            prove(changed(sent, "Accept-Encoding", seen))
            assert (
                refusal(changed(changed(sent, "Accept-Encoding", seen), "x-amz-meta-a", "c")).code
                is RefusalCode.SIGNATURE_DOES_NOT_MATCH
            )
    unusual = sign("GET", "http://h/b", [("Accept-Encoding", "lzma")])
    prove(unusual)
    assert refusal(changed(unusual, "Accept-Encoding", "gzip")).code is RefusalCode.SIGNATURE_DOES_NOT_MATCH


def test_a_signed_header_that_is_missing() -> None:
    sent = sign("PUT", URL, [("Content-Type", ""), *AMZ[:2]])
    prove(sent)
    assert refusal(changed(sent, "Content-Type", None)).code is RefusalCode.SIGNATURE_DOES_NOT_MATCH


@pytest.mark.parametrize("expires_s", [None, 60])
@pytest.mark.parametrize(
    "name",
    ["x-amz-copy-source", "x-amz-acl", "x-amz-tagging", "x-amz-meta-x", "x-amz-storage-class", "x-amz-security-token",
     "X-Amz-Grant-Read", "x-amz-server-side-encryption", "x-amz-content-sha256", "x-amz-website-redirect-location", "x-amz-z"],
)  # fmt: skip
def test_amz_headers_must_be_signed(name: str, expires_s: int | None) -> None:
    sent = sign("PUT", URL, expires_s=expires_s)
    if expires_s is None and name == "x-amz-content-sha256":
        sent = authorization(sent, "x-amz-content-sha256;", "")
    refused = refusal(changed(sent, name, dict(sent.headers).get("X-Amz-Content-SHA256", "UNSIGNED-PAYLOAD")))
    assert (refused.code, refused.status) == (RefusalCode.ACCESS_DENIED, 403)
    assert refused.details == {"HeadersNotSigned": name.lower()}


def test_the_host_must_be_signed() -> None:
    assert refusal(authorization(sign("GET", URL), "host;", "")).details == {"HeadersNotSigned": "host"}
    presigned = sign("GET", URL, [("Range", "bytes=0-1")], expires_s=60)
    assert refusal(replace(presigned, target=presigned.target.replace("host%3B", ""))).details == {"HeadersNotSigned": "host"}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("/s3/", "/ec2/", 'incorrect service "ec2"'),
        ("aws4_request", "aws4", 'incorrect terminal "aws4"'),
        ("/us-east-1/", "/eu-west-9/", "the region 'eu-west-9' is wrong; expecting 'us-east-1'"),
        ("Credential=test:tester/", "Credential=test:tester/1", "incorrect date format"),
        ("Credential=test:tester/20", "Credential=test:tester/21", "not the same as X-Amz-Date"),
        ("Credential=test:tester/", "Credential=", "the Credential is mal-formed"),
        ("Credential=test:tester", "Credential=", "the Credential is mal-formed"),
        ("Credential=", "Credential", "expecting one"),
        ("SignedHeaders=", "Signed=", "expecting one"),
        ("Signature=", "Signature=1,Signature=", "expecting one"),
        ("Signature=", "Extra=1,Signature=", "expecting one"),
        ("SignedHeaders=", "SignedHeaders=;,X", "expecting one"),
    ],
)  # fmt: skip
def test_malformed_headers(old: str, new: str, message: str) -> None:
    refused = refusal(authorization(sign("GET", URL), old, new))
    assert (refused.code, refused.status) == (RefusalCode.AUTHORIZATION_HEADER_MALFORMED, 400)
    assert message in refused.message
    assert refused.details == ({"Region": "us-east-1"} if "region" in message else {})


@pytest.mark.parametrize("part", ["Credential", "SignedHeaders", "Signature"])
def test_every_part_of_the_header_is_needed(part: str) -> None:
    sent = sign("GET", URL)
    scheme, _, rest = dict(sent.headers)["Authorization"].partition(" ")
    kept = ", ".join(one for one in rest.split(", ") if not one.startswith(part + "="))
    refused = refusal(changed(sent, "Authorization", f"{scheme} {kept}"))
    assert refused.code is RefusalCode.AUTHORIZATION_HEADER_MALFORMED and part in refused.message
    prove(changed(sent, "Authorization", f"{scheme}  " + rest.replace(", ", " ,")))
    prove(changed(sent, "Authorization", f"{scheme} " + rest.replace(", ", ",")))


def test_regions() -> None:
    for region, signed in [("home", "home"), ("Home", "home"), ("home", "us-east-1")]:
        prove(sign("GET", URL, region=signed), server=S3Authenticator(region))
        prove(sign("GET", URL, region=signed, expires_s=9), server=S3Authenticator(region))
    with pytest.raises(S3Refused) as caught:
        prove(sign("GET", URL, region="us-west-2"), server=S3Authenticator("home"))
    assert caught.value.details == {"Region": "home"}


def test_the_clock_may_be_off_by_fifteen_minutes() -> None:
    sent = sign("GET", URL)
    for off in (-900, 0, 900):
        prove(sent, sent.now + off)
    for off in (-901, 901, 10**9, -(10**9)):
        refused = refusal(sent, sent.now + off)
        assert (refused.code, refused.status) == (RefusalCode.REQUEST_TIME_TOO_SKEWED, 403)
        assert refused.details["MaxAllowedSkewMilliseconds"] == "900000"


@pytest.mark.parametrize(
    "date", ["", "now", "20130524", "20130524T250000Z", "20130524T000000", "19691231T235959Z", "٢0130524T000000Z", "x" * 99]
)
def test_dates_that_are_none(date: str) -> None:
    sent = sign("GET", URL)
    refused = refusal(changed(sent, "X-Amz-Date", date))
    assert (refused.code, refused.status) == (RefusalCode.ACCESS_DENIED, 403)
    refused = refusal(changed(sent, "X-Amz-Date", None))
    assert refused.message == "AWS authentication requires a valid Date or x-amz-date header"


def test_date_in_the_place_of_x_amz_date() -> None:
    sent = sign("GET", URL, [("Date", "now")])  # botocore replaces the value
    assert "X-Amz-Date" not in dict(sent.headers)
    prove(sent)
    assert refusal(changed(sent, "Date", "Thu, 01 Jan 1970 00:00:00 GMT")).code is RefusalCode.AUTHORIZATION_HEADER_MALFORMED


@pytest.mark.parametrize(
    ("value", "mode"),
    [
        ("UNSIGNED-PAYLOAD", PayloadMode.UNSIGNED),
        ("ab" * 32, PayloadMode.HASHED),
        ("AB" * 32, PayloadMode.HASHED),
        ("STREAMING-AWS4-HMAC-SHA256-PAYLOAD", PayloadMode.CHUNKS_SIGNED),
        ("STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER", PayloadMode.CHUNKS_SIGNED_TRAILER),
        ("STREAMING-UNSIGNED-PAYLOAD-TRAILER", PayloadMode.CHUNKS_UNSIGNED_TRAILER),
    ],
)
def test_payload_modes(value: str, mode: PayloadMode) -> None:
    """Each is typed, and changing to it without a new signature is refused."""
    sent = changed(sign("PUT", URL, body=b"x"), "X-Amz-Content-SHA256", value)
    payload = claim_of(sent).payload
    assert (payload.mode, payload.text) == (mode, value)
    assert refusal(sent).code is RefusalCode.SIGNATURE_DOES_NOT_MATCH


@pytest.mark.parametrize(
    "value", ["", "invalid", "unsigned-payload", "ab" * 31, "ab" * 33, "ag" * 32, "STREAMING-", "hashed", "٠" * 64]
)
def test_unknown_payload_modes(value: str) -> None:
    refused = refusal(changed(sign("PUT", URL), "X-Amz-Content-SHA256", value))
    assert (refused.code, refused.status) == (RefusalCode.INVALID_ARGUMENT, 400)
    assert refused.details == {"ArgumentName": "x-amz-content-sha256", "ArgumentValue": value}


def test_payload_modes_that_do_not_exist_here() -> None:
    for value in ("STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD", "STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD-TRAILER"):
        refused = refusal(changed(sign("PUT", URL), "X-Amz-Content-SHA256", value))
        assert (refused.code, refused.status) == (RefusalCode.NOT_IMPLEMENTED, 501)
    refused = refusal(changed(sign("PUT", URL), "X-Amz-Content-SHA256", None))
    assert refused.message == "Missing required header for this request: x-amz-content-sha256"


def test_keys_are_cached_once_they_were_genuine() -> None:
    cache, scope = KeyCache(entries_max=2), Scope("20130524", "us-east-1")
    key = cache.get("a", "secret", scope)
    assert key == derive_key("secret", scope) and len(cache) == 0
    cache.keep("a", "secret", scope, b"cached")
    assert cache.get("a", "secret", scope) == b"cached"
    assert cache.get("a", "changed", scope) == derive_key("changed", scope)
    assert cache.get("a", "secret", Scope("20130525", "us-east-1")) != b"cached"
    for name in ("b", "c", "c"):
        cache.keep(name, "secret", scope, b"cached")
    assert len(cache) == 2 and cache.get("a", "secret", scope) != b"cached"
    assert cache.get("b", "secret", scope) == cache.get("c", "secret", scope) == b"cached"


def test_a_changed_secret_is_not_served_from_the_cache() -> None:
    server, sent = S3Authenticator(REGION), sign("GET", URL)
    prove(sent, server=server)
    with pytest.raises(S3Refused):
        prove(sent, key=replace(KEY, secret="another"), server=server)
    prove(sign("GET", URL, secret="another"), key=replace(KEY, secret="another"), server=server)


def test_secrets_are_not_shown() -> None:
    signer = prove(sign("GET", URL))
    assert signer is not None and signer.key.hex() not in repr(signer) and repr(signer.key) not in repr(signer)
    assert SECRET not in repr(KEY)
