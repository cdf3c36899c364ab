"""Old copies put back, locked and damaged databases: replication notices, goes on with the others, and loses nothing."""

import shutil
import sqlite3
from pathlib import Path

import pytest

from objstore.formats.messages import CommitTable, OpenTable, Ready, Target
from objstore.model.errors import Code, NodeError
from tests.unit.objstore.tables.rig import gone, put
from tests.unit.objstore.tables.syncrig import NAME, SyncRig, sync_rig
from tests.unit.objstore.tables.test_auditor import tamper


async def with_old_copy(root: Path, kept: Path) -> Path:
    """Three equal replicas of 40 rows, and at `kept` what the first one was at 20; returns the path of the first one's file."""
    async with sync_rig(root) as rig:
        for node in rig.nodes:
            await node.write("create", 1)
            await node.merge(*(put(f"o{i:02d}", 1) for i in range(20)))
        await rig.replicate()
        file = rig.nodes[0].file()
    shutil.copy(file, kept)
    async with sync_rig(root) as rig:
        await rig.nodes[0].merge(*(put(f"o{i:02d}", 1) for i in range(20, 40)), gone("o00", 2))
        await rig.nodes[0].write("update", 3, values={"user:k": "v"})
        await rig.replicate(0)
        await rig.equal(0, 1, 2)
    return file


EXPECTED = {gone("o00", 2), *(put(f"o{i:02d}", 1) for i in range(1, 40))}


@pytest.mark.parametrize("passes", [(0,), (1,), (2, 1)])
async def test_an_old_copy_put_back_gets_all_it_lacks(tmp_path: Path, passes: tuple[int, ...]) -> None:
    file = await with_old_copy(tmp_path, tmp_path / "kept.db")
    shutil.copy(tmp_path / "kept.db", file)
    async with sync_rig(tmp_path) as rig:
        await rig.replicate(*passes)
        assert set(await rig.equal(0, 1, 2)) == EXPECTED


@pytest.mark.parametrize("count", [1, 21, 22, 50])
async def test_what_an_old_copy_took_in_since_is_brought_to_the_others(tmp_path: Path, count: int) -> None:
    """Its counter may be behind the others' marks, exactly there, or beyond: then their marks speak of changes it does not have."""
    file = await with_old_copy(tmp_path, tmp_path / "kept.db")
    shutil.copy(tmp_path / "kept.db", file)
    async with sync_rig(tmp_path) as rig:
        before = (await rig.nodes[1].state()).marks[(await rig.nodes[0].state()).id]
        new = [put(f"new{i:02d}", 4) for i in range(count)]
        await rig.nodes[0].merge(*new)
        assert before == 41
        assert (await rig.nodes[0].state()).seq == 20 + count
        await rig.replicate(0)
        assert set(await rig.equal(0, 1, 2)) == EXPECTED | set(new)
        assert [figures["in_sync"] for figures in await rig.replicate()] == [1, 1, 1]


async def test_a_mark_that_the_counter_never_reaches_is_noticed(tmp_path: Path) -> None:
    """One row changed many times: what the others have since does not bring the old copy's counter up to their marks."""
    async with sync_rig(tmp_path, 2, (0, 1)) as rig:
        for node in rig.nodes:
            await node.merge(put("a", 1))
        await rig.replicate(0)
        file = rig.nodes[0].file()
    shutil.copy(file, tmp_path / "kept.db")
    async with sync_rig(tmp_path, 2, (0, 1)) as rig:
        for second in range(2, 22):
            await rig.nodes[0].merge(put("a", second))
        await rig.replicate(0)
    shutil.copy(tmp_path / "kept.db", file)
    async with sync_rig(tmp_path, 2, (0, 1)) as rig:
        await rig.nodes[0].merge(put("new", 30))
        await rig.replicate(0)
        assert await rig.equal(0, 1) == [put("a", 21), put("new", 30)]


async def test_deletions_that_an_old_copy_took_in_are_brought_too(tmp_path: Path) -> None:
    file = await with_old_copy(tmp_path, tmp_path / "kept.db")
    shutil.copy(tmp_path / "kept.db", file)
    async with sync_rig(tmp_path) as rig:
        new = [gone(f"never seen {i:02d}", 4) for i in range(21)]
        await rig.nodes[0].merge(*new)
        for _ in range(2):
            await rig.replicate(0)
        assert set(await rig.equal(0, 1, 2)) == EXPECTED | set(new)


async def test_digests_that_never_agree_do_not_send_everything_each_time(tmp_path: Path) -> None:
    file = await with_old_copy(tmp_path, tmp_path / "kept.db")
    tamper(file, "UPDATE info SET live = randomblob(16), digest = randomblob(16)")
    async with sync_rig(tmp_path) as rig:
        first = (await rig.replicate(0))[0]
        again = (await rig.replicate(0))[0]
        assert first["rows_sent"] == 80
        assert (again["rows_sent"], again["rows_received"], again["in_sync"]) == (0, 0, 0)
        assert (await rig.nodes[0].audit())["corrected"] == 1
        assert (await rig.replicate(0))[0]["in_sync"] == 1


