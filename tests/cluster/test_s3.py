"""S3's own client with its defaults, against a real cluster: what it writes, Swift's client reads, and the reverse."""

import hashlib
import io
import os
from collections.abc import Iterator

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from objstore.testing.blocking import BlockingCluster
from tests.cluster.swift import Swift


@pytest.fixture(scope="module")
def cluster() -> Iterator[BlockingCluster]:
    with BlockingCluster(nodes=3, devices=1, network_faults=False) as running:
        yield running


def client_of(cluster: BlockingCluster, key: str = "test:tester", secret: str = "testing", **settings: object):
    config = Config(s3={"addressing_style": "path"}, retries={"max_attempts": 2}, **settings)
    endpoint = cluster.endpoints[0]
    return boto3.client(
        "s3", endpoint_url=endpoint, aws_access_key_id=key, aws_secret_access_key=secret, region_name="us-east-1", config=config
    )


@pytest.fixture
def bucket(cluster: BlockingCluster) -> str:
    name = f"bucket-{os.urandom(4).hex()}"
    client_of(cluster).create_bucket(Bucket=name)
    return name


@pytest.fixture
def s3(cluster: BlockingCluster):
    return client_of(cluster)


def code_of(call, **arguments: object) -> tuple[str, int]:
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    response = caught.value.response
    return response["Error"]["Code"], response["ResponseMetadata"]["HTTPStatusCode"]


def test_buckets(s3, bucket: str) -> None:
    assert bucket in [one["Name"] for one in s3.list_buckets()["Buckets"]]
    s3.head_bucket(Bucket=bucket)
    assert s3.get_bucket_location(Bucket=bucket)["LocationConstraint"] is None
    assert code_of(s3.create_bucket, Bucket=bucket) == ("BucketAlreadyOwnedByYou", 409)
    assert code_of(s3.head_bucket, Bucket="nobody-has-it")[1] == 404
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
        assert part["Body"].read() == body[1:] if size > 1 else True
        assert f"Checksum{algorithm}" not in part


def test_a_body_without_seek_goes_in_signed_pieces(s3, cluster: BlockingCluster, bucket: str) -> None:
    url = s3.generate_presigned_url("put_object", Params={"Bucket": bucket, "Key": "p"}, ExpiresIn=60)
    import requests

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
