"""Damage of a database is found, and the replicas rebuild it with all its rows."""

import asyncio
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from objstore.model.rows import ContainerRow, ObjectRow
from tests.unit.objstore.tables.rig import gone, put
from tests.unit.objstore.tables.syncrig import ACCOUNT, NAME, Node, SyncRig, sync_rig

PAGE = 4096
ROWS = [put(f"o{i:03d}", 1, size=i, etag=f"{i:032x}") for i in range(300)] + [gone("z", 2)]


async def fill(root: Path) -> Path:
    """Three equal replicas in `root`; returns the path of the second one's database. Nothing is open when it returns."""
    async with sync_rig(root) as rig:
        for node in rig.nodes:
            await node.write("create", 1, values={"user:k": "v"})
            await node.merge(*ROWS[:100])
            await node.merge(*ROWS[100:])
        await rig.replicate()
        return rig.nodes[1].file()


async def healed(rig: SyncRig) -> None:
    """Within one pass of each, all are as they were."""
    for figures in await rig.replicate(0, 2, 1):
        assert figures["failed"] == 0
    assert await rig.equal(0, 1, 2) == ROWS
    assert [figures["in_sync"] for figures in await rig.replicate()] == [1, 1, 1]
    for node in rig.nodes:
        figures = await node.audit()
        assert (figures["databases"], figures["corrected"], figures["quarantined"], figures["failed"]) == (1, 0, 0, 0)


def zero(data: bytearray, at: int) -> None:
    data[at : at + PAGE] = bytes(PAGE)


def flip(data: bytearray, at: int) -> None:
    for offset in (at + 8, at + 500, at + 2048, at + PAGE - 3):
        data[offset] ^= 0x41


@pytest.mark.parametrize("damage", [zero, flip])
async def test_each_page_in_turn_damaged_is_found_and_healed(tmp_path: Path, damage: Callable[[bytearray, int], None]) -> None:
    sound = tmp_path / "sound"
    sound.mkdir()
    file = (await fill(sound)).relative_to(sound)
    pages = (sound / file).stat().st_size // PAGE
    found = 0
    for page in range(pages):
        root = tmp_path / str(page)
        shutil.copytree(sound, root)
        data = bytearray((root / file).read_bytes())
        damage(data, page * PAGE)
        (root / file).write_bytes(data)
        async with sync_rig(root) as rig:
            figures = await rig.nodes[1].audit()
            assert figures["failed"] == 0
            found += figures["quarantined"] + figures["corrected"]
            if figures["quarantined"]:
                assert await rig.databases() == [1, 0, 1]
            await healed(rig)
        shutil.rmtree(root)
    assert found >= pages - 5  # all but free space, and tables that are empty
    print(f"{found} of {pages} pages mattered")


def truncated(size: int) -> Callable[[Path, bytes], None]:
    return lambda file, data: file.write_bytes(data[:size])


DAMAGES: dict[str, Callable[[Path, bytes], object]] = {
    "no header": lambda file, data: file.write_bytes(b"x" * 16 + data[16:]),
    "another program's": lambda file, data: file.write_bytes(data[:68] + b"\0\0\0\1" + data[72:]),
    "a wild version": lambda file, data: file.write_bytes(data[:60] + b"\x7f\0\0\2" + data[64:]),
    "empty": truncated(0),
    "a few bytes": truncated(10),
    "a page": truncated(PAGE),
    "half": truncated(5 * PAGE),
    "all but a byte": lambda file, data: file.write_bytes(data[:-1]),
    "a page too long, header says more": lambda file, data: file.write_bytes(data[:28] + b"\0\0\1\0" + data[32:]),
    "text": lambda file, data: file.write_bytes(b"no database at all" * 999),
}


@pytest.mark.parametrize("damage", DAMAGES)
async def test_damage_of_the_file_is_found_and_healed(tmp_path: Path, damage: str) -> None:
    file = await fill(tmp_path)
    DAMAGES[damage](file, file.read_bytes())
    async with sync_rig(tmp_path) as rig:
        figures = await rig.nodes[1].audit()
        assert (figures["quarantined"], figures["failed"]) == (1, 0)
        assert len(list((tmp_path / "n1/quarantine").glob("*/record"))) == 1
        await healed(rig)


