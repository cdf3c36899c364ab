"""Two halves of a container's replicas take different changes; one pass of one replicator brings them together."""

import time
from pathlib import Path

import pytest

from objstore.model.rows import ObjectRow
from objstore.model.timestamps import from_seconds
from objstore.tables.comparison import WHOLE_ROWS_MIN
from tests.cluster.probes.probe import REPLICAS, Probe, refusal

BATCH_ROWS = 2000
LIVE_ROWS = 20


def now() -> int:
    """A timestamp that no process of the cluster gives."""
    return from_seconds(time.time(), identity=1)


def tell(probe: Probe, replica: int, count: int) -> None:
    """`count` rows that only one container replica gets: a few of objects, the others of deleted ones."""
    timestamp = now()
    rows = [
        ObjectRow(f"row {n:05}", timestamp, n >= LIVE_ROWS, 6, "", "text/plain", timestamp, timestamp)
        if n < LIVE_ROWS
        else ObjectRow(f"row {n:05}", timestamp, True, meta_timestamp=timestamp)
        for n in range(count)
    ]
    for start in range(0, count, BATCH_ROWS):
        probe.direct.merge_rows(probe.path(), replica, rows[start : start + BATCH_ROWS])


@pytest.mark.parametrize("count", [LIVE_ROWS, WHOLE_ROWS_MIN + BATCH_ROWS], ids=["rows", "whole database"])
def test_settings_and_rows_of_two_halves_meet(probe: Probe, count: int) -> None:
    probe.swift.put_container(probe.container, {f"X-Container-Meta-{key}": "1" for key in "ABC"})
    probe.settle()
    first, *others = probe.homes()
    with probe.down(*others):
        assert refusal(probe.swift.post_container, probe.container, {"X-Container-Meta-A": "0"}) == 503
        probe.direct.write_table(probe.path(), 0, "update", now(), {"user:a": "2", "user:b": "2", "user:d": "2"})
        tell(probe, 0, count)
    with probe.down(first):
        probe.swift.post_container(probe.container, {"X-Container-Meta-B": "3", "X-Container-Meta-E": "3"})
    assert [len(probe.direct.live(probe.path(), replica)) for replica in REPLICAS] == [LIVE_ROWS, 0, 0]

    passes = probe.cluster.run_daemons("container-replicator", nodes=first)
    assert passes[first]["container-replicator"]["transferred"] == (0 if count == LIVE_ROWS else 2)
    settings = probe.assert_equal_tables()
    values = {key: setting.value for key, setting in settings.values.items()}
    assert values == {"user:a": "2", "user:b": "3", "user:c": "1", "user:d": "2", "user:e": "3"}
    assert [len(probe.direct.live(probe.path(), replica)) for replica in REPLICAS] == [LIVE_ROWS] * 3

    passes = probe.cluster.run_daemons("container-replicator")
    assert all(figures["container-replicator"]["rows_sent"] == 0 for figures in passes.values()), "nothing is left to do"
    assert probe.assert_equal_tables() == settings


def test_a_database_that_one_node_lost_is_missed_by_nobody_and_comes_back(probe: Probe) -> None:
    probe.swift.put_container(probe.container, {"X-Container-Meta-A": "1"})
    names = [probe.away_from(probe.homes()[1:2], f"o{number}-") for number in range(3)]
    for name in names:
        probe.swift.put_object(probe.container, name, b"VERIFY")
    probe.settle()
    before = probe.assert_equal_tables()
    with probe.down(probe.homes()[1]):  # a new proxy asks this replica first
        for file in Path(probe.cluster.device_path(probe.homes()[1], "d1"), "containers").rglob("*.db*"):
            file.unlink()
    lost = probe.direct.info(probe.path(), 1).settings
    assert lost is None or not lost.exists, "all that it may have is rows of the device's journal"
    assert sorted(probe.listed()) == sorted(names)
    assert probe.swift.head_container(probe.container)["x-container-meta-a"] == "1"
    probe.settle()
    assert probe.assert_equal_tables() == before
    assert sorted(probe.direct.live(probe.path(), 1)) == sorted(names)
