"""What the updater reads of the pending log, and what others do meanwhile."""

import asyncio
from collections.abc import Container

import pytest

from objstore.formats.pending import Scan
from tests.unit.objstore.object.rig import CONTAINER, Node, Rig
from tests.unit.objstore.object.test_index_updates import forget_failures, updater_pass


async def test_a_row_that_becomes_pending_while_its_segment_is_read_stays_pending(
    rig: Rig, node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig.wire.down.add(CONTAINER)
    await node.put(b"x", 1)
    loop, read = asyncio.get_running_loop(), node.log.read

    def read_while_others_write(segment: int, wanted: Container[int] | None = None) -> Scan:
        found = read(segment, wanted)
        asyncio.run_coroutine_threadsafe(node.put(b"y", 2, name="/acc/con/late", hash_=b"l" * 16), loop).result(5.0)
        return found

    with monkeypatch.context() as patched:
        patched.setattr(node.log, "read", read_while_others_write)
        assert (await updater_pass(node))["dropped"] == 0
    assert node.server.report("d1") == (2, 0)
    rig.wire.down.clear()
    forget_failures(node)
    assert (await updater_pass(node))["sent"] == 2
    assert set(rig.rows) == {"obj", "late"}


async def test_the_updater_reads_what_it_has_to_send_alone(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """A segment may hold thousands of records, mostly cleared ones, and each takes more memory than its bytes."""
    node = await rig.node(journal=False)
    read, found = node.log.read, []

    def reading(segment: int, wanted: Container[int] | None = None) -> Scan:
        found.append(read(segment, wanted))
        return found[-1]

    monkeypatch.setattr(node.log, "read", reading)
    rig.wire.down.add(CONTAINER)
    await node.put(b"x", 1)
    rig.wire.down.clear()
    forget_failures(node)
    await node.put(b"y", 2, name="/acc/con/told", hash_=b"t" * 16)
    busy = set(node.log.open_ids(1))
    node.log.busy |= busy
    await updater_pass(node)
    assert found == [], "nothing in it is the updater's business yet"
    node.log.busy -= busy
    assert (await updater_pass(node))["sent"] == 1
    assert [update.row.name for scanned in found for update in scanned.records.values()] == ["obj"]
