"""What S3 says when a request is wrong: codes, statuses, messages and details over the wire, and that nothing was stored."""

import os
import re
from base64 import b64encode
from collections.abc import Iterator
from hashlib import md5, sha256

import pytest

from objstore.testing.blocking import BlockingCluster
from tests.cluster.s3client import client_of, code_of
from tests.cluster.s3raw import CRC_TRAILER, SIGNED_CHUNKS, UNSIGNED_TRAILER, Answer, Raw, call, crc_text, encoded, exchange, sign

DOMAIN = "s3.example.org"
BODY = b"the body"
PART = 5 * 2**20


@pytest.fixture(scope="module")
def cluster() -> Iterator[BlockingCluster]:
    with BlockingCluster(nodes=3, devices=1, network_faults=False, settings={"s3": {"domains": [DOMAIN]}}) as running:
        assert call(running.endpoint, "PUT", "/bucket").status == 200
        yield running


@pytest.fixture
def endpoint(cluster: BlockingCluster) -> str:
    return cluster.endpoint


@pytest.fixture
def key() -> str:
    return f"/bucket/{os.urandom(5).hex()}"


def digest(body: bytes) -> str:
    return b64encode(md5(body, usedforsecurity=False).digest()).decode()


def told(answer: Answer, name: str) -> str:
    """An element of an error document, "" when it is not there."""
    found = re.search(f"<{name}>([^<]*)</{name}>", answer.body.decode())
    return found.group(1) if found else ""


def test_content_md5(endpoint: str, key: str) -> None:
    answer = call(endpoint, "PUT", key, BODY, {"Content-MD5": "invalid"})
    assert (answer.status, answer.code) == (400, "InvalidDigest")
    assert told(answer, "Message") == "The Content-MD5 you specified was invalid."
    answer = call(endpoint, "PUT", key, BODY, {"Content-MD5": digest(b"other")})
    assert (answer.status, answer.code) == (400, "BadDigest")
    assert told(answer, "Message") == "The Content-MD5 you specified did not match what we received."
    assert told(answer, "ExpectedDigest") == md5(b"other").hexdigest()
    assert told(answer, "CalculatedDigest") == digest(BODY)
    assert call(endpoint, "GET", key).code == "NoSuchKey"


def test_many_deletes_have_the_digest_that_is_given(endpoint: str, key: str) -> None:
    document = f"<Delete><Object><Key>{key.removeprefix('/bucket/')}</Key></Object></Delete>".encode()
    assert call(endpoint, "PUT", key, BODY).status == 200
    answer = call(endpoint, "POST", "/bucket?delete", document, {"Content-MD5": digest(b"other")})
    assert (answer.code, told(answer, "ExpectedDigest")) == ("BadDigest", digest(b"other"))
    assert call(endpoint, "POST", "/bucket?delete=", document, {CRC_TRAILER: crc_text(b"other")}).code == "BadDigest"
    assert call(endpoint, "GET", key).body == BODY
    assert b"<Deleted>" in call(endpoint, "POST", "/bucket?delete=", document, {CRC_TRAILER: crc_text(document)}).body
    assert call(endpoint, "GET", key).code == "NoSuchKey"
    for query in (False, True):
        assert call(endpoint, "PUT", key, BODY).status == 200
        assert b"<Deleted>" in exchange(endpoint, sign(endpoint, "POST", "/bucket?delete=", document, query=query)).body
        assert call(endpoint, "GET", key).code == "NoSuchKey"


@pytest.mark.parametrize("text", ["invalid", "unsigned-payload", sha256(b"other").hexdigest().upper()])
def test_hashes_of_no_body(endpoint: str, key: str, text: str) -> None:
    """A header of version 4 must give a hash or S3's words; other signatures are compared with the body, if it is read."""
    answer = exchange(endpoint, sign(endpoint, "PUT", key, BODY, {"x-amz-content-sha256": text}, query=True))
    assert (answer.status, answer.code) == (400, "XAmzContentSHA256Mismatch")
    assert (told(answer, "ClientComputedContentSHA256"), told(answer, "S3ComputedContentSHA256")) == (
        text,
        sha256(BODY).hexdigest(),
    )
    assert call(endpoint, "GET", key).code == "NoSuchKey"
    assert call(endpoint, "PUT", key, BODY).status == 200
    assert exchange(endpoint, sign(endpoint, "GET", key, headers={"x-amz-content-sha256": text}, query=True)).body == BODY


