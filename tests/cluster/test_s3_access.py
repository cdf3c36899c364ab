"""Who may do what, in both APIs, as a table (security test S16).

Rights are given as Swift gives them, by a container's read and write list. A denial must not tell whether there is anything.
"""

import json
import os
from collections.abc import Callable, Iterator

import pytest

from tests.cluster.s3raw import Answer
from tests.cluster.s3site import BODY, NOBODY, OTHER, OWNER, PLAIN, RESELLER, Site, new_bucket, put, running_site
from tests.faults.figures import Count

LISTS = {
    "none": {"X-Container-Read": "", "X-Container-Write": ""},
    "read": {"X-Container-Read": f"{PLAIN},{OTHER}", "X-Container-Write": ""},
    "write": {"X-Container-Read": "", "X-Container-Write": f"{PLAIN},{OTHER}"},
    "both": {"X-Container-Read": f"{PLAIN},{OTHER}", "X-Container-Write": f"{PLAIN},{OTHER}"},
    "public": {"X-Container-Read": ".r:*", "X-Container-Write": ""},
    "listed": {"X-Container-Read": ".r:*,.rlistings", "X-Container-Write": ""},
}


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with running_site() as running:
        yield running


@pytest.fixture
def bucket(site: Site) -> str:
    return new_bucket(site)


Step = Callable[[str], Answer]


def swift_steps(site: Site, bucket: str, key: str) -> dict[str, tuple[str, Step]]:
    """Operation -> the right it needs, and how a user does it to `key`. `owner` is what no list gives."""

    def do(method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None) -> Step:
        return lambda user: site.swift(user, method, path, body, headers)

    path, here = f"/{bucket}/{key}", f"/{bucket}"
    return {
        "GET account": ("owner", do("GET", "")),
        "HEAD account": ("owner", do("HEAD", "")),
        "POST account": ("owner", do("POST", "", b"", {"X-Account-Meta-A": "b"})),
        "PUT container": ("owner", do("PUT", f"/new-{os.urandom(3).hex()}", b"")),
        "POST container": ("owner", do("POST", here, b"", {"X-Container-Meta-A": "b"})),
        "HEAD container": ("list", do("HEAD", here)),
        "GET container": ("list", do("GET", here)),
        "GET object": ("read", do("GET", path)),
        "HEAD object": ("read", do("HEAD", path)),
        "GET object if": ("read", do("GET", path, None, {"If-None-Match": '"x"'})),
        "PUT object": ("write", do("PUT", path, BODY)),
        "POST object": ("write", do("POST", path, b"", {"X-Object-Meta-A": "b"})),
        "COPY over": ("both", do("COPY", path, None, {"Destination": f"{bucket}/copy"})),
        "PUT from": ("both", do("PUT", f"/{bucket}/copy", b"", {"X-Copy-From": f"{bucket}/{key}"})),
        "PUT SLO": (
            "both",
            do("PUT", f"/{bucket}/slo?multipart-manifest=put", json.dumps([{"path": f"/{bucket}/{key}"}]).encode()),
        ),
        "DELETE object": ("write", do("DELETE", path)),
    }


def s3_steps(site: Site, bucket: str, key: str) -> dict[str, tuple[str, Step]]:
    """The same of S3."""

    def do(method: str, target: str, body: bytes = b"", headers: dict[str, str] | None = None) -> Step:
        return lambda user: site.s3(user, method, target, body, headers)

    here, path = f"/{bucket}", f"/{bucket}/{key}"
    started = site.s3(OWNER, "POST", f"{here}/upload?uploads").body
    id_ = started.partition(b"<UploadId>")[2].partition(b"<")[0].decode()
    upload = f"{here}/upload?uploadId={id_}"
    etag = site.s3(OWNER, "PUT", f"{upload}&partNumber=1", BODY).fields["etag"]
    parts = f"<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>{etag}</ETag></Part></CompleteMultipartUpload>"
    return {
        "ListObjects": ("list", do("GET", here)),
        "ListObjectsV2": ("list", do("GET", f"{here}?list-type=2")),
        "ListObjectVersions": ("list", do("GET", f"{here}?versions")),
        "HeadBucket": ("list", do("HEAD", here)),
        "GetBucketLocation": ("list", do("GET", f"{here}?location")),
        "GetObject": ("read", do("GET", path)),
        "GetObject range": ("read", do("GET", path, b"", {"Range": "bytes=0-1"})),
        "GetObject if": ("read", do("GET", path, b"", {"If-None-Match": '"x"'})),
        "HeadObject": ("read", do("HEAD", path)),
        "GetObjectAttributes": ("read", do("GET", f"{path}?attributes", b"", {"x-amz-object-attributes": "ETag"})),
        "PutObject": ("write", do("PUT", path, BODY)),
        "CopyObject": ("both", do("PUT", f"{here}/copy", b"", {"x-amz-copy-source": path})),
        "CreateMultipartUpload": ("write", do("POST", f"{here}/another?uploads")),
        "UploadPart": ("write", do("PUT", f"{upload}&partNumber=1", BODY)),
        "UploadPartCopy": ("both", do("PUT", f"{upload}&partNumber=2", b"", {"x-amz-copy-source": path})),
        "ListParts": ("write", do("GET", upload)),
        "CompleteMultipartUpload": ("write", do("POST", upload, parts.encode())),
        "AbortMultipartUpload": ("write", do("DELETE", f"{here}/gone?uploadId={id_}")),
        "DeleteObject": ("write", do("DELETE", path)),
    }