def beside(file: Path) -> Path:
    """The write-ahead log."""
    return file.with_name(f"{file.name}-wal")


async def test_a_log_of_another_database_is_found_and_healed(tmp_path: Path) -> None:
    file = await fill(tmp_path)
    async with sync_rig(tmp_path) as rig:
        await rig.nodes[1].merge(put("theirs", 1), name="/acc/other")
        log = beside(rig.nodes[1].file("/acc/other")).read_bytes()
        await rig.replicate(1)
    beside(file).write_bytes(log)
    async with sync_rig(tmp_path) as rig:
        assert (await rig.nodes[1].audit())["quarantined"] == 1
        for _ in range(2):
            await rig.replicate()
        assert await rig.equal(0, 1, 2) == ROWS
        assert await rig.equal(0, 1, 2, name="/acc/other") == [put("theirs", 1)]


async def test_a_database_that_lost_its_log_is_brought_up_to_date(tmp_path: Path) -> None:
    kept = tmp_path / "kept.db"
    async with sync_rig(tmp_path) as rig:
        for node in rig.nodes:
            await node.write("create", 1, values={"user:k": "v"})
            await node.merge(*ROWS)
        await rig.replicate()
        file = rig.nodes[1].file()
        shutil.copy(file, kept)  # what a crash leaves, when the log is lost: here, all of it
    shutil.copy(kept, file)
    async with sync_rig(tmp_path) as rig:
        assert await rig.nodes[1].rows() == []
        await rig.nodes[1].audit()
        await healed(rig)


async def test_a_checkpoint_torn_by_a_lost_log_is_found_and_healed(tmp_path: Path) -> None:
    file = await fill(tmp_path)
    before = file.read_bytes()
    rows = [put(row.name, 3, size=row.size + 1, etag="f" * 32) for row in ROWS]
    async with sync_rig(tmp_path) as rig:
        for node in rig.nodes:
            await node.merge(*rows)
        await rig.replicate()
    after = file.read_bytes()
    differing = [at for at in range(0, len(before), PAGE) if before[at : at + PAGE] != after[at : at + PAGE]]
    mixed = bytearray(after)
    for at in differing[1::2]:
        mixed[at : at + PAGE] = before[at : at + PAGE]
    file.write_bytes(mixed)
    async with sync_rig(tmp_path) as rig:
        assert (await rig.nodes[1].audit())["quarantined"] == 1
        await rig.replicate()
        assert await rig.equal(0, 1, 2) == rows


# --- figures ----------------------------------------------------------------------------------------------------


def tamper(file: Path, statement: str) -> None:
    connection = sqlite3.connect(file, isolation_level=None)
    connection.execute(statement)
    connection.close()


async def test_wrong_figures_are_corrected_while_writes_go_on(tmp_path: Path) -> None:
    file = await fill(tmp_path)
    tamper(file, "UPDATE stat SET objects = objects + 7, bytes = 1")
    async with sync_rig(tmp_path) as rig:
        assert (await rig.nodes[1].audit())["corrected"] == 1
        await healed(rig)
        assert (await rig.nodes[1].state()).stats.object_count == 300


async def test_a_wrong_digest_is_corrected_by_what_the_others_say(tmp_path: Path) -> None:
    file = await fill(tmp_path)
    tamper(file, "UPDATE info SET digest = randomblob(16), live = randomblob(16)")
    async with sync_rig(tmp_path) as rig:
        figures = await rig.nodes[1].audit()
        assert (figures["corrected"], figures["quarantined"]) == (1, 0)
        await healed(rig)


async def test_a_row_that_rotted_is_not_believed_and_not_spread(tmp_path: Path) -> None:
    file = await fill(tmp_path)
    data = file.read_bytes()
    assert data.count(f"{77:032x}".encode()) == 1
    file.write_bytes(data.replace(f"{77:032x}".encode(), b"f" * 32))  # it would win against the right one
    async with sync_rig(tmp_path) as rig:
        figures = await rig.nodes[1].audit()
        assert (figures["corrected"], figures["quarantined"]) == (0, 1)
        await healed(rig)


