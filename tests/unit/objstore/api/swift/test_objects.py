"""PUT, POST and DELETE of objects: metadata, types, expiry."""

import pytest
from site_under_test import Site

from objstore.api.swift.headers import DELETE_AT_MAX, container_values, object_headers, object_user, title
from objstore.api.swift.mediatypes import guess
from objstore.model.errors import InvalidInput
from objstore.model.octets import text_of


@pytest.mark.parametrize(
    ("name", "content_type"),
    [("a.wav", "audio/x-wav"), ("a.txt", "text/plain"), ("a.ZIP", "application/zip"), ("a", "application/octet-stream"),
     ("a.nothing", "application/octet-stream"), (".txt", "text/plain"), ("a.txt.", "application/octet-stream")],
)  # fmt: skip
async def test_types_are_guessed(site: Site, name: str, content_type: str) -> None:
    assert guess(name) == content_type
    await site.call("PUT", f"c/{name}", {"Content-Length": "0"})
    assert (await site.call("HEAD", f"c/{name}"))["Content-Type"] == content_type
    await site.call("PUT", f"c/{name}", {"Content-Length": "0", "Content-Type": "a/b"})
    assert (await site.call("HEAD", f"c/{name}"))["Content-Type"] == "a/b"
    await site.call("PUT", f"c/{name}", {"Content-Length": "0", "Content-Type": "a/b", "X-Detect-Content-Type": "true"})
    assert (await site.call("HEAD", f"c/{name}"))["Content-Type"] == content_type


def test_names_are_shown_in_title_case() -> None:
    assert title("x-object-meta-color") == "X-Object-Meta-Color"
    assert title("x-object-meta-a_b9c") == "X-Object-Meta-A_B9C"
    assert title("x-object-meta-ü") == "X-Object-Meta-ü"


def test_only_named_headers_are_taken() -> None:
    """Security test S11: what is internal elsewhere is nothing here."""
    hostile = {
        "x-backend-timestamp": "1", "x-timestamp": "1", "x-object-sysmeta-a": "1", "x-object-transient-sysmeta-a": "1",
        "x-container-host": "1", "x-delete-at-host": "1", "x-symlink-target": "c/o", "x-static-large-object": "true",
        "x_object_meta_a": "1", "x-container-meta-a": "1", "etag": "e", "x-trans-id": "spoofed",
    }  # fmt: skip
    assert object_user(hostile) == {} and object_headers(hostile, 0.0) == {}
    assert container_values(hostile) == {"user:a": "1"}


async def test_hostile_headers_have_no_effect(site: Site) -> None:
    fields = {"X-Timestamp": "0000000001.00000", "X-Backend-Timestamp": "1", "X-Object-Sysmeta-A": "1", "X-Trans-Id": "spoofed",
              "X-Static-Large-Object": "True", "X-Container-Host": "127.0.0.1:1", "X_Object_Meta_A": "1"}  # fmt: skip
    assert (await site.call("PUT", "c/o", fields, b"x")).status == 201
    answer = await site.call("HEAD", "c/o")
    assert answer["X-Trans-Id"] != "spoofed" and float(answer["X-Timestamp"]) > 1_000_000
    assert answer.names() == {
        "Content-Type", "Etag", "Last-Modified", "X-Timestamp", "Accept-Ranges", "Content-Length", "X-Trans-Id",
        "X-Openstack-Request-Id", "Date",
    }  # fmt: skip


async def test_metadata_replaces(site: Site) -> None:
    await site.call("PUT", "c/o", {"X-Object-Meta-a": "1", "x-object-meta-B": "2", "X-Delete-After": "1000"}, b"x")
    before = await site.call("HEAD", "c/o")
    assert (before["X-Object-Meta-A"], before["X-Object-Meta-B"]) == ("1", "2")
    assert int(before["X-Delete-At"]) > 1_000_000_000 and "X-Delete-After" not in before
    assert (await site.call("POST", "c/o", {"X-Object-Meta-C": "3", "Content-Type": "new/type"})).status == 202
    after = await site.call("HEAD", "c/o")
    assert after["X-Object-Meta-C"] == "3" and after["Content-Type"] == "new/type"
    assert not {"X-Object-Meta-A", "X-Object-Meta-B", "X-Delete-At"} & after.names()
    assert (await site.call("POST", "c/o", {"X-Object-Meta-C": "4"})).status == 202
    assert (await site.call("HEAD", "c/o"))["Content-Type"] == "new/type"


