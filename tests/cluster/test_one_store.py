"""One store under both APIs, as a table: what either wrote is read, listed, counted, copied and deleted by both."""

import hashlib
import io
import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from urllib.parse import quote

import pytest
import requests
from boto3.s3.transfer import TransferConfig

from objstore.testing.blocking import BlockingCluster
from tests.cluster.s3client import client_of, code_of
from tests.cluster.swift import Swift

MIB = 1 << 20
LARGE = os.urandom(11 * MIB)
NAMES = ("plain", "with space", "ünïcode/ñ", "a+b&c=d%20?#", "deep/er/and//deeper", "🦊", ".dots..", "z" * 1000)


@pytest.fixture(scope="module")
def cluster() -> Iterator[BlockingCluster]:
    with BlockingCluster(nodes=3, devices=1, network_faults=False, disk_faults=False) as running:
        yield running


@dataclass
class Both:
    """Both clients of one account, and a bucket."""

    s3: object
    swift: Swift
    bucket: str

    def counts(self) -> tuple[int, int]:
        head = self.swift.request("HEAD", f"/{self.bucket}").headers
        return int(head["x-container-object-count"]), int(head["x-container-bytes-used"])


@pytest.fixture
def both(cluster: BlockingCluster) -> Both:
    bucket = f"bucket-{os.urandom(4).hex()}"
    client_of(cluster).create_bucket(Bucket=bucket)
    return Both(client_of(cluster), Swift(cluster.endpoints[0]), bucket)


@dataclass
class Thing:
    """What a row of the table writes."""

    body: bytes = b"some bytes"
    content_type: str = "text/x-thing"
    meta: dict[str, str] = field(default_factory=lambda: {"colour": "red"})
    headers: dict[str, str] = field(default_factory=dict)


def by_s3(both: Both, name: str, thing: Thing) -> None:
    extra = {S3_NAMES[header]: value for header, value in thing.headers.items()}
    both.s3.put_object(Bucket=both.bucket, Key=name, Body=thing.body, ContentType=thing.content_type, Metadata=thing.meta, **extra)


def by_s3_in_parts(both: Both, name: str, thing: Thing) -> None:
    config = TransferConfig(multipart_threshold=5 * MIB, multipart_chunksize=5 * MIB)
    extra = {"ContentType": thing.content_type, "Metadata": thing.meta}
    both.s3.upload_fileobj(io.BytesIO(thing.body), both.bucket, name, Config=config, ExtraArgs=extra)


def swift_headers(thing: Thing) -> dict[str, str]:
    user = {f"X-Object-Meta-{key}": value for key, value in thing.meta.items()}
    return {"Content-Type": thing.content_type, **user, **thing.headers}


def by_swift(both: Both, name: str, thing: Thing) -> None:
    assert both.swift.request("PUT", f"/{both.bucket}/{name}", thing.body, headers=swift_headers(thing)).status == 201


def by_swift_static(both: Both, name: str, thing: Thing) -> None:
    both.swift.request("PUT", f"/{both.bucket}-segments")
    segments, half = [], len(thing.body) // 2
    for number, piece in enumerate((thing.body[:half], thing.body[half:])):
        path = f"/{both.bucket}-segments/{quote(name, safe='')[:80]}-{number}"
        assert both.swift.request("PUT", path, piece).status == 201
        segments.append({"path": path})
    body, path = json.dumps(segments).encode(), f"/{both.bucket}/{name}?multipart-manifest=put"
    assert both.swift.request("PUT", path, body, headers=swift_headers(thing)).status == 201


def by_swift_dynamic(both: Both, name: str, thing: Thing) -> None:
    both.swift.request("PUT", f"/{both.bucket}-segments")
    half = len(thing.body) // 2
    for number, piece in enumerate((thing.body[:half], thing.body[half:])):
        assert both.swift.request("PUT", f"/{both.bucket}-segments/dlo/{number}", piece).status == 201
    headers = {**swift_headers(thing), "X-Object-Manifest": f"{both.bucket}-segments/dlo/"}
    assert both.swift.request("PUT", f"/{both.bucket}/{name}", b"", headers=headers).status == 201


