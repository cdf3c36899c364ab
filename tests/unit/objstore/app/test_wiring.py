"""The graph's order of stopping; what it is made of is tested by every cluster test."""

import asyncio
import logging

import pytest

from objstore.app.config import Config, Node
from objstore.app.graph import Graph
from objstore.app.storagewiring import INTERVAL_S, interval_s


async def test_parts_stop_in_the_reverse_order_of_their_start() -> None:
    graph, stopped = Graph(), []
    for name in ("disk", "server", "listener"):

        async def stop(name: str = name) -> None:
            stopped.append(name)

        graph.on_stop(name, stop)
    await graph.stop()
    assert stopped == ["listener", "server", "disk"]


async def test_a_part_that_hangs_or_fails_does_not_keep_the_others_from_stopping(caplog: pytest.LogCaptureFixture) -> None:
    graph, stopped = Graph(), []

    async def good() -> None:
        stopped.append("good")

    async def hangs() -> None:
        await asyncio.sleep(60)

    async def fails() -> None:
        raise OSError("disk on fire")

    graph.on_stop("good", good)
    graph.on_stop("hanging", hangs, timeout_s=0.02)
    graph.on_stop("failing", fails)
    with caplog.at_level(logging.ERROR, "objstore"):
        await graph.stop()
    assert stopped == ["good"]
    assert [vars(record)["what"] for record in caplog.records] == ["failing", "hanging"]


async def test_a_task_ends_with_the_graph() -> None:
    graph, seen = Graph(), []

    async def work() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            seen.append("ended")

    graph.run("work", work())
    await asyncio.sleep(0)
    await graph.stop()
    assert seen == ["ended"]


async def test_a_task_that_fails_is_told(caplog: pytest.LogCaptureFixture) -> None:
    graph = Graph()

    async def work() -> None:
        raise ValueError("a defect")

    with caplog.at_level(logging.ERROR, "objstore"):
        graph.run("work", work())
        await asyncio.sleep(0.01)
    assert "ended unexpectedly" in caplog.text
    await graph.stop()


class Job:
    def __init__(self, name: str) -> None:
        self.name = name

    async def run_once(self) -> dict[str, int]:
        return {}


def test_daemons_have_their_intervals() -> None:
    config = Config(node=Node())
    assert interval_s(config, Job("object-updater")) == config.daemons.object_updater_interval_s
    assert interval_s(config, Job("container-updater")) == config.daemons.container_updater_interval_s
    assert interval_s(config, Job("object-polisher")) == INTERVAL_S
