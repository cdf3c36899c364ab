"""Clients that are too slow (security test S20): heads, bodies, and readers. The clock of the watch is real, its limits short."""

import asyncio

from site_under_test import Site, head, running_site

from objstore.api.limits import EdgeLimits

SHORT = EdgeLimits(head_timeout_s=0.2, slow_window_s=0.2, slow_bytes_min=10, idle_timeout_s=30)


async def watched(site: Site, seconds: float) -> None:
    """Let the watch look often for a while."""
    server = site.edge._server
    assert server is not None
    clock = site.edge._clock
    end = clock.monotonic() + seconds
    while clock.monotonic() < end:
        server.watch(clock.monotonic())
        await asyncio.sleep(0.02)


async def test_a_head_that_does_not_end() -> None:
    async with running_site(SHORT) as site:
        wire = await site.connect()
        wire.send(b"GET / HTTP/1.1\r\nHost: x\r\nX-")
        task = asyncio.create_task(watched(site, 0.6))
        for _ in range(3):
            await asyncio.sleep(0.05)
            wire.send(b"a")
        assert (await wire.answer()).status == 408
        assert await wire.closed(2)
        await task


async def test_an_idle_connection_is_not_slow() -> None:
    async with running_site(SHORT) as site:
        wire = await site.connect()
        await watched(site, 0.4)
        wire.send(head("GET", "/healthcheck"))
        assert (await wire.answer()).status == 200
        await watched(site, 0.4)
        wire.send(head("GET", "/healthcheck"))
        assert (await wire.answer()).status == 200


async def test_an_idle_connection_ends_in_the_end() -> None:
    async with running_site(EdgeLimits(idle_timeout_s=0.2)) as site:
        wire = await site.connect()
        wire.send(head("GET", "/healthcheck"))
        await wire.answer()
        assert await wire.closed(3)


async def test_a_body_that_stops() -> None:
    async with running_site(SHORT) as site:
        await site.call("PUT", "c")
        wire = await site.connect()
        wire.send(head("PUT", "/v1/AUTH_test/c/o", {"X-Auth-Token": site.token(), "Content-Length": "1000"}) + b"some")
        await watched(site, 0.6)
        answer = await wire.answer()
        assert (answer.status, answer["Connection"]) == (408, "close")
        assert "o" not in site.store._containers["AUTH_test"]["c"].objects


async def test_a_body_of_single_bytes_is_too_slow_and_a_steady_one_is_not() -> None:
    async with running_site(SHORT) as site:
        await site.call("PUT", "c")
        slow, steady = await site.connect(), await site.connect()
        request = head("PUT", "/v1/AUTH_test/c/o", {"X-Auth-Token": site.token(), "Content-Length": "200"})
        slow.send(request)
        steady.send(request)
        task = asyncio.create_task(watched(site, 0.8))
        for number in range(10):
            await asyncio.sleep(0.06)
            if number < 3:  # one more, and it meets a closed connection
                slow.send(b"a")
            steady.send(b"a" * 20)
        assert (await steady.answer()).status == 201
        assert (await slow.answer()).status == 408
        await task


async def test_a_reader_that_does_not_read() -> None:
    async with running_site(SHORT) as site:
        await site.call("PUT", "c")
        await site.call("PUT", "c/o", None, b"x" * 30_000_000)
        wire = await site.connect()
        wire.send(head("GET", "/v1/AUTH_test/c/o", {"X-Auth-Token": site.token()}))
        await watched(site, 0.6)
        assert site.store.reads[-1].closed
        healthy = await site.call("GET", "c")
        assert healthy.status == 200
