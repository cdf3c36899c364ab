"""The messages of a container server, on real databases."""

import asyncio

import pytest

from objstore.formats.messages import (
    ListTable,
    Message,
    Query,
    Ready,
    RevokeLease,
    Setting,
    Settings,
    Stats,
    StatTable,
    Target,
)
from objstore.model.errors import Code, NodeError
from objstore.model.rows import Subdir
from objstore.model.timestamps import from_seconds
from objstore.rpc.interface import PeerUnavailable
from objstore.tables.leases import LEASE_S
from objstore.tables.reading import EMPTY_DIGEST
from tests.unit.objstore.container.rig import CONTAINER, Rig, hash_of
from tests.unit.objstore.tables.rig import gone, put, turns


async def test_a_container_is_made_filled_listed_emptied_and_deleted(rig: Rig) -> None:
    node = rig.nodes[0]
    assert (await node.write("create", 1, values={"user:k": "v"}, policy=1)).existed is False
    assert (await node.write("create", 2)).existed is True
    await node.merge(put("b", 3, size=5), put("a/x", 3, size=7))
    info = await node.stat()
    assert info.settings is not None
    assert info.settings.values == {"user:k": Setting("v", from_seconds(1))}
    assert (info.settings.policy, info.settings.exists, info.stats) == (1, True, Stats(0, 2, 12))
    page = await node.page(query=Query(10, delimiter="/"))
    assert (page.rows, page.until, page.info) == ([Subdir("a/"), put("b", 3, size=5)], "", info)
    with pytest.raises(NodeError) as raised:
        await node.write("delete", 4)
    assert raised.value.code is Code.NOT_EMPTY
    await node.merge(gone("b", 5), gone("a/x", 5))
    assert (await node.write("delete", 6)).existed is True
    info = await node.stat()
    assert info.settings is not None
    assert (info.settings.exists, info.settings.values, info.stats) == (False, {}, Stats())


async def test_a_database_that_a_crash_left_without_a_name_is_none_yet(rig: Rig) -> None:
    node = rig.nodes[0]
    node.device._create(node.container.service.place(node.target, hash_of(CONTAINER))[1])
    for _ in range(2):  # opened, and open
        assert (await node.stat()).settings is None
        assert (await node.page()).info.settings is None
    await node.write("create", 1)
    info = await node.stat()
    assert info.settings is not None and info.settings.name == CONTAINER


async def test_what_is_not_there_is_no_refusal(rig: Rig) -> None:
    node = rig.nodes[0]
    assert await node.stat() == (await node.page()).info
    info = await node.stat()
    assert (info.settings, info.stats) == (None, Stats())
    page = await node.page()
    assert (page.rows, page.digest, page.until) == ([], EMPTY_DIGEST, "")
    with pytest.raises(NodeError) as raised:
        await node.write("update", 1)
    assert raised.value.code is Code.NOT_FOUND


async def test_rows_for_a_container_nobody_made_are_kept(rig: Rig) -> None:
    node = rig.nodes[0]
    await node.merge(put("a", 1))
    info = await node.stat()
    assert info.settings == Settings(CONTAINER)
    assert info.stats.object_count == 1
    await node.write("create", 2)
    assert [row.name for row in (await node.page()).rows] == ["a"]


async def test_rows_that_come_after_the_deletion_are_kept(rig: Rig) -> None:
    node = rig.nodes[0]
    await node.write("create", 1)
    await node.write("delete", 2)
    await node.merge(put("late", 3))
    info = await node.stat()
    assert info.settings is not None
    assert (info.settings.exists, info.stats.object_count) == (False, 1)


async def test_two_replicas_with_equal_rows_have_equal_digests(rig: Rig) -> None:
    first, second = rig.nodes
    await first.merge(put("a", 1), gone("b", 1), put("c", 2))
    await second.merge(put("c", 2))
    assert (await first.page()).digest != (await second.page(digest_only=True)).digest
    await second.merge(gone("b", 1), put("a", 1))
    page, digest = await first.page(), await second.page(digest_only=True)
    assert (page.digest, page.until) == (digest.digest, digest.until)
    assert ([row.name for row in page.rows], digest.rows) == (["a", "c"], [])
    raw = await second.page(raw_rows=True)
    assert [row.name for row in raw.rows] == ["a", "b", "c"]


