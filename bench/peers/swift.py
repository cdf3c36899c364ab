"""OpenStack Swift: 4 storage nodes, each with its own account, container and object server and daemons, a proxy, memcached.

It is set up as Swift's own guide for one machine does, with these differences: three replicas in four zones, the proxy's default
pipeline with tempauth, and ssync in place of rsync between object servers, so that no rsync daemon is needed. Every daemon keeps
its default interval. On two slow cores the rounds of 36 daemons over 100,000 objects never end: Swift's own `nice_priority` keeps
them from taking the processors from whoever is being measured. The log goes to a socket of ours that nobody reads, so that the
machine's log is left alone.
"""

import getpass
import os
import socket
import subprocess
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from bench.peers import install
from bench.peers.dialects import Dialect
from bench.peers.dialects import Swift as SwiftDialect
from bench.peers.processes import NotStarted, Ports, Processes

NODES = 4
REPLICAS = 3
PART_POWER = 10
PROXY_WORKERS = 2
KINDS = ("account", "container", "object")
DAEMONS = {
    "account": ("replicator", "auditor", "reaper"),
    "container": ("replicator", "updater", "auditor"),
    "object": ("replicator", "updater", "auditor"),
}
PIPELINE = (
    "catch_errors gatekeeper healthcheck proxy-logging cache listing_formats container_sync bulk tempurl ratelimit tempauth copy "
    "container-quotas account-quotas slo dlo versioned_writes symlink proxy-logging proxy-server"
)
"""The default one of Swift's sample configuration."""
LAUNCH = (
    "import runpy, sys; from swift.common import utils; utils.set_swift_dir(sys.argv[1]); del sys.argv[:2]; "
    "runpy.run_path(sys.argv[0], run_name='__main__')"
)
"""Swift's daemons look for swift.conf in /etc/swift, whatever their own configuration says, unless they are told before."""
DAEMONS_NICE = 19
MEMCACHED_PATIENCE_S = 20
MEMCACHED_MIB = 64
USER, PASSWORD = "test:tester", "testing"


