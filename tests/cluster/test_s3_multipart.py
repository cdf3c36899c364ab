"""Multipart uploads with S3's own client: parts, lists, completion, abort; what Swift sees of them; what the collector removes."""

import base64
import concurrent.futures
import hashlib
import io
import os
import zlib
from collections.abc import Iterator

import pytest
from boto3.s3.transfer import TransferConfig
from botocore.exceptions import ClientError

from objstore.testing.blocking import BlockingCluster
from tests.cluster.s3client import client_of, code_of
from tests.cluster.swift import Swift

MIB = 2**20
PART = 5 * MIB


@pytest.fixture(scope="module")
def cluster() -> Iterator[BlockingCluster]:
    settings = {"daemons": {"multipart_grace_s": 0}}
    with BlockingCluster(nodes=3, devices=1, network_faults=False, settings=settings) as running:
        yield running


@pytest.fixture
def s3(cluster: BlockingCluster):
    return client_of(cluster)


@pytest.fixture
def bucket(s3) -> str:
    name = f"bucket-{os.urandom(4).hex()}"
    s3.create_bucket(Bucket=name)
    return name


def etag_of(*parts: bytes) -> str:
    return f'"{hashlib.md5(b"".join(hashlib.md5(part).digest() for part in parts)).hexdigest()}-{len(parts)}"'


def begun(s3, bucket: str, key: str, parts: dict[int, bytes], **more: object) -> tuple[str, list[dict[str, object]]]:
    """An upload with these parts: its id, and what its completion names."""
    id_ = s3.create_multipart_upload(Bucket=bucket, Key=key, **more)["UploadId"]
    named = []
    for number, body in parts.items():
        put = s3.upload_part(Bucket=bucket, Key=key, UploadId=id_, PartNumber=number, Body=body)
        named.append({"PartNumber": number, "ETag": put["ETag"]})
    return id_, named


def complete(s3, bucket: str, key: str, id_: str, parts: list[dict[str, object]], **more: object):
    return s3.complete_multipart_upload(Bucket=bucket, Key=key, UploadId=id_, MultipartUpload={"Parts": parts}, **more)


def test_the_transfer_manager_moves_large_files(s3, bucket: str) -> None:
    body = os.urandom(3 * PART + 12345)
    config = TransferConfig(multipart_threshold=PART, multipart_chunksize=PART, max_concurrency=4)
    s3.upload_fileobj(io.BytesIO(body), bucket, "big", ExtraArgs={"Metadata": {"a": "b"}, "ContentType": "text/x"}, Config=config)
    back = io.BytesIO()
    s3.download_fileobj(bucket, "big", back, Config=config)
    assert back.getvalue() == body
    head = s3.head_object(Bucket=bucket, Key="big", ChecksumMode="ENABLED")
    pieces = [body[start : start + PART] for start in range(0, len(body), PART)]
    assert (head["ContentLength"], head["ETag"]) == (len(body), etag_of(*pieces))
    assert (head["Metadata"], head["ContentType"]) == ({"a": "b"}, "text/x")
    digests = b"".join(zlib.crc32(piece).to_bytes(4, "big") for piece in pieces)
    whole = base64.b64encode(zlib.crc32(digests).to_bytes(4, "big")).decode()
    assert (head["ChecksumCRC32"], head["ChecksumType"]) == (f"{whole}-4", "COMPOSITE")
    (row,) = s3.list_objects_v2(Bucket=bucket)["Contents"]
    assert (row["Size"], row["ETag"]) == (len(body), head["ETag"])
    middle = s3.get_object(Bucket=bucket, Key="big", Range=f"bytes={PART - 3}-{PART + 2}")
    assert middle["Body"].read() == body[PART - 3 : PART + 3]
    last = s3.get_object(Bucket=bucket, Key="big", PartNumber=4)
    assert (last["Body"].read(), last["PartsCount"]) == (body[3 * PART :], 4)
    assert code_of(s3.get_object, Bucket=bucket, Key="big", PartNumber=5) == ("InvalidPartNumber", 416)
    assert code_of(s3.get_object, Bucket=bucket, Key="big", PartNumber=0, Range="bytes=0-1") == ("InvalidRequest", 400)


