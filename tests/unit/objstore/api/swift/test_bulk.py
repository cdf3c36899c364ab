"""Bulk delete."""

import json

import pytest
from defusedxml.ElementTree import fromstring
from site_under_test import Answer, Site, running_site

from objstore.api.swift.call import SwiftLimits


async def bulk(site: Site, body: bytes, accept: str = "application/json", method: str = "POST", path: str = "") -> Answer:
    return await site.call(method, f"{path}?bulk-delete", {"Accept": accept, "Content-Type": "text/plain"}, body)


async def test_objects_and_containers(site: Site) -> None:
    for name in ("a", "b%20%2525", "%C3%BC"):
        await site.call("PUT", f"c/{name}", None, b"x")
    answer = await bulk(site, b"c/a\n/c/b%20%2525\r\n\n  c/%C3%BC  \nc/missing\nnowhere/x\nc\n")
    assert answer.status == 200 and json.loads(answer.body) == {
        "Number Deleted": 4, "Number Not Found": 2, "Response Body": "", "Response Status": "200 OK", "Errors": [],
    }  # fmt: skip
    assert (await site.call("HEAD", "c")).status == 404


@pytest.mark.parametrize(("method", "path"), [("POST", ""), ("DELETE", ""), ("DELETE", "c"), ("DELETE", "c/o"), ("POST", "c/o")])
async def test_where_it_may_be_asked(site: Site, method: str, path: str) -> None:
    await site.call("PUT", "c/o", None, b"x")
    answer = await bulk(site, b"/c/o", "application/xml", method, path)
    root = fromstring(answer.body)
    assert root.tag == "delete" and root.find("number_deleted").text == "1"
    assert root.find("response_status").text == "200 OK" and len(root.findall("errors")) == 1 and len(root.find("errors")) == 0


async def test_text(site: Site) -> None:
    answer = await bulk(site, b"c/missing", "")
    assert answer.body == b"Number Deleted: 0\nNumber Not Found: 1\nResponse Body: \nResponse Status: 200 OK\nErrors:\n"


async def test_errors(site: Site) -> None:
    await site.call("PUT", "c/o", None, b"x")
    long = b"c/" + b"x" * 5_000
    answer = json.loads((await bulk(site, b"c\nc/%ff\nc/%00\n/\n" + long)).body)
    assert answer["Response Status"] == "400 Bad Request" and answer["Number Deleted"] == 0
    refused = [[name, "412 Precondition Failed"] for name in ("c/%ff", "c/%00", "/", long.decode())]
    assert sorted(answer["Errors"]) == sorted([["c", "409 Conflict"], *refused])


async def test_nothing_to_delete(site: Site) -> None:
    assert json.loads((await bulk(site, b" \n\n")).body)["Response Status"] == "400 Bad Request"


async def test_every_deletion_is_checked(site: Site) -> None:
    await site.call("PUT", "c/o", None, b"x")
    answer = await site.call("POST", "?bulk-delete", {"Accept": "application/json"}, b"c/o", "test:tester3", "testing3")
    assert json.loads(answer.body)["Errors"] == [["/c/o", "403 Forbidden"]]
    assert (await site.call("HEAD", "c/o")).status == 200


async def test_limits() -> None:
    async with running_site(swift_limits=SwiftLimits(bulk_deletes_max=3)) as site:
        assert (await bulk(site, b"a/b\n" * 3)).status == 200
        assert (await bulk(site, b"a/b\n" * 4)).status == 413


async def test_waiting_for_continue(site: Site) -> None:
    wire = await site.connect()
    wire.send(
        b"POST /v1/AUTH_test?bulk-delete HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 3\r\n"
        b"X-Auth-Token: %s\r\n\r\n" % site.token().encode()
    )
    assert (await wire.answer()).status == 100
    wire.send(b"c/x")
    assert b"Number Not Found: 1" in (await wire.answer()).body
