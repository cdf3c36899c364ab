"""Swift's headers and queries in S3's requests do nothing there (security test S10)."""

import json
import os
from collections.abc import Iterator
from functools import partial

import pytest

from tests.cluster import s3raw
from tests.cluster.s3raw import exchange
from tests.cluster.s3site import BODY, NOBODY, OTHER, OWNER, PLAIN, RESELLER, Site, new_bucket, put, running_site
from tests.faults.figures import Count


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with running_site() as running:
        yield running


@pytest.fixture
def bucket(site: Site) -> str:
    return new_bucket(site)


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