def by_s3_copy(both: Both, name: str, thing: Thing) -> None:
    by_swift(both, "source", thing)
    both.s3.copy_object(Bucket=both.bucket, Key=name, CopySource={"Bucket": both.bucket, "Key": "source"})
    assert both.swift.request("DELETE", f"/{both.bucket}/source").status == 204


def by_swift_copy(both: Both, name: str, thing: Thing) -> None:
    by_s3(both, "source", thing)
    headers = {"X-Copy-From": f"/{both.bucket}/source", "Content-Length": "0"}
    assert both.swift.request("PUT", f"/{both.bucket}/{name}", b"", headers=headers).status == 201
    both.s3.delete_object(Bucket=both.bucket, Key="source")


S3_NAMES = {
    "Cache-Control": "CacheControl",
    "Content-Disposition": "ContentDisposition",
    "Content-Encoding": "ContentEncoding",
    "Content-Language": "ContentLanguage",
}
FIELDS = {
    "Cache-Control": "max-age=5",
    "Content-Disposition": 'attachment; filename="x y"',
    "Content-Encoding": "gzip",
    "Content-Language": "de",
}
BIG = Thing(LARGE)
TABLE: list[tuple[str, Callable[[Both, str, Thing], None], Thing]] = [
    ("s3", by_s3, Thing()),
    ("s3, empty", by_s3, Thing(b"", meta={})),
    ("s3, fields of HTTP", by_s3, Thing(headers=FIELDS)),
    ("s3, one large piece", by_s3, BIG),
    ("s3, parts", by_s3_in_parts, BIG),
    ("s3, copy of swift's", by_s3_copy, Thing()),
    ("swift", by_swift, Thing()),
    ("swift, empty", by_swift, Thing(b"", meta={})),
    ("swift, fields of HTTP", by_swift, Thing(headers=FIELDS)),
    ("swift, one large piece", by_swift, BIG),
    ("swift, static large object", by_swift_static, BIG),
    ("swift, dynamic large object", by_swift_dynamic, BIG),
    ("swift, copy of s3's", by_swift_copy, Thing()),
]


@pytest.mark.parametrize(("what", "write", "thing"), TABLE, ids=[what for what, _, _ in TABLE])
def test_whoever_wrote_it_both_have_it(both: Both, what: str, write: Callable[..., None], thing: Thing) -> None:
    dynamic = write is by_swift_dynamic
    write(both, "ö/thing", thing)
    seen_by_s3(both, "ö/thing", thing, listed_bytes=0 if dynamic else len(thing.body))
    seen_by_swift(both, "ö/thing", thing, listed_bytes=0 if dynamic else len(thing.body))
    assert both.counts() == (1, 0 if dynamic else len(thing.body))
    both.s3.copy_object(Bucket=both.bucket, Key="by s3", CopySource={"Bucket": both.bucket, "Key": "ö/thing"})
    headers = {"Destination": f"{both.bucket}/by%20swift"}
    assert both.swift.request("COPY", "/" + both.bucket + "/ö/thing", headers=headers).status == 201
    for copy in ("by s3", "by swift"):
        assert both.s3.get_object(Bucket=both.bucket, Key=copy)["Body"].read() == thing.body, copy
        assert both.swift.request("GET", f"/{both.bucket}/{copy}").body == thing.body, copy
        assert both.s3.head_object(Bucket=both.bucket, Key=copy)["Metadata"] == thing.meta, copy
    both.s3.delete_object(Bucket=both.bucket, Key="ö/thing")
    assert both.swift.request("GET", f"/{both.bucket}/ö/thing").status == 404
    assert both.swift.request("DELETE", f"/{both.bucket}/by s3").status == 204
    assert code_of(both.s3.get_object, Bucket=both.bucket, Key="by s3") == ("NoSuchKey", 404)
    both.s3.delete_object(Bucket=both.bucket, Key="by swift")
    assert both.counts() == (0, 0)
    both.s3.delete_bucket(Bucket=both.bucket)
    assert both.swift.request("HEAD", f"/{both.bucket}").status == 404