async def test_who_is_right_stays_open_while_nobody_tells(tmp_path: Path) -> None:
    file = await fill(tmp_path)
    file.write_bytes(file.read_bytes().replace(f"{77:032x}".encode(), b"f" * 32))
    async with sync_rig(tmp_path) as rig:
        rig.down(0, 2)
        figures = await rig.nodes[1].audit()
        assert (figures["failed"], figures["corrected"], figures["quarantined"]) == (1, 0, 0)
        rig.network.heal()
        assert (await rig.nodes[1].audit())["quarantined"] == 1
        await healed(rig)


async def test_the_only_replica_is_corrected_not_thrown_away(tmp_path: Path) -> None:
    async with sync_rig(tmp_path, 1, (0,)) as rig:
        await rig.nodes[0].merge(*ROWS)
        file = rig.nodes[0].file()
    tamper(file, "UPDATE info SET live = randomblob(16)")
    async with sync_rig(tmp_path, 1, (0,)) as rig:
        figures = await rig.nodes[0].audit()
        assert (figures["corrected"], figures["quarantined"]) == (1, 0)
        assert await rig.nodes[0].rows() == ROWS


async def test_accounts_are_audited_too(tmp_path: Path) -> None:
    rows = [ContainerRow("a", 1, 0, 2, 20, 0, 5), ContainerRow("b", 1, 0, 1, 1, 1, 5)]
    async with sync_rig(tmp_path) as rig:
        for node in rig.nodes:
            await node.write("create", 1, ACCOUNT)
            await node.merge(*rows, name=ACCOUNT)
        file = rig.nodes[1].file(ACCOUNT)
    tamper(file, "DELETE FROM stat WHERE policy = 1")
    async with sync_rig(tmp_path) as rig:
        assert (await rig.nodes[1].audit("account"))["corrected"] == 1
        assert await rig.equal(0, 1, 2, name=ACCOUNT) == rows
    file.write_bytes(file.read_bytes()[:PAGE])
    async with sync_rig(tmp_path) as rig:
        assert (await rig.nodes[1].audit("account"))["quarantined"] == 1
        await rig.replicate(kind="account")
        assert await rig.equal(0, 1, 2, name=ACCOUNT) == rows


async def test_an_audit_of_sound_databases_changes_nothing(tmp_path: Path) -> None:
    file = await fill(tmp_path)
    async with sync_rig(tmp_path) as rig:
        node: Node = rig.nodes[1]
        before = await node.state()
        figures = await node.audit()
        assert figures["databases"] == 1
        assert not any(figures[name] for name in ("corrected", "quarantined", "failed"))
        assert await node.state() == before
        assert isinstance((await node.rows())[0], ObjectRow)
        assert file.exists()
        assert before.settings.name == NAME


LOOK = """
import sqlite3, sys
connection = sqlite3.connect(f"file:{sys.argv[1]}?mode=rw", uri=True)
connection.execute("SELECT count(*) FROM row").fetchall()
connection.close()
"""


def look(file: Path) -> int:
    """What an operator's shell does; returns which file the log is afterwards."""
    subprocess.run([sys.executable, "-c", LOOK, str(file)], check=True, timeout=30)
    return beside(file).stat().st_ino


async def test_no_daemon_takes_the_locks_of_an_open_database_away(tmp_path: Path) -> None:
    """POSIX locks go with the first descriptor that is closed; then another process's last look would remove our log."""
    async with sync_rig(tmp_path) as rig:
        for node in rig.nodes:
            await node.merge(*ROWS)
        node, file = rig.nodes[1], rig.nodes[1].file()
        log = beside(file).stat().st_ino
        await rig.replicate()
        await node.audit()
        await rig.replicate(0)
        assert node.device.peek(rig.place(NAME)) is not None
        assert await asyncio.to_thread(look, file) == log
        await node.merge(put("after", 2))
        assert await asyncio.to_thread(look, file) == log
