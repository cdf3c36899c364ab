"""S3's own client with its defaults, against a real cluster: what it writes, Swift's client reads, and the reverse."""

import base64
import hashlib
import hmac
import io
import os
import zlib
from collections.abc import Iterator

import pytest
import requests
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from objstore.testing.blocking import BlockingCluster
from tests.cluster.s3client import client_of, code_of
from tests.cluster.swift import Swift

DOMAIN = "s3.example.org"


@pytest.fixture(scope="module")
def cluster() -> Iterator[BlockingCluster]:
    settings = {"s3": {"domains": [DOMAIN]}}
    with BlockingCluster(nodes=3, devices=1, network_faults=False, settings=settings) as running:
        yield running


@pytest.fixture
def bucket(cluster: BlockingCluster) -> str:
    name = f"bucket-{os.urandom(4).hex()}"
    client_of(cluster).create_bucket(Bucket=name)
    return name


@pytest.fixture
def s3(cluster: BlockingCluster):
    return client_of(cluster)


def test_buckets(s3, bucket: str) -> None:
    assert bucket in [one["Name"] for one in s3.list_buckets()["Buckets"]]
    s3.head_bucket(Bucket=bucket)
    assert s3.get_bucket_location(Bucket=bucket)["LocationConstraint"] is None
    assert code_of(s3.create_bucket, Bucket=bucket) == ("BucketAlreadyOwnedByYou", 409)
    assert code_of(s3.head_bucket, Bucket="nobody-has-it")[1] == 404
    assert code_of(s3.list_objects_v2, Bucket="Nobody_May-have.it") == ("InvalidBucketName", 400)
    assert "Delimiter" not in s3.list_objects_v2(Bucket=bucket, Delimiter="")
    s3.put_object(Bucket=bucket, Key="o")
    assert code_of(s3.delete_bucket, Bucket=bucket) == ("BucketNotEmpty", 409)
    s3.delete_object(Bucket=bucket, Key="o")
    s3.delete_bucket(Bucket=bucket)
    assert code_of(s3.list_objects_v2, Bucket=bucket) == ("NoSuchBucket", 404)


@pytest.mark.parametrize("size", [0, 5, 70_000, 3_000_000])
@pytest.mark.parametrize("algorithm", ["CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256"])
def test_what_is_written_is_read(s3, bucket: str, size: int, algorithm: str) -> None:
    if algorithm in ("CRC32C", "CRC64NVME"):
        pytest.importorskip("awscrt", reason="botocore computes it with awscrt only")
    body = os.urandom(size)
    put = s3.put_object(
        Bucket=bucket, Key="a/b ä+%/c", Body=body, Metadata={"colour": "blue"}, ContentType="text/x", ChecksumAlgorithm=algorithm
    )
    assert put["ETag"] == f'"{hashlib.md5(body).hexdigest()}"'
    assert put[f"Checksum{algorithm}"]
    got = s3.get_object(Bucket=bucket, Key="a/b ä+%/c", ChecksumMode="ENABLED")
    assert got["Body"].read() == body
    assert (got["Metadata"], got["ContentType"], got["ContentLength"]) == ({"colour": "blue"}, "text/x", size)
    assert got[f"Checksum{algorithm}"] == put[f"Checksum{algorithm}"]
    assert "ContentEncoding" not in got
    head = s3.head_object(Bucket=bucket, Key="a/b ä+%/c")
    assert (head["ETag"], head["ContentLength"]) == (put["ETag"], size)
    if size:
        part = s3.get_object(Bucket=bucket, Key="a/b ä+%/c", Range=f"bytes=1-{size}", ChecksumMode="ENABLED")
        assert part["Body"].read() == body[1:]
        assert f"Checksum{algorithm}" not in part


