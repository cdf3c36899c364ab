"""Requests that no honest client sends, as raw bytes (security tests S1, S2, S3, S6): refused before anything is done, and the
connection ends, so that nothing behind them is ever taken for a request.
"""

import pytest
from site_under_test import Site, head, running_site

from objstore.api.limits import EdgeLimits

PUT = b"PUT /v1/AUTH_test/c/o HTTP/1.1\r\nHost: x\r\nX-Auth-Token: %s\r\n"

SMUGGLING = {
    "length and chunked": b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "two lengths": b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nabcde",
    "two equal lengths": b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nabcde",
    "plus": b"Content-Length: +5\r\n\r\nabcde",
    "blank inside": b"Content-Length: 5 5\r\n\r\nabcde",
    "hexadecimal": b"Content-Length: 0x5\r\n\r\nabcde",
    "list": b"Content-Length: 5,5\r\n\r\nabcde",
    "arabic digit": "Content-Length: ٥\r\n\r\nabcde".encode(),
    "negative": b"Content-Length: -1\r\n\r\nabcde",
    "beyond 64 bits": b"Content-Length: 18446744073709551621\r\n\r\nabcde",
    "word": b"Content-Length: X\r\n\r\nabcde",
    "empty length": b"Content-Length:\r\n\r\nabcde",
    "chunked not last": b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "vertical tab": b"Transfer-Encoding: chunked\x0b\r\n\r\n0\r\n\r\n",
    "chunked twice": b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "folded": b"X-Object-Meta-A: a\r\n b\r\nContent-Length: 0\r\n\r\n",
    "space before colon": b"Content-Length : 5\r\n\r\nabcde",
    "bare line feed": b"X-Object-Meta-A: a\nContent-Length: 5\r\n\r\nabcde",
    "bare carriage return": b"X-Object-Meta-A: a\rContent-Length: 5\r\n\r\nabcde",
    "NUL in a value": b"X-Object-Meta-A: a\x00b\r\nContent-Length: 0\r\n\r\n",
    "NUL in a name": b"X-Object-\x00Meta-A: a\r\nContent-Length: 0\r\n\r\n",
    "two hosts": b"Host: y\r\nContent-Length: 0\r\n\r\n",
    "no name": b": v\r\nContent-Length: 0\r\n\r\n",
}


@pytest.mark.parametrize("shape", SMUGGLING)
async def test_smuggling(site: Site, shape: str) -> None:
    canary = head("PUT", "/v1/AUTH_test/c/canary", {"X-Auth-Token": site.token(), "Content-Length": "0"})
    wire = await site.connect()
    wire.send(PUT % site.token().encode() + SMUGGLING[shape] + canary)
    answer = await wire.answer()
    assert answer.status in (400, 501), answer
    assert answer["Connection"] == "close" and answer["X-Trans-Id"].startswith("tx")
    assert await wire.closed()
    assert (await site.call("GET", "c/canary")).status == 404
    assert (await site.call("GET", "c/o")).status == 404


@pytest.mark.parametrize("coding", ["gzip", "gzip, chunked", "xchunked", "identity", "chunked;q=1"])
async def test_transfer_codings(site: Site, coding: str) -> None:
    answer = await site.call("PUT", "c/o", {"Transfer-Encoding": coding}, None)
    assert answer.status in (400, 501) and answer["Connection"] == "close"
    assert (await site.call("GET", "c/o")).status == 404


async def test_an_unknown_coding_is_named_even_when_its_bytes_come_along(site: Site) -> None:
    request = head("PUT", "/v1/AUTH_test/c/o", {"X-Auth-Token": site.token(), "Transfer-Encoding": "gzip, chunked"})
    answer = await site.raw(request + b"\x1f\x8b" * 50)
    assert (answer.status, answer["Connection"]) == (501, "close")


async def test_chunked_in_http_1_0(site: Site) -> None:
    request = b"PUT /v1/AUTH_test/c/o HTTP/1.0\r\nHost: x\r\nX-Auth-Token: %s\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    wire = await site.connect()
    wire.send(request % site.token().encode())
    assert (await wire.answer()).status in (201, 400)
    assert await wire.closed()


CHUNKS = {
    "size overflow": b"FFFFFFFFFFFFFFFF1\r\nabc\r\n0\r\n\r\n",
    "negative": b"-1\r\nabc\r\n0\r\n\r\n",
    "hexadecimal prefix": b"0x3\r\nabc\r\n0\r\n\r\n",
    "no line end": b"3\r\nabc3\r\nabc\r\n0\r\n\r\n",
    "not a number": b"z\r\nabc\r\n0\r\n\r\n",
    "empty": b"\r\nabc\r\n0\r\n\r\n",
    "bare line feeds": b"3\nabc\n0\n\n",
}


@pytest.mark.parametrize("shape", CHUNKS)
@pytest.mark.parametrize("apart", [False, True])
async def test_broken_chunks(site: Site, shape: str, apart: bool) -> None:
    request = head("PUT", "/v1/AUTH_test/c/o", {"X-Auth-Token": site.token(), "Transfer-Encoding": "chunked"})
    wire = await site.connect()
    if apart:
        wire.send(request)
        await site.pause()
        wire.send(CHUNKS[shape])
    else:
        wire.send(request + CHUNKS[shape])
    answer = await wire.answer()
    assert (answer.status, answer["Connection"]) == (400, "close")
    assert await wire.closed()
    assert (await site.call("GET", "c/o")).status == 404


async def test_bytes_behind_the_last_chunk_end_the_connection(site: Site) -> None:
    request = head("PUT", "/v1/AUTH_test/c/o", {"X-Auth-Token": site.token(), "Transfer-Encoding": "chunked"})
    wire = await site.connect()
    wire.send(request + b"3\r\nabc\r\n0\r\n\r\n\x00garbage\r\n\r\n")
    assert (await wire.answer())["Connection"] == "close"
    assert await wire.closed()


