"""Listings in three forms, and what part of them."""

import json

import pytest
from defusedxml.ElementTree import fromstring
from site_under_test import Site

from objstore.api.dates import listing_date
from objstore.api.swift.listings import Dates, render_containers, render_objects
from objstore.model.policy import ONE_POLICY
from objstore.model.rows import ContainerRow, ObjectRow, Subdir
from objstore.model.timestamps import from_seconds

NAMES = ["a", "b/c", "b/d/e", "ü/☃", "x&<y>\"'", "//", " ", "%41", "+"]
WHEN = from_seconds(1_795_386_477.59041)


def row(name: str, etag: str = "e" * 32) -> ObjectRow:
    return ObjectRow(name, WHEN, False, 7, etag, "text/plain; a=<b>", WHEN, WHEN)


def test_dates() -> None:
    assert Dates()(WHEN) == listing_date(WHEN) == "2026-11-22T22:27:57.590410"


def test_objects() -> None:
    rows = [*map(row, NAMES), Subdir("z/"), row("slo", "m" * 32 + "; slo_etag=" + "s" * 32)]
    assert render_objects(rows, "text/plain", "c").decode() == "".join(f"{r.name}\n" for r in rows)
    listed = json.loads(render_objects(rows, "application/json", "c"))
    assert [entry.get("name") for entry in listed] == [*NAMES, None, "slo"]
    assert listed[0] == {
        "name": "a", "hash": "e" * 32, "bytes": 7, "content_type": "text/plain; a=<b>",
        "last_modified": "2026-11-22T22:27:57.590410",
    }  # fmt: skip
    assert listed[-2] == {"subdir": "z/"}
    assert listed[-1]["hash"] == "m" * 32 and listed[-1]["slo_etag"] == f'"{"s" * 32}"'
    text = render_objects(rows, "application/xml", 'c&"')
    root = fromstring(text)
    assert root.get("name") == 'c&"' and root.text is None
    assert [child.find("name").text for child in root] == [r.name for r in rows]
    assert {child.tag for child in root} == {"object", "subdir"} and root[-2].get("name") == "z/"
    assert root[-1].find("hash").text == "m" * 32
    assert all(field.text for child in root for field in child)


def test_containers() -> None:
    rows: list[ContainerRow | Subdir] = [ContainerRow("ü<", WHEN, 0, 2, 9), Subdir("z-")]
    assert render_containers(rows, "text/plain", "a", ONE_POLICY) == "ü<\nz-\n".encode()
    assert json.loads(render_containers(rows, "application/json", "a", ONE_POLICY)) == [
        {"name": "ü<", "count": 2, "bytes": 9, "last_modified": "2026-11-22T22:27:57.590410", "storage_policy": "Policy-0"},
        {"subdir": "z-"},
    ]
    root = fromstring(render_containers(rows, "application/xml", "a", ONE_POLICY))
    assert root.tag == "account" and root.get("name") == "a"
    assert [field.tag for field in root[0]] == ["name", "count", "bytes", "last_modified", "storage_policy"]
    assert root[0][0].text == "ü<" and root[1].get("name") == "z-"


def test_nothing() -> None:
    assert render_objects([], "text/plain", "c") == b""
    assert render_objects([], "application/json", "c") == b"[]"
    assert len(fromstring(render_objects([], "text/xml", "c"))) == 0


def test_names_that_xml_cannot_hold() -> None:
    root = fromstring(render_objects([row("a\x01\ufffeb\tc")], "application/xml", "c"))
    assert root[0].find("name").text == "a\ufffd\ufffdb\tc"


async def fill(site: Site, names: list[str]) -> None:
    for name in names:
        quoted = "".join(f"%{byte:02x}" for byte in name.encode())
        assert (await site.call("PUT", f"c/{quoted}", {"Content-Type": "t/p"}, b"x")).status == 201


async def names_of(site: Site, query: str, path: str = "c") -> list[str]:
    answer = await site.call("GET", f"{path}?format=json&{query}")
    assert answer.status == 200, answer
    return [entry.get("name", entry.get("subdir")) for entry in json.loads(answer.body)]


async def test_names_are_opaque(site: Site) -> None:
    await fill(site, [*NAMES, "a/../b", "..", "./x"])
    assert await names_of(site, "") == sorted([*NAMES, "a/../b", "..", "./x"], key=str.encode)


async def test_parts_of_a_listing(site: Site) -> None:
    await fill(site, ["a", "b", "b-1", "b-2", "c"])
    assert await names_of(site, "limit=2") == ["a", "b"]
    assert await names_of(site, "limit=2&marker=b") == ["b-1", "b-2"]
    assert await names_of(site, "marker=a&end_marker=b-2") == ["b", "b-1"]
    assert await names_of(site, "prefix=b&delimiter=-") == ["b", "b-"]
    for true in ("true", "1", "YES", "on", "t", "y"):
        assert await names_of(site, f"reverse={true}&limit=1") == ["c"]
    for false in ("false", "", "garbage", "o=[]::::>"):
        assert await names_of(site, f"reverse={false}&limit=1") == ["a"]
    assert await names_of(site, "limit=5000.0") == await names_of(site, "limit=-1") == ["a", "b", "b-1", "b-2", "c"]
    assert await names_of(site, "limit=0") == []
    assert await names_of(site, "marker=b%00") == ["b-1", "b-2", "c"]


@pytest.mark.parametrize("limit", ["10001", "99999999999999999999999999"])
async def test_limit_above_the_maximum(site: Site, limit: str) -> None:
    for path in ("", "c"):
        answer = await site.call("GET", f"{path}?limit={limit}")
        assert (answer.status, answer.body) == (412, b"Maximum limit is 10000")


async def test_empty_is_204_in_text_and_200_otherwise(site: Site) -> None:
    for path in ("c", "?prefix=nothing"):
        answer = await site.call("GET", path)
        assert (answer.status, answer["Content-Length"], answer["Content-Type"]) == (204, "0", "text/plain; charset=utf-8")
    assert (await site.call("GET", "c?format=json")).body == b"[]"


async def test_accounts_have_delimiters_too(site: Site) -> None:
    for name in ("test", "test-1", "test-2"):
        await site.call("PUT", name)
    assert await names_of(site, "delimiter=-", "") == ["c", "test", "test-"]


async def test_pseudo_directories(site: Site) -> None:
    names = ["file1", "dir1/", "dir1/file2", "dir1/subdir1/", "dir1/subdir1/file3", "dir1/subdir2/file4", "/file5", "/dir1/",
             "/dir1/file6", "dir1/subdir+with{weird/"]  # fmt: skip
    await fill(site, names)
    assert await names_of(site, "path=") == ["dir1/", "file1"]
    assert await names_of(site, "path=dir1") == ["dir1/file2", "dir1/subdir+with{weird/", "dir1/subdir1/"]
    assert await names_of(site, "path=dir1/") == await names_of(site, "path=dir1")
    assert await names_of(site, "path=dir1/subdir1/") == ["dir1/subdir1/file3"]
    assert await names_of(site, "path=/") == ["/dir1/", "/file5"]
    assert await names_of(site, "path=/dir1") == await names_of(site, "path=/dir1/") == ["/dir1/file6"]
    assert await names_of(site, "path=dir1&limit=1") == ["dir1/file2"]
    assert await names_of(site, "path=dir1&marker=dir1/file2&limit=1") == ["dir1/subdir+with{weird/"]
    assert await names_of(site, "path=nowhere") == []


async def test_of_a_missing_container(site: Site) -> None:
    for form in ("plain", "json", "xml"):
        assert (await site.call("GET", f"missing?format={form}")).status == 404
