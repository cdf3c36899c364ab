"""Who may do what, in both APIs, as a table (security test S16); and Swift's headers in S3's requests, which do nothing there
(security test S10).

Rights are given as Swift gives them, by a container's read and write list. A denial must not tell whether there is anything.
"""

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import pytest

from objstore.testing.blocking import BlockingCluster
from tests.cluster import s3raw
from tests.cluster.s3raw import Answer, Raw, exchange
from tests.cluster.swift import Swift
from tests.faults.figures import Count

BODY = b"body"
SECRETS = {"test:tester": "testing", "test:tester3": "testing3", "test2:tester2": "testing2", "admin:admin": "admin"}
OWNER, PLAIN, OTHER, RESELLER, NOBODY = *SECRETS, ""
"""The account's admin; a user of the account without a role; another account's admin; the reseller; anonymous."""
LISTS = {
    "none": {"X-Container-Read": "", "X-Container-Write": ""},
    "read": {"X-Container-Read": f"{PLAIN},{OTHER}", "X-Container-Write": ""},
    "write": {"X-Container-Read": "", "X-Container-Write": f"{PLAIN},{OTHER}"},
    "both": {"X-Container-Read": f"{PLAIN},{OTHER}", "X-Container-Write": f"{PLAIN},{OTHER}"},
    "public": {"X-Container-Read": ".r:*", "X-Container-Write": ""},
    "listed": {"X-Container-Read": ".r:*,.rlistings", "X-Container-Write": ""},
}


@dataclass
class Site:
    """The cluster, and a session of each user."""

    endpoint: str
    sessions: dict[str, Swift]

    def swift(self, user: str, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None) -> Answer:
        """A request of `user` about the account AUTH_test; `path` below it, as it goes out."""
        fields = {"Host": "localhost", **({"X-Auth-Token": self.sessions[user].token} if user else {}), **(headers or {})}
        raw = Raw(method, f"/v1/AUTH_test{path}", tuple(fields.items()))
        return exchange(self.endpoint, raw if body is None else raw.carrying(body))

    def s3(self, user: str, method: str, target: str, body: bytes = b"", headers: dict[str, str] | None = None) -> Answer:
        if not user:
            raw = Raw(method, target, (("Host", "localhost"), *(headers or {}).items()))
            return exchange(self.endpoint, raw.carrying(body))
        return s3raw.call(self.endpoint, method, target, body, headers, key=user, secret=SECRETS[user])


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with BlockingCluster(nodes=3, devices=1, network_faults=False) as cluster:
        yield Site(cluster.endpoint, {user: Swift(cluster.endpoint, user, key) for user, key in SECRETS.items()})


@pytest.fixture
def bucket(site: Site) -> str:
    name = f"bucket-{os.urandom(4).hex()}"
    assert site.swift(OWNER, "PUT", f"/{name}").status == 201
    return name


def put(site: Site, bucket: str, key: str) -> None:
    assert site.swift(OWNER, "PUT", f"/{bucket}/{key}", BODY).status == 201


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
        for name in swift_steps(site, bucket, "key"):
            put(site, bucket, "key")
            right, step = swift_steps(site, bucket, "key")[name]
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
    """The owner, and a user of the account without a role; each user's buckets are those of the account."""
    assert site.swift(OWNER, "POST", f"/{bucket}", b"", LISTS[lists]).status == 204
    for user in (OWNER, PLAIN):
        for name in s3_steps(site, bucket, "key"):
            put(site, bucket, "key")
            right, step = s3_steps(site, bucket, "key")[name]
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
                denied = (403,) if user != OTHER else (403, 404)
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


SWIFT_HEADERS = {
    "X-Copy-From": "{bucket}/private",
    "X-Copy-From-Account": "AUTH_test",
    "X-Fresh-Metadata": "true",
    "Destination": "{bucket}/destination",
    "X-Object-Manifest": "{bucket}/priv",
    "X-Symlink-Target": "{bucket}/private",
    "X-Symlink-Target-Account": "AUTH_test",
    "X-Static-Large-Object": "True",
    "X-Delete-At": "4000000000",
    "X-Delete-After": "1",
    "X-Container-Read": ".r:*,.rlistings",
    "X-Container-Write": ".r:*",
    "X-Container-Meta-Quota-Bytes": "1",
    "X-Container-Meta-A": "swift",
    "X-Container-Sync-To": "http://127.0.0.1:1/",
    "X-Versions-Location": "{bucket}",
    "X-History-Location": "{bucket}",
    "X-Versions-Enabled": "true",
    "X-Storage-Policy": "no-such-policy",
    "X-Account-Meta-Temp-Url-Key": "swift",
    "X-Account-Access-Control": '{{"admin":["test2:tester2"]}}',
    "X-Object-Meta-A": "swift",
    "X-Remove-Object-Meta-Colour": "x",
    "X-Auth-Token": "{token}",
    "X-Service-Token": "{token}",
    "X-Newest": "true",
    "X-Timestamp": "9999999999.00000",
    "X-Backend-Timestamp": "9999999999.00000",
    "X-Backend-Storage-Policy-Index": "7",
    "X-Object-Sysmeta-A": "swift",
    "X-Container-Host": "127.0.0.1:1",
    "X-Container-Device": "d",
    "X-Trans-Id-Extra": "swift",
}