GIVEN = {"none": "", "read": "list read", "write": "write", "both": "list read write both", "public": "", "listed": ""}
TO_ANYBODY = {"public": "read", "listed": "list read"}


def allowed(user: str, lists: str, right: str) -> bool:
    if user in (OWNER, RESELLER):
        return True
    named = GIVEN[lists] if user in (PLAIN, OTHER) else ""
    return right in (*named.split(), *TO_ANYBODY.get(lists, "").split())


@pytest.mark.parametrize("lists", LISTS)
def test_swift(site: Site, bucket: str, lists: str, count: Count) -> None:
    assert site.swift(OWNER, "POST", f"/{bucket}", b"", LISTS[lists]).status == 204
    for user in (OWNER, RESELLER, PLAIN, OTHER, NOBODY):
        for name, (right, step) in swift_steps(site, bucket, "key").items():
            put(site, bucket, "key")
            answer = step(user)
            if allowed(user, lists, right):
                assert 200 <= answer.status < 300, (user, name, answer)
            elif not (name in ("COPY over", "PUT from", "PUT SLO") and 400 <= answer.status < 500 and user):
                assert answer.status == (403 if user else 401), (user, name, answer)
            assert BODY not in answer.body or allowed(user, lists, right)
            count("access", cells_of_swift=1)
    for name in ("copy", "slo"):
        site.swift(OWNER, "DELETE", f"/{bucket}/{name}")


@pytest.mark.parametrize("lists", LISTS)
def test_s3(site: Site, bucket: str, lists: str, count: Count) -> None:
    """Users of the account with and without a role, one of another account, a reseller, and whoever signs nothing."""
    assert site.swift(OWNER, "POST", f"/{bucket}", b"", LISTS[lists]).status == 204
    for user in (OWNER, PLAIN, OTHER, RESELLER, NOBODY):
        for name, (right, step) in s3_steps(site, bucket, "key").items():
            put(site, bucket, "key")
            answer = step(user)
            if name == "AbortMultipartUpload" and allowed(user, lists, right):
                assert (answer.status, answer.code) == (404, "NoSuchUpload")
            elif allowed(user, lists, right):
                assert 200 <= answer.status < 300, (user, name, answer)
            else:
                assert answer.status == 403 and answer.code in ("AccessDenied", ""), (user, name, answer)
            count("access", cells_of_s3=1)


def test_s3_without_a_right(site: Site, bucket: str, count: Count) -> None:
    """Other accounts and anonymous users, where no list says otherwise: nothing, and the same for what is there and what is not."""
    put(site, bucket, "key")
    steps, missing = s3_steps(site, bucket, "key"), s3_steps(site, bucket, "missing")
    for user in (OTHER, NOBODY):
        for name, (_, step) in steps.items():
            answer, other = step(user), missing[name][1](user)
            assert answer.status in ((403, 404) if user else (403,)), (user, name, answer)
            assert (answer.status, answer.code) == (other.status, other.code), (user, name)
            count("access", cells_of_s3=2)
    assert site.s3(OWNER, "GET", f"/{bucket}/key").body == BODY
    assert site.s3(OWNER, "HEAD", f"/{bucket}/copy").status == 404


SUB_RESOURCES = [
    "acl",
    "policy",
    "versions",
    "uploads",
    "versioning",
    "tagging",
    "cors",
    "lifecycle",
    "encryption",
    "location",
    "logging",
]


@pytest.mark.parametrize("name", SUB_RESOURCES)
def test_sub_resources_without_a_right(site: Site, bucket: str, name: str, count: Count) -> None:
    put(site, bucket, "key")
    for user in (PLAIN, OTHER, NOBODY):
        for target in (f"/{bucket}", f"/{bucket}/key", f"/{bucket}/missing", f"/no-such-{bucket}"):
            for method in ("GET", "PUT", "DELETE"):
                answer = site.s3(user, method, f"{target}?{name}")
                denied = (404,) if "no-such" in target and user != PLAIN else (403, 404)
                assert answer.status in (*denied, 405, 501) and BODY not in answer.body, (user, method, target, answer)
                assert method != "GET" or answer.status in denied or target.count("/") > 1, (user, method, target, answer)
                count("access", cells_of_s3=1)
    assert site.s3(OWNER, "GET", f"/{bucket}/key").body == BODY


