"""SIGHUP and a rolling restart of every node under load: no request fails."""

import os
import signal
import time

from bench.cluster import descendants
from tests.cluster.deployment import STOP_TIMEOUT_S, Deployment, wait_for
from tests.cluster.workload import Workload


def test_sighup_of_every_node_under_load_fails_no_request(deployment: Deployment) -> None:
    swift = deployment.swift()
    assert swift.request("PUT", "/load").status == 201
    load = Workload(deployment.swift, "load", clients=6, seed=5)
    load.start()
    time.sleep(2)
    for name in ("proxy", *deployment.names, "proxy"):
        process = deployment.processes[name]
        before = set(descendants(process.pid))
        os.kill(process.pid, signal.SIGHUP)

        def replaced(before: set[int] = before, pid: int = process.pid) -> bool:
            now = set(descendants(pid))
            return bool(now - before) and now & before == {pid}

        wait_for(replaced, 60, f"all workers of {name} are new")
        time.sleep(0.5)
    load.stop()
    print(f"{load.acknowledged} operations acknowledged during 6 reloads, {len(load.failures)} failed")
    assert load.acknowledged > 100
    assert load.failures == []
    swift.close()  # it was idle, and the worker at its other end has ended
    assert load.check_objects(swift) == []


def test_rolling_restart_of_the_storage_nodes_under_load_fails_no_request(deployment: Deployment) -> None:
    swift = deployment.swift()
    assert swift.request("PUT", "/load").status == 201
    load = Workload(deployment.swift, "load", clients=6, seed=6)
    load.start()
    time.sleep(2)
    for name in deployment.names:
        process = deployment.processes.pop(name)
        process.send_signal(signal.SIGTERM)
        assert process.wait(STOP_TIMEOUT_S) == 0
        deployment.start(name)
        time.sleep(1)
    load.stop()
    print(f"{load.acknowledged} operations acknowledged during 4 restarts, {len(load.failures)} failed")
    assert load.acknowledged > 100
    assert load.failures == []
    swift.close()  # it was idle, and the worker at its other end has ended
    assert load.check_objects(swift) == []
