"""Signals: a reload loses no request and takes up the configuration, a worker that dies is replaced and no other, and a node
ends in time although a background job waits for peers that hang.
"""

import http.client
import json
import os
import signal
import threading
import time
import urllib.request
from collections.abc import Iterator

import pytest

from bench.cluster import descendants
from objstore.testing import BlockingCluster, ClusterError
from tests.cluster.deployment import Deployment, wait_for

WORKERS = 2
BODY = os.urandom(300_000)
RELOAD_S_MAX = 30.0
END_S_MAX = 12.0


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """Four storage nodes and a proxy of two workers, under their supervisors."""
    made = Deployment(tmp_path_factory.mktemp("signals") / "deployment", workers=WORKERS)
    try:
        made.start()
        made.swift().request("PUT", "/c")
        yield made
    except BaseException:
        made.kill()
        raise
    made.stop()


class Upload:
    """A PUT of which half is sent."""

    def __init__(self, deployment: Deployment, name: str) -> None:
        swift = deployment.swift()
        self.name = name
        self._connection = http.client.HTTPConnection("127.0.0.1", deployment.port, timeout=30)
        self._connection.putrequest("PUT", f"{swift.account}/c/{name}")
        self._connection.putheader("X-Auth-Token", swift.token)
        self._connection.putheader("Content-Length", str(len(BODY)))
        self._connection.endheaders()
        self._connection.send(BODY[: len(BODY) // 2])
        time.sleep(0.3)

    def finish(self) -> int:
        """Send the rest; the answer's status."""
        self._connection.send(BODY[len(BODY) // 2 :])
        answer = self._connection.getresponse()
        answer.read()
        return answer.status

    def close(self) -> None:
        self._connection.close()


def workers(deployment: Deployment, name: str) -> set[int]:
    """The processes below a node's supervisor."""
    pid = deployment.processes[name].pid
    return set(descendants(pid)) - {pid}


def settled(deployment: Deployment, node: str) -> set[int]:
    """The node's workers, once all have said that they serve."""

    def ready() -> bool:
        now, log = workers(deployment, node), deployment.log(node)
        wanted = WORKERS if node == "proxy" else 1
        return len(now) == wanted and all(f"process ready pid={pid}\n" in log for pid in now)

    wait_for(ready, RELOAD_S_MAX, f"all workers of {node} are ready")
    return workers(deployment, node)


def info(deployment: Deployment) -> dict[str, int]:
    with urllib.request.urlopen(f"{deployment.endpoint}/info", timeout=10) as answer:
        found: dict[str, int] = json.loads(answer.read())["swift"]
    return found


@pytest.mark.parametrize("node", ["proxy", "storage1"])
def test_a_request_begun_before_a_reload_ends_well(deployment: Deployment, node: str) -> None:
    before, supervisor = settled(deployment, node), deployment.processes[node].pid
    upload = Upload(deployment, f"across-a-reload-of-{node}")
    os.kill(supervisor, signal.SIGHUP)
    wait_for(lambda: bool(workers(deployment, node) - before), RELOAD_S_MAX, "there are new workers")
    time.sleep(0.5)
    assert upload.finish() == 201
    upload.close()
    wait_for(lambda: not workers(deployment, node) & before, RELOAD_S_MAX, "the old workers have ended")
    assert len(workers(deployment, node)) == len(before)
    assert deployment.processes[node].pid == supervisor and deployment.processes[node].poll() is None
    assert deployment.swift().request("GET", f"/c/{upload.name}").body == BODY


def test_a_reload_takes_up_the_configuration(deployment: Deployment) -> None:
    config = deployment.root / "proxy" / "node.toml"
    assert info(deployment)["container_listing_limit"] == 10_000
    text = config.read_text()
    before = settled(deployment, "proxy")
    upload = Upload(deployment, "across-a-new-configuration")
    try:
        config.write_text(f"{text}[limits]\ncontainer_listing_max = 123\n")
        os.kill(deployment.processes["proxy"].pid, signal.SIGHUP)
        wait_for(lambda: info(deployment)["container_listing_limit"] == 123, RELOAD_S_MAX, "the new limit is in force")
        assert upload.finish() == 201
        upload.close()
        wait_for(lambda: not workers(deployment, "proxy") & before, RELOAD_S_MAX, "the old workers have ended")
        assert deployment.swift().request("GET", "/c?limit=124").status == 412
    finally:
        config.write_text(text)
        os.kill(deployment.processes["proxy"].pid, signal.SIGHUP)
    wait_for(lambda: info(deployment)["container_listing_limit"] == 10_000, RELOAD_S_MAX, "the old limit is back")


@pytest.mark.parametrize("node", ["proxy", "storage2"])
def test_a_worker_that_is_killed_is_replaced_and_no_other(deployment: Deployment, node: str) -> None:
    before, supervisor = settled(deployment, node), deployment.processes[node].pid
    victim = min(before)
    os.kill(victim, signal.SIGKILL)
    wait_for(
        lambda: len(workers(deployment, node)) == len(before) and victim not in workers(deployment, node), 20, "a new one runs"
    )
    assert workers(deployment, node) & before == before - {victim}
    assert deployment.processes[node].pid == supervisor and deployment.processes[node].poll() is None
    swift = deployment.swift()
    for number in range(10):
        assert swift.request("PUT", f"/c/after {node} {number}", b"x").status == 201
        assert swift.request("GET", f"/c/after {node} {number}").body == b"x"
    swift.close()


def test_a_node_ends_in_time_although_its_jobs_wait_for_peers_that_hang() -> None:
    with BlockingCluster(nodes=4, devices=1) as cluster:
        swift = cluster.swift()
        swift.put_container("c")
        for number in range(20):
            swift.put_object("c", f"o{number}", b"x")
        cluster.pause([name for name in cluster.nodes if name != "node1"])
        jobs = ["object-replicator", "container-replicator", "object-auditor", "account-reaper"]
        failed: list[str] = []

        def run(job: str) -> None:
            try:
                cluster.run_daemons(job, nodes="node1", timeout_s=60.0)
            except ClusterError as error:
                failed.append(str(error))

        threads = [threading.Thread(target=run, args=(job,)) for job in jobs]
        for thread in threads:
            thread.start()
        time.sleep(1.0)
        assert cluster.state("node1") == "running" and any(thread.is_alive() for thread in threads)
        started = time.monotonic()
        cluster.terminate("node1")
        took_s = time.monotonic() - started
        for thread in threads:
            thread.join()
        assert took_s < END_S_MAX, "it did not have to be killed"
        assert "Traceback" not in cluster.logs("node1")
        assert failed, "the passes ended with their node"
        cluster.resume([name for name in cluster.nodes if name != "node1"])
        cluster.restart("node1")
        assert cluster.swift().get_object("c", "o0")[1] == b"x"
