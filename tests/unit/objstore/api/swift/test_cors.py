"""Cross-origin requests."""

import pytest
from site_under_test import Site

ORIGIN = "http://page.example:8080"
META = "X-Container-Meta-Access-Control-"


async def allow(site: Site, origins: str, **more: str) -> None:
    fields = {META + "Allow-Origin": origins} | {META + name.replace("_", "-"): value for name, value in more.items()}
    assert (await site.call("POST", "c", fields)).status == 204


@pytest.mark.parametrize("path", ["", "c", "c/o", "missing/o", "/v1/SERVICE_x"])
async def test_options_without_an_origin(site: Site, path: str) -> None:
    for fields in ({}, {"X-Auth-Token": "AUTH_tkbad"}):
        answer = await site.call("OPTIONS", path, fields, user=None)
        assert answer.status == 200 and "GET" in answer["Allow"].split(", ")
        assert ("COPY" in answer["Allow"]) == path.endswith("o")
        assert "Access-Control-Allow-Origin" not in answer


@pytest.mark.parametrize(
    ("origins", "fields", "allowed"),
    [
        ("*", {"Access-Control-Request-Method": "GET"}, "*"),
        (f"http://a {ORIGIN}", {"Access-Control-Request-Method": "PUT"}, ORIGIN),
        ("*", {}, ""),
        ("*", {"Access-Control-Request-Method": "LICK"}, ""),
        ("", {"Access-Control-Request-Method": "GET"}, ""),
        ("http://page.example", {"Access-Control-Request-Method": "GET"}, ""),
        ("http://page.example:80800", {"Access-Control-Request-Method": "GET"}, ""),
        ("null", {"Access-Control-Request-Method": "GET"}, ""),
    ],
)
async def test_preflight(site: Site, origins: str, fields: dict[str, str], allowed: str) -> None:
    await allow(site, origins, Max_Age="5")
    wanted = {"Origin": ORIGIN, "Access-Control-Request-Headers": "X-Object-Meta-A, Range"}
    answer = await site.call("OPTIONS", "c/o", wanted | fields, user=None)
    assert answer.status == (200 if allowed else 401)
    assert ("Access-Control-Allow-Origin" in answer) == bool(allowed)
    if allowed:
        assert (answer["Access-Control-Allow-Origin"] == allowed and "Origin" in answer["Vary"]) or allowed == "*"
        assert answer["Access-Control-Allow-Headers"] == "x-object-meta-a, range" and answer["Access-Control-Max-Age"] == "5"
        assert "PUT" in answer["Access-Control-Allow-Methods"]
    assert not {"Access-Control-Expose-Headers", "Access-Control-Allow-Credentials"} & answer.names()


async def test_a_read_from_a_page(site: Site) -> None:
    await allow(site, ORIGIN, Expose_Headers="X-Own X-Other")
    await site.call("PUT", "c/o", {"X-Object-Meta-Color": "blue"}, b"x")
    answer = await site.call("GET", "c/o", {"Origin": ORIGIN})
    assert (answer.status, answer["Access-Control-Allow-Origin"], answer["Vary"]) == (200, ORIGIN, "Origin")
    exposed = answer["Access-Control-Expose-Headers"].split(", ")
    assert {"etag", "x-trans-id", "x-object-meta-color", "x-own", "x-other"} <= set(exposed) and len(set(exposed)) == len(exposed)
    other = await site.call("GET", "c/o", {"Origin": "http://other"})
    assert other.status == 200 and not any(name.startswith("Access-Control") for name in other.names())


async def test_a_page_may_read_a_refusal(site: Site) -> None:
    await allow(site, "*")
    answer = await site.call("GET", "c/missing", {"Origin": ORIGIN})
    assert (answer.status, answer["Access-Control-Allow-Origin"]) == (404, "*")
    assert (await site.call("GET", "c/o", {"Origin": ORIGIN}, user=None)).status == 401


async def test_a_change_acts_at_once(site: Site) -> None:
    await allow(site, "*")
    await allow(site, "")
    assert "Access-Control-Allow-Origin" not in await site.call("GET", "c", {"Origin": ORIGIN})
