"""Copies both ways."""

import pytest
from site_under_test import Answer, Site

SOURCE = "c/s%20%252F%C3%BC"
QUOTED = "c/s%20%252F%C3%BC"


async def source(site: Site, **fields: str) -> None:
    sent = {name.replace("_", "-"): value for name, value in fields.items()}
    assert (await site.call("PUT", SOURCE, sent, b"content")).status == 201


async def copy(site: Site, way: str, fields: dict[str, str] | None = None, query: str = "") -> Answer:
    """Copy the source to c/t by either form."""
    if way == "COPY":
        return await site.call("COPY", SOURCE + query, {"Destination": "c/t"} | (fields or {}))
    return await site.call("PUT", "c/t" + query, {"X-Copy-From": QUOTED, "Content-Length": "0"} | (fields or {}))


@pytest.mark.parametrize("way", ["COPY", "PUT"])
async def test_metadata_is_merged(site: Site, way: str) -> None:
    await source(site, X_Object_Meta_A="1", X_Object_Meta_B="2", Content_Type="a/b", Content_Disposition="d")
    answer = await copy(site, way, {"X-Object-Meta-B": "3", "X-Object-Meta-C": "4"})
    assert (answer.status, answer.body, answer["Etag"]) == (201, b"", "9a0364b9e99bb480dd25e1f0284c8555")
    assert (answer["X-Copied-From-Account"], answer["X-Copied-From"]) == ("AUTH_test", "c/s%20%252F%C3%BC")
    assert answer["X-Copied-From-Last-Modified"] and answer["X-Object-Meta-C"] == "4"
    found = await site.call("GET", "c/t")
    assert (found.body, found["Content-Type"], found["Content-Disposition"]) == (b"content", "a/b", "d")
    assert [found[f"X-Object-Meta-{name}"] for name in "ABC"] == ["1", "3", "4"]


@pytest.mark.parametrize("way", ["COPY", "PUT"])
async def test_fresh_metadata(site: Site, way: str) -> None:
    await source(site, X_Object_Meta_A="1", Content_Type="a/b", Content_Disposition="d")
    assert (await copy(site, way, {"X-Fresh-Metadata": "true", "X-Object-Meta-B": "2", "Content-Type": "c/d"})).status == 201
    found = await site.call("HEAD", "c/t")
    assert found["Content-Type"] == "c/d" and found["X-Object-Meta-B"] == "2"
    assert not {"X-Object-Meta-A", "Content-Disposition"} & found.names()


@pytest.mark.parametrize("way", ["COPY", "PUT"])
async def test_a_range(site: Site, way: str) -> None:
    await source(site, X_Object_Meta_A="1")
    assert (await copy(site, way, {"Range": "bytes=1-3"})).status == 201
    found = await site.call("GET", "c/t")
    assert (found.body, found["X-Object-Meta-A"]) == (b"ont", "1")


@pytest.mark.parametrize("way", ["COPY", "PUT"])
async def test_conditions_are_about_the_source_and_absence_about_the_target(site: Site, way: str) -> None:
    await source(site)
    assert (await copy(site, way, {"If-Match": "bogus"})).status == 412
    assert (await copy(site, way, {"If-None-Match": "*"})).status == 201
    assert (await copy(site, way, {"If-None-Match": "*"})).status == 412
    assert (await copy(site, way, {"If-None-Match": "x"})).status == 400
    assert (await copy(site, way, {"ETag": "bad"})).status == 422


async def test_to_and_from_another_account(site: Site) -> None:
    await source(site)
    await site.call("PUT", "/v1/AUTH_test2/d", {"X-Container-Write": "test:tester"}, user="test2:tester2", key="testing2")
    answer = await site.call("COPY", SOURCE, {"Destination": "d/t", "Destination-Account": "AUTH_test2"})
    assert answer.status == 201
    found = await site.call("GET", "/v1/AUTH_test2/d/t", user="test2:tester2", key="testing2")
    assert found.body == b"content"
    refused = await site.call("PUT", "c/back", {"X-Copy-From": "d/t", "X-Copy-From-Account": "AUTH_test2"}, b"")
    assert refused.status == 403
    await site.call("POST", "/v1/AUTH_test2/d", {"X-Container-Read": "test:tester"}, user="test2:tester2", key="testing2")
    taken = await site.call("PUT", "c/back", {"X-Copy-From": "/d/t", "X-Copy-From-Account": "AUTH_test2"}, b"")
    assert (taken.status, taken["X-Copied-From-Account"]) == (201, "AUTH_test2")


async def test_onto_itself(site: Site) -> None:
    await source(site, X_Object_Meta_A="1")
    assert (await site.call("COPY", SOURCE, {"Destination": QUOTED, "X-Object-Meta-B": "2"})).status == 201
    found = await site.call("GET", SOURCE)
    assert (found.body, found["X-Object-Meta-A"], found["X-Object-Meta-B"]) == (b"content", "1", "2")


@pytest.mark.parametrize("destination", ["", "x", "c", "c/", "/", "//t", "%00/t", "c/%00", "c/%ff", "/%2F/t"])
async def test_bad_destinations(site: Site, destination: str) -> None:
    await source(site)
    assert (await site.call("COPY", SOURCE, {"Destination": destination} if destination else {})).status == 412
    if destination:
        assert (await site.call("PUT", "c/t", {"X-Copy-From": destination}, b"")).status == 412


async def test_other_refusals(site: Site) -> None:
    await source(site)
    for account in ("a/b", "%2F", "a%00"):
        assert (await site.call("COPY", SOURCE, {"Destination": "c/t", "Destination-Account": account})).status == 412
    assert (await site.call("PUT", "c/t", {"X-Copy-From": QUOTED}, b"body")).status == 400
    assert (await site.call("PUT", "c/t", {"X-Copy-From": "c/missing"}, b"")).status == 404
    assert (await site.call("COPY", SOURCE, {"Destination": "missing/t"})).status == 404
    assert (await site.call("COPY", SOURCE, {"Destination": "c/" + "o" * 1025})).status == 400
    assert (await site.call("HEAD", "c/t")).status == 404


async def test_a_copy_without_content_length(site: Site) -> None:
    await source(site)
    assert (await site.call("PUT", "c/t", {"X-Copy-From": QUOTED})).status == 201
