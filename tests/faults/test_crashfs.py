"""The model itself: what it calls durable, and that it knows every outcome that was measured on ext4."""

import pytest

from objstore.runtime.filesystem import TMP
from tests.faults.crashfs import CrashFileSystem
from tests.faults.crashnodes import Content, Image, files_of
from tests.faults.crashstates import LIMIT, Figures, crash_images

ATTRIBUTE = ("m", b"meta")


def put(fs: CrashFileSystem, path: str, data: bytes, *, sync: bool = True, attribute: bool = True) -> None:
    file = fs.create_temp()
    file.write(data)
    if attribute:
        file.set_attribute(*ATTRIBUTE)
    if sync:
        file.sync()
    fs.publish(file, path)


def outcomes(fs: CrashFileSystem) -> set[Image]:
    return {tuple(entry for entry in image if not entry[0].startswith(TMP)) for image in crash_images(fs)}


def files(fs: CrashFileSystem) -> set[tuple[tuple[str, Content], ...]]:
    return {tuple(files_of(image)) for image in outcomes(fs)}


def fresh(*directories: str) -> CrashFileSystem:
    fs = CrashFileSystem()
    for path in directories:
        for changed in fs.make_directory(path):
            fs.sync_directory(changed)
    return fs


def test_what_is_synced_in_order_stays() -> None:
    fs = fresh("d")
    put(fs, "d/a", b"data")
    assert len(outcomes(fs)) == 2, "the name came or not"
    fs.sync_directory("d")
    assert files(fs) == {(("d/a", Content(b"data", (ATTRIBUTE,))),)}


def test_a_name_without_its_data_is_among_the_outcomes() -> None:
    """The worst one measured: a file of no bytes with its attributes, or of zeros."""
    fs = fresh("d")
    put(fs, "d/a", b"data", sync=False)
    fs.sync_directory("d")
    found = {content for image in files(fs) for _, content in image}
    assert Content(b"", (ATTRIBUTE,)) in found
    assert {content.data for content in found} == {b"", bytes(4), b"data"}
    assert {content.attributes for content in found} == {(), (ATTRIBUTE,)}


def test_torn_at_sectors_and_blocks() -> None:
    fs = fresh("d")
    body = b"x" * 10_000
    put(fs, "d/a", body, sync=False, attribute=False)
    fs.sync_directory("d")
    found = {content.data for image in files(fs) for _, content in image}
    assert body[:512] + bytes(10_000 - 512) in found
    assert body[:4096] in found
    assert bytes(8192) + body[8192:] in found
    assert body[:4096] + bytes(4096) + body[8192:] in found


def test_a_new_directory_needs_its_parents_sync() -> None:
    fs = CrashFileSystem()
    assert fs.make_directory("a/b") == ["", "a"]
    put(fs, "a/b/c", b"")
    fs.sync_directory("a/b")
    fs.sync_directory("a")
    assert () in outcomes(fs), "a itself may be gone"
    fs.sync_directory("")
    assert len(outcomes(fs)) == 1


def test_any_subset_of_the_steps_of_a_directory() -> None:
    fs = fresh("d")
    for name in "abc":
        put(fs, f"d/{name}", b"")
    assert len(outcomes(fs)) == 8
    fs.unlink("d/a")
    assert len(outcomes(fs)) == 8
    fs.sync_directory("d")
    assert len(outcomes(fs)) == 1


def test_a_rename_between_directories_happens_or_not() -> None:
    fs = fresh("d", "e")
    put(fs, "d/a", b"")
    fs.sync_directory("d")
    fs.rename("d/a", "e/a")
    assert {tuple(path for path, _ in image) for image in files(fs)} == {("d/a",), ("e/a",)}
    fs.sync_directory("e")
    assert {tuple(path for path, _ in image) for image in files(fs)} == {("d/a", "e/a"), ("e/a",)}
    fs.sync_directory("d")
    assert {tuple(path for path, _ in image) for image in files(fs)} == {("e/a",)}


def test_a_rename_of_which_only_the_source_is_synced_may_lose_the_file() -> None:
    fs = fresh("d", "e")
    put(fs, "d/a", b"")
    fs.sync_directory("d")
    fs.rename("d/a", "e/a")
    fs.sync_directory("d")
    assert () in files(fs)


def test_a_replaced_file_is_the_old_or_the_new_one() -> None:
    fs = fresh("d")
    put(fs, "d/a", b"old")
    fs.sync_directory("d")
    put(fs, "d/a", b"new")
    assert {content.data for image in files(fs) for _, content in image} == {b"old", b"new"}
    assert len(fs.temps_removed) == 1, "it took a second name"


def test_an_append_is_torn_behind_what_was_durable() -> None:
    fs = fresh("d")
    log = fs.open_append("d/log")
    fs.sync_directory("d")
    log.write(b"a" * 700)
    log.sync()
    log.write(b"b" * 700)
    found = {content.data for image in files(fs) for _, content in image}
    assert all(data.startswith(b"a" * 700) for data in found)
    assert b"a" * 700 + b"b" * (1024 - 700) in found and b"a" * 700 + bytes(700) in found


def test_a_failed_sync_is_never_made_good() -> None:
    fs = fresh("d")
    file = fs.create_temp()
    file.write(b"data")
    fs.lose_data(file)
    file.sync()
    fs.publish(file, "d/a")
    fs.lose_names("d")
    fs.sync_directory("d")
    assert fs.list_directory("d") == ["a"]
    assert () in files(fs) and (("d/a", Content(b"")),) in files(fs)


@pytest.mark.parametrize("nameless", [True, False])
def test_an_image_is_a_device_again(nameless: bool) -> None:
    fs = CrashFileSystem(nameless=nameless)
    fs.make_directory("d")
    put(fs, "d/a", b"data")
    left = fs.create_temp()
    left.write(b"left behind")
    again = CrashFileSystem(fs.image())
    assert again.list_directory(TMP) == []
    assert [entry for entry in again.image() if entry[0] != TMP] == [("d", None), ("d/a", Content(b"data", (ATTRIBUTE,)))]
    assert len(outcomes(again)) == 1, "all that is left is durable"


def test_too_many_steps_are_sampled() -> None:
    fs, figures = fresh("d"), Figures()
    for number in range(14):
        put(fs, f"d/{number:02d}", b"")
    found = set(crash_images(fs, 1, figures))
    assert figures.sampled == 1
    assert 100 < len(found) < LIMIT
    names = {tuple(path for path, _ in files_of(image)) for image in found}
    every = tuple(f"d/{number:02d}" for number in range(14))
    assert {every[:count] for count in range(15)} <= names, "every prefix is there"
    assert found == set(crash_images(fs, 1))
    assert found != set(crash_images(fs, 2))
