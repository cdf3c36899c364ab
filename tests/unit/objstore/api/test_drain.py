"""A worker ends without losing a request."""

import asyncio

from site_under_test import Site, head, running_site

from objstore.api.limits import EdgeLimits


async def end(site: Site, timeout_s: float = 10) -> asyncio.Task[None]:
    """Begin to drain, as a worker told to stop does."""
    assert site.server is not None
    site.server.close()
    task = asyncio.create_task(site.edge.drain(timeout_s))
    await asyncio.sleep(0)
    return task


async def test_a_request_on_an_idle_connection_is_still_answered() -> None:
    async with running_site(EdgeLimits(drain_grace_s=5)) as site:
        wire = await site.connect()
        wire.send(head("GET", "/healthcheck"))
        assert "Connection" not in await wire.answer()
        drained = await end(site)
        await asyncio.sleep(0.1)
        wire.send(head("PUT", "/v1/AUTH_test/late", {"X-Auth-Token": site.token()}))
        answer = await wire.answer()
        assert (answer.status, answer["Connection"]) == (201, "close")
        assert await wire.closed()
        await asyncio.wait_for(drained, 5)


async def test_health_tells_balancers_to_stay_away() -> None:
    async with running_site() as site:
        wire = await site.connect()
        await asyncio.sleep(0.05)
        await end(site)
        wire.send(head("GET", "/healthcheck"))
        assert (await wire.answer()).status == 503


async def test_idle_connections_end_after_the_grace() -> None:
    async with running_site(EdgeLimits(drain_grace_s=0.2)) as site:
        wires = [await site.connect() for _ in range(5)]
        await asyncio.sleep(0.05)
        drained = await end(site)
        assert not drained.done()
        for wire in wires:
            assert await wire.closed(3)
        await asyncio.wait_for(drained, 3)


async def test_an_upload_under_way_is_finished() -> None:
    async with running_site(EdgeLimits(drain_grace_s=0.1)) as site:
        assert (await site.call("PUT", "c")).status == 201
        wire = await site.connect()
        wire.send(head("PUT", "/v1/AUTH_test/c/o", {"X-Auth-Token": site.token(), "Content-Length": "6"}) + b"abc")
        await asyncio.sleep(0.05)
        drained = await end(site)
        await asyncio.sleep(0.4)
        assert not drained.done()
        wire.send(b"def")
        answer = await wire.answer()
        assert (answer.status, answer["Connection"]) == (201, "close")
        await asyncio.wait_for(drained, 5)
        assert site.store._containers["AUTH_test"]["c"].objects["o"].body == b"abcdef"


async def test_what_never_ends_is_cut() -> None:
    async with running_site(EdgeLimits(drain_grace_s=0.1)) as site:
        assert (await site.call("PUT", "c")).status == 201
        wire = await site.connect()
        wire.send(head("PUT", "/v1/AUTH_test/c/o", {"X-Auth-Token": site.token(), "Content-Length": "6"}) + b"abc")
        await asyncio.sleep(0.05)
        drained = await end(site, timeout_s=0.3)
        await asyncio.wait_for(drained, 5)
        assert (await wire.answer()).status == 499
        assert await wire.closed()
        assert "o" not in site.store._containers["AUTH_test"]["c"].objects


async def test_no_request_is_lost_while_clients_keep_coming() -> None:
    async with running_site(EdgeLimits(drain_grace_s=0.5)) as site:
        answered: list[int] = []

        async def client() -> None:
            wire = await site.connect()
            while True:
                wire.send(head("GET", "/v1/AUTH_test", {"X-Auth-Token": site.token()}))
                answer = await wire.answer()
                answered.append(answer.status)
                if "Connection" in answer:
                    assert answer["Connection"] == "close"
                    return
                await asyncio.sleep(0.01)

        clients = [asyncio.create_task(client()) for _ in range(20)]
        await asyncio.sleep(0.1)
        drained = await end(site)
        await asyncio.wait_for(asyncio.gather(*clients), 5)
        await asyncio.wait_for(drained, 5)
        assert len(answered) >= 40 and set(answered) == {204}
