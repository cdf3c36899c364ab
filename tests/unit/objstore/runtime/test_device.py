"""A device is used only when it is the right one, mounted, and ours alone."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from objstore.runtime.device import DeviceFloor, DeviceRefused, init_device, open_device
from objstore.runtime.filesystem import RealFileSystem
from objstore.runtime.rng import SystemRng

CLUSTER = "c1" * 8


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "node" / "sda")


def test_init_and_open(path: str) -> None:
    identity = init_device(path, CLUSTER, "sda", SystemRng())
    assert init_device(path, CLUSTER, "sda", SystemRng()) == identity, "again: nothing happens"
    device = open_device(path, CLUSTER, "sda")
    assert device.identity == identity
    assert json.loads(Path(path, "identity.json").read_text()) == {
        "cluster": CLUSTER,
        "device": "sda",
        "id": identity.id,
        "version": 1,
    }
    device.close()
    device.close()


def test_locked_by_one_process(path: str) -> None:
    init_device(path, CLUSTER, "sda", SystemRng())
    device = open_device(path, CLUSTER, "sda")
    with pytest.raises(DeviceRefused, match="in use by another process"):
        open_device(path, CLUSTER, "sda")
    device.close()
    open_device(path, CLUSTER, "sda").close()


def test_the_lock_dies_with_its_process(path: str) -> None:
    init_device(path, CLUSTER, "sda", SystemRng())
    code = (
        "import sys, os; from objstore.runtime.device import open_device; d = open_device(*sys.argv[1:]); os.kill(os.getpid(), 9)"
    )
    assert subprocess.run([sys.executable, "-c", code, path, CLUSTER, "sda"], cwd=Path(__file__).parents[4]).returncode == -9
    open_device(path, CLUSTER, "sda").close()


def refusal(path: str, cluster: str = CLUSTER, name: str = "sda") -> str:
    with pytest.raises(DeviceRefused) as refused:
        open_device(path, cluster, name)
    text = str(refused.value)
    assert "\n" not in text and path in text
    return text


def test_refusals_write_nothing(path: str, tmp_path: Path) -> None:
    assert "not a directory" in refusal(path)
    os.makedirs(path)
    assert "no identity.json" in refusal(path), "an empty mount point"
    assert os.listdir(path) == []
    init_device(path, CLUSTER, "sda", SystemRng())
    before = sorted(os.listdir(path))
    assert "another cluster" in refusal(path, cluster="c2" * 8)
    assert "is device sda, not sdb" in refusal(path, name="sdb")
    assert sorted(os.listdir(path)) == before
    plain = tmp_path / "file"
    plain.write_bytes(b"")
    assert "not a directory" in refusal(str(plain))


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"cluster": "c", "device": "sda", "id": "x"}', "\xff"])
def test_unreadable_identity(path: str, text: str) -> None:
    os.makedirs(path)
    Path(path, "identity.json").write_bytes(text.encode("latin-1"))
    assert "unreadable" in refusal(path)


def test_identity_of_a_later_version(path: str) -> None:
    os.makedirs(path)
    Path(path, "identity.json").write_text(json.dumps({"cluster": CLUSTER, "device": "sda", "id": "x", "version": 2}))
    assert "version 2" in refusal(path)


def test_identity_is_no_link(path: str, tmp_path: Path) -> None:
    other = str(tmp_path / "other")
    init_device(other, CLUSTER, "sda", SystemRng())
    os.makedirs(path)
    os.symlink(other + "/identity.json", path + "/identity.json")
    refusal(path)


def test_init_refuses_what_is_not_empty(path: str) -> None:
    os.makedirs(path)
    Path(path, "holiday.jpg").write_bytes(b"")
    with pytest.raises(DeviceRefused, match="holds other files"):
        init_device(path, CLUSTER, "sda", SystemRng())


def test_init_refuses_a_foreign_device(path: str) -> None:
    init_device(path, CLUSTER, "sda", SystemRng())
    with pytest.raises(DeviceRefused, match="another cluster"):
        init_device(path, "c2" * 8, "sda", SystemRng())


def test_floor(tmp_path: Path) -> None:
    fs = RealFileSystem(str(tmp_path))
    floor = DeviceFloor(fs, "floor")
    assert floor.load() == 0
    floor.save(12345)
    floor.save(12346)
    assert DeviceFloor(RealFileSystem(str(tmp_path)), "floor").load() == 12346
