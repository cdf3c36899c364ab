"""Container rows: delivered with the change, kept pending when that fails, sent again by the updater, never invented."""

import asyncio
import errno
import hashlib
import logging
import shutil
from pathlib import Path

import pytest

from objstore.formats.messages import Address, IndexTarget, PutObject, Stored, Target
from objstore.formats.pending import scan
from objstore.model.errors import Code, NodeError
from objstore.model.version import Version
from objstore.object.updater import ObjectUpdater
from objstore.runtime.filesystem import RealFileSystem
from objstore.runtime.knobs import Knobs
from objstore.runtime.realfile import RealFile
from tests.unit.objstore.object.rig import CONTAINER, INDEX, NAME, Node, Rig, at


async def updater_pass(node: Node) -> dict[str, int]:
    (updater,) = node.server.workers()
    assert updater.name == "object-updater"
    return await updater.run_once()


def forget_failures(node: Node) -> None:
    node.server.updates._down_until.clear()


def segments(node: Node) -> list[Path]:
    return sorted((node.root / "pending").iterdir())


async def test_a_row_stays_pending_while_the_container_is_down(rig: Rig, node: Node) -> None:
    rig.wire.down.add(CONTAINER)
    assert not (await node.put(b"x", 1)).indexed
    assert node.server.report("d1") == (1, 0)
    assert (await updater_pass(node)) == {"sent": 0, "failed": 1, "dropped": 0, "pending": 1, "damaged_bytes": 0}
    rig.wire.down.clear()
    forget_failures(node)
    assert (await updater_pass(node))["sent"] == 1
    assert rig.rows["obj"].timestamp == at(1)
    assert node.server.report("d1") == (0, 0)
    assert segments(node) == []


async def test_pending_rows_survive_a_restart(rig: Rig, node: Node) -> None:
    rig.wire.down.add(CONTAINER)
    await node.put(b"xy", 1, content_type="a/b")
    await node.post(2, {}, "c/d")
    await node.put(b"z", 1, name="/acc/con/gone", hash_=b"g" * 16)
    await node.stop()
    rig.wire.down.clear()
    again = await rig.node()
    assert again.server.report("d1") == (3, 0)
    assert (await updater_pass(again)) == {"sent": 3, "failed": 0, "dropped": 0, "pending": 0, "damaged_bytes": 0}
    row = rig.rows["obj"]
    assert (row.size, row.content_type, row.timestamp, row.meta_timestamp) == (2, "c/d", at(1), at(2))
    assert set(rig.rows) == {"obj", "gone"}
    assert segments(again) == []


async def test_an_orderly_stop_leaves_no_segment_of_delivered_rows(rig: Rig) -> None:
    node = await rig.node(journal=False)
    for second in range(1, 20):
        await node.put(b"x", second)
    assert len(segments(node)) == 1
    await node.stop()
    assert segments(node) == []


async def test_records_stay_in_the_journal_until_they_are_cleared_or_it_is_settled(rig: Rig, node: Node) -> None:
    await node.put(b"x", 1)
    await node.disk.settle()
    assert (segments(node), node.log.pending) == ([], 0)
    rig.wire.down.add(CONTAINER)
    await node.put(b"x", 2)
    await node.disk.settle()
    assert (len(segments(node)), node.log.pending) == (1, 1)
    node.disk._knobs = Knobs(settle_s=60)
    await node.put(b"y", 3, name="/acc/con/other", hash_=b"o" * 16)
    rig.wire.down.clear()
    forget_failures(node)
    assert (await updater_pass(node))["sent"] == 2, "what the journal alone holds is sent too"
    assert (segments(node), node.log.pending) == ([], 0)


async def test_rows_delivered_before_a_crash_are_sent_again(rig: Rig, node: Node, tmp_path: Path) -> None:
    await node.put(b"x", 1)
    await node.delete(2)
    await node.drained()
    shutil.copytree(node.root, tmp_path / "crashed")  # copies attributes too
    again = await rig.node("crashed")
    before = dict(rig.rows)
    assert (await updater_pass(again))["sent"] == 2
    assert rig.rows == before


