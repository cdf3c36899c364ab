"""A deleted account is emptied: objects and containers, everywhere, each deletion with one timestamp, not before its time. Until it
is empty nobody can use it.
"""

import time
from collections.abc import Iterator

import pytest
import requests

from tests.cluster.probes.probe import REPLICAS, Probe, kinds, refusal

ACCOUNT = "AUTH_test2"
DELAY_S = 3
SETTINGS = {
    "daemons": {"reaper_delay_s": DELAY_S},
    "policies": [{"index": 0, "name": "gold", "default": True}, {"index": 1, "name": "silver"}],
}
BODY = b"test-body"


class Doomed:
    """An account with a container of each policy, deleted by an administrator of the cluster."""

    def __init__(self, probe: Probe) -> None:
        self.probe = probe
        self.containers = [f"{probe.container}-{policy}" for policy in ("gold", "silver")]
        self.fill()

    def fill(self) -> None:
        swift = self.probe.cluster.swift("test2:tester2", "testing2")
        for container, policy in zip(self.containers, ("gold", "silver"), strict=True):
            swift.put_container(container, {"X-Storage-Policy": policy})
            swift.put_object(container, "object", BODY)

    def delete(self) -> float:
        """Returns when."""
        url, token = self.probe.cluster.swift("admin:admin", "admin").get_auth()
        answer = requests.delete(f"{url.rpartition('/')[0]}/{ACCOUNT}", headers={"X-Auth-Token": token}, timeout=10)
        assert answer.status_code == 204
        return time.time()

    def reap(self) -> dict[str, int]:
        """One pass everywhere; the sums of its figures."""
        passes = [figures["account-reaper"] for figures in self.probe.cluster.run_daemons("account-reaper").values()]
        return {key: sum(figures[key] for figures in passes) for key in ("objects", "containers", "failed", "waiting")}

    def there(self) -> int:
        """How many objects any primary still has."""
        return sum(one.kind == "data" for container in self.containers for one in self.probe.cluster.replicas(self.name(container)))

    def name(self, container: str) -> str:
        return f"/{ACCOUNT}/{container}/object"

    def assert_reaped(self) -> None:
        direct = self.probe.direct
        for container in self.containers:
            held = [one for one in self.probe.cluster.replicas(self.name(container)) if one.primary is not None]
            assert kinds(held) == ["ts"] * 3 and len({one.timestamp for one in held}) == 1
            infos = [direct.info(f"/{ACCOUNT}/{container}", replica).settings for replica in REPLICAS]
            assert all(settings is not None and not settings.exists for settings in infos)
            assert len({settings.delete_timestamp for settings in infos if settings is not None}) == 1
            assert all(direct.live(f"/{ACCOUNT}/{container}", replica) == [] for replica in REPLICAS)


@pytest.fixture
def doomed(probe: Probe) -> Iterator[Doomed]:
    yield Doomed(probe)


def wait_until(moment: float) -> None:
    time.sleep(max(0.0, moment - time.time()))


def test_a_deleted_account_is_emptied_once_its_time_has_come(doomed: Doomed) -> None:
    deleted = doomed.delete()
    figures = doomed.reap()
    assert figures["waiting"] >= 1 and figures["objects"] + figures["containers"] == 0
    assert doomed.there() == 6, "nothing goes before its time"
    wait_until(deleted + DELAY_S + 0.1)
    assert doomed.reap() == {"objects": 2, "containers": 2, "failed": 0, "waiting": 0}
    doomed.assert_reaped()
    doomed.probe.settle()
    doomed.assert_reaped()
    assert sum(doomed.reap().values()) == 0, "and it does not begin again"


def test_what_a_node_that_was_away_holds_goes_as_well(doomed: Doomed) -> None:
    deleted = doomed.delete()
    away = doomed.probe.direct.homes(doomed.name(doomed.containers[0]))[0]
    with doomed.probe.down(away):
        wait_until(deleted + DELAY_S + 0.1)
        doomed.reap()
    assert doomed.there() >= 1
    doomed.probe.settle()
    doomed.assert_reaped()


def test_a_deleted_account_is_of_no_use_until_it_is_empty_and_begins_anew(doomed: Doomed) -> None:
    swift = doomed.probe.cluster.swift("test2:tester2", "testing2")
    container = doomed.containers[0]
    assert swift.get_object(container, "object")[1] == BODY
    deleted = doomed.delete()
    assert refusal(swift.get_account) == 410
    assert refusal(swift.get_object, container, "object") == 404
    assert refusal(swift.put_object, container, "object", b"new") == 404
    assert refusal(swift.put_container, container) == 404
    wait_until(deleted + DELAY_S + 0.1)
    assert doomed.reap()["objects"] == 2
    doomed.probe.settle()
    swift.put_container(container)
    assert [row["name"] for row in swift.get_account()[1]] == [container]
    assert swift.get_container(container)[1] == [], "what was deleted does not come back"
    swift.put_object(container, "object", b"new")
    doomed.reap()
    assert swift.get_object(container, "object")[1] == b"new"
