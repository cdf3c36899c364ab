"""Damaged, truncated, misplaced and planted files: never a wrong byte, always quarantine (fault catalogue F16, F17, F31-F37)."""

import asyncio
import os
import shutil
from pathlib import Path

import pytest

from objstore.formats.filenames import FileKind, file_name
from objstore.formats.messages import (
    GetObject,
    ListQuarantine,
    PostObject,
    QuarantineEntry,
    QuarantineList,
    ReadObject,
    Ready,
    RestoreQuarantine,
)
from objstore.model.errors import Code, NodeError
from objstore.rpc.interface import Chunk, PeerUnavailable
from tests.contract.implementations import CALLERS
from tests.unit.objstore.object.rig import HASH, NAME, TARGET, Node, Rig, at

XATTR = "user.objstore.meta"
CHUNK = 1 << 16


def flip(path: Path, offset: int) -> None:
    """One bit of the data, modification time kept."""
    status = path.stat()
    with path.open("r+b") as file:
        file.seek(offset)
        byte = file.read(1)
        file.seek(offset)
        file.write(bytes([byte[0] ^ 1]))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


async def code_of(work) -> Code:
    with pytest.raises(NodeError) as caught:
        await work
    return caught.value.code


async def entries(node: Node) -> list[QuarantineEntry]:
    reply = await node.call(ListQuarantine("d1"))
    assert isinstance(reply, QuarantineList)
    return reply.entries


def present(path: Path) -> bool:
    """Something is there, a broken link perhaps."""
    return os.path.lexists(path)


async def expect_quarantined(node: Node, path: Path, kept_name: str = NAME) -> QuarantineEntry:
    (entry,) = await entries(node)
    assert not present(path)
    assert (entry.path, entry.name) == (str(path.relative_to(node.root)), kept_name)
    assert present(node.root / "quarantine" / entry.id / path.name)
    assert node.server.report("d1")[1] == 1
    return entry


@pytest.mark.parametrize("chunk", range(4))
@pytest.mark.parametrize("whole", [True, False])
async def test_a_flipped_bit_in_any_chunk_is_never_served(node: Node, chunk: int, whole: bool) -> None:
    body = os.urandom(3 * CHUNK + 100)
    await node.put(body, 1)
    path = node.data_file()
    flip(path, chunk * CHUNK + 50)
    request = (0, -1) if whole else (chunk * CHUNK + 70, 10)
    assert await code_of(node.get(*request, inline_max=1 << 20)) is Code.CORRUPT
    entry = await expect_quarantined(node, path)
    assert f"chunk {chunk}" in entry.reason
    assert await code_of(node.get()) is Code.CORRUPT


async def test_a_range_beside_the_damage_is_still_right(node: Node) -> None:
    body = os.urandom(3 * CHUNK)
    await node.put(body, 1)
    flip(node.data_file(), 2 * CHUNK + 5)
    assert (await node.get(CHUNK - 10, 20)).body == body[CHUNK - 10 : CHUNK + 10]
    assert await entries(node) == []


@pytest.mark.parametrize("how", CALLERS)
@pytest.mark.parametrize("chunk", [0, 17, 40])
async def test_a_stream_ends_before_the_damaged_piece(node: Node, chunk: int, how: str) -> None:
    """Its reader finds the damage, and then the node looks."""
    body = os.urandom(41 * CHUNK)
    await node.put_large(body, 1)
    path = node.data_file()
    flip(path, chunk * CHUNK + CHUNK - 1)
    got = b""
    async with CALLERS[how](node.dispatcher) as (caller, address):
        exchange = await caller.open(address, ReadObject(TARGET, HASH, at(1), 0, len(body)), timeout_s=5.0)
        assert isinstance(await exchange.receive(), Ready)
        with pytest.raises(PeerUnavailable):
            while isinstance(piece := await exchange.receive(), Chunk):
                got += piece.data
        for _ in range(500):
            if node.server.report("d1")[1]:
                break
            await asyncio.sleep(0.01)
    assert len(got) <= chunk * CHUNK
    assert body.startswith(got)
    await expect_quarantined(node, path, NAME)