@pytest.mark.parametrize("value", [b"gr\xc3\xbcn", b"\xe2\x98", b"\xff\xfe", "\uef81".encode(), b'"quoted"; a=b, c', b"a\tb"])
async def test_values_come_back_byte_for_byte(site: Site, value: bytes) -> None:
    await site.call("PUT", "c/o", {"X-Object-Meta-A": value, "Content-Type": value, "Content-Disposition": value}, b"x")
    answer = await site.call("GET", "c/o")
    for name in ("X-Object-Meta-A", "Content-Type", "Content-Disposition"):
        assert answer[name].encode("latin-1") == value


@pytest.mark.parametrize("kind", ["Account", "Container"])
async def test_accounts_and_containers_take_utf8_alone(site: Site, kind: str) -> None:
    path = "c" if kind == "Container" else ""
    bad = await site.call("POST", path, {f"X-{kind}-Meta-A": b"\xe2\x98"})
    assert (bad.status, bad.body) == (400, b"Metadata must be valid UTF-8")
    assert (await site.call("POST", path, {f"X-{kind}-Meta-A": "grün"})).status == 204
    assert (await site.call("HEAD", path))[f"X-{kind}-Meta-A"] == "grün".encode().decode("latin-1")


LIMITS = [
    ({"X-Object-Meta-": "v"}, 400),
    ({"X-Object-Meta-" + "a" * 128: ""}, 201),
    ({"X-Object-Meta-" + "a" * 129: ""}, 400),
    ({"X-Object-Meta-A": "v" * 256}, 201),
    ({"X-Object-Meta-A": "v" * 257}, 400),
    ({"X-Object-Meta-A": "ü" * 128}, 201),
    ({"X-Object-Meta-A": "ü" * 129}, 400),
    ({f"X-Object-Meta-{i}": "v" for i in range(90)}, 201),
    ({f"X-Object-Meta-{i}": "v" for i in range(91)}, 400),
    ({f"X-Object-Meta-{i:02}": "v" * 254 for i in range(16)}, 201),
    ({f"X-Object-Meta-{i:02}": "v" * 254 for i in range(16)} | {"X-Object-Meta-A": ""}, 400),
]


@pytest.mark.parametrize(("fields", "status"), LIMITS, ids=range(len(LIMITS)))
async def test_limits_of_metadata(site: Site, fields: dict[str, str], status: int) -> None:
    assert (await site.call("PUT", "c/o", dict(fields), b"x")).status == status
    assert (await site.call("PUT", "c/p", None, b"x")).status == 201
    assert (await site.call("POST", "c/p", dict(fields))).status == (202 if status == 201 else 400)


@pytest.mark.parametrize(
    ("field", "value", "text"),
    [
        ("X-Delete-At", "1", "X-Delete-At in past"),
        ("X-Delete-At", "-1", "X-Delete-At in past"),
        ("X-Delete-At", "abc", "Non-integer X-Delete-At"),
        ("X-Delete-At", "1.5", "Non-integer X-Delete-At"),
        ("X-Delete-At", "٥", "Non-integer X-Delete-At"),
        ("X-Delete-After", "0", "X-Delete-After in past"),
        ("X-Delete-After", "-1", "X-Delete-After in past"),
        ("X-Delete-After", "*", "Non-integer X-Delete-After"),
        ("X-Object-Manifest", "bad", "X-Object-Manifest must be in the format container/prefix"),
        ("X-Object-Manifest", "c/", "X-Object-Manifest must be in the format container/prefix"),
        ("X-Object-Manifest", "c//x", "X-Object-Manifest must be in the format container/prefix"),
        ("X-Object-Manifest", "c/x?a", "X-Object-Manifest must be in the format container/prefix"),
        ("If-None-Match", '"x"', "If-None-Match only supports *"),
    ],
)
async def test_refused_headers(site: Site, field: str, value: str, text: str) -> None:
    answer = await site.call("PUT", "c/o", {field: value}, b"x")
    assert (answer.status, answer.body.decode()) == (400, text)
    assert (await site.call("HEAD", "c/o")).status == 404