class Swift:
    """Its processes."""

    name = "swift"
    title = "Swift"
    durability = "fsync of data and directory on two of three replicas before the answer; rows of listings are not synced"

    def __init__(self, ports: Ports) -> None:
        self._ports = ports
        self.setup = (
            f"{install.version('swift')}: 4 nodes with an account, a container and an object server each (1 worker), their "
            f"replicators, updaters and auditors at default intervals with nice_priority {DAEMONS_NICE}, a proxy with "
            f"{PROXY_WORKERS} workers, tempauth, memcached"
        )
        self._processes: Processes | None = None
        self._log: socket.socket | None = None
        self._port = 0
        self._where = Path()

    def start(self, where: Path) -> None:
        self._where = where
        check_attributes(where)
        self._log = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._log.bind(("127.0.0.1", 0))
        self._processes = processes = Processes(where, {"HOME": str(where)})
        ports = {(kind, node): self._ports.take() for kind in KINDS for node in range(NODES)}
        self._port, cache = self._ports.take(), self._ports.take()
        (where / "swift.conf").write_text("[swift-hash]\nswift_hash_path_prefix = bench\nswift_hash_path_suffix = peers\n")
        with ThreadPoolExecutor(len(KINDS)) as pool:
            list(pool.map(lambda kind: self._make_ring(kind, ports), KINDS))
        command = [install.memcached(), "-l", "127.0.0.1", "-p", str(cache), "-U", "0", "-m", str(MEMCACHED_MIB)]
        processes.start("memcached", [*command, "-u", getpass.getuser()])
        self._write(self._where / "proxy.conf", self._proxy_configuration(cache))
        for (kind, node), port in ports.items():
            self._write(self._where / f"{kind}{node}.conf", self._server_configuration(kind, node, port))
            processes.start(f"{kind}{node}", self._command(f"{kind}-server", f"{kind}{node}"))
        processes.start("proxy", self._command("proxy-server", "proxy"))
        for port in (*ports.values(), self._port):
            processes.wait_for("Swift", partial(is_healthy, port), 120)
        for kind, daemons in DAEMONS.items():
            for node in range(NODES):
                for daemon in daemons:
                    processes.start(f"{kind}{node}-{daemon}", self._command(f"{kind}-{daemon}", f"{kind}{node}"))
        processes.wait_for("Swift's login", lambda: bool(self._login()), 60)

    def _command(self, program: str, configuration: str) -> list[str]:
        script = install.program("swift", f"swift-{program}")
        return [
            install.program("swift", "python"),
            "-c",
            LAUNCH,
            str(self._where),
            script,
            str(self._where / f"{configuration}.conf"),
        ]

    def _write(self, path: Path, sections: dict[str, dict[str, object]]) -> None:
        lines = []
        for name, values in sections.items():
            lines += [f"[{name}]", *(f"{key} = {value}" for key, value in values.items()), ""]
        path.write_text("\n".join(lines))

    def _default(self, port: int) -> dict[str, object]:
        assert self._log is not None
        log = {"log_udp_host": "127.0.0.1", "log_udp_port": self._log.getsockname()[1]}
        place = {"swift_dir": self._where, "user": getpass.getuser()}
        return {"bind_ip": "127.0.0.1", "bind_port": port, **place, **log}

    def _server_configuration(self, kind: str, node: int, port: int) -> dict[str, dict[str, object]]:
        devices = self._where / f"node{node}"
        (devices / f"d{node}").mkdir(parents=True, exist_ok=True)
        places = {"devices": devices, "mount_check": "false", "recon_cache_path": devices}
        daemons: dict[str, dict[str, object]] = {f"{kind}-{name}": {"nice_priority": DAEMONS_NICE} for name in DAEMONS[kind]}
        if kind == "object":
            daemons["object-replicator"]["sync_method"] = "ssync"
        return {
            "DEFAULT": {**self._default(port), **places, "workers": 1},
            "pipeline:main": {"pipeline": f"healthcheck recon {kind}-server"},
            f"app:{kind}-server": {"use": f"egg:swift#{kind}"},
            "filter:recon": {"use": "egg:swift#recon", "recon_cache_path": devices},
            "filter:healthcheck": {"use": "egg:swift#healthcheck"},
            **daemons,
        }

    def _proxy_configuration(self, cache: int) -> dict[str, dict[str, object]]:
        filters = [name for name in dict.fromkeys(PIPELINE.split()) if name != "proxy-server"]
        sections: dict[str, dict[str, object]] = {
            f"filter:{name}": {"use": f"egg:swift#{'memcache' if name == 'cache' else name.replace('-', '_')}"} for name in filters
        }
        sections["filter:tempauth"]["user_test_tester"] = f"{PASSWORD} .admin"
        # Tokens are in there. On a machine full of work, the usual limits of 0.3 to 2 s make Swift do without it for a minute.
        patience = {f"{what}_timeout": MEMCACHED_PATIENCE_S for what in ("connect", "pool", "io")}
        sections["filter:cache"].update({"memcache_servers": f"127.0.0.1:{cache}", **patience})
        return {
            "DEFAULT": {**self._default(self._port), "workers": PROXY_WORKERS},
            "pipeline:main": {"pipeline": PIPELINE},
            "app:proxy-server": {"use": "egg:swift#proxy", "account_autocreate": "true"},
            **sections,
        }

    def _make_ring(self, kind: str, ports: dict[tuple[str, int], int]) -> None:
        builder = str(self._where / f"{kind}.builder")
        devices = [word for n in range(NODES) for word in (f"r1z{n + 1}-127.0.0.1:{ports[kind, n]}/d{n}", "100")]
        for words in (["create", str(PART_POWER), str(REPLICAS), "1"], ["add", *devices], ["rebalance"]):
            command = [install.program("swift", "swift-ring-builder"), builder, *words]
            result = subprocess.run(command, capture_output=True, text=True, check=False)
            if result.returncode > 1:  # 1 is a warning
                raise NotStarted(f"swift-ring-builder {words[0]}: {install.last_line(result.stdout + result.stderr)}")

    def _login(self) -> tuple[str, str]:
        headers = {"X-Auth-User": USER, "X-Auth-Key": PASSWORD}
        request = urllib.request.Request(f"http://127.0.0.1:{self._port}/auth/v1.0", headers=headers)
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.headers["X-Auth-Token"], "/v1/" + answer.headers["X-Storage-Url"].rpartition("/")[2]

    def stop(self) -> None:
        if self._processes:
            self._processes.stop()
        if self._log:
            self._log.close()

    def roots(self) -> list[int]:
        return self._processes.roots() if self._processes else []

    def daemons(self) -> list[int]:
        return self._processes.roots("-") if self._processes else []

    def check(self) -> None:
        if self._processes:
            self._processes.check()

    def dialects(self) -> dict[str, Dialect]:
        token, account = self._login()
        return {"Swift": SwiftDialect(self._port, account, token)}


def is_healthy(port: int) -> bool:
    """Whether a server of Swift's answers its health check."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthcheck", timeout=2) as answer:
        return int(answer.status) == 200


def check_attributes(where: Path) -> None:
    """Swift keeps what it knows of a file in extended attributes. Raises NotStarted where there are none."""
    probe = where / "probe"
    probe.write_bytes(b"")
    try:
        os.setxattr(probe, "user.probe", b"1")
    except OSError as refusal:
        raise NotStarted(f"Swift needs extended attributes, and {where} has none: {refusal}") from refusal
    finally:
        probe.unlink()
