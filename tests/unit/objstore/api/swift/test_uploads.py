"""Bodies on their way in: lengths, chunks, digests, waiting for 100 Continue."""

import asyncio
import hashlib

import pytest
from site_under_test import Site, Wire, head, running_site

from objstore.api.limits import EdgeLimits
from objstore.api.swift.call import SwiftLimits


async def start(site: Site, fields: dict[str, str], name: str = "o") -> Wire:
    wire = await site.connect()
    wire.send(head("PUT", f"/v1/AUTH_test/c/{name}", {"X-Auth-Token": site.token(), **fields}))
    return wire


async def stored(site: Site, name: str = "o") -> bytes | None:
    answer = await site.call("GET", f"c/{name}")
    return answer.body if answer.status == 200 else None


async def test_put_and_get(site: Site) -> None:
    for size in (0, 1, 4096, 65_536, 65_537, 1_000_000):
        body = bytes(i & 0xFF for i in range(size))
        digest = hashlib.md5(body, usedforsecurity=False).hexdigest()
        answer = await site.call("PUT", "c/o", {"ETag": digest}, body)
        assert (answer.status, answer["Etag"], answer["Content-Length"]) == (201, digest, "0")
        read = await site.call("GET", "c/o")
        assert (read.status, read.body, read["Etag"], read["Content-Length"]) == (200, body, digest, str(size))
        assert read["Accept-Ranges"] == "bytes" and read["Last-Modified"] == answer["Last-Modified"]


async def test_a_large_body_arrives_in_large_pieces() -> None:
    async with running_site(EdgeLimits(piece_bytes=262_144)) as site:
        await site.call("PUT", "c")
        sizes: list[int] = []
        put = site.store.put_object

        async def counting(ctx, name, new, upload, conditions):  # type: ignore[no-untyped-def]
            async def counted():  # type: ignore[no-untyped-def]
                async for piece in chunks:
                    sizes.append(len(piece))
                    yield piece

            chunks, upload.chunks = upload.chunks, counted()
            return await put(ctx, name, new, upload, conditions)

        site.store.put_object = counting  # type: ignore[method-assign]
        body = b"x" * 3_000_000
        assert (await site.call("PUT", "c/o", None, body)).status == 201
        assert sum(sizes) == len(body) and all(size >= 262_144 for size in sizes[:-1]) and len(sizes) <= 12
        assert await stored(site) == body


async def test_no_length(site: Site) -> None:
    answer = await site.call("PUT", "c/o", {}, None)
    assert answer.status == 411
    wire = await start(site, {})
    wire.send(b"a body nobody announced")
    assert (await wire.answer()).status == 411
    assert await wire.closed()


async def test_too_large() -> None:
    async with running_site(swift_limits=SwiftLimits(object_bytes_max=100)) as site:
        await site.call("PUT", "c")
        assert (await site.call("PUT", "c/o", None, b"x" * 100)).status == 201
        assert (await (await start(site, {"Content-Length": "101"}, "p")).answer()).status == 413
        wire = await start(site, {"Transfer-Encoding": "chunked"}, "p")
        wire.send(b"65\r\n" + b"x" * 101 + b"\r\n0\r\n\r\n")
        assert (await wire.answer()).status == 413
        assert await stored(site, "p") is None


@pytest.mark.parametrize("etag", ["bad", "d41d8cd98f00b204e9800998ecf8427e", "098F6BCD4621D373CADE4E832627B4F6"])
async def test_wrong_digest(site: Site, etag: str) -> None:
    assert (await site.call("PUT", "c/o", {"ETag": etag}, b"test")).status == 422
    assert await stored(site) is None


async def test_a_quoted_digest(site: Site) -> None:
    assert (await site.call("PUT", "c/o", {"ETag": '"098f6bcd4621d373cade4e832627b4f6"'}, b"test")).status == 201


async def test_chunks_of_one_byte(site: Site) -> None:
    wire = await start(site, {"Transfer-Encoding": "chunked"})
    for _ in range(20):
        wire.send(b"1\r\nx\r\n" * 500)
        await site.pause()
    wire.send(b"0\r\n\r\n")
    assert (await wire.answer()).status == 201
    assert await stored(site) == b"x" * 10_000