async def test_trailers_set_nothing(site: Site) -> None:
    request = head("PUT", "/v1/AUTH_test/c/o", {"X-Auth-Token": site.token(), "Transfer-Encoding": "chunked"})
    answer = await site.raw(request + b"3\r\nabc\r\n0\r\nX-Object-Meta-A: b\r\nX-Auth-Token: x\r\n\r\n")
    assert answer.status in (201, 400)
    if answer.status == 201:
        assert "X-Object-Meta-A" not in await site.call("HEAD", "c/o")


REQUEST_LINES = {
    b"GET /health check HTTP/1.1\r\nHost: x\r\n\r\n": 400,
    b"GET /healthcheck HTTP/1.1\nHost: x\n\n": 400,
    b"GET /healthcheck\r\n\r\n": 400,
    b"GET /healthcheck HTTP/9.9\r\nHost: x\r\n\r\n": 400,
    b"GET /healthcheck HTTP/1.1\r\n\r\n": 400,
    b"GET http://other/healthcheck HTTP/1.1\r\nHost: x\r\n\r\n": 400,
    b"GET healthcheck HTTP/1.1\r\nHost: x\r\n\r\n": 400,
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n": 405,
    b"LICK /v1/AUTH_test HTTP/1.1\r\nHost: x\r\n\r\n": 405,
    b"GETorHEAD_base /v1/AUTH_test HTTP/1.1\r\nHost: x\r\n\r\n": 405,
    b"TRACE / HTTP/1.1\r\nHost: x\r\n\r\n": 405,
    b"PROPFIND /v1/AUTH_test HTTP/1.1\r\nHost: x\r\n\r\n": 405,
    b"CONNECT other:443 HTTP/1.1\r\nHost: other:443\r\n\r\n": 405,
    b"M" * 100_000 + b" / HTTP/1.1\r\nHost: x\r\n\r\n": 431,
}


@pytest.mark.parametrize("request_bytes", REQUEST_LINES, ids=lambda raw: raw[:24].decode("latin-1"))
async def test_request_lines(site: Site, request_bytes: bytes) -> None:
    wire = await site.connect()
    wire.send(request_bytes)
    answer = await wire.answer()
    assert (answer.status, answer["Connection"]) == (REQUEST_LINES[request_bytes], "close")
    assert b"Traceback" not in answer.body and len(answer.body) < 200
    assert await wire.closed()


async def test_an_absolute_target_of_this_host_is_served(site: Site) -> None:
    assert (await site.raw(b"GET http://X:80/healthcheck?a HTTP/1.1\r\nHost: x:80\r\n\r\n")).body == b"OK"
    assert (await site.raw(b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n")).status == 200


async def test_an_upgrade_is_declined_and_nothing_follows_it(site: Site) -> None:
    for protocol in ("websocket", "h2c"):
        wire = await site.connect()
        wire.send(head("GET", "/healthcheck", {"Connection": "Upgrade", "Upgrade": protocol}) + head("GET", "/healthcheck"))
        answer = await wire.answer()
        assert (answer.status, answer["Connection"]) == (200, "close")
        assert await wire.closed()


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (head("GET", "/v1/AUTH_test/" + "a" * 17_000), 400),
        (head("GET", "/healthcheck", {"X-A": "a" * 8_191}), 400),
        (head("GET", "/healthcheck", {"a" * 8_191: "a"}), 400),
        (head("GET", "/healthcheck", {f"X-{i}": "a" for i in range(129)}), 400),
        (head("GET", "/healthcheck", {f"X-{i}": "a" * 8_000 for i in range(9)}), 431),
        (head("GET", "/v1/AUTH_test?" + "&".join(f"a{i}=1" for i in range(101)), {}), 400),
        (head("GET", "/v1/AUTH_test?marker=%ff", {}), 400),
    ],
    ids=["target", "value", "name", "count", "whole head", "query fields", "query encoding"],
)
async def test_one_over_the_limit(site: Site, request_bytes: bytes, status: int) -> None:
    token = b"X-Auth-Token: " + site.token().encode() + b"\r\n\r\n"
    assert (await site.raw(request_bytes[:-2] + token)).status == status


@pytest.mark.parametrize(
    "request_bytes",
    [
        head("GET", "/healthcheck?" + "a" * 16_000),
        head("GET", "/healthcheck", {"X-A": "a" * 8_180}),
        head("GET", "/healthcheck", {f"X-{i}": "a" for i in range(125)}),
        head("GET", "/healthcheck", {f"X-{i}": "a" * 8_000 for i in range(8)}),
    ],
    ids=["target", "value", "count", "whole head"],
)
async def test_just_within_the_limit(site: Site, request_bytes: bytes) -> None:
    assert (await site.raw(request_bytes)).status == 200


async def test_a_head_without_end_is_bounded(site: Site) -> None:
    wire = await site.connect()
    wire.send(b"GET / HTTP/1.1\r\nHost: x\r\n" + b"X-A: b\r\n" * 120 + b"X-B: " + b"c" * 100_000)
    assert (await wire.answer()).status in (400, 431)
    assert await wire.closed()


async def test_too_many_connections() -> None:
    async with running_site(EdgeLimits(connections_max=2)) as site:
        kept = [await site.connect() for _ in range(2)]
        for wire in kept:
            wire.send(head("GET", "/healthcheck"))
            assert (await wire.answer()).status == 200
        refused = await site.connect()
        assert (await refused.answer()).status == 503
        assert await refused.closed()
        kept[0].send(head("GET", "/healthcheck"))
        assert (await kept[0].answer()).status == 200