def test_presigned(s3, cluster: BlockingCluster, bucket: str) -> None:
    url = s3.generate_presigned_url("put_object", Params={"Bucket": bucket, "Key": "p"}, ExpiresIn=60)
    assert requests.put(url, data=b"presigned", timeout=10).status_code == 200
    assert requests.put(url + "x", data=b"other", timeout=10).status_code == 403
    assert requests.put(url, data=b"other", headers={"x-amz-acl": "public-read"}, timeout=10).status_code == 403
    assert s3.get_object(Bucket=bucket, Key="p")["Body"].read() == b"presigned"
    read = s3.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "p"}, ExpiresIn=60)
    assert requests.get(read, timeout=10).content == b"presigned"
    assert requests.get(f"{cluster.endpoints[0]}/{bucket}/p", timeout=10).status_code == 403


def test_a_wrong_secret_stores_nothing(cluster: BlockingCluster, s3, bucket: str) -> None:
    wrong = client_of(cluster, secret="wrong")
    assert code_of(wrong.put_object, Bucket=bucket, Key="o", Body=b"x") == ("SignatureDoesNotMatch", 403)
    unknown = client_of(cluster, key="nobody:here")
    assert code_of(unknown.put_object, Bucket=bucket, Key="o", Body=b"x") == ("InvalidAccessKeyId", 403)
    assert code_of(s3.get_object, Bucket=bucket, Key="o") == ("NoSuchKey", 404)


def test_listings(s3, bucket: str) -> None:
    names = [f"d{n % 3}/k{n:02d}" for n in range(12)] + ["top", "x y+z"]
    for name in names:
        s3.put_object(Bucket=bucket, Key=name, Body=b"1")
    pages = list(s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, PaginationConfig={"PageSize": 5}))
    assert [one["Key"] for page in pages for one in page["Contents"]] == sorted(names)
    pages = list(s3.get_paginator("list_objects").paginate(Bucket=bucket, PaginationConfig={"PageSize": 5}))
    assert [one["Key"] for page in pages for one in page["Contents"]] == sorted(names)
    pages = list(s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Delimiter="/", PaginationConfig={"PageSize": 2}))
    assert [one["Prefix"] for page in pages for one in page.get("CommonPrefixes", [])] == ["d0/", "d1/", "d2/"]
    assert [one["Key"] for page in pages for one in page.get("Contents", [])] == ["top", "x y+z"]
    assert s3.list_objects_v2(Bucket=bucket, StartAfter="top")["KeyCount"] == 1
    assert s3.list_objects_v2(Bucket=bucket, Prefix="d1/", MaxKeys=1)["IsTruncated"]


def test_each_object_is_its_only_version(s3, bucket: str) -> None:
    for key in ("a", "b/1", "b/2", "c"):
        s3.put_object(Bucket=bucket, Key=key, Body=b"x")
    pages = list(s3.get_paginator("list_object_versions").paginate(Bucket=bucket, PaginationConfig={"PageSize": 1}))
    found = [one for page in pages for one in page["Versions"]]
    assert [one["Key"] for one in found] == ["a", "b/1", "b/2", "c"]
    assert {(one["VersionId"], one["IsLatest"], one["Size"]) for one in found} == {("null", True, 1)}
    tree = s3.list_object_versions(Bucket=bucket, Delimiter="/")
    assert [one["Prefix"] for one in tree["CommonPrefixes"]] == ["b/"] and len(tree["Versions"]) == 2
    assert s3.get_object(Bucket=bucket, Key="a", VersionId="null")["Body"].read() == b"x"
    assert code_of(s3.get_object, Bucket=bucket, Key="a", VersionId="other") == ("InvalidArgument", 400)
    assert code_of(s3.delete_object, Bucket=bucket, Key="a", VersionId="other") == ("InvalidArgument", 400)
    s3.delete_object(Bucket=bucket, Key="a", VersionId="null")
    assert code_of(s3.head_object, Bucket=bucket, Key="a")[1] == 404


def test_many_are_deleted_at_once(s3, bucket: str) -> None:
    for name in ("a", "b", "c"):
        s3.put_object(Bucket=bucket, Key=name, Body=b"1")
    answer = s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": name} for name in ("a", "b", "never")]})
    assert sorted(one["Key"] for one in answer["Deleted"]) == ["a", "b", "never"]
    assert [one["Key"] for one in s3.list_objects_v2(Bucket=bucket)["Contents"]] == ["c"]


