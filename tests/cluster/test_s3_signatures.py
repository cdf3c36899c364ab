"""Signatures over the wire: what is signed counts byte for byte, what is not signed must not count, and nothing is good for longer
or for more than it says (security tests S7, S9, S14, S38).
"""

import random
import time
from collections.abc import Iterator
from dataclasses import replace
from email.utils import formatdate
from urllib.parse import quote

import pytest

from objstore.testing.blocking import BlockingCluster
from tests.cluster.s3raw import SECRET, UNSIGNED, Answer, Raw, Wire, call, exchange, sign
from tests.cluster.swift import Swift
from tests.faults.figures import Count
from tests.unit.objstore.auth.s3signing import KEY_CHARACTERS, VALUE_CHARACTERS

DOMAIN = "s3.example.org"
BODY = b"body"
DAY_S = 86_400


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    settings = {"s3": {"domains": [DOMAIN], "signature_doctor": True}}
    with BlockingCluster(nodes=3, devices=1, network_faults=False, settings=settings) as cluster:
        call(cluster.endpoint, "PUT", "/bucket")
        call(cluster.endpoint, "PUT", "/other")
        call(cluster.endpoint, "PUT", "/bucket/key", BODY)
        call(cluster.endpoint, "PUT", "/bucket/private", b"private")
        yield cluster.endpoint


def listed(endpoint: str) -> bytes:
    """Both buckets."""
    return b"".join(call(endpoint, "GET", f"/{name}?list-type=2").body for name in ("bucket", "other"))


def both(endpoint: str, method: str, target: str, **how) -> list[Raw]:
    """Signed in a header, and in the query."""
    return [sign(endpoint, method, target, query=query, **how) for query in (False, True)]


def flips(text: str, rng: random.Random) -> Iterator[str]:
    """Each character in turn becomes another one that may stand in its place."""
    letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
    for at, character in enumerate(text):
        if character in letters:
            yield text[:at] + rng.choice([one for one in letters if one.lower() != character.lower()]) + text[at + 1 :]


def test_any_changed_byte_is_refused(endpoint: str, count: Count) -> None:
    """Path, query and every signed header, byte for byte."""
    rng = random.Random(7)
    headers = {"x-amz-meta-colour": "blue", "Content-Type": "text/plain"}
    for original in (
        sign(endpoint, "PUT", "/bucket/flipped?x-id=PutObject", BODY, headers),
        sign(endpoint, "PUT", "/bucket/flipped?x-id=PutObject", BODY, headers, query=True),
    ):
        fixed = original.target.partition("X-Amz-")[0]
        others = [replace(original, target=target + original.target[len(fixed) :]) for target in flips(fixed, rng)]
        signed = ("x-amz-meta-colour", "content-type", "x-amz-date", "x-amz-content-sha256")
        for at, (name, value) in enumerate(original.headers):
            if name.lower() in signed:
                fields = [(name, other) for other in flips(value, rng)]
                others += [replace(original, headers=(*original.headers[:at], one, *original.headers[at + 1 :])) for one in fields]
        others += [original.having("x-amz-meta-colour"), replace(original, method="POST"), replace(original, method="DELETE")]
        others += [original.having("Host", "localhost"), original.having("x-amz-meta-colour", "blue", "red")]
        texts = (original.signature, original.target if "X-Amz-" in original.target else original.value("Authorization"))
        for signature in flips(texts[0], rng):
            text = texts[1].replace(original.signature, signature)
            changed = replace(original, target=text) if text.startswith("/") else original.having("Authorization", text)
            others.append(changed)
        for other in others:
            answer = exchange(endpoint, other)
            assert answer.status in (400, 403), (other, answer)
            assert answer.code != "InternalError"
            if answer.status == 403:
                assert answer.code in ("SignatureDoesNotMatch", "RequestTimeTooSkewed", "AccessDenied"), (other, answer)
        count("S3 signatures", changed_bytes_refused=len(others))
    assert b"flipped" not in listed(endpoint)


