"""A storage node dies in the middle of the work; later another one. No request fails, nothing is lost."""

import time

from tests.cluster.deployment import Deployment, pending, wait_for
from tests.cluster.workload import Workload


def test_no_request_fails_while_a_node_is_killed(deployment: Deployment) -> None:
    swift = deployment.swift()
    assert swift.request("PUT", "/load").status == 201
    load = Workload(deployment.swift, "load", clients=6, seed=7)
    load.start()
    time.sleep(3)
    deployment.kill("storage2")
    time.sleep(4)
    deployment.start("storage2")
    time.sleep(3)
    load.stop()
    print(f"{load.acknowledged} operations acknowledged, {len(load.failures)} failed")
    assert load.acknowledged > 100
    assert load.failures == []
    assert load.check_objects(swift) == []
    assert load.check_listing(swift) == []

    wait_for(lambda: pending(deployment) == 0, 40, "all updates are delivered")
    deployment.kill("storage3")
    assert load.check_objects(swift) == []
    assert load.check_listing(swift) == []
    assert [line for line in deployment.log("proxy").splitlines() if " status=5" in line] == []