async def test_a_reader_that_leaves_is_no_damage(node: Node) -> None:
    body = os.urandom(41 * CHUNK)
    await node.put_large(body, 1)
    async with CALLERS["Unix sockets"](node.dispatcher) as (caller, address):
        exchange = await caller.open(address, ReadObject(TARGET, HASH, at(1), 0, len(body)), timeout_s=5.0)
        assert isinstance(await exchange.receive(), Ready)
        exchange.abort()
        await asyncio.sleep(0.1)
    assert await node.read(1, 0, len(body)) == body and await entries(node) == []


@pytest.mark.parametrize("size", [0, 1, 99])
async def test_a_truncated_file_is_quarantined(node: Node, size: int) -> None:
    """Size 0 with its attributes in place is what a power cut left on ext4 when the file was not synced."""
    await node.put(b"x" * 100, 1)
    path = node.data_file()
    os.truncate(path, size)
    assert await code_of(node.get()) is Code.CORRUPT
    assert "size" in (await expect_quarantined(node, path)).reason


@pytest.mark.parametrize("inline_max", [-1, 0])
async def test_a_file_that_grew_is_quarantined_on_metadata_reads_too(node: Node, inline_max: int) -> None:
    await node.put(b"x" * 100, 1)
    path = node.data_file()
    os.truncate(path, 101)
    assert await code_of(node.get(inline_max=inline_max)) is Code.CORRUPT
    await expect_quarantined(node, path)


async def test_a_read_stream_of_a_truncated_file(node: Node) -> None:
    await node.put_large(b"x" * 100_000, 1)
    path = node.data_file()
    os.truncate(path, 99_999)
    assert await code_of(node.read(1, 0, 10)) is Code.CORRUPT
    await expect_quarantined(node, path, "")


async def test_any_flipped_bit_of_the_metadata_is_found(node: Node) -> None:
    await node.put(b"x", 1, user={"a": "b"})
    path = node.data_file()
    good = os.getxattr(path, XATTR)
    for position in range(len(good)):
        bad = bytearray(good)
        bad[position] ^= 1 << position % 8
        os.setxattr(path, XATTR, bytes(bad))
        assert await code_of(node.get()) is Code.CORRUPT
        (node.root / "quarantine" / path.name / path.name).rename(path)
        node.device.index.forget("objects/12")
    os.setxattr(path, XATTR, good)
    assert (await node.get()).body == b"x"


@pytest.mark.parametrize("part", ["version", "table"])
async def test_damage_in_the_trailer(node: Node, part: str) -> None:
    user = {str(i): "v" * 100 for i in range(90)}
    body = os.urandom(CHUNK * 700 if part == "table" else 10)
    await node.put(body, 1, user=user)
    path = node.data_file()
    flip(path, path.stat().st_size - 5 if part == "table" else 10 + 500)
    assert await code_of(node.get(0, 5)) is Code.CORRUPT
    await expect_quarantined(node, path)


async def test_lost_metadata(node: Node) -> None:
    await node.put(b"x", 1)
    path = node.data_file()
    os.removexattr(path, XATTR)
    assert await code_of(node.get()) is Code.CORRUPT
    await expect_quarantined(node, path)


async def test_metadata_of_a_later_release_is_refused_and_left_alone(node: Node) -> None:
    from crc32c import crc32c

    await node.put(b"x", 1)
    path = node.data_file()
    rest = bytearray(os.getxattr(path, XATTR)[4:])
    rest[0] = 9
    os.setxattr(path, XATTR, crc32c(rest).to_bytes(4, "little") + rest)
    assert await code_of(node.get()) is Code.INTERNAL
    assert path.exists()


async def test_a_damaged_metadata_file_hides_the_object_until_it_is_repaired(node: Node) -> None:
    await node.put(b"x", 1)
    await node.post(2, {"a": "1"})
    (path,) = node.files(".meta")
    os.setxattr(path, XATTR, b"nonsense")
    assert await code_of(node.get()) is Code.CORRUPT
    await expect_quarantined(node, path)
    assert await code_of(node.get()) is Code.CORRUPT, "the metadata that it has is no longer the newest"
    assert await code_of(node.post(3, {"b": "1"})) is Code.CORRUPT, "the content type may have been in what was lost"
    await node.call(PostObject(TARGET, HASH, NAME, at(2), {}, {"a": "1"}, None, None, 0, True))
    assert (await node.get()).version.user == {"a": "1"}