def test_what_botocore_signs_is_accepted(endpoint: str, count: Count) -> None:
    """Any key, query, user metadata: what is proven elsewhere of the facts of a request holds for what comes by the wire."""
    rng = random.Random(70)
    for number in range(60):
        key = quote("".join(rng.choices(KEY_CHARACTERS, k=rng.randrange(1, 30))), safe="/~")
        value = quote("".join(rng.choices(KEY_CHARACTERS, k=rng.randrange(8))), safe="")
        target = f"/other/any/{number}/{key}?x-id=a&b={value}&c="
        headers = {f"x-amz-meta-{number}": "".join(rng.choices(VALUE_CHARACTERS, k=20)).strip(), "Content-Type": "a/b;  c=d"}
        for query in (False, True):
            put = call(endpoint, "PUT", target, b"%d" % number, headers, query=query)
            assert (put.status, put.code) == (200, ""), (target, headers, put)
            assert call(endpoint, "GET", target, query=query).body == b"%d" % number
            count("S3 signatures", random_requests_accepted=2)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("/us-east-1/s3/", "/eu-west-7/s3/"),
        ("/us-east-1/s3/", "/us-east-1/iam/"),
        ("/aws4_request", "/aws5_request"),
        ("Credential=test:tester/", "Credential="),
        ("Credential=test:tester/20", "Credential=test:tester/19"),
        ("host;", ""),
        ("x-amz-date", "x-amz-time"),
        ("Signature=", "Signatur="),
        ("AWS4-HMAC-SHA256 ", "AWS4-HMAC-SHA512 "),
        ("AWS4-HMAC-SHA256 ", "AWS4-HMAC-SHA256"),
        ("SignedHeaders=", "SignedHeaders=a;"),
        ("SignedHeaders=host", "SignedHeaders=HOST"),
    ],
)
def test_a_scope_or_a_header_that_is_wrong(endpoint: str, old: str, new: str) -> None:
    raw = sign(endpoint, "GET", "/bucket/key")
    text = raw.value("Authorization")
    assert old in text
    answer = exchange(endpoint, raw.having("Authorization", text.replace(old, new)))
    assert answer.status in (400, 403) and answer.code, answer


def test_what_every_signed_request_has(endpoint: str) -> None:
    raw = sign(endpoint, "GET", "/bucket/key")
    assert exchange(endpoint, raw).body == BODY
    missing = exchange(endpoint, raw.having("x-amz-content-sha256"))
    assert (missing.status, missing.code) in ((400, "InvalidRequest"), (403, "SignatureDoesNotMatch"))
    assert exchange(endpoint, raw.having("x-amz-date")).code == "AccessDenied"
    dated = raw.having("x-amz-date").having("Date", formatdate(usegmt=True))
    assert exchange(endpoint, dated).code == "SignatureDoesNotMatch"  # x-amz-date was signed
    assert exchange(endpoint, raw.having("Date", "Thu, 01 Jan 1970 00:00:00 GMT")).body == BODY  # x-amz-date comes first
    assert exchange(endpoint, raw.having("Host")).status == 400
    assert exchange(endpoint, raw.having("Authorization", raw.value("Authorization"), raw.value("Authorization"))).status in (
        400,
        403,
    )
    both_ways = sign(endpoint, "GET", "/bucket/key", query=True).having("Authorization", raw.value("Authorization"))
    assert exchange(endpoint, both_ways).code == "InvalidArgument"


UNSIGNED_HEADERS = {
    "x-amz-copy-source": "/bucket/private",
    "x-amz-copy-source-range": "bytes=0-1",
    "x-amz-acl": "public-read",
    "x-amz-grant-full-control": "id=test2:tester2",
    "x-amz-tagging": "a=b",
    "x-amz-meta-a": "b",
    "x-amz-metadata-directive": "REPLACE",
    "x-amz-storage-class": "GLACIER",
    "x-amz-security-token": "t",
    "x-amz-server-side-encryption": "AES256",
    "x-amz-website-redirect-location": "http://evil.example/",
    "x-amz-object-lock-mode": "COMPLIANCE",
    "x-amz-decoded-content-length": "4",
    "x-amz-trailer": "x-amz-checksum-crc32",
    "x-amz-checksum-crc32": "AAAAAA==",
    "x-amz-content-sha256": UNSIGNED,
    "X-AMZ-Anything": "",
}