def test_swift_headers_do_nothing(site: Site, bucket: str, count: Count) -> None:
    """In no S3 request: neither for what it writes, nor for its bucket, nor for its account."""
    put(site, bucket, "private")
    words = {"bucket": bucket, "token": site.sessions[RESELLER].token}
    swift = partial(site.swift, OWNER)
    headers = {name: value.format(**words) for name, value in SWIFT_HEADERS.items()}
    account = swift("HEAD", "").fields
    for name, value in [*((name, value) for name, value in headers.items()), ("", "")]:
        sent = {name: value} if name else {key: value for key, value in headers.items() if key != "X-Copy-From-Account"}
        made = f"made-{os.urandom(4).hex()}"
        assert site.s3(OWNER, "PUT", f"/{made}", b"", sent).status == 200, name
        assert site.s3(OWNER, "PUT", f"/{made}/o", BODY, sent | {"x-amz-meta-colour": "blue"}).status == 200, name
        for method, target in (("GET", f"/{made}/o"), ("HEAD", f"/{made}/o"), ("GET", f"/{made}"), ("POST", f"/{made}/u?uploads")):
            assert site.s3(OWNER, method, target, b"", sent).status == 200, (name, method)
        seen, container = swift("GET", f"/{made}/o"), swift("HEAD", f"/{made}").fields
        assert seen.body == BODY and seen.fields["x-object-meta-colour"] == "blue", name
        strange = {"x-object-manifest", "x-symlink-target", "x-static-large-object", "x-delete-at", "x-object-meta-a"}
        assert not strange & seen.fields.keys() and abs(float(seen.fields["x-timestamp"]) - 9999999999) > 1e6
        own = {"x-container-object-count", "x-container-bytes-used"}
        assert not {key for key in container if key.startswith(("x-container-", "x-versions", "x-history"))} - own, (
            name,
            container,
        )
        assert site.swift(NOBODY, "GET", f"/{made}/o").status == 401
        assert site.swift(OTHER, "PUT", f"/{made}/o", BODY).status == 403
        assert swift("HEAD", f"/{bucket}/destination").status == 404
        count("Swift headers in S3 requests", without_effect=6)
    now = swift("HEAD", "").fields
    assert {key for key in now if "meta" in key or "access" in key} == {key for key in account if "meta" in key or "access" in key}


def test_a_token_beside_a_signature_gives_no_right(site: Site, bucket: str) -> None:
    put(site, bucket, "key")
    token = {"X-Auth-Token": site.sessions[OWNER].token}
    assert site.s3(PLAIN, "GET", f"/{bucket}/key", b"", token).code == "AccessDenied"
    assert site.s3(NOBODY, "GET", f"/{bucket}/key", b"", token).code == "AccessDenied"
    raw = s3raw.sign(site.endpoint, "GET", f"/{bucket}/key", key=OWNER, secret="wrong").having(
        "X-Auth-Token", token["X-Auth-Token"]
    )
    assert exchange(site.endpoint, raw).code == "SignatureDoesNotMatch"


def test_swift_queries_do_nothing(site: Site, bucket: str) -> None:
    """Nor do the fields of Swift's queries; Swift's method COPY is none of S3's."""
    put(site, bucket, "key")
    manifest = json.dumps([{"path": f"/{bucket}/key"}]).encode()
    for query in (
        "multipart-manifest=put",
        "temp_url_sig=a&temp_url_expires=9999999999",
        "symlink=get",
        "format=json",
        "bulk-delete",
    ):
        target = f"/{bucket}/o?{query}"
        assert site.s3(OWNER, "PUT", target, manifest).status == 200
        seen = site.swift(OWNER, "GET", f"/{bucket}/o")
        assert seen.body == manifest and "x-static-large-object" not in seen.fields
        assert site.s3(OWNER, "GET", target).body == manifest
        assert site.s3(NOBODY, "GET", target).status in (401, 403)
        assert site.s3(OWNER, "DELETE", target).status == 204
        assert site.s3(OWNER, "GET", f"/{bucket}/key").body == BODY
    answer = site.s3(OWNER, "COPY", f"/{bucket}/key", b"", {"Destination": f"{bucket}/copied"})
    assert (answer.status, answer.code) == (405, "MethodNotAllowed")
    assert site.swift(OWNER, "HEAD", f"/{bucket}/copied").status == 404
