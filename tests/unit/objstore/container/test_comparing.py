"""Rows that somebody else believes in are answered, and merged in the same transaction."""

from objstore.formats.messages import CompareRows, RowCompared, RowsCompared
from objstore.model.rows import ObjectRow
from objstore.model.timestamps import from_seconds
from tests.unit.objstore.container.rig import ACCOUNT, CONTAINER, Node, Rig, hash_of
from tests.unit.objstore.tables.rig import gone, put


async def compare(node: Node, *rows: ObjectRow, name: str = CONTAINER) -> RowsCompared:
    reply = await node.ask(CompareRows(node.target, hash_of(name), name, list(rows), node.index(ACCOUNT)))
    assert isinstance(reply, RowsCompared)
    return reply


async def listed(node: Node, name: str = CONTAINER) -> list[ObjectRow]:
    return [row for row in (await node.page(name, raw_rows=True)).rows if isinstance(row, ObjectRow)]


async def test_each_row_is_known_missing_or_deleted(rig: Rig) -> None:
    node = rig.nodes[0]
    await node.write("create", 1)
    await node.merge(put("same", 2), put("newer here", 5), put("older here", 2), gone("deleted", 5), gone("deleted before", 3))
    told = [put(name, 4) for name in ("same", "newer here", "older here", "deleted", "deleted before", "missing")]
    told[0] = put("same", 2)
    assert await compare(node, *told) == RowsCompared(
        True,
        [
            RowCompared("known"),
            RowCompared("known"),
            RowCompared("known"),
            RowCompared("deleted", from_seconds(5)),
            RowCompared("known"),
            RowCompared("missing"),
        ],
    )
    held = {row.name: row for row in await listed(node)}
    assert held["same"] == put("same", 2)
    assert held["newer here"] == put("newer here", 5)
    assert held["older here"] == put("older here", 4)
    assert held["deleted"].deleted
    assert held["deleted before"] == put("deleted before", 4)
    assert held["missing"] == put("missing", 4)


async def test_a_deletion_of_the_same_time_counts_as_deleted(rig: Rig) -> None:
    node = rig.nodes[0]
    await node.merge(gone("a", 4))
    assert (await compare(node, put("a", 4))).rows == [RowCompared("deleted", from_seconds(4))]


async def test_a_container_that_is_not_there_takes_the_rows_but_does_not_exist(rig: Rig) -> None:
    node = rig.nodes[0]
    assert await compare(node, put("a", 1)) == RowsCompared(False, [RowCompared("missing")])
    assert await compare(node, put("a", 1)) == RowsCompared(False, [RowCompared("known")])
    await node.write("create", 2)
    assert (await compare(node, put("a", 1))).exists
    await node.container.updater.run_once()
    assert (await node.stat(ACCOUNT)).stats.container_count == 1  # it knows whom to report to