@pytest.mark.parametrize("name", UNSIGNED_HEADERS)
def test_an_amz_header_that_is_not_signed(endpoint: str, name: str) -> None:
    """Whoever holds a presigned URL may do what it says, and nothing besides."""
    for raw in both(endpoint, "PUT", "/bucket/unsigned"):
        if any(key.lower() == name.lower() for key, _ in raw.headers):
            continue
        answer = exchange(endpoint, raw.carrying(BODY).having(name, UNSIGNED_HEADERS[name]))
        assert (answer.status, answer.code) == (403, "AccessDenied"), answer
        assert b"not signed" in answer.body and name.lower().encode() in answer.body
    assert call(endpoint, "HEAD", "/bucket/unsigned").status == 404


def test_a_presigned_body_hash_may_not_be_empty(endpoint: str) -> None:
    """Not even signed: an empty value is no way to say that anything goes, but the hash of no body."""
    raw = sign(endpoint, "PUT", "/bucket/empty-hash", BODY, {"x-amz-content-sha256": ""}, query=True, payload="")
    assert exchange(endpoint, raw).code == "XAmzContentSHA256Mismatch"
    raw = sign(endpoint, "PUT", "/bucket/empty-hash?X-Amz-Content-Sha256=", BODY, query=True, payload="")
    assert exchange(endpoint, raw).code == "XAmzContentSHA256Mismatch"
    assert call(endpoint, "HEAD", "/bucket/empty-hash").status == 404


@pytest.mark.parametrize("expires", [0, -1, 604_801, "x", "1.5", "", "9" * 40, "+5", "\u0661", "1e3", "0x10"])
def test_expiries_that_are_none(endpoint: str, expires: int | str) -> None:
    raw = sign(endpoint, "GET", "/bucket/key", query=True, expires_s=expires)
    answer = exchange(endpoint, raw)
    assert (answer.status, answer.code) == (400, "AuthorizationQueryParametersError"), answer


def test_the_clock(endpoint: str) -> None:
    """15 minutes either way in a header; a URL ends with its expiry, and must not come from the future."""
    now = time.time()

    def answer(query: bool, at: float, expires_s: int = 60) -> Answer:
        return exchange(endpoint, sign(endpoint, "GET", "/bucket/key", query=query, at=at, expires_s=expires_s))

    for at in (now - 890, now + 890):
        assert answer(False, at).body == BODY
    for at in (now - 910, now + 910, now - DAY_S, now + DAY_S, 0, 4e9):
        assert (answer(False, at).status, answer(False, at).code) == (403, "RequestTimeTooSkewed")
    assert answer(True, now - 30, 60).body == BODY
    for at, expires_s in ((now - 65, 60), (now - 604_805, 604_800), (now + 910, 3600), (now + DAY_S, 604_800)):
        refused = answer(True, at, expires_s)
        assert (refused.status, refused.code) == (403, "AccessDenied"), refused
    later = sign(endpoint, "GET", "/bucket/key", query=True, at=now - 65, expires_s=60)
    longer = replace(later, target=later.target.replace("X-Amz-Expires=60", "X-Amz-Expires=600"))
    assert exchange(endpoint, longer).code == "SignatureDoesNotMatch"


