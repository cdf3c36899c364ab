"""The configuration: one frozen typed tree. Every key, its default and its meaning stand here; `conf/objstore.toml` shows the
same to operators and a test keeps the two equal. Reading files is `configfile`'s part.
"""

from typing import Literal

import msgspec

Role = Literal["proxy", "auth", "account", "container", "object", "daemons"]
PUBLIC_ROLES: frozenset[Role] = frozenset(("proxy", "auth"))
STORAGE_ROLES: frozenset[Role] = frozenset(("account", "container", "object", "daemons"))
ALL_ROLES: tuple[Role, ...] = ("proxy", "auth", "account", "container", "object", "daemons")
CLOCK_IDENTITY_MAX = 511
"""Nodes that give timestamps have a number of their own; the lower bits of a timestamp hold it and the worker's slot."""
SLOTS_PER_NODE_MAX = 32
SECRETS = frozenset(("secret", "hash_prefix", "hash_suffix", "key", "token"))


class Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of the file. Keys named in PATHS are taken relative to the file, and `${NAME}` in them is expanded."""

    def __repr__(self) -> str:
        """Without secrets: a configuration may end up in a traceback (security test S29)."""
        shown = {name: "***" if name in SECRETS and value else value for name, value in msgspec.structs.asdict(self).items()}
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in shown.items())})"


class Cluster(Section, frozen=True):
    """What all nodes of one cluster share."""

    name: str = "objstore"
    secret: str = ""
    secret_file: str = "secret"  # noqa: S105 - a file name
    hash_prefix: str = ""
    hash_suffix: str = ""
    rings_dir: str = "rings"
    ring_check_interval_s: float = 5.0


class PolicySection(Section, frozen=True):
    """One storage policy; its ring is `object.ring.gz` for index 0, else `object-<index>.ring.gz`."""

    index: int
    name: str
    default: bool = False
    deprecated: bool = False
    aliases: tuple[str, ...] = ()
    sloppy: bool = False


class Node(Section, frozen=True):
    """This node."""

    name: str = "node1"
    ip: str = "127.0.0.1"
    bind: str = ""
    roles: tuple[Role, ...] = ALL_ROLES
    ports: tuple[int, ...] = ()
    devices_root: str = "devices"
    state_dir: str = "state"
    run_dir: str = "run"
    clock_identity: int = -1

    @property
    def listen_ip(self) -> str:
        """Where its processes listen for other nodes."""
        return self.bind or self.ip


class Proxy(Section, frozen=True):
    """The public listener, of the roles proxy and auth alike."""

    bind: str = "127.0.0.1"
    port: int = 8080
    workers: int = 0
    tls_cert: str = ""
    tls_key: str = ""
    node_timeout_s: float = 10.0
    connect_timeout_s: float = 1.0
    client_timeout_s: float = 60.0
    drain_timeout_s: float = 30.0


class User(Section, frozen=True):
    """One user of the built-in authentication: `account:name`, who logs in with `key`."""

    account: str
    name: str
    key: str
    admin: bool = False
    reseller: bool = False
    service: bool = False


class Auth(Section, frozen=True):
    """Who may come in."""

    development: bool = False
    token_life_s: int = 86_400
    storage_url: str = ""
    users: tuple[User, ...] = ()


class S3(Section, frozen=True):
    """The S3 API: below which host names buckets are host names themselves, the region that clients sign for, and whether who signs
    wrongly is told why.
    """

    region: str = "us-east-1"
    domains: tuple[str, ...] = ()
    signature_doctor: bool = False


class Limits(Section, frozen=True):
    """What a client may send and ask for, where the operator decides; `/info` shows it."""

    object_bytes_max: int = 5_368_709_122
    account_listing_max: int = 10_000
    container_listing_max: int = 10_000


class Storage(Section, frozen=True):
    """The devices of this node."""

    threads_per_device: int = 4
    index_timeout_s: float = 1.0


class Daemons(Section, frozen=True):
    """Background jobs: how often a pass starts, how fast it goes, and how long deletions are remembered."""

    object_replicator_interval_s: float = 30.0
    container_replicator_interval_s: float = 30.0
    account_replicator_interval_s: float = 30.0
    object_updater_interval_s: float = 10.0
    container_updater_interval_s: float = 1.0
    object_auditor_interval_s: float = 3600.0
    container_auditor_interval_s: float = 3600.0
    account_auditor_interval_s: float = 3600.0
    container_reviver_interval_s: float = 10.0
    object_expirer_interval_s: float = 60.0
    account_reaper_interval_s: float = 60.0
    multipart_collector_interval_s: float = 3600.0
    replicate_bytes_per_s: int = 100_000_000
    audit_bytes_per_s: int = 10_000_000
    audit_rows_per_s: float = 1000.0
    reclaim_age_s: int = 604_800
    reaper_delay_s: int = 0
    multipart_abandoned_age_s: int = 604_800
    multipart_grace_s: int = 3600


class Log(Section, frozen=True):
    """One line per event, on standard output."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["text", "json"] = "text"
    access: bool = True


class Metrics(Section, frozen=True):
    """Who may read /metrics from another host than this one."""

    token: str = ""


class Config(Section, frozen=True):
    """One node's whole configuration."""

    cluster: Cluster = Cluster()
    node: Node = Node()
    proxy: Proxy = Proxy()
    auth: Auth = Auth()
    s3: S3 = S3()
    limits: Limits = Limits()
    storage: Storage = Storage()
    daemons: Daemons = Daemons()
    log: Log = Log()
    metrics: Metrics = Metrics()
    policies: tuple[PolicySection, ...] = (PolicySection(index=0, name="Policy-0", default=True),)

    @property
    def is_public(self) -> bool:
        """Whether this node answers clients."""
        return any(role in PUBLIC_ROLES for role in self.node.roles)

    @property
    def is_storage(self) -> bool:
        """Whether this node owns devices."""
        return any(role in STORAGE_ROLES for role in self.node.roles)


PATHS = (
    ("cluster", "secret_file"),
    ("cluster", "rings_dir"),
    ("node", "devices_root"),
    ("node", "state_dir"),
    ("node", "run_dir"),
    ("proxy", "tls_cert"),
    ("proxy", "tls_key"),
)

DEVELOPMENT_USERS = (
    User(account="test", name="tester", key="testing", admin=True),
    User(account="test", name="tester2", key="testing2", admin=True),
    User(account="test", name="tester3", key="testing3"),
    User(account="test2", name="tester2", key="testing2", admin=True),
    User(account="test5", name="tester5", key="testing5", service=True),
    User(account="admin", name="admin", key="admin", admin=True, reseller=True),
)
"""The well-known users of tempauth's documentation; only with `auth.development`, and only on a loopback address."""
