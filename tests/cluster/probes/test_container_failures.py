"""Containers of which some, most, or all replicas are away or cannot be written: a majority decides, none is believed alone."""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from objstore.model.timestamps import from_seconds
from tests.cluster.probes.probe import REPLICAS, Probe, refusal

LEASE_S = 2.0
"""For so long a proxy may go on with what it knows of a container."""


def now() -> int:
    """A timestamp that no process of the cluster gives."""
    return from_seconds(time.time(), identity=1)


def test_a_replica_that_missed_the_deletion_does_not_bring_the_container_back(probe: Probe) -> None:
    probe.swift.put_container(probe.container)
    with probe.down(probe.homes()[1]):  # a new proxy asks this replica first
        probe.swift.delete_container(probe.container)
    assert [probe.direct.exists(probe.path(), replica) for replica in REPLICAS] == [False, True, False]
    assert refusal(probe.swift.put_object, probe.container, "object", b"123") == 404
    assert refusal(probe.swift.get_container, probe.container) == 404
    assert probe.container not in [row["name"] for row in probe.swift.get_account()[1]]
    probe.settle()
    assert not probe.assert_equal_tables().exists
    assert probe.container not in [row["name"] for row in probe.swift.get_account()[1]]
    assert all(probe.direct.rows(probe.path(), replica) == [] for replica in REPLICAS)


def test_a_container_made_again_while_a_replica_is_away_is_whole(probe: Probe) -> None:
    probe.swift.put_container(probe.container, {"X-Container-Meta-Old": "1"})
    name = probe.choose(lambda homes: probe.homes()[0] not in homes)
    with probe.down(probe.homes()[0]):
        probe.swift.delete_container(probe.container)
        probe.swift.put_container(probe.container, {"X-Container-Meta-New": "1"})
        probe.swift.put_object(probe.container, name, b"123")
    headers = probe.swift.head_container(probe.container)
    assert "x-container-meta-old" not in headers and headers["x-container-meta-new"] == "1"
    assert probe.listed() == [name]
    probe.settle()
    assert probe.assert_equal_tables().exists
    assert [probe.direct.live(probe.path(), replica) for replica in REPLICAS] == [[name]] * 3
    row = next(row for row in probe.swift.get_account()[1] if row["name"] == probe.container)
    assert (row["count"], row["bytes"]) == (1, 3)


def test_a_setting_that_one_replica_got_reaches_all_and_nothing_else_changes(probe: Probe) -> None:
    probe.swift.put_container(probe.container)
    probe.settle()
    before = probe.assert_equal_tables()
    shown = probe.swift.head_container(probe.container)
    probe.direct.write_table(probe.path(), 1, "update", now(), {"user:foo": "bar"})
    settings = probe.direct.info(probe.path(), 1).settings
    assert settings is not None and settings.values["user:foo"].value == "bar"
    probe.settle()
    after = probe.assert_equal_tables()
    assert after.values["user:foo"].value == "bar"
    assert (after.put_timestamp, after.created_timestamp) == (before.put_timestamp, before.created_timestamp)
    now_shown = probe.swift.head_container(probe.container)
    assert now_shown["x-container-meta-foo"] == "bar" and now_shown["x-timestamp"] == shown["x-timestamp"]

    probe.direct.write_table(probe.path(), 2, "create", now(), {"user:foo": "baz"})
    probe.settle()
    assert probe.assert_equal_tables().put_timestamp > before.put_timestamp
    assert probe.swift.head_container(probe.container)["x-container-meta-foo"] == "baz"


def test_a_deletion_that_one_replica_got_reaches_all(probe: Probe) -> None:
    probe.swift.put_container(probe.container)
    with probe.down(*probe.homes()[:2]):
        assert refusal(probe.swift.delete_container, probe.container) == 503
        probe.direct.write_table(probe.path(), 2, "delete", now())
    probe.settle()
    assert not probe.assert_equal_tables().exists
    assert refusal(probe.swift.head_container, probe.container) == 404
    assert probe.container not in [row["name"] for row in probe.swift.get_account()[1]]


def test_a_refused_deletion_leaves_the_container_as_it_was(probe: Probe) -> None:
    probe.swift.put_container(probe.container)
    time.sleep(LEASE_S)
    with probe.down(*probe.homes()[:2]):
        assert refusal(probe.swift.delete_container, probe.container) == 503
        assert refusal(probe.swift.head_container, probe.container) == 503, "one replica is no majority, even of the living"
    probe.settle()
    assert probe.assert_equal_tables().exists
    probe.swift.head_container(probe.container)


