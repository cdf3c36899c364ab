"""One request class, two services."""

import pytest

from objstore.formats.messages import Message, Ready, StatTable, Target, WriteTable
from objstore.model.errors import Code, NodeError
from objstore.rpc.interface import CallContext, Dispatcher
from objstore.tables.service import on_kind
from tests.unit.objstore.container.rig import Nobody

CONTEXT = CallContext("txn", 0.0, Nobody())


async def account(_request: Message, _context: CallContext) -> Message:
    return Ready()


async def test_requests_go_to_the_service_of_their_kind() -> None:
    dispatcher = Dispatcher()
    on_kind(dispatcher, StatTable, "account", account)
    handler = dispatcher.handlers[StatTable]
    assert await handler(StatTable("account", Target("d", 1), b"", "/a"), CONTEXT) == Ready()
    with pytest.raises(NodeError) as raised:
        await handler(StatTable("container", Target("d", 1), b"", "/a/c"), CONTEXT)
    assert raised.value.code is Code.BAD_REQUEST


def test_a_kind_is_served_once() -> None:
    dispatcher = Dispatcher()
    on_kind(dispatcher, StatTable, "account", account)
    with pytest.raises(ValueError, match="two handlers"):
        on_kind(dispatcher, StatTable, "account", account)
    dispatcher.on(WriteTable, account)
    with pytest.raises(ValueError, match="two handlers"):
        on_kind(dispatcher, WriteTable, "account", account)
