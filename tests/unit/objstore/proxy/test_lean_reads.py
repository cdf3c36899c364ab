"""Reads that hear of a second replica only what it holds: cheap where replicas agree, and never believed where they do not."""

from pathlib import Path

import pytest

from objstore.formats.messages import GetObject, Message, ObjectHeld
from objstore.model.conditions import NO_CONDITIONS
from objstore.model.errors import ObjectNotFound
from objstore.rpc.interface import CallContext, Handler
from tests.unit.objstore.proxy.cluster import OWNER, Cluster, get, head, put, running
from tests.unit.objstore.proxy.proposing import leave, made


class Asked:
    """The questions that nodes were asked for an object, by node, and whether ObjectHeld was the answer."""

    def __init__(self, cluster: Cluster) -> None:
        self.questions: list[tuple[int, GetObject]] = []
        self.lean_answers = 0
        for number, node in enumerate(cluster.nodes):
            self._watch(number, node.dispatcher.handlers)

    def _watch(self, number: int, handlers: dict[type[Message], Handler]) -> None:
        handler = handlers[GetObject]

        async def watched(request: Message, context: CallContext) -> Message:
            assert isinstance(request, GetObject)
            self.questions.append((number, request))
            reply = await handler(request, context)
            self.lean_answers += isinstance(reply, ObjectHeld)
            return reply

        handlers[GetObject] = watched


@pytest.mark.parametrize("only_head", [False, True])
async def test_replicas_that_agree_are_asked_once_and_one_of_them_leanly(tmp_path: Path, only_head: bool) -> None:
    async with running(tmp_path) as cluster:
        store, name = await made(cluster)
        await put(store, name, b"body")
        asked = Asked(cluster)
        if only_head:
            assert (await head(store, name)).size == 4
        else:
            assert await get(store, name) == b"body"
        assert [question.lean for _, question in asked.questions] == [False, True]
        assert asked.lean_answers == 1
        assert len({number for number, _ in asked.questions}) == 2


async def test_whoever_is_asked_leanly_and_has_something_newer_is_heard(tmp_path: Path) -> None:
    """A version on a single replica: whatever the order of the questions, it is told, or nobody has seen it."""
    async with running(tmp_path) as cluster:
        store, name = await made(cluster)
        await put(store, name, b"old")
        await leave(cluster, name, b"new", 1)
        seen = [await get(store, name) for _ in range(6)]
        olds = seen.count(b"old")
        assert seen == [b"old"] * olds + [b"new"] * (6 - olds), "what was seen once stays"
        assert olds < 3, "in three reads its holder was asked"
        assert sum(version is not None and body == b"new" for version, body in await cluster.held(name, range(3))) >= 2


async def test_what_a_majority_says_leanly_is_newer_than_the_bytes_at_hand(tmp_path: Path) -> None:
    async with running(tmp_path) as cluster:
        store, name = await made(cluster)
        await put(store, name, b"old")
        await leave(cluster, name, b"new", 1, 2)
        assert [await get(store, name) for _ in range(3)] == [b"new"] * 3


async def test_deletions_that_are_agreed_on_are_believed(tmp_path: Path) -> None:
    async with running(tmp_path) as cluster:
        store, name = await made(cluster)
        await put(store, name, b"body")
        await store.delete_object(OWNER, name, NO_CONDITIONS)
        asked = Asked(cluster)
        with pytest.raises(ObjectNotFound):
            await get(store, name)
        assert (len(asked.questions), asked.lean_answers) == (2, 0)


async def test_the_bytes_come_from_another_where_the_first_is_down(tmp_path: Path) -> None:
    async with running(tmp_path) as cluster:
        store, name = await made(cluster)
        await put(store, name, b"body")
        for node in cluster.nodes[:3]:
            cluster.network.fault(node.address).down = True
            assert await get(store, name) == b"body"
            cluster.network.heal()


async def test_what_nobody_ever_heard_of_is_asked_of_all_once(tmp_path: Path) -> None:
    """A disk that was replaced by an empty one never heard of it either."""
    async with running(tmp_path) as cluster:
        store, name = await made(cluster)
        asked = Asked(cluster)
        with pytest.raises(ObjectNotFound):
            await get(store, name)
        assert sorted(number for number, _ in asked.questions) == [0, 1, 2]


async def test_whoever_hangs_is_not_asked_first_again(tmp_path: Path) -> None:
    async with running(tmp_path) as cluster:
        store, name = await made(cluster)
        await put(store, name, b"body")
        cluster.network.fault(cluster.nodes[0].address).hung = True
        asked = Asked(cluster)
        assert [await get(store, name) for _ in range(6)] == [b"body"] * 6
        # Two for each read, and twice two where the one that hangs was asked before anybody knew.
        assert len([number for number, _ in asked.questions if number]) <= 6 * 2 + 2
