"""Builder files: round trips, and every kind of damage is a BuilderFileError in one line."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ring.builder import RingBuilder
from ring.builderfile import BuilderFileError, builder_from_bytes, builder_to_bytes, load_builder, save_builder

START_S = 1_700_000_000


def builder(rebalanced: bool = True) -> RingBuilder:
    made = RingBuilder(4, 2.5, 3)
    for zone in range(4):
        made.add_device(zone=zone, ip="10.0.0.1", port=6200, device=f"d{zone}", weight=zone + 1, meta="é", region=2)
    made.set_overload(0.25)
    if rebalanced:
        made.rebalance(now_s=START_S)
        made.remove_device(0)
        made.add_device(zone=1, ip="10.0.0.2", port=6200, device="late", weight=1)
    return made


def facts(made: RingBuilder) -> dict[str, object]:
    return dict(vars(made))


def sealed(change: dict[str, object]) -> bytes:
    """A file with a right checksum whose content has been changed."""
    state = json.loads(builder_to_bytes(builder()).partition(b"\n")[2])
    text = json.dumps({**state, **change}).encode()
    return b"ring-builder 1 " + hashlib.sha256(text).hexdigest().encode() + b"\n" + text


@pytest.mark.parametrize("rebalanced", [False, True])
def test_round_trip(tmp_path: Path, rebalanced: bool) -> None:
    made = builder(rebalanced)
    save_builder(str(tmp_path / "x.builder"), made)
    again = load_builder(str(tmp_path / "x.builder"))
    assert facts(again) == facts(made)
    assert (again.rebalance(now_s=START_S), facts(again)) == (made.rebalance(now_s=START_S), facts(made))


def test_rows_are_stored_small() -> None:
    made = RingBuilder(12, 3, 1)
    for zone in range(5):
        made.add_device(zone=zone, ip="10.0.0.1", port=6200, device=f"d{zone}", weight=1)
    made.rebalance(now_s=START_S)
    assert len(builder_to_bytes(made)) < 3 * 4096 * 2


def test_backups_are_kept(tmp_path: Path) -> None:
    save_builder(str(tmp_path / "x.builder"), builder(), START_S + 0.5)
    assert facts(load_builder(str(tmp_path / "backups" / f"{START_S}.x.builder"))) == facts(builder())


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_any_cut_or_flipped_bit_is_noticed(data: st.DataObject) -> None:
    content = bytearray(builder_to_bytes(builder()))
    if data.draw(st.booleans()):
        del content[data.draw(st.integers(0, len(content) - 1)) :]
    else:
        bit = data.draw(st.integers(0, len(content) * 8 - 1))
        content[bit // 8] ^= 1 << bit % 8
    with pytest.raises(ValueError, match=r"\A[^\n]+\Z"):
        builder_from_bytes(bytes(content))


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=4,
)


@given(st.sampled_from(sorted(json.loads(builder_to_bytes(builder()).partition(b"\n")[2]))), JUNK)
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_wrong_content_is_refused_or_harmless(field: str, value: object) -> None:
    """Even a file with a right checksum cannot do more than fail plainly, or make a builder that still works."""
    try:
        again = builder_from_bytes(sealed({field: value}))
    except ValueError as error:
        assert "\n" not in str(error)
    else:
        assert facts(builder_from_bytes(builder_to_bytes(again))) == facts(again)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"part_power": 5}, "wrong length"),
        ({"part_power": True}, "damaged"),
        ({"rows": ["eJwDAAAAAAE="]}, "wrong length"),
        ({"rows": ["not base64"]}, "damaged"),
        ({"removed": [77]}, "marked for removal"),
        ({"devices": [None] * 5}, "marked for removal"),
        ({"devices": [None] * 5, "removed": []}, "assigned to a device that does not exist"),
        ({"replicas": float("nan")}, "replica count"),
        ({"overload": -1}, "overload"),
        ({"min_part_hours": -1}, "min_part_hours"),
    ],
)
def test_damage_has_a_reason(change: dict[str, object], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        builder_from_bytes(sealed(change))


def test_a_small_file_cannot_ask_for_endless_memory() -> None:
    bomb = json.loads(builder_to_bytes(builder()).partition(b"\n")[2])["rows"][0]
    with pytest.raises(ValueError, match="wrong length"):
        builder_from_bytes(sealed({"part_power": 2, "rows": [bomb]}))


def test_what_is_no_builder_file(tmp_path: Path) -> None:
    path = tmp_path / "x.builder"
    with pytest.raises(BuilderFileError, match=r"^Ring Builder file does not exist: "):
        load_builder(str(path))
    for content, reason in ((b"", "no builder file"), (b"ring-builder 2 00\n{}", "newer"), (b"\x80\x02}q\x00.", "Swift")):
        path.write_bytes(content)
        with pytest.raises(BuilderFileError, match=reason):
            load_builder(str(path))
    with pytest.raises(BuilderFileError, match="directory"):
        load_builder(str(tmp_path))
    with pytest.raises(BuilderFileError, match="cannot write"):
        save_builder(str(tmp_path / "none" / "x"), builder())
