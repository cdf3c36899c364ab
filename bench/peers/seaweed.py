"""SeaweedFS: a master, 4 volume servers with 3 copies of each volume, a filer with the S3 gateway in it.

By itself it does not fsync. `fs.configure -fsync` for everything below /buckets/ makes the volume servers do it before they answer:
seen with strace as 3 fsync for each PUT through S3, and none without it. The filer's own store (names, listings) is not synced
in either case: it has no setting for that.
"""

import json
import subprocess
import tempfile
import urllib.error
import urllib.request
from pathlib import Path

from bench.peers import install
from bench.peers.dialects import S3, Dialect
from bench.peers.processes import NotStarted, Ports, Processes

NODES = 4
ACCESS, SECRET = "bench", "bench-secret"
COPIES = "002"
"""SeaweedFS's notation: two more copies, on other servers of the same rack."""
VOLUMES_MAX = 100
SHELL_TIMEOUT_S = 60


class SeaweedFS:
    """Its processes, with fsync or as it comes."""

    def __init__(self, fsync: bool, ports: Ports) -> None:
        self._ports = ports
        self._fsync = fsync
        self.name = "seaweed-fsync" if fsync else "seaweed"
        self.title = "SeaweedFS, fsync" if fsync else "SeaweedFS"
        self.durability = (
            "fsync of the data on all three copies before the answer; names are not synced"
            if fsync
            else "no fsync (as it comes): three copies in the page cache"
        )
        self.setup = f"{install.version('seaweed')}: a master, 4 volume servers, a filer with the S3 gateway; telemetry off"
        self._processes: Processes | None = None
        self._sockets: tempfile.TemporaryDirectory[str] | None = None
        self._port = 0

    def start(self, where: Path) -> None:
        self._sockets = tempfile.TemporaryDirectory(prefix="objstore-peers-")
        self._processes = processes = Processes(where, {"HOME": str(where)})
        weed = install.program("seaweed", "weed")
        here = ["-ip=127.0.0.1", "-ip.bind=127.0.0.1"]
        port = self._ports.take()
        master = f"127.0.0.1:{port}"
        (where / "master").mkdir()
        command = [weed, "master", *here, f"-port={port}", f"-mdir={where / 'master'}"]
        processes.start("master", [*command, f"-defaultReplication={COPIES}", "-telemetry=false", "-peers=none"])
        processes.wait_for("SeaweedFS's master", lambda: bool(ask(port, "/cluster/status").get("IsLeader")))
        for node in range(NODES):
            directory = where / f"volume{node}"
            directory.mkdir()
            command = [weed, "volume", *here, f"-port={self._ports.take()}", f"-dir={directory}"]
            processes.start(f"volume{node}", [*command, f"-max={VOLUMES_MAX}", "-preStopSeconds=1", f"-master={master}"])
        processes.wait_for("SeaweedFS's volume servers", lambda: count_nodes(port) == NODES)
        self._start_gateway(processes, where, weed, master, here)

    def _start_gateway(self, processes: Processes, where: Path, weed: str, master: str, here: list[str]) -> None:
        assert self._sockets is not None
        identity = {"name": "bench", "credentials": [{"accessKey": ACCESS, "secretKey": SECRET}]}
        identities = {"identities": [{**identity, "actions": ["Admin", "Read", "List", "Tagging", "Write"]}]}
        (where / "s3.json").write_text(json.dumps(identities))
        (where / "filer").mkdir()
        self._port, filer = self._ports.take(), self._ports.take()
        command = [weed, "filer", *here, f"-port={filer}", f"-master={master}", "-s3"]
        command += [f"-defaultStoreDir={where / 'filer'}", f"-localSocket={self._sockets.name}/filer.sock"]
        command += [f"-s3.port={self._port}", f"-s3.config={where / 's3.json'}"]
        command += [f"-s3.localSocket={self._sockets.name}/s3.sock", "-s3.port.iceberg=0", "-s3.port.lance=0"]
        processes.start("filer", command)
        processes.wait_for("SeaweedFS's gateway", lambda: answers(self._port))
        if self._fsync:
            configure_fsync(weed, master, f"127.0.0.1:{filer}", where)

    def stop(self) -> None:
        if self._processes:
            self._processes.stop()
        if self._sockets:
            self._sockets.cleanup()

    def roots(self) -> list[int]:
        return self._processes.roots() if self._processes else []

    def daemons(self) -> list[int]:
        return []  # background jobs run in the servers' processes

    def check(self) -> None:
        if self._processes:
            self._processes.check()

    def dialects(self) -> dict[str, Dialect]:
        return {"S3": S3(self._port, ACCESS, SECRET)}


def ask(port: int, path: str) -> dict[str, object]:
    """The JSON that a server gives. Raises OSError as long as there is none."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=2) as answer:
        found: dict[str, object] = json.loads(answer.read())
        return found


def count_nodes(port: int) -> int:
    """How many volume servers the master knows."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/dir/status", timeout=2) as answer:
        topology = json.loads(answer.read())["Topology"]
    racks = [rack for center in topology.get("DataCenters") or [] for rack in center.get("Racks") or []]
    return sum(len(rack.get("DataNodes") or []) for rack in racks)


def answers(port: int) -> bool:
    """Whether the gateway says anything at all: it refuses who does not sign."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=2):
            return True
    except urllib.error.HTTPError as refusal:
        return refusal.code == 403


def configure_fsync(weed: str, master: str, filer: str, where: Path) -> None:
    """Have everything in buckets synced, and see that the filer has taken it up. Raises NotStarted."""
    commands = "fs.configure -locationPrefix=/buckets/ -fsync -apply\nfs.configure\nexit\n"
    result = subprocess.run(
        [weed, "shell", f"-master={master}", f"-filer={filer}"],
        cwd=where,
        env={"HOME": str(where)},
        input=commands,
        capture_output=True,
        text=True,
        timeout=SHELL_TIMEOUT_S,
        check=False,
    )
    if result.stdout.replace(" ", "").count('"fsync":true') < 2:
        raise NotStarted(f"SeaweedFS did not take up fsync: {(result.stdout + result.stderr)[-500:]}")