def test_a_checksum_of_the_whole(s3, bucket: str) -> None:
    bodies = [os.urandom(PART), os.urandom(77)]
    id_ = s3.create_multipart_upload(Bucket=bucket, Key="o", ChecksumAlgorithm="CRC32", ChecksumType="FULL_OBJECT")["UploadId"]
    parts = []
    for number, body in enumerate(bodies, start=1):
        put = s3.upload_part(Bucket=bucket, Key="o", UploadId=id_, PartNumber=number, Body=body, ChecksumAlgorithm="CRC32")
        parts.append({"PartNumber": number, "ETag": put["ETag"], "ChecksumCRC32": put["ChecksumCRC32"]})
    listed = s3.list_parts(Bucket=bucket, Key="o", UploadId=id_)
    assert (listed["ChecksumAlgorithm"], listed["ChecksumType"]) == ("CRC32", "FULL_OBJECT")
    assert [one["ChecksumCRC32"] for one in listed["Parts"]] == [one["ChecksumCRC32"] for one in parts]
    wrong = [*parts[:1], parts[1] | {"ChecksumCRC32": parts[0]["ChecksumCRC32"]}]
    assert code_of(complete, s3=s3, bucket=bucket, key="o", id_=id_, parts=wrong) == ("InvalidPart", 400)
    done = complete(s3, bucket, "o", id_, parts)
    expected = base64.b64encode(zlib.crc32(b"".join(bodies)).to_bytes(4, "big")).decode()
    assert (done["ChecksumCRC32"], done["ChecksumType"]) == (expected, "FULL_OBJECT")
    wanted = ["ETag", "Checksum", "ObjectParts", "StorageClass", "ObjectSize"]
    told = s3.get_object_attributes(Bucket=bucket, Key="o", ObjectAttributes=wanted)
    assert told["ETag"] == done["ETag"].strip('"') and told["ObjectSize"] == PART + 77
    assert told["Checksum"] == {"ChecksumCRC32": expected, "ChecksumType": "FULL_OBJECT"}
    assert (told["ObjectParts"]["TotalPartsCount"], told["StorageClass"]) == (2, "STANDARD")


def test_lists(s3, bucket: str) -> None:
    ids = {}
    for key in ("a/1", "a/2", "b", "c"):
        ids[key], _ = begun(s3, bucket, key, {})
    again, _ = begun(s3, bucket, "b", {})
    found = s3.list_multipart_uploads(Bucket=bucket)["Uploads"]
    assert [(one["Key"], one["UploadId"]) for one in found] == [
        *((key, ids[key]) for key in ("a/1", "a/2", "b")),
        ("b", again),
        ("c", ids["c"]),
    ]
    page = s3.list_multipart_uploads(Bucket=bucket, Delimiter="/", MaxUploads=2)
    assert [one["Prefix"] for one in page["CommonPrefixes"]] == ["a/"] and [one["Key"] for one in page["Uploads"]] == ["b"]
    assert page["IsTruncated"]
    rest = s3.list_multipart_uploads(
        Bucket=bucket, Delimiter="/", KeyMarker=page["NextKeyMarker"], UploadIdMarker=page["NextUploadIdMarker"]
    )
    assert [one["UploadId"] for one in rest["Uploads"]] == [again, ids["c"]]
    whole = s3.list_multipart_uploads(Bucket=bucket, Prefix="a/")
    assert [one["Key"] for one in whole["Uploads"]] == ["a/1", "a/2"] and not whole["IsTruncated"]
    assert (whole["NextKeyMarker"], whole["NextUploadIdMarker"]) == ("a/2", whole["Uploads"][-1]["UploadId"])
    for asked in ({"Prefix": "none"}, {"Prefix": "a", "Delimiter": "/"}):
        none = s3.list_multipart_uploads(Bucket=bucket, **asked)
        assert (none["NextKeyMarker"], none["NextUploadIdMarker"]) == ("", "")
    assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 0, "an upload is no object"
    for number in (3, 1, 2):
        s3.upload_part(Bucket=bucket, Key="c", UploadId=ids["c"], PartNumber=number, Body=b"x" * number)
    s3.upload_part(Bucket=bucket, Key="c", UploadId=ids["c"], PartNumber=2, Body=b"another")
    first = s3.list_parts(Bucket=bucket, Key="c", UploadId=ids["c"], MaxParts=2)
    assert [(one["PartNumber"], one["Size"]) for one in first["Parts"]] == [(1, 1), (2, 7)] and first["IsTruncated"]
    second = s3.list_parts(Bucket=bucket, Key="c", UploadId=ids["c"], PartNumberMarker=first["NextPartNumberMarker"])
    assert [one["PartNumber"] for one in second["Parts"]] == [3] and not second["IsTruncated"]