@pytest.mark.parametrize("fields", [{"Content-Length": "10"}, {"Transfer-Encoding": "chunked"}])
async def test_a_client_that_leaves(site: Site, fields: dict[str, str]) -> None:
    wire = await start(site, fields)
    wire.send(b"5\r\nabcde")
    await asyncio.sleep(0.05)
    wire.writer.transport.abort()
    await asyncio.sleep(0.05)
    assert await stored(site) is None
    assert ("PUT", 499) in [(method, status) for method, status, *_ in site.metrics.requests]


async def test_a_client_that_ends_early_but_listens(site: Site) -> None:
    wire = await start(site, {"Content-Length": "10"})
    wire.send(b"abc")
    wire.writer.write_eof()
    with pytest.raises((AssertionError, asyncio.IncompleteReadError)):
        answer = await wire.answer()
        assert answer.status not in (400, 408, 499)
    assert await stored(site) is None


async def test_continue_is_sent_when_the_body_is_wanted(site: Site) -> None:
    wire = await start(site, {"Content-Length": "4", "Expect": "100-continue"})
    assert (await wire.answer()).status == 100
    wire.send(b"test")
    assert (await wire.answer()).status == 201
    wire.send(head("GET", "/healthcheck"))
    assert (await wire.answer()).status == 200


async def test_continue_for_a_chunked_body(site: Site) -> None:
    wire = await start(site, {"Transfer-Encoding": "chunked", "Expect": "100-Continue"})
    assert (await wire.answer()).status == 100
    wire.send(b"4\r\ntest\r\n0\r\n\r\n")
    assert (await wire.answer()).status == 201


@pytest.mark.parametrize(
    ("path", "fields", "status"),
    [
        ("c/o", {"X-Auth-Token": "AUTH_tkbad"}, 401),
        ("missing/o", {}, 404),
        ("c/o", {"If-None-Match": "x"}, 400),
        ("c/o", {"X-Delete-At": "1"}, 400),
        ("c/" + "o" * 1025, {}, 400),
    ],
)
async def test_no_continue_for_what_is_refused_anyway(site: Site, path: str, fields: dict[str, str], status: int) -> None:
    wire = await site.connect()
    sent = {"X-Auth-Token": site.token(), "Content-Length": "4", "Expect": "100-continue"} | fields
    wire.send(head("PUT", f"/v1/AUTH_test/{path}", sent))
    answer = await wire.answer()
    assert (answer.status, answer["Connection"]) == (status, "close")


async def test_no_continue_for_a_body_that_came_unasked(site: Site) -> None:
    wire = await site.connect()
    fields = {"X-Auth-Token": site.token(), "Content-Length": "4", "Expect": "100-continue"}
    wire.send(head("PUT", "/v1/AUTH_test/c/o", fields) + b"test")
    assert (await wire.answer()).status == 201


async def test_a_refused_body_does_not_become_a_request(site: Site) -> None:
    canary = head("PUT", "/v1/AUTH_test/c/canary", {"X-Auth-Token": site.token(), "Content-Length": "0"})
    wire = await site.connect()
    wire.send(head("PUT", "/v1/AUTH_test/missing/o", {"X-Auth-Token": site.token(), "Content-Length": str(len(canary))}))
    wire.send(canary)
    assert (await wire.answer()).status == 404
    wire.send(head("GET", "/healthcheck"))
    assert (await wire.answer()).status == 200, "a small body is read away and the connection goes on"
    assert await stored(site, "canary") is None


async def test_a_large_refused_body_ends_the_connection(site: Site) -> None:
    wire = await site.connect()
    wire.send(head("PUT", "/v1/AUTH_test/missing/o", {"X-Auth-Token": site.token(), "Content-Length": "10000000"}))
    wire.send(b"x" * 1_000_000)
    answer = await wire.answer()
    assert (answer.status, answer["Connection"]) == (404, "close")


async def test_compressed_bodies_are_stored_as_they_come(site: Site) -> None:
    assert (await site.call("PUT", "c/o", {"Content-Encoding": "gzip"}, b"no gzip at all")).status == 201
    answer = await site.call("GET", "c/o")
    assert (answer.body, answer["Content-Encoding"]) == (b"no gzip at all", "gzip")