def test_expiry_far_away() -> None:
    for field in ("x-delete-at", "x-delete-after"):
        assert object_headers({field: "9" * 100}, 1e9) == {"x-delete-at": str(DELETE_AT_MAX)}
    with pytest.raises(InvalidInput):
        object_headers({"x-delete-at": "-" + "9" * 5000}, 1e9)


async def test_put_only_if_absent(site: Site) -> None:
    assert (await site.call("PUT", "c/o", {"If-None-Match": "*"}, b"x")).status == 201
    assert (await site.call("PUT", "c/o", {"If-None-Match": "*"}, b"y")).status == 412
    assert (await site.call("GET", "c/o")).body == b"x"


async def test_delete(site: Site) -> None:
    await site.call("PUT", "c/o", None, b"x")
    answer = await site.call("DELETE", "c/o")
    assert (answer.status, answer["Content-Type"], answer["Content-Length"]) == (204, "text/html; charset=UTF-8", "0")
    assert (await site.call("DELETE", "c/o")).status == 404


async def test_delete_only_what_expires(site: Site) -> None:
    assert (await site.call("DELETE", "c/none", {"X-If-Delete-At": "bad"})).body == b"Bad X-If-Delete-At header value"
    await site.call("PUT", "c/o", {"X-Delete-At": "9999999998"}, b"x")
    assert (await site.call("DELETE", "c/o", {"X-If-Delete-At": "9999999997"})).status == 412
    assert (await site.call("DELETE", "c/o", {"X-If-Delete-At": "9999999998"})).status == 204


async def test_names(site: Site) -> None:
    assert (await site.call("PUT", "c/" + "o" * 1024, None, b"x")).status == 201
    long = await site.call("PUT", "c/" + "o" * 1025, None, b"x")
    assert (long.status, long.body) == (400, b"Object name length of 1025 longer than 1024")
    for path in ("c/a/../b", "c/%2e%2e/%2e%2e/etc/passwd", "c//", "c/..%5c", "c/%E2%98%83%3f"):
        assert (await site.call("PUT", path, None, path.encode())).status == 201
        assert (await site.call("GET", path)).body == path.encode()
    assert (await site.call("GET", "c/b")).status == 404
    assert (await site.call("PUT", "/v1/AUTH_test/c/../d/x", None, b"x")).status == 201
    assert (await site.call("GET", "/v1/AUTH_test/d/x")).status == 404


@pytest.mark.parametrize("path", ["/v1", "/v1/", "/v1//", "/v1//c", "/v1//c/o", "/v1/AUTH_test//o"])
async def test_paths_that_name_nothing(site: Site, path: str) -> None:
    for method in ("GET", "PUT"):
        answer = await site.call(method, path)
        assert (answer.status, answer.body) == (412, b"Bad URL")


async def test_a_slash_in_a_container_name_separates(site: Site) -> None:
    """As in Swift, so that no two paths name one object."""
    assert (await site.call("PUT", "c%2Fo", None, b"x")).status == 201
    assert (await site.call("GET", "c/o")).body == b"x"


async def test_methods(site: Site) -> None:
    answer = await site.call("COPY", "c")
    assert (answer.status, answer["Allow"]) == (405, "DELETE, GET, HEAD, OPTIONS, POST, PUT")


def test_text_of_values() -> None:
    assert text_of(b"\xff") == "\uefff"
