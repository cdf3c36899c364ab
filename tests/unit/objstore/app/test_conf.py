"""The files in conf/: the commented one equals the defaults, the deployment examples fit together."""

import re
import tomllib
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest

from objstore.app.config import Config, Section
from objstore.app.configfile import load_config, parse_config

ROOT = Path(__file__).resolve().parents[4]
COMMENTED = ROOT / "conf" / "objstore.toml"
DEPLOYMENT = sorted((ROOT / "conf" / "deployment").glob("*.toml"))


def keys(section: type[Section], prefix: str = "") -> list[str]:
    found = []
    for field in msgspec.structs.fields(section):
        if isinstance(field.type, type) and issubclass(field.type, Section):
            found += keys(field.type, f"{prefix}{field.name}.")
        else:
            found.append(prefix + field.name)
    return found


def test_the_commented_file_is_the_defaults() -> None:
    file = tomllib.loads(COMMENTED.read_text())
    assert parse_config(file, str(COMMENTED), {}) == parse_config({}, str(COMMENTED), {})


def test_the_commented_file_has_every_key() -> None:
    file = tomllib.loads(COMMENTED.read_text())
    there = {f"{section}.{key}" for section, table in file.items() if isinstance(table, dict) for key in table}
    there |= {section for section, table in file.items() if isinstance(table, list)}
    assert there == set(keys(Config))


def test_every_key_of_the_commented_file_is_explained() -> None:
    """A comment stands above each key, or above the key before it."""
    lines = COMMENTED.read_text().splitlines()
    bare = [b for a, b in pairwise(lines) if re.match(r"\w+ =", b) and not a.startswith("#")]
    allowed = {"secret_file", "hash_suffix", "port", "tls_key", "connect_timeout_s", "container_listing_max", "account_listing_max",
               "container_updater_interval_s", "container_replicator_interval_s", "account_replicator_interval_s",
               "container_auditor_interval_s", "account_auditor_interval_s", "account_reaper_interval_s", "audit_bytes_per_s",
               "aliases", "index", "name", "default"}  # fmt: skip
    assert {line.split(" ")[0] for line in bare} <= allowed


def test_defaults_have_units() -> None:
    for key in keys(Config):
        name = key.rpartition(".")[2]
        if re.search(r"timeout|interval|life", name):
            assert name.endswith("_s"), key
        if "bytes" in name:
            assert re.search(r"bytes(_max|_min|_per_s)?$", name), key


@pytest.mark.parametrize("path", DEPLOYMENT, ids=lambda path: path.stem)
def test_deployment_examples_load(path: Path) -> None:
    config = load_config(str(path), {"OBJSTORE_HOME": "/srv/objstore"})
    assert config.node.name == path.stem
    assert config.node.state_dir == f"/srv/objstore/{path.stem}/state"


def test_deployment_examples_are_one_cluster() -> None:
    configs = [load_config(str(path), {"OBJSTORE_HOME": "/srv/objstore"}) for path in DEPLOYMENT]
    assert len(configs) == 7
    assert len({msgspec.structs.astuple(config.cluster) for config in configs}) == 1
    assert len({config.node.ip for config in configs}) == 7
    public = [config for config in configs if config.is_public]
    assert {config.node.name for config in public} == {"proxy", "auth"}
    assert public[0].auth == public[1].auth, "proxies know the users that the auth node logs in"