async def test_who_is_asked_for_its_table_reads_no_page(rig: Rig) -> None:
    first, second = rig.nodes
    for node in rig.nodes:
        await node.write("create", 1)
        await node.merge(put("a", 5), gone("b", 5))
    page = await first.page()
    assert page.table
    same = await second.page(digest_only=True, table_only=True)
    assert (same.table, same.digest, same.rows, same.info.settings) == (page.table, b"", [], page.info.settings)
    await second.merge(gone("c", 5))
    other = await second.page(digest_only=True, table_only=True)
    assert other.table not in (b"", page.table), "tombstones count"
    await first.merge(gone("c", 5))
    for how in ({}, {"packed": True}, {"raw_rows": True}, {"digest_only": True}):
        assert (await first.page(**how)).table == other.table


async def test_a_page_that_the_caller_has_is_sent_only_where_the_table_is_another_one(rig: Rig) -> None:
    node = rig.nodes[0]
    await node.write("create", 1)
    await node.merge(put("a", 5))
    page = await node.page()
    again = await node.page(known=page.table)
    assert (again.table, again.rows, again.digest, again.info) == (page.table, [], b"", page.info)
    await node.merge(put("b", 5))
    changed = await node.page(known=page.table)
    assert [row.name for row in changed.rows] == ["a", "b"]
    assert changed.table not in (b"", page.table)
    await node.merge(gone("b", 6))
    assert [row.name for row in (await node.page(known=changed.table)).rows] == ["a"]


async def test_who_has_no_table_tells_the_digest_of_an_empty_page(rig: Rig) -> None:
    first, second = rig.nodes
    await first.write("create", 1)
    page = await first.page()
    missing = await second.page(digest_only=True, table_only=True)
    assert (missing.table, missing.digest) == (b"", page.digest)


async def test_a_replica_is_repaired_by_settings_and_then_knows_its_parent(rig: Rig) -> None:
    first, second = rig.nodes
    await first.write("create", 1, values={"acl:read": ".r:*"}, policy=2, parent=first)
    settings = (await first.stat()).settings
    assert settings is not None
    await second.merge(settings=settings, parent=second.index("/acc"))
    assert (await second.stat()).settings == settings
    await second.container.updater.run_once()
    assert (await second.stat("/acc")).stats.container_count == 1


async def test_a_clock_that_runs_ahead_is_refused(rig: Rig) -> None:
    node = rig.nodes[0]
    with pytest.raises(NodeError) as raised:
        await node.write("create", rig.clock.now() + 31)
    assert raised.value.code is Code.TOO_FAR_AHEAD
    await node.write("create", rig.clock.now() + 29)


async def test_requests_for_elsewhere_are_refused(rig: Rig) -> None:
    node = rig.nodes[0]
    for request, code in (
        (StatTable("container", Target("other", 1), hash_of("/a/c"), "/a/c"), Code.DEVICE_FAILED),
        (StatTable("container", Target("d1", 1), b"short", "/a/c"), Code.BAD_REQUEST),
        (StatTable("container", Target("d1", -1), hash_of("/a/c"), "/a/c"), Code.BAD_REQUEST),
    ):
        with pytest.raises(NodeError) as raised:
            await node.ask(request)
        assert raised.value.code is code
    await node.write("create", 1)
    other = ListTable("container", node.target, hash_of(CONTAINER), "/acc/other", Query(10))
    with pytest.raises(NodeError) as raised:
        await node.ask(other)
    assert raised.value.code is Code.CORRUPT
    assert (await node.stat()).settings is not None


