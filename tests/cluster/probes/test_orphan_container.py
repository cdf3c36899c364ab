"""A container still has something to report, and its account is gone from every node: the report is taken, and not repeated."""

from pathlib import Path

from swiftclient.client import Connection

from tests.cluster.probes.probe import REPLICAS, Probe

ACCOUNT = "AUTH_test2"


def test_a_report_to_an_account_that_was_lost_makes_it_and_ends(probe: Probe) -> None:
    cluster, direct = probe.cluster, probe.direct

    def client() -> Connection:
        return cluster.swift("test2:tester2", "testing2")

    name = f"/{ACCOUNT}/{probe.container}"
    client().put_container(probe.container)
    client().put_object(probe.container, "object1", b"123")
    homes = direct.homes(f"/{ACCOUNT}")
    with probe.down(*homes):
        for home in homes:
            for file in Path(cluster.device_path(home, "d1"), "accounts").rglob(f"{direct.table_place('/' + ACCOUNT).hash.hex()}*"):
                file.unlink()
    assert all(direct.info(f"/{ACCOUNT}", replica).settings is None for replica in REPLICAS)

    first = [figures["container-updater"] for figures in cluster.run_daemons("container-updater").values()]
    assert sum(one["reported"] for one in first) >= 1 and sum(one["failed"] for one in first) == 0
    second = [figures["container-updater"] for figures in cluster.run_daemons("container-updater").values()]
    assert sum(one["reported"] + one["failed"] for one in second) == 0, "nothing is outstanding"
    assert [(row["name"], row["count"], row["bytes"]) for row in client().get_account()[1]] == [(probe.container, 1, 3)]

    client().put_container(f"{probe.container}-2")
    probe.settle()
    assert all(direct.exists(f"/{ACCOUNT}", replica) for replica in REPLICAS)
    assert len(client().get_account()[1]) == 2
    assert int(client().head_account()["x-account-object-count"]) == 1
    probe.assert_equal_tables(name)
    probe.assert_equal_tables(f"/{ACCOUNT}")
