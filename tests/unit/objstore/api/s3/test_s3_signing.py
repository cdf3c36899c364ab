"""What the S3 API makes of a signature: which body it then wants."""

import base64
import hashlib
import hmac
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, replace
from email.utils import formatdate

import pytest
from botocore.auth import S3SigV4Auth, S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from objstore.api.s3.call import Payload
from objstore.api.s3.errors import S3Error
from objstore.api.s3.signing import DOCTOR, Signing
from objstore.auth.accesskeys import AccessKeys
from objstore.auth.tempauth import User
from objstore.runtime.clock import SystemClock
from objstore.runtime.rng import SystemRng

BODY = b"<Delete/>"
PIECE_BYTES = 4


@dataclass
class Asked:
    """A request that came whole."""

    headers: Mapping[str, str]
    body: bytes = BODY
    method: str = "PUT"
    path: str = "/b/k"
    query_text: str = ""
    chunked: bool = False

    @property
    def payload_size(self) -> int:
        return len(self.body)

    async def pieces(self, piece_bytes: int, _: int) -> AsyncIterator[bytes]:
        for at in range(0, len(self.body), piece_bytes):
            yield self.body[at : at + piece_bytes]


def make_signing(doctor: bool = False) -> Signing:
    keys = AccessKeys([User("test", "tester", "testing")], SystemRng())
    return Signing(keys, SystemClock(), "us-east-1", PIECE_BYTES, doctor)


def identified(asked: Asked) -> Payload:
    signing = make_signing()
    key, payload = signing.identify(asked, "")
    assert key.identity.user == "test:tester"
    return payload


def signed_v2(headers: dict[str, str]) -> Asked:
    """By version 2, in a header."""
    headers = {"host": "h", "date": formatdate(usegmt=True), **headers}
    amz = "".join(f"{name}:{headers[name]}\n" for name in sorted(headers) if name.startswith("x-amz-"))
    text = f"PUT\n{headers.get('content-md5', '')}\n\n{headers['date']}\n{amz}/b/k"
    signature = base64.b64encode(hmac.digest(b"testing", text.encode(), "sha1")).decode()
    return Asked({**headers, "authorization": f"AWS test:tester:{signature}"})


async def test_version_2_may_hash_its_body() -> None:
    """Its signature covers the header, so the body must have the hash."""
    assert await identified(signed_v2({})).read(100) == BODY
    good = {"x-amz-content-sha256": hashlib.sha256(BODY).hexdigest()}
    assert await identified(signed_v2(good)).read(100) == BODY
    with pytest.raises(S3Error) as caught:
        await identified(signed_v2({"x-amz-content-sha256": "ab" * 32})).read(100)
    assert (caught.value.code, caught.value.status) == ("XAmzContentSHA256Mismatch", 400)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (base64.b64encode(hashlib.md5(BODY).digest()).decode(), ""),
        (base64.b64encode(hashlib.md5(b"other").digest()).decode(), "BadDigest"),
        ("x", "InvalidDigest"),
        ("", "InvalidDigest"),
    ],
)
async def test_a_document_has_its_content_md5(text: str, code: str) -> None:
    payload = identified(signed_v2({"content-md5": text}))
    if not code:
        assert await payload.read(100) == BODY
        return
    with pytest.raises(S3Error) as caught:
        await payload.read(100)
    assert (caught.value.code, caught.value.status) == (code, 400)


def signed_v4(secret: str = "testing", access_key: str = "test:tester", expires_s: int | None = None) -> Asked:
    request = AWSRequest("GET", "http://h/b/k")
    credentials = Credentials(access_key, secret)
    if expires_s is None:
        S3SigV4Auth(credentials, "s3", "us-east-1").add_auth(request)
    else:
        S3SigV4QueryAuth(credentials, "s3", "us-east-1", expires=expires_s).add_auth(request)
    headers = {"host": "h", **{name.lower(): value for name, value in request.headers.items()}}
    return Asked(headers, b"", "GET", "/b/k", request.url.partition("?")[2])


def refusal(asked: Asked, doctor: bool) -> S3Error:
    with pytest.raises(S3Error) as caught:
        make_signing(doctor).identify(asked, "")
    return caught.value


@pytest.mark.parametrize("expires_s", [None, 60])
def test_the_doctor_tells_the_owner_of_a_key(expires_s: int | None) -> None:
    moved = replace(signed_v4(expires_s=expires_s), method="PUT")
    error = refusal(moved, doctor=True)
    assert error.code == "SignatureDoesNotMatch" and error.status == 403
    assert error.details[DOCTOR] == "signed for the method GET: method: server has 'PUT', client has 'GET'"
    assert error.details["CanonicalRequest"].startswith("PUT\n/b/k\n") and error.details["StringToSign"].startswith("AWS4-HMAC")
    assert "testing" not in str(error.details)
    assert DOCTOR not in refusal(moved, doctor=False).details


def test_the_doctor_tells_nothing_of_keys_that_nobody_has() -> None:
    error = refusal(signed_v4("x", "nobody:here"), doctor=True)
    assert (error.code, set(error.details)) == ("InvalidAccessKeyId", {"AWSAccessKeyId"})


def test_the_doctor_keeps_the_secret() -> None:
    for asked in (signed_v4("guess"), signed_v4("testing "), signed_v4("guess", expires_s=60)):
        assert "testing" not in str(refusal(asked, doctor=True).details)
    assert refusal(signed_v4("guess"), doctor=True).details[DOCTOR].startswith("no known mistake")
    assert refusal(signed_v4("testing "), doctor=True).details[DOCTOR] == "white space around the secret"


@pytest.mark.parametrize("coding", ["gzip, chunked", "gzip", "deflate,chunked", "identity"])
def test_other_transfer_codings_are_not_implemented(coding: str) -> None:
    with pytest.raises(S3Error) as caught:
        identified(Asked({"transfer-encoding": coding}, chunked=True))
    assert (caught.value.code, caught.value.status) == ("NotImplemented", 501)
