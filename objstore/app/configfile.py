"""TOML file -> `Config`. Every mistake in the file is reported at once, each as one plain line with file and key."""

import difflib
import ipaddress
import os
import re
import tomllib
from collections.abc import Mapping
from typing import Any, TypeVar, get_args

import msgspec

from objstore.app.config import CLOCK_IDENTITY_MAX, PATHS, Config, PolicySection, Section, User
from objstore.model.policy import Policies, Policy

SECRET_BYTES_MIN = 32
_DOMAIN = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*")
LISTS: dict[str, type[Section]] = {"users": User, "policies": PolicySection}
"""Keys that hold a list of tables."""
SectionT = TypeVar("SectionT", bound=Section)


class ConfigError(Exception):
    """The configuration cannot be used; `problems` are plain lines that say where and what to do."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


def load_config(path: str, environ: Mapping[str, str] | None = None) -> Config:
    """Read a configuration file.

    Relative paths in it are taken from the file's directory; `${NAME}` in them is the environment's. Raises ConfigError.
    """
    try:
        with open(path, "rb") as file:
            tree = tomllib.load(file)
    except FileNotFoundError:
        raise ConfigError([f"{path}: no such file; give the node's configuration with --config"]) from None
    except OSError as error:
        raise ConfigError([f"{path}: cannot be read: {error.strerror}"]) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError([f"{path}: not valid TOML: {error}"]) from None
    return parse_config(tree, path, os.environ if environ is None else environ)


def parse_config(tree: dict[str, Any], path: str, environ: Mapping[str, str]) -> Config:
    """The same from a parsed file. Raises ConfigError."""
    problems: list[str] = []
    config = _section(Config, tree, "", path, problems)
    if config is not None:
        config = _with_paths(config, path, environ, problems)
        problems += [f"{path}: {line}" for line in _contradictions(config)]
    if config is None or problems:
        raise ConfigError(problems)
    return config


def read_secret(config: Config) -> bytes:
    """The cluster secret. Raises ConfigError when there is none, or one that is too short or open to others."""
    where = "cluster.secret"
    if config.cluster.secret:
        secret = config.cluster.secret.encode()
    else:
        where = config.cluster.secret_file
        try:
            with open(where, "rb") as file:
                secret = file.read(4096).strip()
                mode = os.fstat(file.fileno()).st_mode
        except OSError as error:
            raise ConfigError(
                [f"no cluster secret: {where}: {error.strerror}; make one with: objstore secret new {where}"]
            ) from None
        if mode & 0o007:
            raise ConfigError([f"{where}: every user of this machine can read the cluster secret; run: chmod 600 {where}"])
    if len(secret) < SECRET_BYTES_MIN:
        need = f"the cluster secret has {len(secret)} bytes, at least {SECRET_BYTES_MIN} are needed"
        raise ConfigError([f"{where}: {need}; `objstore secret new` makes one"])
    return secret


def _section(cls: type[SectionT], tree: dict[str, Any], prefix: str, path: str, problems: list[str]) -> SectionT | None:
    fields = {field.name: field for field in msgspec.structs.fields(cls)}
    values: dict[str, Any] = {}
    before = len(problems)
    for key, value in tree.items():
        where = f"{path}: {prefix}{key}"
        field = fields.get(key)
        if field is None:
            problems.append(f"{where}: there is no such key{_nearest(key, list(fields))}")
        elif isinstance(field.type, type) and issubclass(field.type, Section):
            if isinstance(value, dict):
                values[key] = _section(field.type, value, f"{prefix}{key}.", path, problems)
            else:
                problems.append(f"{where}: this is a table; write [{prefix}{key}]")
        elif key in LISTS:
            values[key] = _tables(LISTS[key], value, f"{prefix}{key}", path, problems)
        else:
            try:
                values[key] = msgspec.convert(value, field.type)
            except msgspec.ValidationError as error:
                problems.append(f"{where}: {_plain(error, field.type)}")
    missing = [name for name, field in fields.items() if field.required and name not in tree]
    problems += [f"{path}: {prefix}{name}: this key is needed" for name in missing]
    return cls(**values) if len(problems) == before else None


def _tables(cls: type[SectionT], value: Any, key: str, path: str, problems: list[str]) -> tuple[SectionT | None, ...]:
    if not isinstance(value, list) or not all(isinstance(entry, dict) for entry in value):
        problems.append(f"{path}: {key}: this is a list of tables; write [[{key}]] once for each")
        return ()
    return tuple(_section(cls, entry, f"{key}[{i}].", path, problems) for i, entry in enumerate(value))


def _nearest(key: str, known: list[str]) -> str:
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
    return f"; did you mean {near[0]!r}?" if near else f"; known here are: {', '.join(sorted(known))}"


def _plain(error: msgspec.ValidationError, kind: Any) -> str:
    text = str(error).replace("`", "'")
    text = text[:1].lower() + text[1:]
    wrong = re.match(r"invalid enum value '(.*?)'", text)
    return f"{wrong[0]}{_nearest(wrong[1], _choices(kind))}" if wrong else text


def _choices(kind: Any) -> list[str]:
    """The words that a Literal, or a tuple of them, allows."""
    found = []
    for part in get_args(kind):
        found += [part] if isinstance(part, str) else _choices(part)
    return found


def _with_paths(config: Config, path: str, environ: Mapping[str, str], problems: list[str]) -> Config:
    directory = os.path.dirname(os.path.abspath(path))
    for section_name, key in PATHS:
        section = getattr(config, section_name)
        text = getattr(section, key)
        if not text:
            continue
        try:
            expanded = re.sub(r"\$\{(\w+)\}", lambda match: environ[match[1]], text)
        except KeyError as error:
            problems.append(f"{path}: {section_name}.{key}: the environment variable {error.args[0]} is not set")
            continue
        section = msgspec.structs.replace(section, **{key: os.path.normpath(os.path.join(directory, expanded))})
        config = msgspec.structs.replace(config, **{section_name: section})
    return config


def _contradictions(config: Config) -> list[str]:
    """What is well-formed but cannot work."""
    found = []
    proxy = config.proxy
    if not config.node.roles:
        found.append("node.roles: a node needs at least one role")
    for port in (proxy.port, *config.node.ports):
        if not 1 <= port <= 65535:
            found.append(f"{'proxy.port' if port == proxy.port else 'node.ports'}: {port} is not a port (1 to 65535)")
    if bool(proxy.tls_cert) != bool(proxy.tls_key):
        found.append("proxy.tls_cert and proxy.tls_key: give both, or neither")
    if config.auth.development and config.is_public and not is_loopback(proxy.bind):
        found.append(
            f"auth.development: the development users' keys are public, so they are refused on {proxy.bind}; bind to 127.0.0.1, "
            "or remove this line and list users of your own"
        )
    if not -1 <= config.node.clock_identity <= CLOCK_IDENTITY_MAX:
        found.append(f"node.clock_identity: 0 to {CLOCK_IDENTITY_MAX}, or -1 to derive it from the name")
    if not config.s3.region:
        found.append('s3.region: clients sign for a region; the usual one is "us-east-1"')
    for domain in config.s3.domains:
        if not _DOMAIN.fullmatch(domain):
            found.append(f"s3.domains: {domain!r} is not a host name in lower case, such as 's3.example.org'")
    try:
        policies_of(config)
    except ValueError as error:
        found.append(f"policies: {error}")
    for section_name in ("proxy", "storage", "daemons", "limits"):
        for key, value in msgspec.structs.asdict(getattr(config, section_name)).items():
            if isinstance(value, (int, float)) and not isinstance(value, bool) and value < 0:
                found.append(f"{section_name}.{key}: must not be negative")
    return found


def policies_of(config: Config) -> Policies:
    """The storage policies. Raises ValueError for a set that no cluster can have."""
    return Policies([Policy(**msgspec.structs.asdict(one)) for one in config.policies])


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach the address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
