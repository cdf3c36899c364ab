"""All processes die at once in the middle of uploads. What was acknowledged is there afterwards."""

import time

from tests.cluster.deployment import Deployment, pending, wait_for
from tests.cluster.workload import Workload


def test_every_acknowledged_change_survives_the_death_of_all_processes(deployment: Deployment) -> None:
    swift = deployment.swift()
    assert swift.request("PUT", "/load").status == 201
    load = Workload(deployment.swift, "load", clients=16, seed=11)
    load.start()
    time.sleep(4)
    deployment.kill()
    load.stop()
    deployment.start()
    print(f"{load.acknowledged} operations acknowledged, {len(load.failures)} cut off")
    assert load.acknowledged > 100
    swift = deployment.swift()
    assert load.check_objects(swift) == []
    wait_for(lambda: pending(deployment) == 0, 40, "all updates are delivered")
    assert load.check_listing(swift) == []