def test_copies(s3, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="from ä", Body=b"body", Metadata={"a": "1"}, ContentType="text/x")
    copied = s3.copy_object(Bucket=bucket, Key="to", CopySource={"Bucket": bucket, "Key": "from ä"})
    assert copied["CopyObjectResult"]["ETag"] == f'"{hashlib.md5(b"body").hexdigest()}"'
    assert s3.get_object(Bucket=bucket, Key="to")["Metadata"] == {"a": "1"}
    s3.copy_object(
        Bucket=bucket, Key="to", CopySource={"Bucket": bucket, "Key": "to"}, Metadata={"b": "2"}, MetadataDirective="REPLACE"
    )
    got = s3.get_object(Bucket=bucket, Key="to")
    assert (got["Metadata"], got["Body"].read()) == ({"b": "2"}, b"body")
    source = {"Bucket": bucket, "Key": "missing"}
    assert code_of(s3.copy_object, Bucket=bucket, Key="to", CopySource=source) == ("NoSuchKey", 404)


def test_user_metadata_has_the_limits_of_s3(s3, bucket: str) -> None:
    """Two KiB together, in values longer than Swift's; also when they are copied."""
    long = {"a": "x" * 2000}
    s3.put_object(Bucket=bucket, Key="o", Body=b"x", Metadata=long)
    s3.copy_object(Bucket=bucket, Key="copy", CopySource={"Bucket": bucket, "Key": "o"})
    for key in ("o", "copy"):
        assert s3.head_object(Bucket=bucket, Key=key)["Metadata"] == long
    too_much = {"Bucket": bucket, "Key": "o", "Metadata": {"a": "x" * 2048}}
    assert code_of(s3.put_object, Body=b"y", **too_much) == ("MetadataTooLarge", 400)
    assert code_of(s3.create_multipart_upload, **too_much) == ("MetadataTooLarge", 400)
    assert s3.get_object(Bucket=bucket, Key="o")["Body"].read() == b"x"


def test_attributes(s3, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="o", Body=b"x", ChecksumAlgorithm="SHA256")
    told = s3.get_object_attributes(Bucket=bucket, Key="o", ObjectAttributes=["Checksum", "ObjectParts", "ObjectSize"])
    assert told["ObjectSize"] == 1 and "ObjectParts" not in told and "ETag" not in told
    assert told["Checksum"]["ChecksumSHA256"] == base64.b64encode(hashlib.sha256(b"x").digest()).decode()
    assert code_of(s3.get_object_attributes, Bucket=bucket, Key="o", ObjectAttributes=["Colour"]) == ("InvalidArgument", 400)


def test_conditions(s3, bucket: str) -> None:
    etag = s3.put_object(Bucket=bucket, Key="o", Body=b"1", IfNoneMatch="*")["ETag"]
    assert code_of(s3.put_object, Bucket=bucket, Key="o", Body=b"2", IfNoneMatch="*") == ("PreconditionFailed", 412)
    assert code_of(s3.put_object, Bucket=bucket, Key="o", Body=b"2", IfMatch='"other"') == ("PreconditionFailed", 412)
    assert code_of(s3.get_object, Bucket=bucket, Key="o", IfNoneMatch=etag)[1] == 304
    assert code_of(s3.get_object, Bucket=bucket, Key="o", IfMatch='"other"') == ("PreconditionFailed", 412)
    assert code_of(s3.get_object, Bucket=bucket, Key="o", Range="bytes=5-") == ("InvalidRange", 416)
    s3.put_object(Bucket=bucket, Key="o", Body=b"2", IfMatch=etag)
    assert s3.get_object(Bucket=bucket, Key="o")["Body"].read() == b"2"


