"""Accounts and containers: HEAD, PUT, POST, DELETE, and who sees what."""

import json

import pytest
from site_under_test import POLICIES, Site

from objstore.api.limits import EdgeLimits
from objstore.api.swift.call import SwiftLimits
from objstore.api.swift.headers import account_values, container_values
from objstore.api.swift.info import swift_info
from objstore.model.metadata import COUNT_MAX


def test_values() -> None:
    assert container_values(
        {"x-container-meta-a": "1", "x-container-read": ".r:*", "x-remove-container-meta-b": "x", "x-remove-container-write": "x",
         "x-container-sync-key": "k", "x-account-meta-a": "no", "x-container-meta-": "v", "host": "x"}
    ) == {"user:a": "1", "acl:read": ".r:*", "user:b": "", "acl:write": "", "sys:sync-key": "k", "user:": "v"}  # fmt: skip
    assert account_values(
        {"x-account-meta-quota-bytes": "1", "x-account-quota-count": "2", "x-account-quota-bytes-policy-gold": "3",
         "x-remove-account-quota-bytes": "t", "x-account-access-control": "{}", "x-container-read": "no"}
    ) == {"user:quota-bytes": "1", "sys:quota-count": "2", "sys:quota-bytes-policy-gold": "3", "sys:quota-bytes": "",
          "acl:account": "{}"}  # fmt: skip
    assert container_values({"x-remove-container-meta-a": "t", "x-container-meta-a": "kept"}) == {"user:a": "kept"}


async def test_a_container(site: Site) -> None:
    assert (await site.call("PUT", "d", {"X-Container-Meta-A": "1", "X-Storage-Policy": "SILVER"})).status == 201
    assert (await site.call("PUT", "d")).status == 202
    assert (await site.call("PUT", "d", {"X-Storage-Policy": "gold"})).status == 409
    assert (await site.call("PUT", "e", {"X-Storage-Policy": "none"})).body == b"Invalid X-Storage-Policy 'none'"
    await site.call("PUT", "d/o", None, b"12345")
    found = await site.call("HEAD", "d")
    assert (found.status, found["X-Container-Object-Count"], found["X-Container-Bytes-Used"]) == (204, "1", "5")
    assert (found["X-Storage-Policy"], found["X-Container-Meta-A"]) == ("silver", "1")
    assert found["Last-Modified"] and float(found["X-Timestamp"]) > 1e9
    assert (await site.call("POST", "d", {"X-Container-Meta-B": "2", "X-Remove-Container-Meta-A": "x"})).status == 204
    found = await site.call("GET", "d")
    assert "X-Container-Meta-A" not in found and found["X-Container-Meta-B"] == "2"
    assert (await site.call("DELETE", "d")).status == 409
    await site.call("DELETE", "d/o")
    assert (await site.call("DELETE", "d")).status == 204
    assert (await site.call("DELETE", "d")).status == 404
    assert (await site.call("POST", "d")).status == 404


async def test_names_of_containers(site: Site) -> None:
    assert (await site.call("PUT", "c" * 256)).status == 201
    long = await site.call("PUT", "c" * 257)
    assert (long.status, long.body) == (400, b"Container name length of 257 longer than 256")
    assert long["Content-Type"] == "text/html; charset=UTF-8"
    assert (await site.call("PUT", "a%00b")).status == 412


async def test_an_account(site: Site) -> None:
    assert (await site.call("POST", "", {"X-Account-Meta-A": "1"})).status == 204
    await site.call("PUT", "c/o", None, b"12345")
    found = await site.call("HEAD", "")
    assert [found[f"X-Account-{name}"] for name in ("Container-Count", "Object-Count", "Bytes-Used")] == ["1", "1", "5"]
    assert found["X-Account-Storage-Policy-gold-Bytes-Used"] == "5" and found["X-Account-Meta-A"] == "1"
    assert (await site.call("PUT", "")).status == 403 and (await site.call("DELETE", "")).status == 403
    assert (await site.call("PUT", "/v1/AUTH_new", user="admin:admin", key="admin")).status == 201
    assert (await site.call("PUT", "/v1/AUTH_new", user="admin:admin", key="admin")).status == 202