async def test_a_record_whose_object_was_never_published_is_dropped(rig: Rig, node: Node) -> None:
    rig.wire.down.add(CONTAINER)
    await node.put(b"x", 1)
    await node.put(b"y", 1, name="/acc/con/other", hash_=b"o" * 16)
    await node.stop()
    (node.root / "objects/12").joinpath(node.files()[0].name).unlink()
    rig.wire.down.clear()
    again = await rig.node()
    figures = await updater_pass(again)
    assert (figures["sent"], figures["dropped"], figures["pending"]) == (1, 1, 0)
    assert len(rig.rows) == 1


async def test_a_failed_change_leaves_no_row(rig: Rig, node: Node) -> None:
    node.disk.fail("for the test")
    with pytest.raises(NodeError) as caught:
        await node.put(b"x", 1)
    assert caught.value.code is Code.DEVICE_FAILED
    assert await updater_pass(node) == {"sent": 0, "failed": 0, "dropped": 0, "pending": 0, "damaged_bytes": 0}
    assert rig.rows == {}


async def test_a_change_that_fails_for_lack_of_space_is_not_pending(rig: Rig, tmp_path: Path) -> None:
    node = await rig.node()
    node.disk._committer._knobs = type(node.disk._knobs)(reserve_bytes_min=1 << 60)
    with pytest.raises(NodeError) as caught:
        await node.put(b"x", 1)
    assert caught.value.code is Code.NO_SPACE
    assert node.server.report("d1") == (0, 0)
    await node.delete(2)
    assert rig.rows["obj"].deleted


async def test_a_hung_container_server_costs_a_bounded_wait_once(rig: Rig, node: Node) -> None:
    rig.containers.gate.clear()
    loop = asyncio.get_running_loop()
    started = loop.time()
    assert not (await node.put(b"x", 1)).indexed
    assert 0.15 < loop.time() - started < 1.0
    started = loop.time()
    assert not (await node.put(b"x", 2)).indexed
    assert loop.time() - started < 0.15
    rig.containers.gate.set()
    for _ in range(100):
        if rig.rows:
            break
        await asyncio.sleep(0.005)
    assert rig.rows["obj"].timestamp == at(1)
    assert node.server.report("d1") == (1, 0)
    forget_failures(node)
    assert (await updater_pass(node))["sent"] == 1
    assert rig.rows["obj"].timestamp == at(2)


async def test_rows_to_one_database_share_calls(rig: Rig, node: Node) -> None:
    count = 40
    names = [(f"/acc/con/{i}", hashlib.md5(b"%d" % i).digest()) for i in range(count)]
    replies = await asyncio.gather(*(node.put(b"x", 1, name=name, hash_=hash_) for name, hash_ in names))
    assert all(reply.indexed for reply in replies)
    assert sum(rig.containers.calls) == count
    assert len(rig.containers.calls) < count
    assert len(rig.rows) == count


async def test_a_full_queue_defers_rows_to_the_updater(rig: Rig, node: Node) -> None:
    node.server.updates._queue_rows_max = 0
    assert not (await node.put(b"x", 1)).indexed
    assert node.server.updates.queued == 0
    assert (await updater_pass(node))["sent"] == 1


async def test_a_container_server_that_refuses(rig: Rig, node: Node) -> None:
    from objstore.formats.messages import MergeObjectRows

    async def refuse(request, context):
        raise NodeError(Code.DEVICE_FAILED, "no such device")

    rig.containers.dispatcher.handlers[MergeObjectRows] = refuse
    assert not (await node.put(b"x", 1)).indexed
    assert node.server.report("d1") == (1, 0)


async def test_no_index_target_no_row(rig: Rig, node: Node) -> None:
    assert not (await node.put(b"x", 1, index=None)).indexed
    assert rig.containers.calls == []
    assert segments(node) == []