def test_a_body_of_no_length(endpoint: str, key: str) -> None:
    for query in (False, True):
        answer = exchange(endpoint, sign(endpoint, "PUT", key, query=query).having("Content-Length"))
        assert (answer.status, answer.code) == (411, "MissingContentLength")
    assert call(endpoint, "GET", key).code == "NoSuchKey"


def test_a_promised_checksum(endpoint: str, key: str) -> None:
    promise = {"x-amz-sdk-checksum-algorithm": "CRC32"}
    assert call(endpoint, "PUT", key, BODY, promise).code == "InvalidRequest"
    assert call(endpoint, "PUT", key, BODY, promise | {"x-amz-checksum-crc32c": crc_text(BODY)}).code == "InvalidRequest"
    assert call(endpoint, "GET", key).code == "NoSuchKey"
    assert call(endpoint, "PUT", key, BODY, promise | {CRC_TRAILER: crc_text(BODY)}).status == 200


def chunked(endpoint: str, key: str, mode: str, encoding: str = "aws-chunked") -> Raw:
    headers = {"Content-Encoding": encoding, "x-amz-decoded-content-length": str(len(BODY))}
    headers |= {"x-amz-trailer": CRC_TRAILER} if mode.endswith("TRAILER") else {}
    return sign(endpoint, "PUT", key, headers=headers, payload=mode)


def test_a_forged_chunk_is_shown_with_its_request(endpoint: str, key: str) -> None:
    raw = chunked(endpoint, key, SIGNED_CHUNKS)
    body = b"".join(encoded(raw, SIGNED_CHUNKS, [BODY]))
    answer = exchange(endpoint, raw.carrying(body.replace(b"signature=", b"signature=0", 1)))
    assert (answer.status, answer.code) == (403, "SignatureDoesNotMatch")
    assert told(answer, "StringToSign").startswith("AWS4-HMAC-SHA256-PAYLOAD\n")
    assert told(answer, "CanonicalRequest").startswith(f"PUT\n{key}\n") and told(answer, "AWSAccessKeyId") == "test:tester"
    assert told(answer, "CanonicalRequestBytes") and told(answer, "StringToSignBytes")
    assert call(endpoint, "GET", key).code == "NoSuchKey"


def test_framing_is_no_encoding(endpoint: str, key: str) -> None:
    """Unless there was none: then S3 keeps what the client says."""
    raw = chunked(endpoint, key, UNSIGNED_TRAILER, "a, aws-chunked, b")
    body = b"".join(encoded(raw, UNSIGNED_TRAILER, [BODY]))
    assert exchange(endpoint, raw.carrying(body[:-2])).status == 200, "the last CRLF may be missing"
    answer = call(endpoint, "GET", key)
    assert (answer.body, answer.fields["content-encoding"]) == (BODY, "a, b")
    assert call(endpoint, "PUT", key, BODY, {"Content-Encoding": "aws-chunked"}).status == 200
    assert call(endpoint, "GET", key).fields["content-encoding"] == "aws-chunked"


def test_conditions_where_nothing_is(endpoint: str, key: str) -> None:
    answer = call(endpoint, "PUT", key, BODY, {"If-Match": '"a"'})
    assert (answer.status, answer.code) == (404, "NoSuchKey")
    answer = call(endpoint, "PUT", key, BODY, {"If-None-Match": '"a"'})
    assert (answer.status, answer.code) == (501, "NotImplemented")
    assert call(endpoint, "PUT", key, BODY, {"If-None-Match": "*"}).status == 200
    answer = call(endpoint, "PUT", key, BODY, {"If-Match": '"a"'})
    assert (answer.status, answer.code) == (412, "PreconditionFailed")


def test_conditions_that_writes_do_not_have(endpoint: str, key: str) -> None:
    """None is dropped: what was to be guarded by it is not changed."""
    assert call(endpoint, "PUT", key, b"old").status == 200
    date = "Sat, 27 Jun 2015 00:00:00 GMT"
    for name in ("If-Modified-Since", "If-Unmodified-Since"):
        for target, headers in ((key, {}), (f"{key}-copy", {"x-amz-copy-source": key})):
            answer = call(endpoint, "PUT", target, BODY, {name: date, **headers})
            assert (answer.status, answer.code, told(answer, "Header")) == (501, "NotImplemented", name)
    for name, value in (("x-amz-if-match-size", "9"), ("x-amz-if-match-last-modified-time", date)):
        answer = call(endpoint, "DELETE", key, headers={name: value})
        assert (answer.status, answer.code, told(answer, "Header")) == (501, "NotImplemented", name)
    for element in ("<Size>9</Size>", f"<LastModifiedTime>{date}</LastModifiedTime>"):
        body = f"<Delete><Object><Key>{key.removeprefix('/bucket/')}</Key>{element}</Object></Delete>".encode()
        assert call(endpoint, "POST", "/bucket?delete", body, {"Content-MD5": digest(body)}).code == "MalformedXML"
    assert call(endpoint, "GET", key).body == b"old"