def test_what_nobody_configured(s3, bucket: str) -> None:
    assert "Status" not in s3.get_bucket_versioning(Bucket=bucket)
    assert s3.get_bucket_acl(Bucket=bucket)["Grants"][0]["Permission"] == "FULL_CONTROL"
    assert code_of(s3.get_bucket_tagging, Bucket=bucket) == ("NoSuchTagSet", 404)
    assert code_of(s3.get_bucket_policy, Bucket=bucket) == ("NoSuchBucketPolicy", 404)
    assert code_of(s3.get_bucket_cors, Bucket=bucket) == ("NoSuchCORSConfiguration", 404)
    assert code_of(s3.put_bucket_policy, Bucket=bucket, Policy="{}") == ("NotImplemented", 501)
    s3.put_object(Bucket=bucket, Key="o")
    assert s3.get_object_tagging(Bucket=bucket, Key="o")["TagSet"] == []


def test_one_store_under_both(s3, cluster: BlockingCluster, bucket: str) -> None:
    swift = Swift(cluster.endpoints[0])
    s3.upload_fileobj(io.BytesIO(b"by s3"), bucket, "s3", ExtraArgs={"Metadata": {"colour": "red"}})
    answer = swift.request("GET", f"/{bucket}/s3")
    assert (answer.body, answer.headers["x-object-meta-colour"]) == (b"by s3", "red")
    assert swift.request("PUT", f"/{bucket}/swift", b"by swift", headers={"X-Object-Meta-Size": "big"}).status == 201
    got = s3.get_object(Bucket=bucket, Key="swift")
    assert (got["Body"].read(), got["Metadata"]) == (b"by swift", {"size": "big"})
    assert sorted(swift.names(bucket)) == [one["Key"] for one in s3.list_objects_v2(Bucket=bucket)["Contents"]] == ["s3", "swift"]
    assert swift.request("DELETE", f"/{bucket}/s3").status == 204
    assert code_of(s3.get_object, Bucket=bucket, Key="s3") == ("NoSuchKey", 404)


SIGNED, UNSIGNED_TRAILER = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD", "STREAMING-UNSIGNED-PAYLOAD-TRAILER"


