"""The files of a cluster under test, and what shapes are possible."""

import tomllib
from pathlib import Path

import pytest

from objstore.app.configfile import ConfigError
from objstore.testing.failures import ClusterError
from objstore.testing.layout import Layout, Shape, toml


def test_toml_says_what_was_meant() -> None:
    tree = {
        "policies": [{"index": 0, "name": 'go"ld', "default": True}],
        "node": {"name": "ünï\n", "ports": [6200, 6201], "roles": ("account",)},
        "daemons": {"reclaim_age_s": 0.001, "reaper_delay_s": 10},
        "auth": {"users": [{"account": "a", "key": "k#"}], "development": False},
    }
    assert tomllib.loads(toml(tree)) == {**tree, "node": {**tree["node"], "roles": ["account"]}}  # type: ignore[dict-item]


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        (Shape(nodes=0), "nodes=0: give 1 to 199"),
        (Shape(nodes=3, zones=4), "zones=4: give 1 to 3"),
        (Shape(devices=0), "devices=0"),
        (Shape(nodes=1, zones=1, devices=2), "replicas=3: 1 nodes of 2 devices"),
        (Shape(proxies=-1), "proxies=-1: give 0 to 50"),
    ],
)
def test_impossible_shapes_are_refused(shape: Shape, words: str) -> None:
    with pytest.raises(ClusterError, match=words):
        shape.check()


def made(path: Path, shape: Shape) -> Layout:
    layout = Layout(str(path), shape)
    layout.found()
    members = [layout.add_node(n, f"127.0.9.{n}", f"127.0.8.{n}", shape.devices) for n in range(1, shape.nodes + 1)]
    layout.make_rings(members)
    return layout


def test_zones_are_filled_in_turn_and_the_seed_decides_the_placement(tmp_path: Path) -> None:
    from ring.ring import Ring

    rows = []
    for number, seed in enumerate((1, 1, 2)):
        layout = made(tmp_path / str(number), Shape(nodes=4, zones=2, devices=1, seed=seed))
        ring = Ring.load(layout.path("rings", "object.ring.gz"))
        assert [device.zone for device in ring.devices if device is not None] == [1, 2, 1, 2]
        rows.append(ring.rows)
    assert rows[0] == rows[1] != rows[2]


def test_the_harness_keeps_its_own_keys_and_unknown_ones_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match=r"settings: cluster\.name is the harness's own"):
        made(tmp_path / "1", Shape(settings={"cluster": {"name": "mine"}}))
    with pytest.raises(ConfigError, match=r"node1\.toml: daemons\.speed: there is no such key"):
        made(tmp_path / "2", Shape(settings={"daemons": {"speed": 1}}))