@pytest.mark.parametrize("number", [0, 1])
async def test_a_locked_database_does_not_hold_up_the_others(tmp_path: Path, number: int) -> None:
    async with sync_rig(tmp_path) as rig:
        for node in rig.nodes:
            await node.merge(put("a", 1))
            await node.merge(put("a", 1), name="/acc/other")
        await rig.nodes[0].merge(put("b", 2))
        await rig.nodes[0].merge(put("b", 2), name="/acc/other")
        lock = sqlite3.connect(rig.nodes[number].file(), isolation_level=None)
        lock.execute("BEGIN IMMEDIATE")
        figures = (await rig.replicate(0))[0]
        assert figures["failed"] >= 1
        await rig.equal(0, 1, 2, name="/acc/other")
        lock.execute("ROLLBACK")
        lock.close()
        await rig.replicate(0)
        await rig.equal(0, 1, 2)


@pytest.mark.parametrize("number", [0, 1])
async def test_a_corrupt_database_on_either_side_is_set_aside_and_the_pass_goes_on(tmp_path: Path, number: int) -> None:
    async with sync_rig(tmp_path) as rig:
        for node in rig.nodes:
            await node.merge(*(put(f"o{i:03d}", 1) for i in range(300)))
            await node.merge(put("a", 1), name="/acc/other")
        await rig.nodes[0].merge(put("x", 2), name="/acc/other")
        file = rig.nodes[number].file()
    file.write_bytes(b"garbage" * 10_000)
    async with sync_rig(tmp_path) as rig:
        first = (await rig.replicate(0))[0]
        assert rig.nodes[number].device.quarantined == 1
        await rig.equal(0, 1, 2, name="/acc/other")
        if number == 1:
            assert first["failed"] == 0
        else:
            await rig.replicate(1)
        assert len(await rig.equal(0, 1, 2)) == 300


async def test_a_file_removed_under_a_running_node_is_rebuilt(tmp_path: Path) -> None:
    async with sync_rig(tmp_path) as rig:
        for node in rig.nodes:
            await node.write("create", 1)
            await node.merge(put("a", 1), put("b", 1))
        await rig.replicate()
        for path in rig.nodes[1].file().parent.iterdir():
            path.unlink()
        await rig.nodes[1].merge(put("lost with the file", 2))
        await rig.replicate(0)
        assert await rig.equal(0, 1, 2) == [put("a", 1), put("b", 1)]
        assert rig.nodes[1].file().exists()


# --- whole databases --------------------------------------------------------------------------------------------


async def large(rig: SyncRig) -> None:
    await rig.nodes[0].write("create", 1)
    await rig.nodes[0].merge(*(put(f"o{i:04d}", 1, etag=f"{i:032x}") for i in range(1500)))


@pytest.mark.parametrize("damage", ["rotten", "torn", "index"])
async def test_a_damaged_database_is_not_taken(tmp_path: Path, damage: str) -> None:
    async with sync_rig(tmp_path, 2, (0, 1)) as rig:
        await large(rig)
        file = rig.nodes[0].file()
    data = bytearray(file.read_bytes())
    if damage == "rotten":
        data = data.replace(f"{777:032x}".encode(), b"f" * 32)
    else:
        page = len(data) // 4096 // 2 if damage == "torn" else root_page(file, "row_gone") - 1
        data[page * 4096 : page * 4096 + 4096] = bytes(4096)
    file.write_bytes(data)
    async with sync_rig(tmp_path, 2, (0, 1)) as rig:
        figures = (await rig.replicate(0))[0]
        assert (figures["transferred"], figures["failed"]) == (0, 1)
        assert await rig.databases() == [1, 0]
        assert not list((tmp_path / "n1/tmp").iterdir())
        assert not list((tmp_path / "n0/tmp").iterdir())


def root_page(file: Path, name: str) -> int:
    connection = sqlite3.connect(file)
    (page,) = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = ?", (name,)).fetchone()
    connection.close()
    return int(page)


async def stream(rig: SyncRig, request: OpenTable, data: bytes) -> Exception | None:
    """What node 1 says to a transfer of these bytes."""
    caller = rig.network.client("test", rig.nodes[0].dispatcher)
    exchange = await caller.open(rig.nodes[1].address, request, timeout_s=5)
    try:
        assert isinstance(await exchange.receive(), Ready)
        await exchange.send_chunk(data)
        await exchange.send(CommitTable())
        while isinstance(await exchange.receive(), Ready):
            pass
    except NodeError as error:
        return error
    finally:
        exchange.abort()
    return None


async def test_only_what_was_announced_is_taken(tmp_path: Path) -> None:
    async with sync_rig(tmp_path, 2, (0, 1)) as rig:
        await large(rig)
        file = rig.nodes[0].file()
    data = file.read_bytes()
    async with sync_rig(tmp_path, 2, (0, 1)) as rig:
        place = rig.place(NAME)
        target = Target("d1", place.partition)
        sound = OpenTable("container", target, place.hash, NAME, len(data))
        other = rig.place("/acc/other")
        wrong = {
            "too long": (OpenTable("container", target, place.hash, NAME, len(data) - 1), data),
            "too short": (sound, data[:-4096]),
            "another name": (OpenTable("container", target, place.hash, "/acc/x", len(data)), data),
            "another place": (OpenTable("container", target, other.hash, "/acc/other", len(data)), data),
            "another kind": (OpenTable("account", target, place.hash, "/acc", len(data)), data),
            "no database": (sound, bytes(len(data))),
        }
        for what, (request, sent) in wrong.items():
            error = await stream(rig, request, sent)
            assert isinstance(error, NodeError), what
            assert error.code in (Code.BAD_REQUEST, Code.CORRUPT), what
            assert await rig.databases() == [1, 0]
        assert await stream(rig, sound, data) is None
        assert len(await rig.equal(0, 1)) == 1500
        assert not list((tmp_path / "n1/tmp").iterdir())