def test_what_is_refused(s3, bucket: str) -> None:
    id_, parts = begun(s3, bucket, "o", {1: b"x", 2: b"y"})
    assert code_of(complete, s3=s3, bucket=bucket, key="o", id_=id_, parts=parts) == ("EntityTooSmall", 400)
    assert code_of(complete, s3=s3, bucket=bucket, key="o", id_=id_, parts=parts[::-1]) == ("InvalidPartOrder", 400)
    missing = [{"PartNumber": 3, "ETag": parts[0]["ETag"]}]
    assert code_of(complete, s3=s3, bucket=bucket, key="o", id_=id_, parts=missing) == ("InvalidPart", 400)
    other = [{"PartNumber": 1, "ETag": parts[1]["ETag"]}]
    assert code_of(complete, s3=s3, bucket=bucket, key="o", id_=id_, parts=other) == ("InvalidPart", 400)
    for number in (0, 10_001):
        call = {"Bucket": bucket, "Key": "o", "UploadId": id_, "PartNumber": number, "Body": b"x"}
        assert code_of(s3.upload_part, **call) == ("InvalidArgument", 400)
    for unknown in ("nonsense", "0123456789abcdef"):
        named = {"Bucket": bucket, "Key": "o", "UploadId": unknown}
        assert code_of(s3.upload_part, PartNumber=1, Body=b"x", **named) == ("NoSuchUpload", 404)
        assert code_of(s3.list_parts, **named) == ("NoSuchUpload", 404)
        assert code_of(s3.abort_multipart_upload, **named) == ("NoSuchUpload", 404)
        assert code_of(complete, s3=s3, bucket=bucket, key="o", id_=unknown, parts=parts[:1]) == ("NoSuchUpload", 404)
    assert code_of(s3.create_multipart_upload, Bucket="nobody-has-it", Key="o") == ("NoSuchBucket", 404)
    assert code_of(s3.head_object, Bucket=bucket, Key="o")[1] == 404, "nothing of it is an object"


def test_completing_again_answers_the_same(s3, bucket: str) -> None:
    id_, parts = begun(s3, bucket, "o", {5: os.urandom(PART), 9: b"nine"})
    done = complete(s3, bucket, "o", id_, parts)
    assert complete(s3, bucket, "o", id_, parts)["ETag"] == done["ETag"]
    assert code_of(s3.upload_part, Bucket=bucket, Key="o", UploadId=id_, PartNumber=5, Body=b"x") == ("NoSuchUpload", 404)
    s3.put_object(Bucket=bucket, Key="o", Body=b"new")
    assert code_of(complete, s3=s3, bucket=bucket, key="o", id_=id_, parts=parts) == ("NoSuchUpload", 404)
    assert s3.get_object(Bucket=bucket, Key="o")["Body"].read() == b"new"


def test_conditions(s3, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="o", Body=b"there")
    id_, parts = begun(s3, bucket, "o", {1: b"x"})
    refused = code_of(complete, s3=s3, bucket=bucket, key="o", id_=id_, parts=parts, IfNoneMatch="*")
    assert refused == ("PreconditionFailed", 412)
    etag = s3.head_object(Bucket=bucket, Key="o")["ETag"]
    complete(s3, bucket, "o", id_, parts, IfMatch=etag)
    assert s3.get_object(Bucket=bucket, Key="o")["Body"].read() == b"x"


def test_parts_that_are_copies(s3, bucket: str) -> None:
    body = os.urandom(PART + 1000)
    s3.put_object(Bucket=bucket, Key="source ä", Body=body)
    id_ = s3.create_multipart_upload(Bucket=bucket, Key="o")["UploadId"]
    source = {"Bucket": bucket, "Key": "source ä"}
    first = s3.upload_part_copy(
        Bucket=bucket, Key="o", UploadId=id_, PartNumber=1, CopySource=source, CopySourceRange=f"bytes=1000-{PART + 999}"
    )
    second = s3.upload_part_copy(Bucket=bucket, Key="o", UploadId=id_, PartNumber=2, CopySource=source)
    for wrong in (f"bytes=0-{PART + 1000}", "bytes=5-", "bytes=-5", "5-6", "bytes=6-5"):
        call = {"Bucket": bucket, "Key": "o", "UploadId": id_, "PartNumber": 3, "CopySource": source, "CopySourceRange": wrong}
        assert code_of(s3.upload_part_copy, **call) == ("InvalidArgument", 400), wrong
    parts = [{"PartNumber": n, "ETag": one["CopyPartResult"]["ETag"]} for n, one in ((1, first), (2, second))]
    complete(s3, bucket, "o", id_, parts)
    assert s3.get_object(Bucket=bucket, Key="o")["Body"].read() == body[1000:] + body
    s3.copy_object(Bucket=bucket, Key="copied", CopySource={"Bucket": bucket, "Key": "o"})
    s3.delete_object(Bucket=bucket, Key="o")
    assert s3.get_object(Bucket=bucket, Key="copied")["Body"].read() == body[1000:] + body


def hidden_objects(cluster: BlockingCluster) -> int:
    """How many objects any device holds in the accounts of uploads, deletions not counted."""
    things = cluster.snapshot().named("object")
    return sum(name.startswith("/.multipart-") and thing.version is not None for name, thing in things.items())


