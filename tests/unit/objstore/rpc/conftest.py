import asyncio
from collections.abc import AsyncIterator, Callable, Mapping

import pytest
import uvloop

from tests.contract.service import Service
from tests.unit.objstore.rpc.nodes import Nodes, Pair


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The event loop of production."""
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture
async def nodes() -> AsyncIterator[Nodes]:
    made = Nodes()
    yield made
    await made.close()


@pytest.fixture
async def pair(nodes: Nodes) -> Pair:
    service = Service()
    return Pair(nodes, service, await nodes.server(service.dispatcher), nodes.client())