def test_without_any_replica_objects_are_accepted_only_while_a_lease_lasts_and_none_is_lost(probe: Probe) -> None:
    probe.swift.put_container(probe.container)
    names = [probe.away_from(probe.homes(), f"o{n}-") for n in range(3)]
    probe.swift.put_object(probe.container, names[0], b"data1")
    probe.swift.head_container(probe.container)
    with probe.down(*probe.homes()):
        asked = time.monotonic()
        within = refusal(probe.swift.put_object, probe.container, names[1], b"data2")
        assert within == 0 or time.monotonic() - asked > LEASE_S
        assert refusal(probe.swift.get_container, probe.container) == 503
        assert refusal(probe.swift.post_container, probe.container, {"X-Container-Meta-A": "1"}) == 503
        time.sleep(LEASE_S)
        assert refusal(probe.swift.put_object, probe.container, names[2], b"data3") == 503
        assert refusal(probe.swift.get_object, probe.container, names[0]) == 503, "nobody knows who may read it"
    assert probe.body(names[0]) == b"data1"
    probe.settle()
    assert probe.listed() == (names[:2] if within == 0 else names[:1])
    settings = probe.assert_equal_tables()
    assert "user:a" not in settings.values, "a change that nobody took"


LOCKING = """
import sqlite3, sys
held = [sqlite3.connect(path, isolation_level=None) for path in sys.argv[1:]]
for connection in held:
    connection.execute("BEGIN EXCLUSIVE")
print("locked", flush=True)
sys.stdin.read()
"""


@contextmanager
def locked(paths: list[str]) -> Iterator[None]:
    """Another process holds the write locks of these databases; it is killed at the end."""
    with subprocess.Popen([sys.executable, "-c", LOCKING, *paths], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None and other.stdout.readline() == b"locked\n"
        yield
        other.kill()


def database_files(probe: Probe) -> list[str]:
    """The container's three database files."""
    place = probe.direct.table_place(probe.path())
    found: list[str] = []
    for node, replica in zip(probe.homes(), place.replicas, strict=True):
        device = Path(probe.cluster.device_path(node, replica.target.device))
        found += map(str, device.rglob(f"{place.hash.hex()}.db"))
    assert len(found) == 3
    return found


@pytest.mark.parametrize("locks", [1, 2, 3])
def test_locked_databases_never_hang_a_client(probe: Probe, locks: int) -> None:
    probe.swift.put_container(probe.container)
    with locked(database_files(probe)[:locks]):
        started = time.monotonic()
        status = refusal(probe.swift.delete_container, probe.container)
        assert status == (0 if locks == 1 else 503)
        assert time.monotonic() - started < 5.0
    probe.settle()
    if locks == 1:
        assert not probe.assert_equal_tables().exists
    probe.swift.put_container(probe.container, {"X-Container-Meta-A": "after"})
    probe.settle()
    assert probe.assert_equal_tables().values["user:a"].value == "after"


@pytest.mark.parametrize("locks", [1, 2, 3])
def test_objects_are_written_read_and_listed_while_databases_are_locked(probe: Probe, locks: int) -> None:
    """A lock keeps a database from being written, not from being read; rows that cannot be written are pending updates."""
    probe.swift.put_container(probe.container)
    name = probe.away_from(probe.homes())
    with locked(database_files(probe)[:locks]):
        for body in (b"1", b"22"):
            probe.swift.put_object(probe.container, name, body)
            assert probe.body(name) == body
        listed = probe.listed()
        assert listed == [name] if locks == 1 else listed in ([], [name])
    probe.settle()
    assert [(row["name"], row["bytes"]) for row in probe.swift.get_container(probe.container)[1]] == [(name, 2)]
    probe.assert_equal_tables()


LOOKING = """
import sqlite3, sys
for path in sys.argv[1:]:
    connection = sqlite3.connect(f"file:{path}?mode=rw", uri=True)
    connection.execute("SELECT count(*) FROM row").fetchall()
    connection.close()
"""


def test_rows_survive_a_crash_although_somebody_looked_at_the_database(probe: Probe) -> None:
    """An operator's look with SQLite's own shell must not take the write-ahead log away from the running node: SQLite tells who
    else has a database open by locks, and these the node loses when it closes any other descriptor of the file.
    """
    probe.swift.put_container(probe.container)
    names = [probe.away_from(probe.homes(), f"o{number}-") for number in range(6)]
    for name in names[:3]:
        probe.swift.put_object(probe.container, name, b"before")
    probe.settle()
    subprocess.run([sys.executable, "-c", LOOKING, *database_files(probe)], check=True)
    for name in names[3:]:
        probe.swift.put_object(probe.container, name, b"after")
    assert sorted(probe.listed()) == sorted(names)
    with probe.down(*probe.homes()):
        pass
    assert sorted(probe.listed()) == sorted(names), "acknowledged rows"
    probe.settle()