async def test_a_damaged_tombstone_is_quarantined(node: Node) -> None:
    await node.delete(1)
    (path,) = node.files(".ts")
    os.setxattr(path, XATTR, b"nonsense")
    assert await code_of(node.get()) is Code.CORRUPT
    await expect_quarantined(node, path)


async def test_post_to_damaged_data_is_refused(node: Node) -> None:
    await node.put(b"x", 1)
    path = node.data_file()
    os.truncate(path, 0)
    assert await code_of(node.post(2, {})) is Code.CORRUPT
    await expect_quarantined(node, path)


async def test_a_file_of_another_object_is_never_served(node: Node) -> None:
    other_hash = b"o" * 16
    await node.put(b"mine", 1)
    await node.put(b"other", 2, name="/acc/con/other", hash_=other_hash)
    mine = node.root / "objects/12" / file_name(HASH, at(1), FileKind.DATA)
    stray = node.root / "objects/12" / file_name(HASH, at(2), FileKind.DATA)
    other = node.root / "objects/12" / file_name(other_hash, at(2), FileKind.DATA)
    shutil.copyfile(other, stray)
    os.setxattr(stray, XATTR, os.getxattr(other, XATTR))
    mine.unlink()
    node.device.index.forget("objects/12")
    assert await code_of(node.get()) is Code.CORRUPT
    assert "another object" in (await expect_quarantined(node, stray)).reason


async def test_a_file_under_another_time_is_never_served(node: Node) -> None:
    await node.put(b"mine", 1)
    path = node.data_file()
    later = path.with_name(file_name(HASH, at(2), FileKind.DATA))
    path.rename(later)
    assert await code_of(node.get()) is Code.CORRUPT
    await expect_quarantined(node, later)


@pytest.mark.parametrize("planted", ["directory", "symlink", "dangling", "fifo", "socket"])
async def test_what_is_no_regular_file_is_quarantined(node: Node, tmp_path: Path, planted: str) -> None:
    import socket

    await node.put(b"x", 1)
    path = node.data_file()
    target = tmp_path / "target"
    if planted == "symlink":
        shutil.copyfile(path, target)
        os.setxattr(target, XATTR, os.getxattr(path, XATTR))
    path.unlink()
    if planted == "directory":
        path.mkdir()
    elif planted == "fifo":
        os.mkfifo(path)
    elif planted == "socket":
        short = tmp_path / "s"
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(short))
        short.rename(path)
    else:
        path.symlink_to(target)
    assert await code_of(node.get()) is Code.CORRUPT
    await expect_quarantined(node, path)


async def test_a_partition_that_is_a_file_is_an_error_not_an_empty_partition(node: Node) -> None:
    (node.root / "objects").mkdir()
    (node.root / "objects/12").write_bytes(b"")
    assert await code_of(node.get()) is Code.DEVICE_FAILED


async def test_duplicates_and_strange_names(rig: Rig, node: Node) -> None:
    await node.put(b"old", 1)
    old = node.data_file()
    kept, attributes = old.read_bytes(), os.getxattr(old, XATTR)
    await node.put(b"new", 3)
    await node.post(5, {"a": "new"})
    await node.stop()
    old.write_bytes(kept)
    os.setxattr(old, XATTR, attributes)
    directory = node.root / "objects/12"
    (directory / file_name(HASH, at(2), FileKind.TOMBSTONE)).write_bytes(b"")
    (directory / file_name(HASH, at(4), FileKind.META)).write_bytes(b"")
    for strange in ("stray.tmp", f"{HASH.hex()}.x.ts2", file_name(HASH, at(9), FileKind.DATA).upper()):
        (directory / strange).write_bytes(b"")
    again = await rig.node()
    reply = await again.get()
    assert (reply.body, reply.version.user) == (b"new", {"a": "new"})
    assert len(again.files(".data")) == 1
    assert again.files(".ts") == []
    assert len(again.files(".meta")) == 1
    assert again.device.index.strange_names == 3


