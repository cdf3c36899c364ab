"""Which form of a listing a client gets."""

import pytest
from site_under_test import Site

from objstore.api.swift.negotiation import best_match


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [
        ("*/*", "text/plain"),
        ("application/json", "application/json"),
        ("application/xml", "application/xml"),
        ("text/xml", "text/xml"),
        ("text/*", "text/plain"),
        ("application/*", "application/json"),
        ("APPLICATION/JSON; charset=utf-8", "application/json"),
        ("text/html, application/xhtml+xml, application/xml;q=0.9, */*;q=0.8", "application/xml"),
        ("application/json;q=0.5, application/xml;q=0.7", "application/xml"),
        ("text/plain;q=0, application/json;q=0.1", "application/json"),
        ("application/json;q=nan, text/plain", "text/plain"),
        ("text/html", None),
        ("image/png", None),
        ("garbage", None),
        (",;,;q=", None),
        ("application/json;q=x", None),
        ("application/json" + ";q=0" * 2_000, None),
        ("text/x," * 150 + "application/json", None),
        ("a/" + "*" * 8_000, None),
        (" \t" * 4_000, None),
    ],
)
def test_best_match(accept: str, chosen: str | None) -> None:
    assert best_match(accept) == chosen


@pytest.mark.parametrize("path", ["", "c"])
async def test_head_and_get_agree(site: Site, path: str) -> None:
    for query, accept, content_type, varies in [
        ("", "", "text/plain; charset=utf-8", True),
        ("?format=json", "", "application/json; charset=utf-8", False),
        ("?format=XML", "", "application/xml; charset=utf-8", False),
        ("?format=other", "image/png", "text/plain; charset=utf-8", False),
        ("", "application/json", "application/json; charset=utf-8", True),
        ("?format=plain", "application/json", "text/plain; charset=utf-8", False),
    ]:
        fields = {"Accept": accept} if accept else {}
        read, asked = await site.call("GET", path + query, fields), await site.call("HEAD", path + query, fields)
        assert read["Content-Type"] == asked["Content-Type"] == content_type
        assert ("Vary" in read) == ("Vary" in asked) == varies
        assert (asked.status, asked["Content-Length"]) == (204, "0")
        assert read.status == (204 if not read.body else 200)


async def test_nothing_acceptable(site: Site) -> None:
    for path in ("", "c"):
        assert (await site.call("GET", path, {"Accept": "image/png"})).status == 406