def test_no_list_gives_the_bucket_itself(site: Site, bucket: str) -> None:
    assert site.swift(OWNER, "POST", f"/{bucket}", b"", LISTS["both"]).status == 204
    for method, target in (("PUT", f"/{bucket}"), ("PUT", f"/new-{bucket}"), ("DELETE", f"/{bucket}"), ("GET", "/")):
        for user in (PLAIN, NOBODY):
            answer = site.s3(user, method, target)
            assert (answer.status, answer.code) == (403, "AccessDenied"), (user, method, target, answer)
    assert site.s3(OWNER, "HEAD", f"/{bucket}").status == 200
    assert site.s3(OWNER, "HEAD", f"/new-{bucket}").status == 404


def test_a_denial_tells_nothing(site: Site, bucket: str) -> None:
    """Existing or not, condition met or not: one answer. A condition counts only after the right does."""
    put(site, bucket, "key")
    etag = site.s3(OWNER, "HEAD", f"/{bucket}/key").fields["etag"]
    for headers in (
        {},
        {"If-Match": etag},
        {"If-None-Match": etag},
        {"If-None-Match": "*"},
        {"If-Match": '"x"'},
        {"Range": "bytes=9-"},
    ):
        for method, body in (("GET", b""), ("HEAD", b""), ("PUT", BODY), ("DELETE", b"")):
            if method in ("PUT", "DELETE") and headers.get("If-None-Match", "*") != "*":
                continue  # neither API takes that of a write, whoever asks
            seen = {
                (a.status, a.code)
                for a in (site.s3(PLAIN, method, f"/{bucket}/{key}", body, headers) for key in ("key", "missing"))
            }
            assert len(seen) == 1 and next(iter(seen))[0] == 403, (headers, method, seen)
            for user in (PLAIN, OTHER, NOBODY):
                there, gone = (site.swift(user, method, f"/{bucket}/{key}", body or None, headers) for key in ("key", "missing"))
                assert there.status == gone.status == (403 if user else 401), (headers, method, there, gone)
    for target in (f"/{bucket}", f"/no-such-{bucket}"):
        assert site.s3(PLAIN, "GET", target).code == "AccessDenied"
        assert site.swift(NOBODY, "GET", target).status == 401


DELETE = b"<Delete><Object><Key>key</Key></Object><Object><Key>missing</Key></Object></Delete>"


@pytest.mark.parametrize("lists", ["none", "read", "write", "both"])
def test_many_deletes(site: Site, bucket: str, lists: str) -> None:
    """Each key needs the right to write, whatever else the user may do; without it nothing is told of the key."""
    put(site, bucket, "key")
    assert site.swift(OWNER, "POST", f"/{bucket}", b"", LISTS[lists]).status == 204
    answer = site.s3(PLAIN, "POST", f"/{bucket}?delete", DELETE)
    if lists in ("write", "both"):
        assert answer.status == 200 and answer.body.count(b"<Deleted>") == 2, answer
    else:
        denied = answer.body.count(b"<Code>AccessDenied</Code>")
        assert (answer.status, denied) in ((200, 2), (403, 1)), answer
        assert b"<Deleted>" not in answer.body and b"NoSuchKey" not in answer.body
        assert site.s3(OWNER, "GET", f"/{bucket}/key").body == BODY
    gone = site.s3(PLAIN, "POST", f"/no-such-{bucket}?delete", DELETE)
    assert b"NoSuchBucket" not in gone.body and b"<Deleted>" not in gone.body and b"AccessDenied" in gone.body
    assert site.s3(OWNER, "POST", f"/no-such-{bucket}?delete", DELETE).code == "NoSuchBucket"


@pytest.mark.parametrize("lists", ["none", "read", "write"])
def test_many_deletes_of_swift(site: Site, bucket: str, lists: str) -> None:
    """The same there: one answer for what is there and what is not, unless the user may write."""
    put(site, bucket, "key")
    assert site.swift(OWNER, "POST", f"/{bucket}", b"", LISTS[lists]).status == 204
    body = f"/{bucket}/key\n/{bucket}/missing\n".encode()
    for user in (PLAIN, OTHER, NOBODY):
        answer = site.swift(user, "POST", "?bulk-delete", body, {"Accept": "application/json", "Content-Type": "text/plain"})
        deleted = lists == "write" and user == PLAIN
        if answer.status == 200:
            told = json.loads(answer.body)
            assert (told["Number Deleted"] > 0) == deleted and (told["Number Not Found"] > 0) == (
                lists == "write" and bool(user)
            ), told
        else:
            assert answer.status in (401, 403), answer
    assert site.swift(OWNER, "HEAD", f"/{bucket}/key").status == (404 if lists == "write" else 200)