async def test_superseded_files_stay_while_what_replaced_them_is_damaged(rig: Rig, node: Node) -> None:
    await node.put(b"old", 1)
    await node.stop()
    torn = node.root / "objects/12" / file_name(HASH, at(2), FileKind.DATA)
    torn.write_bytes(b"")
    again = await rig.node()
    assert await code_of(again.get()) is Code.CORRUPT
    assert await code_of(again.get()) is Code.CORRUPT, "a newer version was here"
    assert [path.read_bytes() for path in again.files()] == [b"old"]


async def test_files_removed_behind_our_back_are_missed(node: Node) -> None:
    await node.put(b"x", 1)
    node.data_file().unlink()
    assert await code_of(node.get()) is Code.NOT_FOUND
    await node.put(b"x", 1)
    shutil.rmtree(node.root / "objects")
    assert await code_of(node.get()) is Code.NOT_FOUND
    await node.put(b"y", 2)
    assert (await node.get()).body == b"y"


async def test_restore_from_quarantine(node: Node) -> None:
    await node.put(b"body", 1)
    path = node.data_file()
    flip(path, 2)
    assert await code_of(node.get()) is Code.CORRUPT
    entry = await expect_quarantined(node, path)
    assert await code_of(node.call(RestoreQuarantine("d1", entry.id))) is Code.CORRUPT
    flip(node.root / "quarantine" / entry.id / path.name, 2)
    assert await node.call(RestoreQuarantine("d1", entry.id)) == Ready()
    assert (await node.get()).body == b"body"
    assert await entries(node) == []
    assert node.server.report("d1")[1] == 0
    assert await code_of(node.call(RestoreQuarantine("d1", entry.id))) is Code.NOT_FOUND


async def test_restore_never_brings_back_an_older_version(node: Node) -> None:
    await node.put(b"body", 1)
    path = node.data_file()
    flip(path, 2)
    assert await code_of(node.get()) is Code.CORRUPT
    entry = await expect_quarantined(node, path)
    flip(node.root / "quarantine" / entry.id / path.name, 2)
    await node.delete(2)
    assert await code_of(node.call(RestoreQuarantine("d1", entry.id))) is Code.NEWER_EXISTS


@pytest.mark.parametrize("bad", ["../objects", "", ".", "..", "a/b"])
async def test_quarantine_ids_lead_nowhere_else(node: Node, bad: str) -> None:
    assert await code_of(node.call(RestoreQuarantine("d1", bad))) is Code.NOT_FOUND


async def test_the_same_file_twice_in_quarantine(node: Node) -> None:
    for _ in range(2):
        await node.put(b"body", 1)
        flip(node.data_file(), 2)
        assert await code_of(node.get()) is Code.CORRUPT
    assert len(await entries(node)) == 2
    assert node.server.report("d1")[1] == 2


async def test_many_readers_of_one_damaged_file_quarantine_it_once(node: Node) -> None:
    import asyncio

    await node.put(b"body", 1)
    flip(node.data_file(), 2)
    results = await asyncio.gather(*(node.get() for _ in range(8)), return_exceptions=True)
    assert {r.code for r in results if isinstance(r, NodeError)} <= {Code.CORRUPT, Code.NOT_FOUND}
    assert len(results) == 8
    assert len(await entries(node)) == 1


async def test_the_count_of_quarantined_files_survives_a_restart(rig: Rig, node: Node) -> None:
    await node.put(b"body", 1)
    flip(node.data_file(), 2)
    assert await code_of(node.get()) is Code.CORRUPT
    await node.stop()
    again = await rig.node()
    assert again.server.report("d1") == (0, 1)


async def test_an_unknown_device_is_refused(node: Node) -> None:
    from objstore.formats.messages import Target

    assert await code_of(node.call(GetObject(Target("other", 12), HASH, NAME))) is Code.DEVICE_FAILED