def test_a_signature_is_good_for_nothing_else(endpoint: str) -> None:
    for raw in both(endpoint, "GET", "/bucket/key"):
        for old, new in (("/bucket/key", "/bucket/private"), ("/bucket/", "/other/"), ("/bucket/key", "/bucket")):
            answer = exchange(endpoint, replace(raw, target=raw.target.replace(old, new)))
            assert (answer.status, answer.code) == (403, "SignatureDoesNotMatch")
        joint = "&" if "?" in raw.target else "?"
        for more in ("versionId=null", "partNumber=1", "acl", "response-content-type=text/html", "uploads"):
            assert exchange(endpoint, replace(raw, target=f"{raw.target}{joint}{more}")).code == "SignatureDoesNotMatch"
        for method in ("PUT", "DELETE", "HEAD", "POST"):
            assert exchange(endpoint, replace(raw, method=method)).status == 403
        for host in ("localhost", f"other.{DOMAIN}", DOMAIN):
            assert exchange(endpoint, raw.having("Host", host)).code == "SignatureDoesNotMatch"
    assert call(endpoint, "GET", "/bucket/key").body == BODY


def test_a_signature_gives_no_token(endpoint: str) -> None:
    """Nor does the place where tokens are given take one for a login."""
    for raw in both(endpoint, "GET", "/auth/v1.0"):
        answer = exchange(endpoint, raw)
        assert answer.status in (400, 403, 404) and "x-auth-token" not in answer.fields, answer
    url = sign(endpoint, "GET", "/bucket/key", query=True)
    query = url.target.partition("?")[2]
    for target in (f"/auth/v1.0?{query}", f"/v3/s3tokens?{query}", f"/v1/AUTH_test?{query}"):
        for method in ("GET", "POST"):
            answer = exchange(endpoint, replace(url, method=method, target=target).carrying(b"{}"))
            assert answer.status >= 400 and "x-auth-token" not in answer.fields, answer
    assert exchange(endpoint, sign(endpoint, "GET", "/v1/AUTH_test/bucket")).status in (400, 403, 404)


def test_a_token_is_no_signature(endpoint: str) -> None:
    token = Swift(endpoint).token
    assert exchange(endpoint, Raw("GET", "/bucket/key", (("Host", "h"), ("X-Auth-Token", token)))).status == 403


@pytest.mark.parametrize("hosts", [[], [""], ["a", "a"], ["a", "b"], ["a b"], ["a/b"], ["a@b"], ["a,b"], ["a..b"], ["ä"], ["a:x"],
                                   ["a:65536"], ["[::1"], ["a" * 64], ["a." * 200], ["a%41"], ["a?b"],
                                   [f"a/b.{DOMAIN}"]])  # fmt: skip
def test_host_fields_that_are_none(endpoint: str, hosts: list[str]) -> None:
    for raw in (*both(endpoint, "GET", "/bucket/key"), Raw("GET", "/bucket/key", ())):
        answer = exchange(endpoint, raw.having("Host", *hosts))
        assert answer.status == 400, answer
        assert BODY not in answer.body


@pytest.mark.parametrize("host", [f"bucket.{DOMAIN}", f"bucket.{DOMAIN}:8080", f"bucket.{DOMAIN}."])
def test_a_bucket_below_the_domain(endpoint: str, host: str) -> None:
    for raw in both(endpoint, "GET", "/key", host=host):
        assert exchange(endpoint, raw).body == BODY


@pytest.mark.parametrize(
    "host",
    [
        "bucket.evil",
        "127.0.0.1",
        "[::1]:8080",
        DOMAIN,
        f"{DOMAIN}.",
        f"bucket.{DOMAIN}.evil",
        f"bucket{DOMAIN}",
        "bucket",
        "a.b.c",
        "x_y",
    ],
)
def test_another_host_is_no_bucket(endpoint: str, host: str) -> None:
    """The path tells."""
    for raw in both(endpoint, "GET", "/bucket/key", host=host):
        assert exchange(endpoint, raw).body == BODY
    for raw in both(endpoint, "GET", "/key", host=host):
        assert exchange(endpoint, raw).status in (400, 404)


@pytest.mark.parametrize("name", ["v1", "10.0.0.1", "a_b", "-a", "ab", "metrics", "xn--a-"])
def test_names_below_the_domain_that_no_bucket_has(endpoint: str, name: str) -> None:
    for raw in both(endpoint, "PUT", "/", host=f"{name}.{DOMAIN}"):
        assert (exchange(endpoint, raw).status, exchange(endpoint, raw).code) == (400, "InvalidBucketName")