async def test_names_are_kept_as_they_are(rig: Rig) -> None:
    node = rig.nodes[0]
    names = ["\0null\0", "a\0", "a", "é", "e\u0301", "😀", "\ud7ff", "\ue000", "\ufeffbom", ".", "..", " ", "%", "a" * 1024]
    await node.merge(*(put(name, 1) for name in names))
    page = await node.page()
    assert [row.name for row in page.rows] == sorted(names)


# --- leases -----------------------------------------------------------------------------------------------------


class Holder:
    """A proxy with a lease; `reachable` says whether calls to it are answered."""

    def __init__(self, reachable: bool = True) -> None:
        self.alive = True
        self.reachable = reachable
        self.asked: list[Message] = []
        self.may_answer = asyncio.Event()

    async def call(self, request: Message, *, timeout_s: float) -> Message:
        self.asked.append(request)
        if not self.reachable:
            raise PeerUnavailable("gone")
        await self.may_answer.wait()
        return Ready()


async def done_soon(task: "asyncio.Task[object]") -> bool:
    """Real time for the writer thread, so that only the lease can still hold the answer back."""
    for _ in range(20):
        await asyncio.sleep(0.005)
        await turns()
    return task.done()


@pytest.mark.parametrize("action", ["create", "update", "delete", "merge"])
async def test_a_change_is_acknowledged_after_the_lease_is_given_back(rig: Rig, action: str) -> None:
    node, holder = rig.nodes[0], Holder()
    await node.write("create", 1)
    assert (await node.stat(lease=True, peer=holder)).lease_s == LEASE_S
    if action == "merge":
        change = node.merge(settings=Settings(CONTAINER, from_seconds(9), 0, 0, from_seconds(1)))
    else:
        change = node.write(action, 5)  # type: ignore[arg-type,assignment]
    task = asyncio.create_task(change)
    assert not await done_soon(task)
    assert holder.asked == [RevokeLease("container", CONTAINER)]
    holder.may_answer.set()
    await asyncio.wait_for(task, 1)


async def test_an_unreachable_holder_delays_no_longer_than_its_lease(rig: Rig) -> None:
    node = rig.nodes[0]
    await node.write("create", 1)
    await node.stat(lease=True, peer=Holder(reachable=False))
    await rig.clock.pass_time(1.5)
    task = asyncio.create_task(node.write("update", 2, values={"acl:read": ""}))
    assert not await done_soon(task)
    await rig.clock.pass_time(LEASE_S - 1.5 + 0.01)
    await asyncio.wait_for(task, 1)


async def test_rows_alone_revoke_nothing(rig: Rig) -> None:
    node, holder = rig.nodes[0], Holder()
    await node.write("create", 1)
    await node.stat(lease=True, peer=holder)
    await asyncio.wait_for(node.merge(put("a", 2)), 5)
    assert holder.asked == []


async def test_nothing_there_can_be_leased_too(rig: Rig) -> None:
    node, holder = rig.nodes[0], Holder()
    assert (await node.stat(lease=True, peer=holder)).lease_s == LEASE_S
    task = asyncio.create_task(node.write("create", 1))
    assert not await done_soon(task)
    holder.may_answer.set()
    await asyncio.wait_for(task, 1)


async def test_no_lease_on_old_settings_escapes_a_race(rig: Rig) -> None:
    """Looks that race with a change: whoever saw the old value is told before the change is acknowledged."""
    node = rig.nodes[0]
    await node.write("create", 1, values={"acl:read": "old"})
    for second in range(2, 30):
        holders = [Holder() for _ in range(8)]
        for holder in holders:
            holder.may_answer.set()

        async def look(holder: Holder) -> tuple[Holder, str]:
            for _ in range(hash(holder) % 5):
                await asyncio.sleep(0)
            info = await node.stat(lease=True, peer=holder)
            assert info.settings is not None
            return holder, info.settings.values["acl:read"].value

        looks = [asyncio.create_task(look(holder)) for holder in holders]
        await node.write("update", second, values={"acl:read": str(second)})
        told = {holder for holder in holders if holder.asked}
        for holder, value in await asyncio.gather(*looks):
            assert value == str(second) or holder in told
