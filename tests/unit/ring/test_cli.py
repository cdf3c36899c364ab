"""The ring builder's command line: every command, its exit code as in Swift, and one plain line for each error."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ring import cli
from ring.builderfile import load_builder
from ring.fileformat import read_ring_file
from ring.ring import Ring

GOLDEN = Path(__file__).parent / "golden"
ROOT = Path(__file__).parents[3]
ADDED = [f"r1z{zone}-10.0.{zone}.1:6200/sd{disk}" for zone in range(1, 5) for disk in "ab"]

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs one command in a fresh directory: (exit code, standard output, standard error)."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str, answer: str = "") -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "stdin", io.StringIO(answer))
        code = cli.main(arguments)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


@pytest.fixture
def ring(run: Run) -> Run:
    """`run`, with x.builder and x.ring.gz: 64 partitions, 3 replicas, 4 zones with 2 devices each."""
    assert run("x.builder", "create", "6", "3", "1")[0] == 0
    assert run("x.builder", "add", *(word for place in ADDED for word in (place, "100")))[0] == 0
    assert run("x.builder", "rebalance", "--seed", "1")[0] == 0
    return run


def refused(result: tuple[int, str, str], reason: str) -> None:
    code, _, err = result
    assert code == 2
    assert err.startswith("ring-builder: ")
    assert err.count("\n") == 1
    assert reason in err


def test_from_nothing_to_a_ring(run: Run) -> None:
    assert run("x.builder", "create", "4", "2", "1") == (0, "", "")
    code, out, _ = run("x.builder", "add", "r1z1-10.0.0.1:6200/sda", "50", "z2-[::1]:6200R10.9.0.1:6300/sdb_some meta", "50")
    assert code == 0
    assert 'Device d0r1z1-10.0.0.1:6200R10.0.0.1:6200/sda_"" with 50.0 weight got id 0\n' in out
    assert 'Device d1r1z2-[::1]:6200R10.9.0.1:6300/sdb_"some meta" with 50.0 weight got id 1\n' in out
    assert "Defaulting to region 1" in out
    options = "--region 2 --zone 1 --ip node3 --port 6200 --device sdc --weight 100 --meta m --replication-ip 10.9.0.3"
    assert run("x.builder", "add", *options.split())[0] == 0
    assert "Ring file x.ring.gz not found" in run("x.builder")[1]
    code, out, _ = run("x.builder", "rebalance", "--seed=first")
    assert (code, out) == (0, "Reassigned 32 (200.00%) partitions. Balance is now 0.00.  Dispersion is now 0.00\n")
    assert "Ring file x.ring.gz is up-to-date" in run("x.builder")[1]
    loaded = Ring.load("x.ring.gz")
    assert (loaded.partition_count, loaded.replica_count, loaded.version) == (16, 2.0, 4)
    assert [device and str(device) for device in loaded.devices][2] == 'd2r2z1-node3:6200R10.9.0.3:6200/sdc_"m"'


def test_no_command_shows_the_ring(ring: Run) -> None:
    shown = ring("x.builder")
    assert shown == ring("x.builder", "default")
    assert shown[1].startswith("x.builder, build version 9\n64 partitions, 3.000000 replicas, 1 regions, 4 zones, 8 devices, ")
    by_ring_name = ring("x.ring.gz")
    assert by_ring_name[1] == "Note: using x.builder instead of x.ring.gz as builder file\n" + shown[1]


def test_no_file_shows_the_usage(run: Run) -> None:
    for arguments in ((), ("-h",), ("--help",)):
        code, out, _ = run(*arguments)
        assert code == 0
        assert all(name in out for name in (*cli.READING, *cli.CHANGING) if name != "default")


@pytest.mark.parametrize("command", sorted({*cli.READING, *cli.CHANGING}))
def test_every_command_explains_itself(run: Run, command: str) -> None:
    with pytest.raises(SystemExit) as ended:
        run("x.builder", command, "--help")
    assert ended.value.code == 0


@pytest.mark.parametrize("command", sorted({*cli.READING, *cli.CHANGING} - {"create", "version", "write_builder", "import"}))
def test_every_command_needs_its_file(run: Run, command: str) -> None:
    values = {"add": ADDED[0] + " 1", "set_info": "d0 _x", "set_weight": "d0 1", "set_zone": "d0 1", "set_region": "d0 1"}
    arguments = values.get(
        command, "1" if command.startswith("set_") else "d0" if command in ("search", "list_parts", "remove") else ""
    )
    refused(run("x.builder", command, *arguments.split()), "does not exist: x.builder")
    Path("x.builder").write_text("junk")
    refused(run("x.builder", command, *arguments.split()), "invalid: x.builder")


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("x.builder nonsense", "Unknown command: nonsense"),
        ("x.builder create", "required"),
        ("x.builder create x 3 1", "part_power"),
        ("x.builder create 33 3 1", "part_power"),
        ("x.builder create 6 0 1", "replica count"),
        ("x.builder create 6 3 -1", "min_part_hours"),
        ("x.builder create 6 3 1.5", "min_part_hours"),
        ("none/x.builder create 6 3 1", "none"),
        ("x.builder add", "usage: ring-builder FILE add"),
        ("x.builder add r1z1-10.0.0.1:6200/sda", "pairs"),
        ("x.builder add r1z1-10.0.0.1/sda 100", "Invalid add value"),
        ("x.builder add r1z1-10.0.0.1:6200/sda much", "Invalid weight"),
        ("x.builder add r1z1-10.0.0.1:6200/sda -5", "Invalid weight"),
        ("x.builder add r1z1-10.0.0.1:66000/sda 5", "ports"),
        ("x.builder add r1z1-10.0.1.1:6200/sda 5", "already uses"),
        ("x.builder add --zone 1 --ip 10.0.0.1 --port 6200 --device sda --weight 1", "--region not specified"),
        ("x.builder add --id 3 --region 1 --zone 1 --ip 10.0.0.1 --port 6200 --device sda --weight 1", "id"),
        ("x.builder add --ip 10.0.0.300 --weight 1", "Invalid ip"),
        ("x.builder set_weight d0", "pairs"),
        ("x.builder set_weight d0 heavy", "Invalid weight"),
        ("x.builder set_weight d99 1", "matched 0 devices"),
        ("x.builder set_weight foo 1", "Invalid"),
        ("x.builder set_weight --ip 10.0.1.1 d0 7", "pairs"),
        ("x.builder set_region d0 x", "Invalid number"),
        ("x.builder set_zone d0 -3", "Invalid number"),
        ("x.builder set_zone d0 99999999999", "region and zone"),
        ("x.builder set_info d0", "pairs"),
        ("x.builder set_info d0 z3", "Invalid value to change"),
        ("x.builder set_info d0 10.0.2.1/sda", "already uses"),
        ("x.builder remove", "search value"),
        ("x.builder remove z9", "matched 0 devices"),
        ("x.builder remove d0 --ip 10.0.0.1", "not by both"),
        ("x.builder search", "search value"),
        ("x.builder search d0 d1", "one search value"),
        ("x.builder search z9", "No matching devices found"),
        ("x.builder search --bogus 1", "--bogus"),
        ("x.builder search --port http", "whole number"),
        ("x.builder list_parts z9", "No matching devices found"),
        ("x.builder dispersion (", "regular expression"),
        ("x.builder rebalance --format-version=2", "invalid choice"),
        ("x.builder set_replicas 0", "replica count"),
        ("x.builder set_replicas some", "invalid float"),
        ("x.builder set_replicas 9", ""),
        ("x.builder set_overload x", "not a valid number"),
        ("x.builder set_overload -1", "overload"),
        ("x.builder set_overload nan", "overload"),
        ("x.builder set_min_part_hours x", "invalid int"),
        ("x.ring.gz write_builder", "refusing to overwrite"),
        ("y.ring.gz write_builder", "cannot read ring file y.ring.gz"),
        ("y.ring.gz version", "cannot read ring file y.ring.gz"),
    ],
)
def test_errors_are_one_line_and_change_nothing(ring: Run, line: str, reason: str) -> None:
    before = Path("x.builder").read_bytes()
    if not reason:
        assert ring(*line.split())[0] == 0
        refused(ring("x.builder", "rebalance"), "9 replicas need at least 9 devices")
        return
    refused(ring(*line.split()), reason)
    assert Path("x.builder").read_bytes() == before


def test_a_rebalance_with_nothing_to_do_is_a_warning(ring: Run) -> None:
    code, out, _ = ring("x.builder", "rebalance")
    assert code == 1
    assert "The time between rebalances must be at least min_part_hours: 1 hours (0:59:5" in out or "(1:00:00" in out
    assert ring("x.builder", "pretend_min_part_hours_passed") == (0, "", "")
    code, out, _ = ring("x.builder", "rebalance")
    assert (code, out) == (1, "No partitions could be reassigned.\nThere is no need to do so at this time\n")
    assert ring("x.builder", "rebalance", "--force")[0] == 0
    assert tuple(load_builder("x.builder").rows) == read_ring_file("x.ring.gz").rows


def test_weights_drain_and_removals(ring: Run) -> None:
    assert ring("x.builder", "set_weight", "d0", "0", "/sdb", "50", "--yes")[0] == 0
    assert ring("x.builder", "set_weight", "--ip", "10.0.4.1", "--device", "sda", "80")[0] == 0
    assert ring("x.builder", "pretend_min_part_hours_passed")[0] == 0
    assert ring("x.builder", "rebalance")[0] in (0, 1)
    code, out, _ = ring("x.builder", "remove", "d0")
    assert (code, out) == (0, 'd0r1z1-10.0.1.1:6200R10.0.1.1:6200/sda_"" marked for removal and will be removed next rebalance.\n')
    assert " DEL " in ring("x.builder")[1]
    assert ring("x.builder", "rebalance")[0] in (0, 1)
    assert load_builder("x.builder").devices[0] is None
    weights = {device.id: device.weight for device in load_builder("x.builder").present_devices()}
    assert weights == {1: 50.0, 2: 100.0, 3: 50.0, 4: 100.0, 5: 50.0, 6: 80.0, 7: 50.0}


def test_several_devices_are_changed_only_after_a_yes(ring: Run) -> None:
    before = Path("x.builder").read_bytes()
    for answer in ("", "n\n", "what\n"):
        code, out, err = ring("x.builder", "remove", "z1", answer=answer)
        assert (code, err) == (2, "ring-builder: Aborting device removals\n")
        assert "Are you sure you want to remove these 2 devices? (y/N) " in out
    refused(ring("x.builder", "set_zone", "z1", "7", answer="n\n"), "Aborting device modifications")
    assert Path("x.builder").read_bytes() == before
    assert ring("x.builder", "remove", "z1", answer="y\n")[0] == 0
    assert load_builder("x.builder").removed == {0, 1}


def test_places_and_information(ring: Run) -> None:
    assert ring("x.builder", "set_region", "d1", "2", "d3", "2")[0] == 0
    assert ring("x.builder", "set_zone", "--id", "1", "9") == (
        *(0, 'd1r2z9-10.0.1.1:6200R10.0.1.1:6200/sdb_"" zone set to 9\n'),
        "",
    )
    assert ring("x.builder", "set_info", "d1", "[::2]:7000R10.9.9.9:7001/sdz_meta")[0] == 0
    assert ring("x.builder", "set_info", "--device", "sdz", "--change-meta", "two words", "--change-ip", "10.7.7.7")[0] == 0
    assert "Ring file x.ring.gz is obsolete" in ring("x.builder")[1]
    rows = read_ring_file("x.ring.gz").rows
    assert ring("x.builder", "write_ring") == (0, "", "")
    table = read_ring_file("x.ring.gz")
    assert table.rows == rows
    assert str(table.devices[1]) == 'd1r2z9-10.7.7.7:7000R10.9.9.9:7001/sdz_"two words"'


def test_search_and_list_parts(ring: Run) -> None:
    code, out, _ = ring("x.builder", "search", "z2")
    assert code == 0
    assert [line.split()[:3] for line in out.splitlines()[1:]] == [["2", "1", "2"], ["3", "1", "2"]]
    assert ring("x.builder", "search", "--zone", "2")[1] == out
    code, out, _ = ring("x.builder", "list_parts", "z1", "z2", "z3", "z4")
    assert code == 0
    assert [line.split() for line in out.splitlines()[1:]] == [[str(p), "3"] for p in range(64)]


def test_validate_and_dispersion(ring: Run) -> None:
    assert ring("x.builder", "validate") == (0, "", "")
    code, out, _ = ring("x.builder", "dispersion")
    assert (code, out.splitlines()[0][:23]) == (0, "Dispersion is 0.000000,")
    assert "r1z1-10.0.1.1/sda" in ring("x.builder", "dispersion", "-v")[1]
    assert "r1z1-10.0.1.1/sda" not in ring("x.builder", "dispersion", "r1z.$", "--verbose")[1]
    assert ring("x.builder", "set_zone", "z2", "1", "--yes")[0] == 0
    assert ring("x.builder", "set_zone", "z3", "1", "--yes")[0] == 0
    code, out, _ = ring("x.builder", "dispersion")
    assert code == 1
    assert "Worst tier is" in out


def test_validate_needs_a_rebalance(run: Run) -> None:
    assert run("x.builder", "create", "6", "3", "1")[0] == 0
    refused(run("x.builder", "validate"), "rebalance first")
    refused(run("x.builder", "write_ring"), "rebalance first")


def test_a_plan_writes_nothing_and_comes_true(ring: Run) -> None:
    assert ring("x.builder", "add", "r1z5-10.0.5.1:6200/sda", "100")[0] == 0
    assert ring("x.builder", "pretend_min_part_hours_passed")[0] == 0
    before = (Path("x.builder").read_bytes(), Path("x.ring.gz").read_bytes())
    code, out, _ = ring("x.builder", "plan", "--seed", "4")
    assert code == 0
    assert (Path("x.builder").read_bytes(), Path("x.ring.gz").read_bytes()) == before
    words = out.splitlines()[-1].split()
    assert words[0] == "d8r1z5-10.0.5.1:6200/sda"
    assert ring("x.builder", "rebalance", "--seed", "4")[0] == 0
    assert sum(row.count(8) for row in load_builder("x.builder").rows) == int(words[-1]) > 0


def test_settings(ring: Run) -> None:
    assert ring("x.builder", "set_replicas", "3.5")[1].startswith("The replica count is now 3.500000.\n")
    assert ring("x.builder", "set_min_part_hours", "5")[0] == 0
    assert ring("x.builder", "set_overload", "10%")[0] == 0
    assert load_builder("x.builder").overload == 0.1
    assert ring("x.builder", "set_overload", "300%")[0] == 0
    code, out, _ = ring("x.builder", "set_overload", "3")
    assert (code, out.splitlines()[0]) == (1, "!?! Warning overload is greater than 100% !?!")
    assert (load_builder("x.builder").replicas, load_builder("x.builder").min_part_hours) == (3.5, 5)
    assert ring("x.builder", "rebalance")[0] == 0
    assert Ring.load("x.ring.gz").replica_count == 3.5


def test_backups_of_both_files_are_kept(ring: Run) -> None:
    names = [name.partition(".")[2] for name in os.listdir("backups")]
    assert {"x.builder", "x.ring.gz"} <= set(names)


def test_a_badly_spread_ring_is_a_warning(run: Run) -> None:
    assert run("x.builder", "create", "4", "3", "1")[0] == 0
    places = ["r1z1-10.0.0.1:6200/sda", "100", "r1z1-10.0.0.2:6200/sda", "100", "r1z1-10.0.0.3:6200/sda", "100"]
    assert run("x.builder", "add", *places, "r2z1-10.0.0.4:6200/sda", "10")[0] == 0
    code, out, _ = run("x.builder", "rebalance")
    assert code == 1
    assert "NOTE: Dispersion of " in out


def test_a_builder_can_be_made_from_swifts_ring(run: Run) -> None:
    Path("x.ring.gz").write_bytes((GOLDEN / "zones.ring.gz").read_bytes())
    assert run("x.ring.gz", "write_builder", "3") == (0, "", "")
    assert load_builder("x.builder").min_part_hours == 3
    assert run("x.builder", "validate")[0] == 0
    code, out, _ = run("x.ring.gz", "version")
    assert (code, out) == (0, "x.ring.gz: Serialization version: 1 (2-byte IDs), build version: 7\n")
    assert "Ring file x.ring.gz is up-to-date" in run("x.builder")[1]


def test_the_launcher_runs_from_anywhere_and_survives_a_closed_pipe(tmp_path: Path) -> None:
    launcher = [str(ROOT / "bin" / "ring-builder")]
    if not (ROOT / ".venv" / "bin" / "python").exists():
        launcher = [sys.executable, "-m", "ring.cli"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    path = str(tmp_path / "x.builder")
    made = subprocess.run([*launcher, path, "create", "8", "1", "1"], env=environment, cwd=tmp_path, capture_output=True, text=True)
    assert (made.returncode, made.stderr) == (0, "")
    assert cli.main([path, "add", "r1z1-10.0.0.1:6200/sda", "1"]) == 0
    assert cli.main([path, "rebalance"]) == 0
    with subprocess.Popen(
        [*launcher, path, "list_parts", "d0"], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as listing:
        assert listing.stdout is not None
        assert listing.stderr is not None
        listing.stdout.close()
        assert listing.stderr.read() == b""