def test_deletes_under_conditions(endpoint: str, key: str) -> None:
    """Where nothing is, If-Match fails; a plain DELETE does not."""
    for tag in ('"a"', "*"):
        answer = call(endpoint, "DELETE", key, headers={"If-Match": tag})
        assert (answer.status, answer.code) == (404, "NoSuchKey")
    assert call(endpoint, "DELETE", key).status == 204
    etag = call(endpoint, "PUT", key, BODY).fields["etag"]
    answer = call(endpoint, "DELETE", key, headers={"If-Match": '"a"'})
    assert (answer.status, answer.code) == (412, "PreconditionFailed")
    assert call(endpoint, "DELETE", key, headers={"If-Match": etag}).status == 204
    assert call(endpoint, "GET", key).code == "NoSuchKey"


def test_no_object_is_taken_for_safer_than_it_is(endpoint: str, key: str) -> None:
    """Encryption and locks are refused, not dropped."""
    upload, _ = begun(endpoint, key)
    source = f"{key}-source"
    assert call(endpoint, "PUT", source, BODY).status == 200
    copied = {"x-amz-copy-source": source}
    part = f"{key}?partNumber=2&{upload.partition('?')[2]}"
    encrypted = ("x-amz-server-side-encryption", "x-amz-server-side-encryption-customer-key")
    for method, target, headers in (
        ("PUT", key, {}),
        ("PUT", key, copied),
        ("POST", f"{key}?uploads", {}),
        ("PUT", part, {}),
        ("PUT", part, copied),
    ):
        for name in encrypted:
            answer = call(endpoint, method, target, b"" if headers or method == "POST" else BODY, {name: "AES256", **headers})
            assert (answer.status, answer.code, told(answer, "Header")) == (501, "NotImplemented", name), (method, target)
        answer = call(endpoint, method, target, b"", {"x-amz-object-lock-mode": "COMPLIANCE", **headers})
        assert (answer.status, answer.code) == (400, "InvalidRequest"), (method, target)
        assert told(answer, "Message") == "Bucket is missing ObjectLockConfiguration"
    for method in ("GET", "HEAD"):
        assert call(endpoint, method, key, headers={encrypted[1]: "a"}).status == 404
        assert call(endpoint, method, source, headers={encrypted[1]: "a"}).status == 400
    assert told(call(endpoint, "GET", source, headers={encrypted[1]: "a"}), "Message").startswith("The encryption parameters")


def test_ranges_and_parts_of_a_plain_object(endpoint: str, key: str) -> None:
    assert call(endpoint, "PUT", key, BODY, {CRC_TRAILER: crc_text(BODY)}).status == 200
    several = call(endpoint, "GET", key, headers={"Range": "bytes=0-1,3-4", "x-amz-checksum-mode": "ENABLED"})
    assert (several.status, several.body, several.fields["x-amz-checksum-crc32"]) == (200, BODY, crc_text(BODY))
    for number in ("0", "10001", "-1", "x", ""):
        answer = call(endpoint, "GET", f"{key}?partNumber={number}")
        assert (answer.status, answer.code) == (400, "InvalidArgument"), number
    for method in ("GET", "HEAD"):
        answer = call(endpoint, method, f"{key}?partNumber=1")
        assert (answer.status, answer.fields["content-range"]) == (206, "bytes 0-7/8")
        assert answer.fields["content-length"] == "8" and answer.body == (BODY if method == "GET" else b"")
    answer = call(endpoint, "GET", f"{key}?partNumber=2")
    assert (answer.status, answer.code) == (416, "InvalidPartNumber")


