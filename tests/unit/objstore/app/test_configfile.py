"""Configuration files: what is accepted, and the one line that each mistake gets."""

import os
import tomllib
from pathlib import Path

import pytest

from objstore.app.config import Config
from objstore.app.configfile import ConfigError, load_config, parse_config, read_secret

SECRET = "s" * 32


def problems(text: str, environ: dict[str, str] | None = None) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse_config(tomllib.loads(text), "node.toml", environ or {})
    return caught.value.problems


def test_an_empty_file_is_the_defaults_with_absolute_paths() -> None:
    config = parse_config({}, "/etc/objstore/node.toml", {})
    assert config.proxy == Config().proxy
    assert config.node.devices_root == "/etc/objstore/devices"
    assert config.cluster.secret_file == "/etc/objstore/secret"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("[node]\nrolse = []", "node.toml: node.rolse: there is no such key; did you mean 'roles'?"),
        ("[proxi]\nport = 1", "node.toml: proxi: there is no such key; did you mean 'proxy'?"),
        ("[node]\nzzz = 1", "node.toml: node.zzz: there is no such key; known here are: bind, clock_identity, "),
        ("[proxy]\nport = '8080'", "node.toml: proxy.port: expected 'int', got 'str'"),
        ("[proxy]\nport = 70000", "node.toml: proxy.port: 70000 is not a port (1 to 65535)"),
        ("[node]\nports = [0]", "node.toml: node.ports: 0 is not a port (1 to 65535)"),
        ("[node]\nroles = []", "node.toml: node.roles: a node needs at least one role"),
        ("[node]\nroles = ['proxi']", "node.toml: node.roles: invalid enum value 'proxi'; did you mean 'proxy'?"),
        ("[log]\nlevel = 'zz'", "node.toml: log.level: invalid enum value 'zz'; known here are: debug, error, info, warning"),
        ("proxy = 1", "node.toml: proxy: this is a table; write [proxy]"),
        ("[auth]\nusers = 'me'", "node.toml: auth.users: this is a list of tables; write [[auth.users]] once for each"),
        ("[[auth.users]]\naccount = 'a'\nname = 'n'", "node.toml: auth.users[0].key: this key is needed"),
        (
            "[[auth.users]]\naccount='a'\nname='n'\nkey='k'\nkye='k'",
            "node.toml: auth.users[0].kye: there is no such key; did you mean 'key'?",
        ),
        ("[proxy]\ntls_cert = 'c.pem'", "node.toml: proxy.tls_cert and proxy.tls_key: give both, or neither"),
        ("[proxy]\nbind = '0.0.0.0'\n[auth]\ndevelopment = true", "node.toml: auth.development: the development users' keys"),
        ("[node]\nclock_identity = 512", "node.toml: node.clock_identity: 0 to 511, or -1"),
        ("[daemons]\nobject_updater_interval_s = -1.0", "node.toml: daemons.object_updater_interval_s: must not be negative"),
        ("[node]\nstate_dir = '${NOWHERE}/x'", "node.toml: node.state_dir: the environment variable NOWHERE is not set"),
        ("[[policies]]\nindex = 1\nname = 'gold'", "node.toml: policies: exactly one storage policy must be the default"),
    ],
)
def test_each_mistake_gets_one_line(text: str, line: str) -> None:
    (only,) = problems(text)
    assert only.startswith(line)
    assert "\n" not in only


def test_all_mistakes_are_reported_at_once() -> None:
    assert len(problems("zork = 1\n[node]\nrolse = []\n[proxy]\nport = 'x'\nworkrs = 1")) == 4


def test_paths_are_relative_to_the_file_and_may_name_the_environment(tmp_path: Path) -> None:
    file = tmp_path / "conf" / "node.toml"
    file.parent.mkdir()
    file.write_text("[cluster]\nrings_dir = '../rings'\n[node]\ndevices_root = '${HERE}/disks'\nstate_dir = '/var/lib/x'\n")
    config = load_config(str(file), {"HERE": "/srv"})
    assert config.cluster.rings_dir == str(tmp_path / "rings")
    assert config.node.devices_root == "/srv/disks"
    assert config.node.state_dir == "/var/lib/x"


def test_files_that_are_missing_or_no_toml(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        load_config(str(tmp_path / "nowhere.toml"))
    bad = tmp_path / "bad.toml"
    bad.write_text("[node\n")
    with pytest.raises(ConfigError, match="not valid TOML"):
        load_config(str(bad))


def secret_config(tmp_path: Path, content: str | None, mode: int = 0o600) -> Config:
    if content is not None:
        path = tmp_path / "secret"
        path.write_text(content)
        path.chmod(mode)
    return parse_config({}, str(tmp_path / "node.toml"), {})


@pytest.mark.parametrize("secret", ["", "short", "x" * 31, " " * 40])
def test_short_secrets_are_refused(tmp_path: Path, secret: str) -> None:
    with pytest.raises(ConfigError, match="at least 32 are needed"):
        read_secret(secret_config(tmp_path, secret))


def test_a_missing_secret_names_the_command_that_makes_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="objstore secret new"):
        read_secret(secret_config(tmp_path, None))


def test_a_secret_that_everybody_can_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="chmod 600"):
        read_secret(secret_config(tmp_path, SECRET, 0o644))


def test_a_good_secret_is_read_without_its_newline(tmp_path: Path) -> None:
    assert read_secret(secret_config(tmp_path, SECRET + "\n")) == SECRET.encode()
    assert read_secret(parse_config({"cluster": {"secret": SECRET}}, "n.toml", {})) == SECRET.encode()


def test_secrets_do_not_show_in_errors(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        read_secret(secret_config(tmp_path, "hunter2"))
    assert "hunter2" not in str(caught.value)
    assert os.path.basename(str(tmp_path)) in str(caught.value)


def test_secrets_do_not_show_in_a_representation() -> None:
    text = """
[cluster]
secret = "canary-1"
hash_prefix = "canary-2"
[[auth.users]]
account = "a"
name = "n"
key = "canary-3"
[metrics]
token = "canary-4"
"""
    config = parse_config(tomllib.loads(text), "n.toml", {})
    assert "canary" not in repr(config)
    assert "name='n'" in repr(config)
    assert repr(config.metrics) == "Metrics(token='***')"
