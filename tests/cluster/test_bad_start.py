"""What cannot work is refused at the start: one plain line that says what to do, exit code 1, and nothing is stored."""

import json
import re
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.cluster.deployment import ROOT, Deployment, wait_for
from tests.cluster.swift import Swift

TIMEOUT_S = 15.0
PROGRAM = ROOT / "bin" / "objstore"
Change = Callable[[Path], None]


@dataclass(frozen=True)
class Bad:
    """One mistake: a change of a node's directory below `root`, and what the line must contain."""

    name: str
    node: str
    change: Change
    expected: str

    def __str__(self) -> str:
        return self.name


def config(node: str, *replacements: tuple[str, str]) -> Change:
    """Replace text in the node's configuration; each text must be there."""

    def change(root: Path) -> None:
        path = root / node / "node.toml"
        text = path.read_text()
        for old, new in replacements:
            assert re.search(old, text), old
            text = re.sub(old, new, text, count=1)
        path.write_text(text)

    return change


def file(name: str, content: bytes, mode: int = 0o600) -> Change:
    def change(root: Path) -> None:
        path = root / name
        path.write_bytes(content)
        path.chmod(mode)

    return change


def remove(name: str) -> Change:
    def change(root: Path) -> None:
        path = root / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()

    return change


def proxy(name: str, expected: str, *replacements: tuple[str, str]) -> Bad:
    return Bad(name, "proxy", config("proxy", *replacements), expected)


def cut_ring(root: Path) -> None:
    path = root / "rings" / "object.ring.gz"
    path.write_bytes(path.read_bytes()[:60])


def swapped_disk(root: Path) -> None:
    path = root / "storage1" / "devices" / "disk" / "identity.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "device": "disk7"}))


BIND = 'bind = "127.0.0.1"'
SECRET = "secret"
BAD = [
    Bad("configuration missing", "proxy", remove("proxy/node.toml"), "no such file; give the node's configuration"),
    Bad("configuration no TOML", "proxy", file("proxy/node.toml", b"roles: [proxy]\n"), "not valid TOML"),
    Bad("secret missing", "proxy", remove(SECRET), "objstore secret new"),
    Bad("secret of 31 bytes", "proxy", file(SECRET, b"s" * 31), "31 bytes, at least 32 are needed"),
    Bad("secret for everybody", "proxy", file(SECRET, b"s" * 64, 0o644), "chmod 600"),
    Bad("ring missing", "proxy", remove("rings/object.ring.gz"), "make it with ring-builder, or copy it"),
    Bad("ring cut short", "proxy", cut_ring, "cut short; make it with ring-builder, or copy it"),
    Bad("ring no ring", "storage1", file("rings/container.ring.gz", b"no ring"), "make it with ring-builder, or copy it"),
    Bad(
        "disk not mounted",
        "storage1",
        remove("storage1/devices/disk/identity.json"),
        "mount the disk, or run `objstore device init`",
    ),
    Bad("disk not there", "storage1", remove("storage1/devices/disk"), "mount the disk, or run `objstore device init`"),
    Bad("disks swapped", "storage1", swapped_disk, "is device disk7, not disk: disks swapped?"),
    Bad(
        "disk of another cluster", "storage1", config("storage1", (r"\[cluster\]", '[cluster]\nname = "other"')), "another cluster"
    ),
    Bad("address of no ring", "storage1", config("storage1", ('ip = ".*"', 'ip = "127.9.9.9"')), "check node.ip and node.ports"),
    proxy("key with a typo", "proxy.wrokers: there is no such key; did you mean 'workers'?", ("workers", "wrokers")),
    proxy("port as text", "proxy.port: expected 'int'", (r"port = (\d+)", r'port = "\1"')),
    proxy("port too large", "proxy.port: 70000 is not a port", (r"port = \d+", "port = 70000")),
    proxy("role with a typo", "did you mean 'proxy'?", ('"proxy", ', '"proxi", ')),
    proxy("no role", "a node needs at least one role", (r"roles = \[.*\]", "roles = []")),
    proxy("variable not set", "OBJSTORE_NOT_SET is not set", ('"../secret"', '"${OBJSTORE_NOT_SET}/secret"')),
    proxy("test users for everybody", "auth.development", (BIND, 'bind = "0.0.0.0"')),
    proxy("test users for IPv6", "auth.development", (BIND, 'bind = "::"')),
    proxy("another machine's address", "give an address of this machine", (BIND, 'bind = "192.0.2.1"'), ("development = true", "")),
    proxy("no address", "give an address of this machine", (BIND, 'bind = "no host"'), ("development = true", "")),
    proxy("certificate without a key", "give both, or neither", (BIND, f'{BIND}\ntls_cert = "a.pem"')),
    proxy("certificate missing", "PEM files", (BIND, f'{BIND}\ntls_cert = "a.pem"\ntls_key = "a.pem"')),
    proxy("certificate is none", "PEM files", (BIND, f'{BIND}\ntls_cert = "../secret"\ntls_key = "../secret"')),
]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A storage node and a proxy that would start."""
    return Deployment(tmp_path_factory.mktemp("good") / "nodes", storage=1, replicas=1).root


@pytest.fixture
def root(prepared: Path, tmp_path: Path) -> Path:
    """A copy of it, to break."""
    return Path(shutil.copytree(prepared, tmp_path / "nodes"))


def contents(root: Path) -> dict[str, bytes]:
    """Every file; a device's lock is empty and says nothing."""
    return {str(path): path.read_bytes() for path in root.rglob("*") if path.is_file() and path.name != ".lock"}