def seen_by_s3(both: Both, name: str, thing: Thing, listed_bytes: int) -> None:
    got = both.s3.get_object(Bucket=both.bucket, Key=name)
    assert got["Body"].read() == thing.body
    assert (got["ContentLength"], got["Metadata"]) == (len(thing.body), thing.meta)
    assert got["ContentType"] == thing.content_type
    for header, value in thing.headers.items():
        assert got[S3_NAMES[header]] == value
    head = both.s3.head_object(Bucket=both.bucket, Key=name)
    assert (head["ETag"], head["ContentLength"]) == (got["ETag"], len(thing.body))
    if thing.body:
        part = both.s3.get_object(Bucket=both.bucket, Key=name, Range="bytes=1-4")
        assert (part["Body"].read(), part["ContentRange"]) == (thing.body[1:5], f"bytes 1-4/{len(thing.body)}")
    (row,) = both.s3.list_objects_v2(Bucket=both.bucket)["Contents"]
    assert (row["Key"], row["Size"]) == (name, listed_bytes)
    assert code_of(both.s3.put_object, Bucket=both.bucket, Key=name, Body=b"", IfNoneMatch="*") == ("PreconditionFailed", 412)


def seen_by_swift(both: Both, name: str, thing: Thing, listed_bytes: int) -> None:
    answer = both.swift.request("GET", f"/{both.bucket}/{name}")
    assert (answer.status, answer.body) == (200, thing.body)
    assert answer.headers["content-type"].partition(";")[0] == thing.content_type
    for key, value in thing.meta.items():
        assert answer.headers[f"x-object-meta-{key}"] == value
    for header, value in thing.headers.items():
        assert answer.headers[header.lower()] == value
    if thing.body:
        part = both.swift.request("GET", f"/{both.bucket}/{name}", headers={"Range": "bytes=-3"})
        assert (part.status, part.body) == (206, thing.body[-3:])
    (row,) = both.swift.names(both.bucket).values()
    assert (row["name"], row["bytes"]) == (name, listed_bytes)
    assert both.swift.request("PUT", f"/{both.bucket}/{name}", b"", headers={"If-None-Match": "*"}).status == 412


@pytest.mark.parametrize("name", NAMES)
def test_any_name_means_the_same_to_both(both: Both, name: str) -> None:
    by_s3(both, name, Thing(name.encode()))
    assert list(both.swift.names(both.bucket)) == [name]
    url, fields = f"{both.swift.endpoint}{both.swift.account}/{both.bucket}/", {"X-Auth-Token": both.swift.token}
    assert requests.get(url + quote(name), headers=fields, timeout=20).content == name.encode()
    other = f"{name}2"[-1024:]
    assert requests.put(url + quote(other), data=b"two", headers=fields, timeout=20).status_code == 201
    assert both.s3.get_object(Bucket=both.bucket, Key=other)["Body"].read() == b"two"
    keys = [row["Key"] for row in both.s3.list_objects_v2(Bucket=both.bucket)["Contents"]]
    assert keys == sorted(both.swift.names(both.bucket), key=str.encode)
    found = both.s3.list_objects_v2(Bucket=both.bucket, Prefix=name[:3], Delimiter="/")
    assert found["KeyCount"] >= 1