def test_no_answer_shows_a_secret(endpoint: str) -> None:
    for raw in (*both(endpoint, "GET", "/bucket/key", secret="wrong"), *both(endpoint, "GET", "/bucket/key", key="no:body")):
        answer = exchange(endpoint, raw)
        assert answer.code in ("SignatureDoesNotMatch", "InvalidAccessKeyId") and answer.status == 403
        assert SECRET.encode() not in answer.body.replace(b"/testing", b"") and b"wrong" not in answer.body
        if answer.code == "InvalidAccessKeyId":
            assert b"StringToSign" not in answer.body and b"CanonicalRequest" not in answer.body


def test_the_doctor_tells_the_owner_what_went_wrong(endpoint: str) -> None:
    for raw in both(endpoint, "GET", "/bucket/key"):
        answer = exchange(endpoint, replace(raw, method="DELETE"))
        assert answer.code == "SignatureDoesNotMatch"
        told = "<SignatureDoctor>signed for the method GET: method: server has 'DELETE', client has 'GET'</SignatureDoctor>"
        assert told in answer.body.decode()
        assert b"<StringToSign>AWS4-HMAC-SHA256" in answer.body and b"<CanonicalRequest>DELETE" in answer.body
    stranger = exchange(endpoint, replace(sign(endpoint, "GET", "/bucket/key", key="no:body"), method="DELETE"))
    assert stranger.code == "InvalidAccessKeyId" and b"SignatureDoctor" not in stranger.body
    guess = exchange(endpoint, sign(endpoint, "GET", "/bucket/key", secret="guess"))
    assert b"<SignatureDoctor>no known mistake explains it" in guess.body


def test_what_is_in_a_refused_body_is_no_request(endpoint: str) -> None:
    """A body that nobody reads holds a good request: it must not be taken for the next one on the connection."""
    hidden = sign(endpoint, "DELETE", "/bucket/canary").wire()
    assert call(endpoint, "PUT", "/bucket/canary", BODY).status == 200
    bad = sign(endpoint, "PUT", "/bucket/refused", hidden, secret="wrong")
    shapes = [
        bad,
        bad.having("Expect", "100-continue"),
        replace(
            bad.having("Content-Length").having("Transfer-Encoding", "chunked"),
            body=b"%x\r\n%b\r\n0\r\n\r\n" % (len(hidden), hidden),
        ),
        replace(bad, target="/"),
        replace(bad, method="GET"),
        bad.having("Transfer-Encoding", "gzip, chunked").having("Content-Length"),
        bad.having("Content-Length", "0").having("Content-Length", "1"),
        bad.having("Content-Length", str(len(hidden)), str(len(hidden))),
    ]
    for raw in shapes:
        with Wire(endpoint) as wire:
            wire.send(raw.wire())
            first = wire.answer(raw.method)
            assert first.status >= 400, (raw, first)
            wire.end()
            assert wire.answer("DELETE").status in (0, 400, 403, 405), raw
        assert call(endpoint, "GET", "/bucket/canary").body == BODY, raw


def test_what_cannot_be_put_or_deleted_is_not_the_bucket_itself(endpoint: str) -> None:
    assert call(endpoint, "PUT", "/empty-one").status == 200
    for field in ("location", "versions", "uploads", "delete"):
        for method, target in (("PUT", "/never-made"), ("DELETE", "/empty-one")):
            answer = call(endpoint, method, f"{target}?{field}")
            assert (answer.status, answer.code) == (405, "MethodNotAllowed"), (method, field)
    for method in ("PUT", "DELETE"):
        assert call(endpoint, method, "/bucket/key?attributes").code == "MethodNotAllowed"
    assert call(endpoint, "HEAD", "/empty-one").status == 200
    assert call(endpoint, "HEAD", "/never-made").status == 404
    assert call(endpoint, "GET", "/bucket/key").body == BODY