def refused(*command: str | Path) -> list[str]:
    """The lines of a command that must end by itself with 1 and say nothing else."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S)
    assert done.returncode == 1, done.stdout + done.stderr
    assert done.stdout == ""
    return done.stderr.splitlines()


@pytest.mark.parametrize("bad", BAD, ids=str)
def test_refused_in_one_line(bad: Bad, root: Path) -> None:
    bad.change(root)
    before = contents(root)
    (line,) = refused(PROGRAM, "serve", "--config", root / bad.node / "node.toml")
    assert line.startswith("objstore: ")
    assert bad.expected in line
    assert contents(root) == before, "nothing is stored"


@pytest.fixture
def taken() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


def test_a_port_in_use_is_named(root: Path, taken: socket.socket) -> None:
    port = taken.getsockname()[1]
    config("proxy", (r"port = \d+", f"port = {port}"))(root)
    (line,) = refused(PROGRAM, "serve", "--config", root / "proxy" / "node.toml")
    assert line == f"objstore: port {port} of 127.0.0.1 is in use: stop what listens there, or choose another port"


def test_the_development_cluster_names_a_port_in_use(tmp_path: Path, taken: socket.socket) -> None:
    port = taken.getsockname()[1]
    (line,) = refused(PROGRAM, "dev", "--data", tmp_path / "data", "--port", str(port))
    assert f"port {port} of 127.0.0.1 is in use" in line
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("command", ["device init {0}/disk --config {1}", "dev --data {0}/data"])
def test_a_file_system_without_extended_attributes_is_refused(command: str, root: Path, tmp_path: Path) -> None:
    inside = tmp_path / "mounted"
    inside.mkdir()
    mount = f"mount -t ramfs none {inside}"
    if subprocess.run(["unshare", "-Urm", "sh", "-c", mount], capture_output=True).returncode != 0:
        pytest.skip("a file system without extended attributes cannot be mounted here")
    words = command.format(inside, root / "proxy" / "node.toml")
    done = subprocess.run(
        ["unshare", "-Urm", "sh", "-c", f"{mount} && {PROGRAM} {words}; code=$?; find {inside} -name identity.json; exit $code"],
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert done.stdout == "", "no device was made"
    (line,) = done.stderr.splitlines()
    assert "no extended attributes" in line
    assert "choose a file system" in line


def test_another_secret_reaches_nothing(tmp_path: Path) -> None:
    """A proxy with a secret of its own starts, for its own part nothing is wrong; no node does what it says."""
    deployment = Deployment(tmp_path / "nodes", storage=1, replicas=1)
    file("other", b"another secret, as long as it needs to be")(deployment.root)
    config("proxy", ('"../secret"', '"../other"'))(deployment.root)
    try:
        deployment.start()
        client = Swift(deployment.endpoint)
        assert client.request("PUT", "/container").status == 503
        client.close()
        status = [PROGRAM, "status", "--config", deployment.root / "proxy" / "node.toml"]
        done = subprocess.run(status, capture_output=True, text=True, timeout=TIMEOUT_S)
        assert done.returncode == 1
        assert done.stderr.splitlines() == [
            f"objstore: {deployment.ips['storage1']}:6200 does not answer: the client does not know the cluster secret"
        ]
        wait_for(lambda: "handshake refused" in deployment.log("storage1"), 5, "the storage node says whom it refused")
    finally:
        deployment.stop()
    assert list(deployment.device("storage1").rglob("*.db")) == [], "nothing is stored"
