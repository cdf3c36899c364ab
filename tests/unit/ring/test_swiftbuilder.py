"""Swift's builder files become ours, and whatever else a pickle can do is refused before it is done."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ring import cli
from ring.builderfile import builder_to_bytes, load_builder
from ring.swiftbuilder import builder_from_swift, data_from_pickle

GOLDEN = Path(__file__).parent / "golden"
CONTENT = (GOLDEN / "swift.builder").read_bytes()


def test_all_that_a_builder_knows_is_kept() -> None:
    expected = json.loads((GOLDEN / "builder.json").read_text())
    builder = builder_from_swift(CONTENT)
    assert [list(row) for row in builder.rows] == expected["rows"]
    assert (builder.version, builder.rebalanced_at_s) == (expected["version"], expected["rebalanced_at_s"])
    assert (builder.part_power, builder.replicas, builder.min_part_hours, builder.overload) == (4, 2.5, 3, 0.1)
    assert (builder.removed, builder.changed) == ({4}, True)
    device = builder.devices[1]
    assert device is not None
    assert str(device) == 'd1r1z2-10.3.0.1:6200R10.3.0.1:6200/d0_"note é"'
    assert [one.weight for one in builder.present_devices()] == [50.0, 100.0, 150.0, 200.0, 0.0, 300.0]
    assert set(builder.moved_at_s) == {expected["rebalanced_at_s"]}
    builder.check()


def test_an_imported_builder_goes_on_where_swift_stopped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(tmp_path / "x.builder")
    assert cli.main([path, "import", str(GOLDEN / "swift.builder")]) == 0
    lost = sum(row.count(4) for row in load_builder(path).rows)
    assert cli.main([path, "rebalance"]) in (0, 1)
    moved = re.search(r"Reassigned (\d+) ", capsys.readouterr().out)
    assert moved is not None and int(moved[1]) >= lost, "more once min_part_hours have passed since Swift's last rebalance"
    assert cli.main([path, "import", str(GOLDEN / "swift.builder")]) == 2
    assert "refusing to overwrite" in capsys.readouterr().err
    assert cli.main([str(tmp_path / "y.builder"), "import", path]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert cli.main([str(tmp_path / "y.builder"), "import", str(tmp_path / "none")]) == 2
    assert capsys.readouterr().err == f"ring-builder: {tmp_path}/none: No such file or directory\n"


@pytest.mark.parametrize(
    "program",
    [
        b"cos\nsystem\n(S'touch %s'\ntR.",
        b"\x80\x02cos\nsystem\nX\x09\x00\x00\x00touch %s\x85R.",
        b"cbuiltins\neval\n(S'open(%r,\"w\")'\ntR.",
        b"(S'touch %s'\nios\nsystem\n.",
        b"(cos\nsystem\nS'touch %s'\no.",
        b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x04true\x85R.",
        b"\x80\x02carray\narray\n(S'x'\nS'y'\ntR.",
        b"\x80\x02(lcarray\narray\nb.",
        b"\x80\x02]X\x01\x00\x00\x00a\x85R.",
    ],
)
def test_nothing_is_executed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: bytes) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=r"plain data|calls a function|array|damaged"):
        data_from_pickle(program.replace(b"%s", b"x").replace(b"%r", b"'x'"))
    assert list(tmp_path.iterdir()) == []


def test_plain_data_of_old_and_new_protocols() -> None:
    assert data_from_pickle(b"(dp0\nS'a'\np1\n(lp2\nI1\naF2.5\nasg1\n.".replace(b"g1\n", b"")) == {"a": [1, 2.5]}
    assert data_from_pickle(b"\x80\x02}q\x00(U\x01aK\x01U\x01b\x88u.") == {"a": 1, "b": True}
    assert data_from_pickle(b"\x80\x04\x95\x08\x00\x00\x00\x00\x00\x00\x00]\x94(K\x01N\x89e.") == [1, None, False]
    assert data_from_pickle(b"\x80\x02carray\narray\nq\x00X\x01\x00\x00\x00H](K\x07M\x00\x01e\x86R.") == [7, 256]


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_damage_is_refused_or_harmless(data: st.DataObject) -> None:
    content = bytearray(CONTENT)
    if data.draw(st.booleans()):
        del content[data.draw(st.integers(0, len(content) - 1)) :]
    else:
        bit = data.draw(st.integers(0, len(content) * 8 - 1))
        content[bit // 8] ^= 1 << bit % 8
    try:
        builder = builder_from_swift(bytes(content))
    except ValueError as error:
        assert "\n" not in str(error)
    else:
        assert builder_to_bytes(builder)


@given(st.binary(max_size=60))
@settings(max_examples=200, deadline=None)
def test_no_content_breaks_the_reader(content: bytes) -> None:
    with pytest.raises(ValueError, match=r"\A[^\n]+\Z"):
        builder_from_swift(b"\x80\x02" + content)