def test_swift_sees_one_object_and_no_parts(cluster: BlockingCluster, s3, bucket: str) -> None:
    body = os.urandom(PART) + b"the end"
    id_, parts = begun(s3, bucket, "o", {1: body[:PART], 2: body[PART:]}, Metadata={"a": "b"})
    swift = Swift(cluster.endpoints[0])
    containers = swift.request("HEAD").headers["x-account-container-count"]
    complete(s3, bucket, "o", id_, parts)
    got = swift.request("GET", f"/{bucket}/o")
    assert got.status == 200 and got.body == body
    assert got.headers["etag"].strip('"') == etag_of(body[:PART], body[PART:]).strip('"')
    assert "x-static-large-object" not in got.headers and got.headers["x-object-meta-a"] == "b"
    assert swift.request("GET", f"/{bucket}/o?multipart-manifest=get").body == body, "nobody sees where parts are"
    assert swift.names(bucket)["o"]["bytes"] == len(body)
    assert swift.request("HEAD").headers["x-account-container-count"] == containers
    swift.account = swift.account.replace("AUTH_", ".multipart-AUTH_")
    for user, key in (("test:tester", "testing"), ("admin:admin", "admin")):
        swift.token = Swift(cluster.endpoints[0], user, key).token
        for path in ("", f"/{bucket}"):
            assert swift.request("GET", path).status == 403
            assert swift.request("PUT", f"{path}/c").status == 403
    swift.close()


def test_the_collector_removes_what_nothing_needs(cluster: BlockingCluster, s3, bucket: str) -> None:
    cluster.run_daemons("multipart-collector")
    before = hidden_objects(cluster)
    kept, parts = begun(s3, bucket, "kept", {1: os.urandom(PART), 2: b"end"})
    s3.upload_part(Bucket=bucket, Key="kept", UploadId=kept, PartNumber=3, Body=b"not wanted")
    complete(s3, bucket, "kept", kept, parts)
    opened, _ = begun(s3, bucket, "open", {1: b"x"})
    aborted, _ = begun(s3, bucket, "aborted", {1: b"x"})
    s3.abort_multipart_upload(Bucket=bucket, Key="aborted", UploadId=aborted)
    gone, parts = begun(s3, bucket, "gone", {1: b"x"})
    complete(s3, bucket, "gone", gone, parts)
    s3.delete_object(Bucket=bucket, Key="gone")
    cluster.run_daemons("multipart-collector")
    assert hidden_objects(cluster) - before == 4, "two parts of what is kept, one of what is open, and its record"
    assert len(s3.get_object(Bucket=bucket, Key="kept")["Body"].read()) == PART + 3
    assert len(s3.list_parts(Bucket=bucket, Key="open", UploadId=opened)["Parts"]) == 1
    assert code_of(s3.list_parts, Bucket=bucket, Key="aborted", UploadId=aborted) == ("NoSuchUpload", 404)


def test_requests_that_race(s3, bucket: str) -> None:
    """Whatever comes of it: a whole object with the parts that its completion named, or none."""
    bodies = {1: os.urandom(PART), 2: b"end"}
    for round_ in range(4):
        key = f"o{round_}"
        id_, parts = begun(s3, bucket, key, bodies)

        def outcome(call, *arguments: object, **more: object) -> str:
            try:
                call(*arguments, **more)
            except ClientError as error:
                return error.response["Error"]["Code"]
            return "ok"

        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            named = {"Bucket": bucket, "Key": key, "UploadId": id_}
            late = pool.submit(outcome, s3.upload_part, PartNumber=2, Body=b"late", **named)
            done = pool.submit(outcome, complete, s3, bucket, key, id_, parts)
            abort = pool.submit(outcome, s3.abort_multipart_upload, **named)
            results = late.result(), done.result(), abort.result()
        assert set(results) <= {"ok", "NoSuchUpload", "InvalidPart"}, results
        if results[1] == "ok":
            assert s3.get_object(Bucket=bucket, Key=key)["Body"].read() == bodies[1] + bodies[2]
        else:
            assert code_of(s3.head_object, Bucket=bucket, Key=key)[1] == 404


def test_an_object_that_was_not_uploaded_in_parts_is_its_own_only_part(s3, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="plain", Body=b"whole")
    assert s3.get_object(Bucket=bucket, Key="plain", PartNumber=1)["Body"].read() == b"whole"
    for number in (2, 10_000):
        assert code_of(s3.get_object, Bucket=bucket, Key="plain", PartNumber=number) == ("InvalidPartNumber", 416)
    assert code_of(s3.head_object, Bucket=bucket, Key="plain", PartNumber=2)[1] == 416