def begun(endpoint: str, key: str, headers: dict[str, str] | None = None, part: bytes = BODY) -> tuple[str, bytes]:
    """The target of an upload of one part, and the document that completes it."""
    id_ = told(call(endpoint, "POST", f"{key}?uploads", headers=headers), "UploadId")
    algorithm = (headers or {}).get("x-amz-checksum-algorithm")
    sums = {CRC_TRAILER: crc_text(part)} if algorithm == "CRC32" else {}
    answer = call(endpoint, "PUT", f"{key}?partNumber=1&uploadId={id_}", part, sums)
    return f"{key}?uploadId={id_}", document(answer.fields["etag"])


def document(*etags: str) -> bytes:
    parts = (f"<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>" for number, etag in enumerate(etags, 1))
    return f"<CompleteMultipartUpload>{''.join(parts)}</CompleteMultipartUpload>".encode()


def test_where_a_completed_object_is(endpoint: str, key: str) -> None:
    host = endpoint.removeprefix("http://")
    upload, whole = begun(endpoint, key)
    assert told(call(endpoint, "POST", upload, whole), "Location") == f"http://{host}{key}"
    upload, whole = begun(endpoint, key)
    answer = call(endpoint, "POST", upload, whole, {"X-Forwarded-Proto": "https"})
    assert told(answer, "Location") == f"https://{host}{key}"
    upload, whole = begun(endpoint, key)
    virtual = sign(endpoint, "POST", upload.removeprefix("/bucket"), whole, host=f"bucket.{DOMAIN}")
    assert told(exchange(endpoint, virtual), "Location") == f"http://bucket.{DOMAIN}{key.removeprefix('/bucket')}"


def test_what_a_completion_says_of_the_object(endpoint: str, key: str) -> None:
    """A checksum in its headers is not about the document; where the upload has another one it counts for nothing."""
    upload, whole = begun(endpoint, key)
    assert call(endpoint, "POST", upload, whole, {CRC_TRAILER: crc_text(b"other")}).status == 200
    for kind in ("FULL_OBJECT", "COMPOSITE"):
        upload, whole = begun(endpoint, key, {"x-amz-checksum-algorithm": "CRC32", "x-amz-checksum-type": kind})
        assert call(endpoint, "POST", upload, whole, {CRC_TRAILER: crc_text(b"other")}).code == "BadDigest"
        assert call(endpoint, "POST", upload, whole, {"x-amz-mp-object-size": "7"}).code == "InvalidRequest"
    upload, whole = begun(endpoint, key, {"x-amz-checksum-algorithm": "CRC32", "x-amz-checksum-type": "FULL_OBJECT"})
    good = {CRC_TRAILER: crc_text(BODY), "x-amz-mp-object-size": str(len(BODY))}
    for _ in range(2):  # the second answers again
        assert call(endpoint, "POST", upload, whole, good).status == 200
    answer = call(endpoint, "POST", upload, document("0" * 32), good)
    assert (answer.status, answer.code) == (404, "NoSuchUpload")
    assert call(endpoint, "POST", upload, document("no md5"), good).code == "NoSuchUpload"


def test_parts_that_a_completion_names_wrongly(endpoint: str, key: str) -> None:
    upload, _ = begun(endpoint, key)
    for etag in ("", "0" * 32, "no md5"):
        answer = call(endpoint, "POST", upload, document(etag))
        assert (answer.status, answer.code) == (400, "InvalidPart")
        assert told(answer, "Message").endswith("or the specified entity tag may not match the part's entity tag.")
        assert (told(answer, "PartNumber"), told(answer, "ETag")) == ("1", etag) and told(answer, "UploadId") in upload
    without = b"<CompleteMultipartUpload><Part><PartNumber>1</PartNumber></Part></CompleteMultipartUpload>"
    assert call(endpoint, "POST", upload, without).code == "MalformedXML"


def test_a_part_with_another_checksum(cluster: BlockingCluster) -> None:
    s3 = client_of(cluster)
    id_ = s3.create_multipart_upload(Bucket="bucket", Key="o", ChecksumAlgorithm="SHA256")["UploadId"]
    part = {"Bucket": "bucket", "Key": "o", "UploadId": id_, "PartNumber": 1}
    for body in (BODY, os.urandom(PART)):
        assert code_of(s3.upload_part, **part, Body=body, ChecksumAlgorithm="CRC32") == ("InvalidRequest", 400)
        assert "Parts" not in s3.list_parts(Bucket="bucket", Key="o", UploadId=id_)
    s3.upload_part(**part, Body=BODY, ChecksumAlgorithm="SHA256")
