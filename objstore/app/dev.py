"""`objstore dev`: a real cluster on this machine, in the foreground."""

import http.client
import os
import sys
import threading

from objstore.app.children import Child
from objstore.app.config import DEVELOPMENT_USERS
from objstore.app.devcluster import IP, LOG_BYTES_MAX, DevCluster, prepare
from objstore.app.failure import Failure
from objstore.app.screen import Screen, screen_for
from objstore.app.supervisor import Supervisor, listen_on

CHECK_TIMEOUT_S = 10.0
CHECK_USER = "admin:admin"
CHECK_ACCOUNT = "AUTH_.dev"


def run(data: str, port: int, nodes: int | None, workers: int | None, fresh: bool) -> int:
    """Run until a signal. Returns the exit code. Raises Failure, ConfigError, OSError before anything runs."""
    workers = workers or max(1, (os.cpu_count() or 1) // 2)
    with listen_on(IP, port) as listener:
        cluster = prepare(data, nodes, port, workers, fresh)
        screen = screen_for(sys.stdout)
        _rotate(cluster.log_path)
        with open(cluster.log_path, "ab", buffering=0) as log:
            running = _Running(cluster, port, workers, screen)
            supervisor = Supervisor(
                cluster.specs(workers),
                {(IP, port): listener},
                announce=running.announce,
                on_ready=running.on_ready,
                hup_stops=sys.stdin.isatty(),
                output=log,
            )
            supervisor.open_listeners()
            screen.begin(cluster, supervisor.plan.children)
            code = supervisor.run()
            screen.end(code)
    if supervisor.plan.failed:
        raise Failure(f"{supervisor.plan.failed}; the log is {cluster.log_path}")
    return code


class _Running:
    """What happens while the supervisor runs: progress, the check of a real write, the first screen."""

    def __init__(self, cluster: DevCluster, port: int, workers: int, screen: Screen) -> None:
        self.cluster = cluster
        self.port = port
        self.workers = workers
        self.screen = screen

    def announce(self, event: str, child: Child) -> None:
        self.screen.event(event, child)

    def on_ready(self) -> None:
        """The check runs beside the supervisor, so that Ctrl-C works meanwhile."""
        threading.Thread(target=self._check, name="check", daemon=True).start()

    def _check(self) -> None:
        try:
            check_write(self.port)
        except (OSError, http.client.HTTPException, Failure) as error:
            self.screen.problem(f"the cluster runs, but a first write failed: {error}; see {self.cluster.log_path}")
            return
        self.screen.ready(self.cluster, f"http://{IP}:{self.port}", self.workers, DEVELOPMENT_USERS)


def check_write(port: int) -> None:
    """Health check, log in, write, read back, delete. Raises OSError, HTTPException, or Failure with the answer that was wrong."""
    connection = http.client.HTTPConnection(IP, port, timeout=CHECK_TIMEOUT_S)
    try:
        _ask(connection, "GET", "/healthcheck")
        login = {"X-Auth-User": CHECK_USER, "X-Auth-Key": "admin"}
        token = {"X-Auth-Token": _ask(connection, "GET", "/auth/v1.0", login)[0]}
        content = os.urandom(8).hex().encode()
        _ask(connection, "PUT", f"/v1/{CHECK_ACCOUNT}/ready", token)
        _ask(connection, "PUT", f"/v1/{CHECK_ACCOUNT}/ready/check", token, content)
        if _ask(connection, "GET", f"/v1/{CHECK_ACCOUNT}/ready/check", token)[1] != content:
            raise Failure("what was read is not what was written")
        _ask(connection, "DELETE", f"/v1/{CHECK_ACCOUNT}/ready/check", token)
    finally:
        connection.close()


def _ask(
    connection: http.client.HTTPConnection, method: str, path: str, headers: dict[str, str] | None = None, body: bytes = b""
) -> tuple[str, bytes]:
    """(token, body) of the answer."""
    connection.request(method, path, body, {**(headers or {}), "Content-Length": str(len(body))})
    answer = connection.getresponse()
    content = answer.read()
    if not 200 <= answer.status < 300:
        raise Failure(f"{method} {path} answered {answer.status} {answer.reason}")
    return answer.getheader("X-Auth-Token", ""), content


def _rotate(path: str) -> None:
    try:
        if os.path.getsize(path) > LOG_BYTES_MAX:
            os.replace(path, path + ".1")
    except FileNotFoundError:
        return