def test_the_etag_of_what_was_uploaded_in_parts(both: Both) -> None:
    """Each API shows its own, and takes its own in conditions."""
    by_s3_in_parts(both, "o", BIG)
    pieces = [LARGE[start : start + 5 * MIB] for start in range(0, len(LARGE), 5 * MIB)]
    digests = b"".join(hashlib.md5(piece).digest() for piece in pieces)
    etag = f'"{hashlib.md5(digests).hexdigest()}-{len(pieces)}"'
    assert both.s3.head_object(Bucket=both.bucket, Key="o")["ETag"] == etag
    assert both.s3.list_objects_v2(Bucket=both.bucket)["Contents"][0]["ETag"] == etag
    shown = both.swift.request("HEAD", f"/{both.bucket}/o").headers["etag"]
    assert both.swift.request("GET", f"/{both.bucket}/o", headers={"If-Match": shown}).status == 200
    assert both.s3.get_object(Bucket=both.bucket, Key="o", IfMatch=etag)["ETag"] == etag


def test_a_post_by_swift_is_seen_by_s3(both: Both) -> None:
    by_s3(both, "o", Thing(headers={"Content-Disposition": "inline"}))
    headers = {"X-Object-Meta-Size": "big", "Content-Type": "text/new"}
    assert both.swift.request("POST", f"/{both.bucket}/o", b"", headers=headers).status == 202
    head = both.s3.head_object(Bucket=both.bucket, Key="o")
    assert (head["Metadata"], head["ContentType"]) == ({"size": "big"}, "text/new")


def test_an_object_that_expires_is_gone_for_both(both: Both) -> None:
    by_swift(both, "o", Thing(headers={"X-Delete-After": "1"}))
    assert both.s3.head_object(Bucket=both.bucket, Key="o")["ContentLength"] == len(Thing().body)
    for _ in range(100):
        if code_or_none(both) == ("NoSuchKey", 404):
            break
    assert both.swift.request("GET", f"/{both.bucket}/o").status == 404
    both.s3.put_object(Bucket=both.bucket, Key="o", Body=b"new", IfNoneMatch="*")


def code_or_none(both: Both) -> tuple[str, int] | None:
    time.sleep(0.05)
    try:
        both.s3.get_object(Bucket=both.bucket, Key="o")["Body"].read()
    except both.s3.exceptions.NoSuchKey as error:
        return error.response["Error"]["Code"], error.response["ResponseMetadata"]["HTTPStatusCode"]
    return None


def test_what_an_acl_of_swift_allows_s3_allows(both: Both, cluster: BlockingCluster) -> None:
    """And nothing else: a reader of another account, by token and by signature alike."""
    by_s3(both, "o", Thing())
    other = Swift(cluster.endpoints[0], user="test2:tester2", key="testing2")
    path = f"{both.swift.account}/{both.bucket}/o"
    other.account = ""
    assert other.request("GET", path).status == 403
    assert both.swift.request("POST", f"/{both.bucket}", headers={"X-Container-Read": "test2:*"}).status == 204
    assert other.request("GET", path).body == Thing().body
    assert other.request("PUT", path, b"x").status == 403
    both.swift.request("POST", f"/{both.bucket}", headers={"X-Container-Read": ""})
    assert other.request("GET", path).status == 403


def test_both_pages_end_alike(both: Both) -> None:
    names = [f"{letter}/{number:02d}" for letter in "abc" for number in range(12)]
    for name in names:
        by_swift(both, name, Thing(b""))
    pages = both.s3.get_paginator("list_objects_v2").paginate(Bucket=both.bucket, PaginationConfig={"PageSize": 5})
    assert [row["Key"] for page in pages for row in page.get("Contents", ())] == names == list(both.swift.names(both.bucket))
    found = both.s3.list_objects_v2(Bucket=both.bucket, Delimiter="/")
    rows = json.loads(both.swift.request("GET", f"/{both.bucket}?format=json&delimiter=/").body)
    assert [one["Prefix"] for one in found["CommonPrefixes"]] == [row["subdir"] for row in rows] == ["a/", "b/", "c/"]
    assert both.counts() == (36, 0)
