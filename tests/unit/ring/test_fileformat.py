"""Ring files: round trips, and every kind of damage is a RingFileError in one line."""

import gzip
import json
import os
import struct
import subprocess
import sys
from array import array
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ring import fileformat
from ring.device import Device
from ring.fileformat import (
    RingFileError,
    RingTable,
    locked_directory,
    read_ring_file,
    ring_to_bytes,
    write_file_durably,
    write_ring_file,
)

GOLDEN = Path(__file__).parent / "golden"
DEVICES = (Device(0, 1, 1, "10.0.0.1", 6200, "sda", 1.0), None, Device(2, 1, 2, "10.0.0.2", 6200, "sdb", 2.5, "méta"))
TABLE = RingTable(DEVICES, (array("H", [0, 2, 0, 2]), array("H", [2, 0, 2])), 30, 9)


def store(path: Path, metadata: object, body: bytes, head: bytes = b"R1NG\0\1", length: int | None = None) -> str:
    text = metadata if isinstance(metadata, bytes) else json.dumps(metadata).encode()
    path.write_bytes(gzip.compress(head + struct.pack(">I", len(text) if length is None else length) + text + body))
    return str(path)


def metadata(**changes: object) -> dict[str, object]:
    devs = [{"id": i, "region": 1, "zone": 1, "ip": "::1", "port": 1, "device": f"d{i}", "weight": 1.0} for i in range(2)]
    return {"devs": devs, "part_shift": 31, "replica_count": 2, "byteorder": "little", "version": 1, **changes}


@st.composite
def tables(draw: st.DrawFn) -> RingTable:
    ids = draw(st.lists(st.booleans(), min_size=1, max_size=12).filter(any))
    names = st.text(min_size=1, max_size=8).filter(lambda name: name.isprintable() and "/" not in name and name not in (".", ".."))
    devices = tuple(
        Device(i, draw(st.integers(0, 9)), 1, "10.0.0.1", 6200, draw(names), draw(st.floats(0, 1e6)), draw(st.text()))
        if there
        else None
        for i, there in enumerate(ids)
    )
    power = draw(st.integers(0, 5))
    present = st.sampled_from([i for i, there in enumerate(ids) if there])
    lengths = [1 << power] * draw(st.integers(0, 3)) + [draw(st.integers(1, 1 << power))]
    rows = tuple(array("H", draw(st.lists(present, min_size=length, max_size=length))) for length in lengths)
    return RingTable(devices, rows, 32 - power, draw(st.none() | st.integers(0, 2**40)), draw(st.none() | st.integers(1, 32)))


@given(tables())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_round_trip(tmp_path: Path, table: RingTable) -> None:
    path = str(tmp_path / "x.ring.gz")
    write_ring_file(path, table)
    assert read_ring_file(path) == table
    assert ring_to_bytes(table) == ring_to_bytes(read_ring_file(path))