async def test_manifests_are_listed_as_what_they_stand_for(rig: Rig, node: Node) -> None:
    await node.put(b"[]", 1, system={"listed-size": "12345", "listed-etag": "e-2"})
    assert (rig.rows["obj"].size, rig.rows["obj"].etag) == (12345, "e-2")


async def test_segments_are_bounded_and_removed_when_cleared(rig: Rig) -> None:
    node = await rig.node(journal=False)
    node.log._segment_bytes_max = 500
    rig.wire.down.add(CONTAINER)
    for second in range(1, 20):
        await node.put(b"x", second)
    assert len(segments(node)) >= 5
    rig.wire.down.clear()
    forget_failures(node)
    assert (await updater_pass(node))["sent"] == 19
    assert segments(node) == []
    for second in range(20, 28):
        await node.put(b"x", second)
    assert len(segments(node)) <= 2


async def test_a_torn_end_of_the_log_is_told_in_plain_words(rig: Rig, node: Node, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    await pending_rows(rig, node, 3)
    (path,) = segments(node)
    path.write_bytes(path.read_bytes()[:-5])
    again = await rig.node()
    figures = await updater_pass(again)
    assert (figures["sent"], figures["damaged_bytes"]) == (2, 0)
    (told,) = [record for record in caplog.records if "pending log" in record.message]
    assert (told.levelname, told.message) == ("INFO", "pending log ends in records that were being written when the power failed")


@pytest.mark.parametrize("part", [1 / 2, 5 / 6])
async def test_damage_to_the_log_is_reported_and_passed_over(
    rig: Rig, node: Node, caplog: pytest.LogCaptureFixture, part: float
) -> None:
    """In the middle, and in the last record, which was acknowledged like the others."""
    await pending_rows(rig, node, 3)
    (path,) = segments(node)
    data = bytearray(path.read_bytes())
    data[int(len(data) * part)] ^= 1
    path.write_bytes(data)
    again = await rig.node()
    figures = await updater_pass(again)
    assert figures["sent"] == 2
    assert figures["damaged_bytes"] > 0
    assert figures["pending"] == 0
    (told,) = [record for record in caplog.records if "pending log" in record.message]
    assert (told.levelname, told.message) == ("ERROR", "pending log damaged")


async def pending_rows(rig: Rig, node: Node, count: int) -> None:
    rig.wire.down.add(CONTAINER)
    for i in range(count):
        await node.put(b"x", 1, name=f"/acc/con/{i}", hash_=b"%016d" % i)
    await node.stop()
    (path,) = segments(node)
    assert len(scan(path.read_bytes()).records) == count
    rig.wire.down.clear()


async def test_the_updater_is_paced(rig: Rig, node: Node) -> None:
    rig.wire.down.add(CONTAINER)
    for i in range(30):
        await node.put(b"x", 1, name=f"/acc/con/{i}", hash_=b"%016d" % i)
    rig.wire.down.clear()
    forget_failures(node)
    slept: list[float] = []

    class Clock(type(rig.clock)):
        async def sleep(self, delay_s: float) -> None:
            slept.append(delay_s)

    updater = ObjectUpdater([node.device], node.server.updates, Clock(), rows_per_s=100.0, call_rows_max=10)
    assert (await updater.run_once())["sent"] == 30
    assert max(slept) == pytest.approx(0.2, abs=0.05)
    assert rig.containers.calls == [10, 10, 10]


async def test_the_name_of_the_container_and_the_row(rig: Rig, node: Node) -> None:
    await node.put(b"x", 1, name=NAME + "/with/slashes", hash_=b"s" * 16)
    assert set(rig.containers.rows) == {"/acc/con"}
    assert set(rig.rows) == {"obj/with/slashes"}


async def test_rows_follow_the_ring_when_the_container_moves(rig: Rig, node: Node) -> None:
    rig.wire.down.add(CONTAINER)
    await node.put(b"x", 1)
    moved = Address("127.0.0.1", 8)
    rig.wire.plug(moved, rig.containers.dispatcher)
    asked: list[tuple[str, IndexTarget]] = []

    def current(container: str, index: IndexTarget) -> IndexTarget:
        asked.append((container, index))
        return IndexTarget(moved.ip, moved.port, "d10", index.partition, index.hash)

    updater = ObjectUpdater([node.device], node.server.updates, rig.clock, current_index=current)
    assert (await updater.run_once())["sent"] == 1
    assert asked == [("/acc/con", INDEX)]
    assert rig.rows["obj"].timestamp == at(1)


class Unreadable(RealFileSystem):
    """Its pending log cannot be read any more once `broken` is set."""

    broken = False

    def open(self, path: str) -> RealFile:
        if self.broken and path.startswith("pending/"):
            raise OSError(errno.EIO, "for the test")
        return super().open(path)


async def test_a_device_that_cannot_be_read_does_not_hold_up_the_others(rig: Rig, tmp_path: Path) -> None:
    bad, good = await rig.node("bad", file_system=Unreadable), await rig.node("good")
    rig.wire.down.add(CONTAINER)
    await bad.put(b"x", 1)
    await good.put(b"y", 1, name="/acc/con/good", hash_=b"g" * 16)
    rig.wire.down.clear()
    forget_failures(good)
    bad.fs.broken = True  # type: ignore[attr-defined]
    updater = ObjectUpdater([bad.device, good.device], good.server.updates, rig.clock)
    figures = await updater.run_once()
    assert (figures["sent"], figures["pending"]) == (1, 1)
    assert set(rig.rows) == {"good"}


async def test_nobody_waits_for_a_container_server_that_hangs(rig: Rig, node: Node) -> None:
    """The first change waits its time, the later ones not at all."""
    rig.containers.gate.clear()
    loop = asyncio.get_running_loop()
    times = []
    for second in range(1, 6):
        started = loop.time()
        assert not (await node.put(b"x", second)).indexed
        times.append(loop.time() - started)
    assert times[0] >= 0.2 > 0.1 > max(times[1:])
    rig.containers.gate.set()
    await until_trusted(node)
    assert (await node.put(b"x", 7)).indexed


async def until_trusted(node: Node) -> None:
    for _ in range(100):
        if not node.server.updates._down_until:
            return
        await asyncio.sleep(0.01)
    raise AssertionError("still taken for down")


async def test_a_row_that_nobody_waits_for_finds_out_that_the_server_is_back(rig: Rig, node: Node) -> None:
    updates = node.server.updates
    rig.wire.down.add(CONTAINER)
    assert not (await node.put(b"x", 1)).indexed
    rig.wire.down.clear()
    assert not (await node.put(b"x", 2)).indexed, "too soon to try"
    for index in list(updates._down_until):
        updates._down_until[index] -= 10
    assert not (await node.put(b"x", 3)).indexed, "it tries, and does not wait"
    await until_trusted(node)
    assert (await node.put(b"x", 4)).indexed


async def test_a_change_that_must_not_wait_sends_its_row_all_the_same(rig: Rig, node: Node) -> None:
    rig.containers.gate.clear()
    loop = asyncio.get_running_loop()
    started = loop.time()
    body = b"x"
    version = Version(NAME, at(1), size=1, etag=hashlib.md5(body).hexdigest())
    reply = await node.call(PutObject(Target("d1", 12), hashlib.md5(NAME.encode()).digest(), version, body, INDEX, defer=True))
    assert reply == Stored(False, False) and loop.time() - started < 0.15
    assert node.server.report("d1") == (1, 0)
    rig.containers.gate.set()
    for _ in range(100):
        if node.server.report("d1") == (0, 0):
            break
        await asyncio.sleep(0.01)
    assert rig.rows["obj"].timestamp == at(1) and node.server.report("d1") == (0, 0)
