"""What `objstore serve` would start, from a configuration."""

from pathlib import Path

import pytest

from objstore.app.clusterfiles import make_device, save_ring
from objstore.app.configfile import load_config
from objstore.app.serve import plan
from ring.builder import RingBuilder


@pytest.mark.parametrize(("bind", "listens"), [("", "127.0.0.9"), ("127.0.0.19", "127.0.0.19")])
def test_storage_processes_listen_where_the_node_is_bound(tmp_path: Path, bind: str, listens: str) -> None:
    (tmp_path / "rings").mkdir()
    for name in ("account", "container", "object"):
        builder = RingBuilder(2, 1, 0)
        builder.add_device(zone=1, ip="127.0.0.9", port=6200, device="d1", weight=1)
        builder.rebalance(seed=1)
        save_ring(str(tmp_path / "rings"), name, builder)
    path = tmp_path / "node.toml"
    path.write_text(f'[cluster]\nsecret = "{"s" * 32}"\n[node]\nip = "127.0.0.9"\nbind = "{bind}"\nroles = ["object"]\n')
    config = load_config(str(path))
    make_device(config, "d1")
    (spec,) = plan(config, str(path))
    assert spec.listen == ((listens, 6200),)