@given(st.data())
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_cut_or_flipped_bit_is_noticed(tmp_path: Path, data: st.DataObject) -> None:
    """gzip covers all but those bytes of its own header that say nothing about the content: damage fails or changes nothing."""
    name = data.draw(st.sampled_from(["zones", "version2"]))
    original = (GOLDEN / f"{name}.ring.gz").read_bytes()
    content = bytearray(original)
    if data.draw(st.booleans()):
        del content[data.draw(st.integers(0, len(content) - 1)) :]
    else:
        bit = data.draw(st.integers(0, len(content) * 8 - 1))
        content[bit // 8] ^= 1 << bit % 8
    path = tmp_path / "x.ring.gz"
    path.write_bytes(content)
    try:
        table = read_ring_file(str(path))
    except RingFileError as error:
        assert "\n" not in str(error)
        assert str(path) in str(error)
    else:
        assert table == read_ring_file(str(GOLDEN / f"{name}.ring.gz"))
        assert bytes(content) != original


@given(st.binary(max_size=200), st.booleans())
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_content_breaks_the_reader(tmp_path: Path, content: bytes, version_1: bool) -> None:
    path = tmp_path / "x.ring.gz"
    path.write_bytes(gzip.compress((b"R1NG\0\1" if version_1 else b"R1NG\0\2") + content))
    with pytest.raises(RingFileError):
        read_ring_file(str(path))


@pytest.mark.parametrize("byteorder", ["little", "big"])
def test_both_byte_orders(tmp_path: Path, byteorder: str) -> None:
    body = struct.pack("<4H" if byteorder == "little" else ">4H", 0, 1, 1, 0)
    table = read_ring_file(store(tmp_path / "x", metadata(byteorder=byteorder), body))
    assert [list(row) for row in table.rows] == [[0, 1], [1, 0]]


def test_the_byte_order_of_old_files_is_the_machines(tmp_path: Path) -> None:
    old = {name: value for name, value in metadata().items() if name not in ("byteorder", "version")}
    table = read_ring_file(store(tmp_path / "x", old, array("H", [0, 1, 1]).tobytes()))
    assert ([list(row) for row in table.rows], table.version) == ([[0, 1], [1]], None)


@pytest.mark.parametrize(
    ("change", "body", "reason"),
    [
        ({"part_shift": 33}, b"", "part_shift"),
        ({"part_shift": "31"}, b"", "part_shift"),
        ({"replica_count": 0}, b"", "replica_count"),
        ({"replica_count": 10**9}, b"", "replica_count"),
        ({"replica_count": None}, b"", "replica_count"),
        ({"byteorder": "middle"}, b"\0" * 8, "byteorder"),
        ({"devs": {}}, b"\0" * 8, "devs"),
        ({"devs": [{"id": 0}]}, b"\0" * 8, "device field"),
        ({"devs": list(reversed(metadata()["devs"]))}, b"\0" * 8, "stands at place"),  # type: ignore[call-overload]
        ({"devs": [None, None]}, b"\0" * 8, "does not exist"),
        ({}, b"\7\0" * 4, "device 7, which does not exist"),
        ({}, b"\0" * 4, "cut short"),
        ({}, b"\0" * 7, "cut short"),
        ({}, b"\0" * 10, "longer"),
        ({"part_shift": 0, "replica_count": 200}, b"\0" * 10, "cut short"),
    ],
)
def test_damage_has_a_reason(tmp_path: Path, change: dict[str, object], body: bytes, reason: str) -> None:
    with pytest.raises(RingFileError, match=reason):
        read_ring_file(store(tmp_path / "x", metadata(**change), body))


@pytest.mark.parametrize("text", [b"[]", b"{", b"\xff", b"[" * 100_000, b'{"part_shift": 31}', b""])
def test_damaged_descriptions(tmp_path: Path, text: bytes) -> None:
    with pytest.raises(RingFileError, match="description"):
        read_ring_file(store(tmp_path / "x", text, b"\0" * 8))


def test_wrong_magic_version_and_length(tmp_path: Path) -> None:
    for head, length, reason in (
        (b"RING\0\1", None, "R1NG"),
        (b"R1NG\0\3", None, "version is 3"),
        (b"R1NG\0\1", 2**32 - 1, "too long"),
    ):
        with pytest.raises(RingFileError, match=reason):
            read_ring_file(store(tmp_path / "x", metadata(), b"\0" * 8, head, length))
    (tmp_path / "y").write_bytes(b"R1NG, but not compressed")
    with pytest.raises(RingFileError, match="gzip"):
        read_ring_file(str(tmp_path / "y"))


def test_a_directory_is_no_ring_file(tmp_path: Path) -> None:
    with pytest.raises(RingFileError, match="directory"):
        read_ring_file(str(tmp_path))


def test_writing_leaves_only_the_file_and_asks_for_durability(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[str] = []
    real_fsync = os.fsync
    monkeypatch.setattr(fileformat.os, "fsync", lambda fd: (synced.append(os.readlink(f"/proc/self/fd/{fd}")), real_fsync(fd)))
    write_file_durably(str(tmp_path / "x"), b"one")
    write_file_durably(str(tmp_path / "x"), b"two")
    assert os.listdir(tmp_path) == ["x"]
    assert (tmp_path / "x").read_bytes() == b"two"
    assert (tmp_path / "x").stat().st_mode & 0o777 == 0o644
    assert [path == str(tmp_path) for path in synced] == [False, True, False, True]


def test_a_failed_write_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x"
    write_ring_file(str(path), TABLE)

    def fail(_fd: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(fileformat.os, "fsync", fail)
    with pytest.raises(RingFileError, match="No space left"):
        write_ring_file(str(path), RingTable(DEVICES, TABLE.rows, 30, 10))
    assert os.listdir(tmp_path) == ["x"]
    assert read_ring_file(str(path)).version == 9


def test_backups_are_kept(tmp_path: Path) -> None:
    write_ring_file(str(tmp_path / "x.ring.gz"), TABLE, backup_at_s=1234.9)
    assert read_ring_file(str(tmp_path / "backups" / "1234.x.ring.gz")) == TABLE


def test_one_tool_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fileformat, "LOCK_WAIT_S_MAX", 0.2)
    script = "import sys; from ring.fileformat import locked_directory\n"
    script += "with locked_directory(sys.argv[1]): print(1, flush=True); input()"
    root = str(Path(fileformat.__file__).parent.parent)
    with subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path / "x")], cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        other.stdout.readline()
        with pytest.raises(TimeoutError), locked_directory(str(tmp_path / "x")):
            pass
        other.communicate(b"\n")
    with locked_directory(str(tmp_path / "x")):
        pass
