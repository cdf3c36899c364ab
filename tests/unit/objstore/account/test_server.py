"""The messages of an account server, on real databases."""

from typing import Any

from objstore.formats.messages import ContainerPage, ContainersMerged, MergeContainerRows, Query, Settings, Stats
from objstore.model.rows import ContainerRow, Subdir
from tests.unit.objstore.container.rig import ACCOUNT, Node, Rig, hash_of


async def merge(node: Node, *rows: ContainerRow, **fields: Any) -> None:
    reply = await node.ask(MergeContainerRows(node.target, hash_of(ACCOUNT), ACCOUNT, list(rows), **fields))
    assert isinstance(reply, ContainersMerged) and len(reply.kept) == len(rows)


async def test_containers_are_listed_with_what_they_said_last(rig: Rig) -> None:
    node = rig.nodes[0]
    await node.write("create", 1, ACCOUNT)
    rows = [ContainerRow("b", 1, 0, 2, 20, 0, 5), ContainerRow("a-x", 1, 0, 3, 30, 1, 5), ContainerRow("gone", 1, 2, 9, 90, 0, 5)]
    await merge(node, *rows)
    page = await node.page(ACCOUNT)
    assert isinstance(page, ContainerPage)
    assert page.rows == [rows[1], rows[0]]
    assert page.info.stats == Stats(2, 5, 50, {0: (1, 2, 20), 1: (1, 3, 30)})
    assert (await node.page(ACCOUNT, Query(10, delimiter="-"))).rows == [Subdir("a-"), rows[0]]


async def test_sums_follow_reports_deletions_and_late_ones(rig: Rig) -> None:
    node = rig.nodes[0]
    await merge(node, ContainerRow("c", 1, 0, 5, 50, 0, 10))
    await merge(node, ContainerRow("c", 1, 0, 4, 44, 0, 9))
    assert (await node.stat(ACCOUNT)).stats == Stats(1, 5, 50, {0: (1, 5, 50)})
    await merge(node, ContainerRow("c", 1, 2, 0, 0, 0, 11))
    assert (await node.stat(ACCOUNT)).stats == Stats(0, 0, 0, {0: (0, 0, 0)})
    await merge(node, ContainerRow("c", 3, 2, 0, 0, 1, 12))
    assert (await node.stat(ACCOUNT)).stats.policies[1] == (1, 0, 0)


async def test_an_account_is_deleted_with_its_containers(rig: Rig) -> None:
    """Their rows stay, for the account-reaper."""
    node = rig.nodes[0]
    await node.write("create", 1, ACCOUNT)
    await merge(node, ContainerRow("c", 1))
    await node.write("delete", 2, ACCOUNT)
    info = await node.stat(ACCOUNT)
    assert info.settings is not None and not info.settings.exists
    assert [row.name for row in (await node.page(ACCOUNT, Query(10))).rows] == ["c"]
    await merge(node, ContainerRow("c", 1, 3))
    assert (await node.page(ACCOUNT, Query(10))).rows == []


async def test_an_account_that_only_containers_know_of_is_unborn(rig: Rig) -> None:
    node = rig.nodes[0]
    await merge(node, ContainerRow("c", 1))
    info = await node.stat(ACCOUNT)
    assert info.settings == Settings(ACCOUNT)
    assert info.stats.container_count == 1


async def test_accounts_and_containers_are_kept_apart(rig: Rig) -> None:
    node = rig.nodes[0]
    await node.write("create", 1, ACCOUNT)
    await node.write("create", 1)
    names = [(await node.stat(name)).settings for name in (ACCOUNT, "/acc/con")]
    assert [settings.name for settings in names if settings is not None] == [ACCOUNT, "/acc/con"]
    assert node.account.workers() == []
    assert [worker.name for worker in node.container.workers()] == ["container-updater"]
