"""A data directory written by the release before opens, serves and heals: formats only ever grow."""

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bench.cluster import descendants, free_port, wait_ready
from tests.cluster.deployment import ROOT, command
from tests.cluster.swift import Swift

BEFORE = "8be512f"
"""The last commit whose databases had schema 1, with no replicators."""
BODY = os.urandom(300_000)
DAEMONS = ("object-updater", "container-updater", "object-replicator", "container-replicator", "account-replicator")


@pytest.fixture(scope="module")
def code_before(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tree of that commit; a checkout without history cannot run this."""
    tree = tmp_path_factory.mktemp("before")
    archive = subprocess.run(["git", "-C", ROOT, "archive", BEFORE, "objstore", "ring"], capture_output=True, check=False)
    if archive.returncode:
        pytest.skip(f"not run: this checkout does not have commit {BEFORE}: {archive.stderr.decode().strip()}")
    subprocess.run(["tar", "-x", "-C", tree], input=archive.stdout, check=True)
    return tree


class Dev:
    """`objstore dev` by the code in `tree`, on `data`."""

    def __init__(self, tree: Path, data: Path) -> None:
        port = free_port()
        self.endpoint = f"http://127.0.0.1:{port}"
        self.log = (data.parent / "out").open("ab")
        words = [sys.executable, "-P", "-m", "objstore.app", "dev", "--data", data, "--port", str(port), "--workers", "1"]
        self.process = subprocess.Popen(
            words, env={**os.environ, "PYTHONPATH": str(tree)}, stdout=self.log, stderr=self.log, start_new_session=True
        )

    def __enter__(self) -> Swift:
        wait_ready(self.endpoint, self.process)
        return Swift(self.endpoint)

    def __exit__(self, *_: object) -> None:
        self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            for pid in descendants(self.process.pid):
                os.kill(pid, signal.SIGKILL)
            raise
        finally:
            self.log.close()


def test_data_of_the_release_before_opens_and_heals(code_before: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    with Dev(code_before, data) as swift:
        assert swift.request("PUT", "/c", headers={"X-Container-Meta-Colour": "red"}).status == 201
        for number in range(20):
            assert swift.request("PUT", f"/c/o{number}", f"first {number}".encode()).status == 201
    shutil.copytree(data / "node2" / "devices", tmp_path / "old-node2")
    with Dev(code_before, data) as swift:
        for number in range(10, 30):
            assert swift.request("PUT", f"/c/o{number}", f"second {number}".encode()).status == 201
        assert swift.request("PUT", "/c/large", BODY).status == 201
        assert swift.request("POST", "/c/o0", headers={"X-Object-Meta-Kind": "posted"}).status == 202
        assert swift.request("DELETE", "/c/o1").status == 204
        assert swift.request("PUT", "/c/expiring", b"x", headers={"X-Delete-After": "3600"}).status == 201
        time.sleep(1.5)  # the updaters' last rows
    _go_back(data / "node2" / "devices", tmp_path / "old-node2")  # node2 lost all that the second run wrote

    expected = {f"o{number}": f"first {number}".encode() for number in range(10) if number != 1}
    expected |= {f"o{number}": f"second {number}".encode() for number in range(10, 30)}
    expected |= {"large": BODY, "expiring": b"x"}
    with Dev(ROOT, data) as swift:
        _check(swift, expected)
        for _ in range(2):
            for daemon in DAEMONS:
                command("objstore", "daemon", daemon, "--once", "--data", data)
        _check(swift, expected)
        figures = command("objstore", "daemon", "object-replicator", "--once", "--data", data)
        assert "differing=0" in figures and "pushed=0 failed=0" in figures, figures
    _same_everywhere(data)


def _go_back(devices: Path, old: Path) -> None:
    """As when a disk is put back from a backup; extended attributes are copied with the files."""
    shutil.rmtree(devices)
    shutil.copytree(old, devices)


def _check(swift: Swift, expected: dict[str, bytes]) -> None:
    for _ in range(3):
        for name, body in expected.items():
            answer = swift.request("GET", f"/c/{name}")
            assert (answer.status, answer.body == body) == (200, True), name
    assert swift.request("GET", "/c/o1").status == 404
    assert swift.request("HEAD", "/c/o0").headers["x-object-meta-kind"] == "posted"
    head = swift.request("HEAD", "/c")
    assert head.headers["x-container-meta-colour"] == "red"
    rows = swift.names("c")
    assert sorted(rows) == sorted(expected)
    assert {name: row["bytes"] for name, row in rows.items()} == {name: len(body) for name, body in expected.items()}


def _same_everywhere(data: Path) -> None:
    """Every object file on three devices, every database of the new schema and with the same rows."""
    files: dict[str, list[bytes]] = {}
    rows: dict[str, list[list[object]]] = {}
    for node in range(1, 5):
        device = data / f"node{node}" / "devices" / "d1"
        for path in device.glob("objects/*/*"):
            files.setdefault(path.name, []).append(path.read_bytes())
        for path in device.glob("containers/*/*.db"):
            with sqlite3.connect(path) as connection:
                assert connection.execute("PRAGMA user_version").fetchone()[0] >= 2
                listed = connection.execute("SELECT name, timestamp, deleted, size, etag FROM row ORDER BY name").fetchall()
                assert connection.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
            rows.setdefault(path.name, []).append(listed)
    assert {name: len(copies) for name, copies in files.items() if len(copies) != 3} == {}
    assert all(copies[0] == copies[1] == copies[2] for copies in files.values())
    for name, copies in rows.items():
        assert len(copies) == 3 and copies[0] == copies[1] == copies[2], (name, json.dumps(copies)[:2000])