def send_streaming(cluster: BlockingCluster, path: str, mode: str, body: bytes, *, spoil: str = "") -> int:
    """PUT a body in two pieces and an empty one, framed as aws-chunked; `spoil`: what is wrong with it. Returns the status."""
    url = f"{cluster.endpoints[0]}{path}"
    checksum = base64.b64encode(zlib.crc32(body).to_bytes(4, "big")).decode()
    request = AWSRequest("PUT", url, headers={"x-amz-decoded-content-length": str(len(body)), "content-encoding": "aws-chunked"})
    if mode == UNSIGNED_TRAILER:
        request.headers["x-amz-trailer"] = "x-amz-checksum-crc32"

    class Streaming(S3SigV4Auth):
        def payload(self, request: AWSRequest) -> str:
            return mode

    auth = Streaming(Credentials("test:tester", "testing"), "s3", "us-east-1")
    auth.add_auth(request)
    signature = request.headers["Authorization"].rpartition("Signature=")[2]
    date, scope = request.context["timestamp"], f"{request.context['timestamp'][:8]}/us-east-1/s3/aws4_request"
    key = b"AWS4testing"
    for word in scope.split("/"):
        key = hmac.new(key, word.encode(), hashlib.sha256).digest()
    framed = b""
    for chunk in (body[:16_384], body[16_384:], b""):
        head = f"{len(chunk):x}"
        if mode == SIGNED:
            empty, digest = hashlib.sha256(b"").hexdigest(), hashlib.sha256(chunk).hexdigest()
            words = "\n".join(("AWS4-HMAC-SHA256-PAYLOAD", date, scope, signature, empty, digest))
            signature = hmac.new(key, words.encode(), hashlib.sha256).hexdigest()
            if spoil == "signature" and not chunk:
                signature = signature[:-1] + ("0" if signature[-1] != "0" else "1")
            head += f";chunk-signature={signature}"
        framed += head.encode() + b"\r\n" + chunk + (b"\r\n" if chunk else b"")
    if mode == UNSIGNED_TRAILER:
        framed += f"x-amz-checksum-crc32:{'AAAAAA==' if spoil == 'trailer' else checksum}\r\n".encode()
    framed += b"\r\n"
    if spoil == "cut":
        framed = framed[: len(framed) // 2]
    return requests.put(url, data=framed, headers=dict(request.headers.items()), timeout=20).status_code


@pytest.mark.parametrize("size", [20_000, 300_000])
@pytest.mark.parametrize("mode", [SIGNED, UNSIGNED_TRAILER])
def test_streamed_bodies_are_stored_without_their_framing(s3, cluster: BlockingCluster, bucket: str, mode: str, size: int) -> None:
    body = os.urandom(size)
    assert send_streaming(cluster, f"/{bucket}/o", mode, body) == 200
    got = s3.get_object(Bucket=bucket, Key="o")
    assert got["Body"].read() == body and "ContentEncoding" not in got


@pytest.mark.parametrize("size", [20_000, 300_000])
@pytest.mark.parametrize(
    ("mode", "spoil", "status"),
    [(SIGNED, "signature", 403), (SIGNED, "cut", 400), (UNSIGNED_TRAILER, "trailer", 400), (UNSIGNED_TRAILER, "cut", 400)],
)
def test_a_streamed_body_that_is_not_proven_stores_nothing(
    s3,
    cluster: BlockingCluster,
    bucket: str,
    mode: str,
    spoil: str,
    status: int,
    size: int,
) -> None:
    assert send_streaming(cluster, f"/{bucket}/o", mode, os.urandom(size), spoil=spoil) == status
    assert code_of(s3.get_object, Bucket=bucket, Key="o") == ("NoSuchKey", 404)


def send_to_host(cluster: BlockingCluster, host: str, method: str, path: str, body: bytes = b"") -> requests.Response:
    """A signed request that names its bucket in the Host field."""
    request = AWSRequest(
        method, f"http://{host}{path}", data=body, headers={"X-Amz-Content-SHA256": hashlib.sha256(body).hexdigest()}
    )
    S3SigV4Auth(Credentials("test:tester", "testing"), "s3", "us-east-1").add_auth(request)
    headers = {**dict(request.headers.items()), "Host": host}
    return requests.request(method, cluster.endpoints[0] + path, data=body, headers=headers, timeout=20)


def test_a_bucket_may_be_a_host_name(s3, cluster: BlockingCluster, bucket: str) -> None:
    host = f"{bucket}.{DOMAIN}"
    assert send_to_host(cluster, f"{host}:8080", "PUT", "/a%20b/c", b"body").status_code == 200
    assert s3.get_object(Bucket=bucket, Key="a b/c")["Body"].read() == b"body"
    assert send_to_host(cluster, host, "GET", "/a%20b/c").content == b"body"
    assert b"<Key>a b/c</Key>" in send_to_host(cluster, host, "GET", "/?list-type=2").content
    assert b"<Name>" in send_to_host(cluster, DOMAIN, "GET", "/").content, "the service itself"
    assert send_to_host(cluster, DOMAIN, "GET", f"/{bucket}/a%20b/c").content == b"body", "path style there too"


@pytest.mark.parametrize("host", [f"a..b.{DOMAIN}", f"10.0.0.1.{DOMAIN}", f".{DOMAIN}", f"metrics.{DOMAIN}", f"a_b.{DOMAIN}"])
def test_a_host_name_that_no_bucket_has(cluster: BlockingCluster, host: str) -> None:
    answer = send_to_host(cluster, host, "GET", "/o")
    assert (answer.status_code, b"InvalidBucketName" in answer.content) == (400, True)


def test_a_host_below_another_name_is_no_bucket(s3, cluster: BlockingCluster, bucket: str) -> None:
    """Only the configured names count: the path tells."""
    s3.put_object(Bucket=bucket, Key="o", Body=b"x")
    assert send_to_host(cluster, f"other.{DOMAIN}.evil.example", "GET", f"/{bucket}/o").content == b"x"