async def test_quotas_are_shown(site: Site) -> None:
    for field, shown in [("X-Account-Quota-Bytes", "X-Account-Quota-Bytes"), ("X-Account-Quota-Count", "X-Account-Quota-Count"),
                         ("X-Account-Quota-Bytes-Policy-silver", "X-Account-Quota-Bytes-Policy-Silver"),
                         ("X-Account-Meta-Quota-Bytes", "X-Account-Quota-Bytes")]:  # fmt: skip
        assert (await site.call("POST", "", {field: "123"})).status == 403
        assert (await site.call("POST", "/v1/AUTH_test", {field: "123"}, user="admin:admin", key="admin")).status == 204
        assert (await site.call("HEAD", ""))[shown] == "123"
        removal = {field.replace("X-", "X-Remove-", 1): "t"}
        assert (await site.call("POST", "/v1/AUTH_test", removal, user="admin:admin", key="admin")).status == 204
        assert shown not in await site.call("HEAD", "")


ACCESS = "X-Account-Access-Control"


async def test_account_acls(site: Site) -> None:
    assert (await site.call("POST", "", {ACCESS: '{"read-only":["test:tester3"], "admin":["x"]}'})).status == 204
    assert (await site.call("HEAD", ""))[ACCESS] == '{"admin":["x"],"read-only":["test:tester3"]}'
    reader = await site.call("HEAD", "", user="test:tester3", key="testing3")
    assert reader.status == 204 and ACCESS not in reader
    assert (await site.call("PUT", "d", user="test:tester3", key="testing3")).status == 403
    for bad in ("yuck", '{"admin":"x"}', '{"foo":[]}', "[]"):
        answer = await site.call("POST", "", {ACCESS: bad})
        assert answer.status == 400 and answer.body.startswith(b"X-Account-Access-Control invalid: ")
    assert (await site.call("POST", "", {ACCESS: "{}"})).status == 204
    assert ACCESS not in await site.call("HEAD", "")


async def test_container_acls(site: Site) -> None:
    await site.call("PUT", "c/o", None, b"x")
    assert (await site.call("GET", "c/o", user=None)).status == 401
    await site.call("POST", "c", {"X-Container-Read": ".r:*"})
    assert (await site.call("GET", "c/o", user=None)).status == 200
    assert (await site.call("GET", "c", user=None)).status == 401
    await site.call("POST", "c", {"X-Container-Read": ".r:.example.com,.rlistings"})
    assert (await site.call("GET", "c", {"Referer": "http://www.example.com/x"}, user=None)).status == 200
    assert (await site.call("GET", "c", {"Referer": "http://example.org/"}, user=None)).status == 401
    assert (await site.call("GET", "c/o", user="test:tester3", key="testing3")).status == 403
    assert (await site.call("HEAD", "c"))["X-Container-Read"] == ".r:.example.com,.rlistings"


async def test_service_accounts(site: Site) -> None:
    service = {"X-Service-Token": site.token("test5:tester5", "testing5")}
    assert (await site.call("PUT", "/v1/SERVICE_test/c", service)).status == 201
    assert (await site.call("GET", "/v1/SERVICE_test", service)).body == b"c\n"
    assert (await site.call("GET", "/v1/SERVICE_test")).status == 403
    assert (await site.call("GET", "/v1/SERVICE_test", service, user=None)).status == 403
    assert (await site.call("GET", "/v1/SERVICE_test", service, user="test5:tester5", key="testing5")).status == 403


async def test_info(site: Site) -> None:
    info = json.loads((await site.call("GET", "/info", user=None)).body)
    assert info == swift_info("0.1.0", POLICIES, SwiftLimits(), EdgeLimits())
    assert [policy["name"] for policy in info["swift"]["policies"]] == ["gold", "silver"]
    assert info["swift"]["max_meta_count"] == COUNT_MAX == 90


@pytest.mark.parametrize("user", [None, "test2:tester2"])
@pytest.mark.parametrize(("method", "path"), [("GET", ""), ("POST", ""), ("PUT", "d"), ("GET", "c"), ("POST", "c"), ("DELETE", "c"),
                                              ("GET", "c/o"), ("PUT", "c/o"), ("POST", "c/o"), ("DELETE", "c/o"),
                                              ("GET", "missing"), ("GET", "missing/o")])  # fmt: skip
async def test_strangers(site: Site, method: str, path: str, user: str | None) -> None:
    body = b"" if method in ("PUT", "POST") else None
    answer = await site.call(method, path, None, body, user=user, key="testing2")
    assert answer.status == (401 if user is None else 403)
    assert ("Www-Authenticate" in answer) == (user is None)
