"""Every form of a signature is recognised; none is taken for an anonymous request, and access keys find their users."""

from dataclasses import replace

import pytest

from objstore.auth.accesskeys import AccessKeys
from objstore.auth.s3auth import S3Authenticator
from objstore.auth.s3facts import QUERY_FIELDS_MAX, S3Facts
from objstore.auth.s3refusal import RefusalCode, S3Refused
from objstore.auth.sigv2 import SigV2Claim
from objstore.auth.tempauth import User
from objstore.model.identity import ANONYMOUS
from objstore.runtime.rng import SystemRng
from tests.unit.objstore.auth.s3signing import KEY, REGION, claim_of, prove, refusal, sign

URL = "http://localhost:8080/bucket/key"
USERS = [
    User("test", "tester", "testing", admin=True),
    User("test", "tester3", "testing3"),
    User("admin", "admin", "admin", reseller=True),
]


def facts(query: str = "", **headers: str) -> S3Facts:
    return S3Facts("GET", "/b/k", query, {"host": "h", **headers})


def test_anonymous() -> None:
    assert S3Authenticator(REGION).claim_of(facts("acl&prefix=a")) is None


@pytest.mark.parametrize(
    ("header", "code", "message"),
    [
        ("", RefusalCode.INVALID_ARGUMENT, "one and only one"),
        ("AWS", RefusalCode.INVALID_ARGUMENT, "one and only one"),
        ("AWS4-HMAC-SHA256", RefusalCode.INVALID_ARGUMENT, "one and only one"),
        ("Basic dGVzdA==", RefusalCode.INVALID_ARGUMENT, "Unsupported Authorization Type"),
        ("Bearer x", RefusalCode.INVALID_ARGUMENT, "Unsupported Authorization Type"),
        ("aws4-hmac-sha256 x", RefusalCode.INVALID_ARGUMENT, "Unsupported Authorization Type"),
        ("AWS4-HMAC-SHA256 x", RefusalCode.ACCESS_DENIED, "valid Date"),
        ("AWS x", RefusalCode.INVALID_ARGUMENT, "Expected AwsAccessKeyId:signature"),
        ("AWS x:", RefusalCode.INVALID_ARGUMENT, "Expected AwsAccessKeyId:signature"),
        ("AWS :x", RefusalCode.INVALID_ARGUMENT, "Expected AwsAccessKeyId:signature"),
        ("AWS4-ECDSA-P256-SHA256 x", RefusalCode.NOT_IMPLEMENTED, "not implemented"),
    ],
)
def test_headers_that_prove_nothing(header: str, code: RefusalCode, message: str) -> None:
    with pytest.raises(S3Refused) as caught:
        S3Authenticator(REGION).claim_of(
            facts(authorization=header.replace("SHA256 x", "SHA256 Credential=x,Signature=x,SignedHeaders=x"))
        )
    assert caught.value.code is code and message in caught.value.message


@pytest.mark.parametrize(
    "query",
    ["X-Amz-Signature=1", "X-Amz-Credential=", "X-Amz-Algorithm", "X-Amz-Expires=1", "X-Amz-SignedHeaders=host", "Signature=x",
     "AWSAccessKeyId=x", "AWSAccessKeyId", "a=1&Signature", "Signature=1&Signature=2", "%58-Amz-Signature=1"],
)  # fmt: skip
def test_half_a_signature_is_not_anonymous(query: str) -> None:
    with pytest.raises(S3Refused):
        S3Authenticator(REGION).claim_of(facts(query))


def test_one_signature_only() -> None:
    header, query = sign("GET", URL), sign("GET", URL, expires_s=60)
    prove(header), prove(query)
    for both in (
        replace(header, target=query.target),
        replace(header, target="/b?Signature=x"),
        replace(query, target=query.target + "&Signature="),
    ):
        assert "Only one auth mechanism allowed" in refusal(both).message


def test_too_many_fields() -> None:
    assert S3Authenticator(REGION).claim_of(facts("&".join(["a"] * QUERY_FIELDS_MAX))) is None
    with pytest.raises(S3Refused):
        S3Authenticator(REGION).claim_of(facts("&".join(["a"] * (QUERY_FIELDS_MAX + 1))))


def test_access_keys() -> None:
    keys = AccessKeys(USERS, SystemRng())
    owner = keys.find("test:tester")
    assert (owner.secret, owner.account, owner.identity.owns) == ("testing", "AUTH_test", {"AUTH_test"})
    assert keys.find("admin:admin").identity.reseller
    assert not keys.find("test:tester3").identity.owns
    assert "testing" not in repr(owner)


@pytest.mark.parametrize("name", ["", "test", "test:", "nobody:x", "TEST:TESTER", "test:tester ", "\udcff"])
def test_access_keys_that_nobody_has(name: str) -> None:
    key = AccessKeys(USERS, SystemRng()).find(name)
    assert not key.known and key.identity is ANONYMOUS and len(key.secret) == 64
    assert key.secret != AccessKeys(USERS, SystemRng()).find(name).secret


@pytest.mark.parametrize("expires_s", [None, 60])
def test_an_access_key_that_nobody_has_is_verified_like_any_other(expires_s: int | None) -> None:
    sent = sign("GET", URL, expires_s=expires_s)
    server, nobody = S3Authenticator(REGION), AccessKeys(USERS, SystemRng()).find("nobody:x")
    claim = claim_of(sent)
    with pytest.raises(S3Refused) as caught:
        server.verify(claim, nobody, sent.facts(), sent.now)
    assert (caught.value.code, caught.value.status) == (RefusalCode.INVALID_ACCESS_KEY_ID, 403)
    assert caught.value.details == {"AWSAccessKeyId": "test:tester"}
    with pytest.raises(S3Refused) as caught:  # the time first, whoever asks
        server.verify(claim, nobody, sent.facts(), sent.now + 10**7)
    assert caught.value.code is not RefusalCode.INVALID_ACCESS_KEY_ID
    server.verify(claim, KEY, sent.facts(), sent.now)


def test_access_keys_with_slashes_and_colons() -> None:
    header = "AWS4-HMAC-SHA256 Credential=a/b:c/d/20130524/us-east-1/s3/aws4_request,SignedHeaders=host;x-amz-date,Signature=x"
    with pytest.raises(S3Refused) as caught:
        S3Authenticator(REGION).claim_of(facts(authorization=header, **{"x-amz-date": "20130524T000000Z"}))
    assert "x-amz-content-sha256" in caught.value.message  # as far as that
    claim = S3Authenticator(REGION).claim_of(facts(authorization="AWS a:b:c/d:sig=", date="Thu, 01 Jan 1970 00:00:01 GMT"))
    assert isinstance(claim, SigV2Claim) and (claim.access_key, claim.signature, claim.signed_s) == ("a:b:c/d", "sig=", 1)


def test_every_refusal_has_a_status_and_a_message() -> None:
    for code in RefusalCode:
        refused = S3Refused(code)
        assert 400 <= refused.status <= 501 and refused.message == code.message and len(code.message) > 10
    assert S3Refused(RefusalCode.ACCESS_DENIED, "why").message == "why"
