"""Commands: exit codes, one plain line for every mistake, never a traceback."""

import json
import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from objstore.app.cli import run
from objstore.app.devcluster import prepare
from objstore.app.failure import Failure


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def plain_lines(text: str) -> list[str]:
    """What a failed command may print: lines that begin with the program's name."""
    lines = text.splitlines()
    assert lines
    assert all(line.startswith("objstore: ") for line in lines), text
    return lines


@pytest.mark.parametrize(
    "words",
    [
        "nonsense",
        "dev --port x",
        "dev --port 70000",
        "dev --nodes 0",
        "dev --zork",
        "serve",
        "daemon",
        "daemon object-updater --config x",
        "quarantine restore",
        "device init",
        "locate",
        "status --config x --data y",
    ],
)
def test_wrong_usage_is_2(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(words.split()) == 2
    (line,) = plain_lines(capsys.readouterr().err)
    assert "--help" in line


@pytest.mark.parametrize("words", ["--help", "dev --help", "version", "--version", "quarantine --help"])
def test_asking_is_0(words: str) -> None:
    assert run(words.split()) == 0


def test_a_secret_is_written_once_and_for_its_owner_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "new" / "secret"
    assert run(["secret", "new", str(path)]) == 0
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(path.read_text().strip()) >= 32
    assert path.read_text().strip() not in capsys.readouterr().out
    before = path.read_text()
    assert run(["secret", "new", str(path)]) == 1
    (line,) = plain_lines(capsys.readouterr().err)
    assert "never overwritten" in line
    assert path.read_text() == before


def test_secrets_differ(capsys: pytest.CaptureFixture[str]) -> None:
    run(["secret", "new"])
    run(["secret", "new"])
    first, second = capsys.readouterr().out.split()
    assert first != second


@pytest.fixture
def node(tmp_path: Path) -> Path:
    """A storage node's configuration with a secret, no rings yet."""
    path = tmp_path / "node.toml"
    path.write_text('[node]\nroles = ["account", "container", "object"]\n')
    run(["secret", "new", str(tmp_path / "secret")])
    return path


def make_rings(directory: Path, ip: str = "127.0.0.1") -> None:
    from ring.builder import RingBuilder

    directory.mkdir(exist_ok=True)
    builder = RingBuilder(2, 1, 1)
    builder.add_device(zone=1, ip=ip, port=6200, device="d1", weight=1)
    builder.rebalance(seed=1)
    for name in ("account", "container", "object"):
        builder.to_ring().save(str(directory / f"{name}.ring.gz"))


def refused(config: Path, capsys: pytest.CaptureFixture[str]) -> list[str]:
    capsys.readouterr()
    assert run(["serve", "--config", str(config)]) == 1
    return plain_lines(capsys.readouterr().err)


def test_serve_refuses_what_cannot_work(node: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert len(refused(node, capsys)) == 3, "a line for each missing ring"
    make_rings(tmp_path / "rings", ip="10.9.8.7")
    assert "no ring has a device at 127.0.0.1" in refused(node, capsys)[0]
    make_rings(tmp_path / "rings")
    assert "objstore device init" in refused(node, capsys)[0]
    (tmp_path / "devices" / "d1").mkdir(parents=True)
    assert "no identity.json" in refused(node, capsys)[0]
    (tmp_path / "secret").write_text("short")
    assert "at least 32" in refused(node, capsys)[0]
    (tmp_path / "secret").unlink()
    assert "no cluster secret" in refused(node, capsys)[0]


def test_serve_refuses_a_device_of_another_cluster(node: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_rings(tmp_path / "rings")
    other = tmp_path / "other.toml"
    other.write_text('[cluster]\nname = "other"\n')
    assert run(["device", "init", str(tmp_path / "devices" / "d1"), "--config", str(other)]) == 0
    assert "another cluster" in refused(node, capsys)[0]


def test_serve_refuses_a_port_in_use(tmp_path: Path, taken_port: int, capsys: pytest.CaptureFixture[str]) -> None:
    make_rings(tmp_path / "rings")
    run(["secret", "new", str(tmp_path / "secret")])
    path = tmp_path / "proxy.toml"
    path.write_text(f'[node]\nroles = ["proxy"]\n[proxy]\nport = {taken_port}\n')
    (line,) = refused(path, capsys)
    assert f"port {taken_port} of 127.0.0.1 is in use" in line


def test_serve_refuses_test_users_on_a_public_address(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "proxy.toml"
    path.write_text('[proxy]\nbind = "0.0.0.0"\n[auth]\ndevelopment = true\n')
    (line,) = refused(path, capsys)
    assert "auth.development" in line


def test_device_init_is_repeatable_and_refuses_other_data(node: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["device", "init", str(tmp_path / "disk1"), "--config", str(node)]
    assert run(words) == 0
    identity = json.loads((tmp_path / "disk1" / "identity.json").read_text())
    assert identity["device"] == "disk1"
    assert run(words) == 0
    assert json.loads((tmp_path / "disk1" / "identity.json").read_text()) == identity
    (tmp_path / "disk2").mkdir()
    (tmp_path / "disk2" / "thesis.tex").write_text("years of work")
    capsys.readouterr()
    assert run(["device", "init", str(tmp_path / "disk2"), "--config", str(node)]) == 1
    plain_lines(capsys.readouterr().err)
    assert os.listdir(tmp_path / "disk2") == ["thesis.tex"]


@pytest.mark.parametrize("words", ["status", "locate a/c/o", "quarantine list", "daemon object-updater --once"])
def test_operator_commands_need_a_cluster(
    words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("OBJSTORE_CONFIG", raising=False)
    assert run(words.split()) == 1
    (line,) = plain_lines(capsys.readouterr().err)
    assert "--config" in line


@pytest.mark.parametrize("path", ["", "/", "/v1/", "a//o", "a/c/\udcff"])
def test_locate_refuses_what_is_no_path(path: str, node: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert run(["locate", path, "--config", str(node)]) == 1
    (line,) = plain_lines(capsys.readouterr().err)
    assert "ACCOUNT/CONTAINER/OBJECT" in line


def test_an_unknown_daemon_is_named(node: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["daemon", "object-frobnicator", "--once", "--config", str(node)]) == 1
    (line,) = plain_lines(capsys.readouterr().err)
    assert "object-updater" in line


# --- the data directory of a development cluster ----------------------------------------------------------------


def dev_refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    assert run(["dev", *words]) == 1
    (line,) = plain_lines(capsys.readouterr().err)
    return line


def close(cluster_fd: int) -> None:
    os.close(cluster_fd)


def test_dev_says_when_its_port_is_in_use(tmp_path: Path, taken_port: int, capsys: pytest.CaptureFixture[str]) -> None:
    line = dev_refused(["--data", str(tmp_path / "d"), "--port", str(taken_port)], capsys)
    assert f"port {taken_port} of 127.0.0.1 is in use" in line
    assert not (tmp_path / "d").exists(), "nothing was made"


def test_dev_keeps_away_from_foreign_directories(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(b"x")
    for fresh in (False, True):
        with pytest.raises(Failure, match="not empty and no cluster's"):
            prepare(str(tmp_path), None, 1, 1, fresh)
    assert (tmp_path / "photo.jpg").exists()


def test_dev_finds_its_cluster_again(tmp_path: Path) -> None:
    first = prepare(str(tmp_path), 3, 1, 1, fresh=False)
    secret, rings = (tmp_path / "secret").read_text(), (tmp_path / "rings" / "object.ring.gz").read_bytes()
    close(first.lock_fd)
    second = prepare(str(tmp_path), None, 2, 2, fresh=False)
    assert second.nodes == 3
    assert (tmp_path / "secret").read_text() == secret
    assert (tmp_path / "rings" / "object.ring.gz").read_bytes() == rings
    assert [spec.name for spec in second.specs(2)] == ["node1", "node2", "node3", "proxy1", "proxy2"]
    close(second.lock_fd)


def test_dev_refuses_another_number_of_nodes(tmp_path: Path) -> None:
    close(prepare(str(tmp_path), 3, 1, 1, fresh=False).lock_fd)
    with pytest.raises(Failure, match=r"holds a cluster of 3 nodes, not 4: leave --nodes out.*--fresh"):
        prepare(str(tmp_path), 4, 1, 1, fresh=False)


def test_dev_fresh_begins_anew(tmp_path: Path) -> None:
    close(prepare(str(tmp_path), 3, 1, 1, fresh=False).lock_fd)
    secret = (tmp_path / "secret").read_text()
    (tmp_path / "node1" / "devices" / "d1" / "objects").mkdir()
    cluster = prepare(str(tmp_path), 2, 1, 1, fresh=True)
    assert cluster.nodes == 2
    assert (tmp_path / "secret").read_text() != secret
    assert not (tmp_path / "node1" / "devices" / "d1" / "objects").exists()
    assert not (tmp_path / "node3").exists()
    close(cluster.lock_fd)


def test_dev_runs_once_per_directory(tmp_path: Path) -> None:
    cluster = prepare(str(tmp_path), 1, 1, 1, fresh=False)
    with pytest.raises(Failure, match="is running on"):
        prepare(str(tmp_path), None, 1, 1, fresh=True)
    close(cluster.lock_fd)


def test_dev_moves_its_nodes_when_their_ports_are_taken(tmp_path: Path) -> None:
    cluster = prepare(str(tmp_path), 2, 1, 1, fresh=False)
    before = [spec.listen[0][1] for spec in cluster.specs(0)]
    close(cluster.lock_fd)
    with socket.socket() as squatter:
        squatter.bind(("127.0.0.1", before[1]))
        squatter.listen()
        again = prepare(str(tmp_path), None, 1, 1, fresh=False)
        after = [spec.listen[0][1] for spec in again.specs(0)]
    assert before[1] not in after
    from ring.ring import Ring

    ring = Ring.load(str(tmp_path / "rings" / "object.ring.gz"))
    assert [device.port for device in ring.devices if device is not None] == after
    close(again.lock_fd)


def test_dev_says_when_an_interrupted_start_left_a_half_made_directory(tmp_path: Path) -> None:
    close(prepare(str(tmp_path), 2, 1, 1, fresh=False).lock_fd)
    (tmp_path / "rings" / "object.builder").unlink()
    with pytest.raises(Failure, match="--fresh"):
        prepare(str(tmp_path), None, 1, 1, fresh=False)
    close(prepare(str(tmp_path), None, 1, 1, fresh=True).lock_fd)
