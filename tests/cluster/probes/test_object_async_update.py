"""Container rows that could not be delivered at once: a listing shows them as soon as a majority has them, the updater brings
them everywhere, and what is listed is what the object is, whatever the order.
"""

import base64
import json
from typing import Any

import pytest

from tests.cluster.probes.probe import REPLICAS, Probe, refusal, soon


def row(probe: Probe, name: str, replica: int) -> dict[str, Any] | None:
    """What one container replica knows of an object, without the replica's own counters; None for nothing."""
    for one in probe.direct.rows(probe.path(), replica):
        if one.name == name:
            return {field: getattr(one, field) for field in one.__struct_fields__}
    return None


def listing(probe: Probe) -> dict[str, dict[str, Any]]:
    return {row["name"]: row for row in probe.swift.get_container(probe.container)[1]}


def pending(probe: Probe) -> int:
    """Rows that are still to be delivered, as the nodes that run tell it."""
    running = [node for node in probe.cluster.nodes if probe.cluster.state(node) == "running"]
    return sum(device.pending_updates for node in running for device in probe.cluster.status(node).devices)


def test_a_container_replica_that_was_away_is_told_by_the_updater(probe: Probe) -> None:
    probe.swift.put_container(probe.container)
    missed = probe.homes()[0]
    name = probe.away_from([missed])
    with probe.down(missed):
        probe.swift.put_object(probe.container, name, b"")
        assert probe.listed() == [name]
    assert row(probe, name, 0) is None
    assert pending(probe) == 1
    passes = probe.cluster.run_daemons("object-updater")
    while sum(figures["object-updater"]["pending"] for figures in passes.values()):
        passes = probe.cluster.run_daemons("object-updater")
    assert row(probe, name, 0) == row(probe, name, 1) == row(probe, name, 2)
    assert row(probe, name, 0) is not None and pending(probe) == 0


def test_a_replica_that_never_heard_of_the_container_takes_its_rows(probe: Probe) -> None:
    missed = probe.homes()[0]
    name = probe.away_from([missed])
    with probe.down(missed):
        probe.swift.put_container(probe.container, {"X-Container-Meta-A": "1"})
    assert not probe.direct.exists(probe.path(), 0)
    probe.swift.put_object(probe.container, name, b"abc")
    for _ in range(6):  # whichever two replicas a proxy asks
        assert probe.listed() == [name]
        probe.swift.head_container(probe.container)
    probe.settle()
    assert all(row(probe, name, replica) for replica in REPLICAS)
    assert [probe.direct.exists(probe.path(), replica) for replica in REPLICAS] == [True] * 3
    assert probe.assert_equal_tables().values["user:a"].value == "1"


def test_without_its_nodes_a_container_is_not_made_somewhere_else(probe: Probe) -> None:
    with probe.down(*probe.homes()):
        assert refusal(probe.swift.put_container, probe.container) == 503
    assert not any(probe.direct.exists(probe.path(), replica) for replica in REPLICAS)
    assert refusal(probe.swift.head_container, probe.container) == 404
    probe.swift.put_container(probe.container)
    assert probe.listed() == []


def test_an_object_whose_container_was_deleted_before_its_row_came_is_not_left_behind(probe: Probe) -> None:
    """Accepted while no container server was there, then the empty container is deleted, then the row arrives: the acknowledged
    object must be there for its user, as it is in Swift, where the row revives the container.
    """
    probe.swift.put_container(probe.container)
    name = probe.away_from(probe.homes())
    probe.swift.head_container(probe.container)
    with probe.down(*probe.homes()):
        accepted = refusal(probe.swift.put_object, probe.container, name, b"abc") == 0
    assert accepted, "within the lease"
    deleted = refusal(probe.swift.delete_container, probe.container)
    assert deleted in (0, 409)
    probe.settle()
    assert probe.listed() == [name]
    assert probe.body(name) == b"abc"
    row = next(row for row in probe.swift.get_account()[1] if row["name"] == probe.container)
    assert (row["count"], row["bytes"]) == (1, 3)
    probe.assert_equal_tables()


def manifest(probe: Probe, name: str) -> tuple[str, int]:
    """A static large object of two segments; returns etag and size that its listing shows."""
    segments = [f"{name}-1", f"{name}-2"]
    for segment, body in zip(segments, (b"12", b"5678"), strict=True):
        probe.swift.put_object(probe.container, segment, body)
    parts = [{"path": f"{probe.container}/{segments[0]}"}, {"data": base64.b64encode(b"\n").decode()}]
    parts.append({"path": f"{probe.container}/{segments[1]}"})
    probe.swift.put_object(
        probe.container, name, json.dumps(parts), query_string="multipart-manifest=put", content_type="test/ctype"
    )
    headers = probe.swift.head_object(probe.container, name)
    assert headers["content-length"] == "7"
    return headers["etag"].strip('"'), 7


def test_a_listing_shows_what_the_object_stands_for(probe: Probe) -> None:
    """A manifest's row names another size and etag than its bytes have; a client cannot set them."""
    probe.swift.put_container(probe.container)
    manifest(probe, "large")
    forged = {
        "X-Object-Sysmeta-Container-Update-Override-Etag": "override-etag",
        "X-Backend-Container-Update-Override-Size": "1999",
        "X-Object-Sysmeta-Container-Update-Override-Content-Type": "override-type",
    }
    probe.swift.put_object(probe.container, "plain", b"stuff", headers=forged, content_type="text/plain")
    probe.settle()
    rows = listing(probe)
    assert rows["large"]["bytes"] == 7 and rows["large"]["content_type"] == "test/ctype"
    etag = probe.swift.head_object(probe.container, "plain")["etag"]
    assert (rows["plain"]["bytes"], rows["plain"]["hash"], rows["plain"]["content_type"]) == (5, etag, "text/plain")
    probe.assert_equal_tables()


@pytest.mark.parametrize("posted", ["never", "after the node is back", "while the node is away"])
def test_a_manifest_is_listed_alike_when_its_row_comes_late(probe: Probe, posted: str) -> None:
    """The PUT's row is late at one container replica; a POST's row comes before it, or late as well."""
    probe.swift.put_container(probe.container)
    missed = probe.homes()[0]
    name = probe.away_from([missed], "large")
    with probe.down(missed):
        etag, size = manifest(probe, name)
        if posted == "while the node is away":
            probe.swift.post_object(probe.container, name, {"X-Object-Meta-Fruit": "Tomato"})
    assert row(probe, name, 0) is None
    if posted == "after the node is back":

        def told() -> bool:
            """Those that tell the container leave a server that failed alone for a while."""
            probe.swift.post_object(probe.container, name, {"X-Object-Meta-Fruit": "Tomato"})
            return row(probe, name, 0) is not None

        soon(told, "the POST's row comes before the PUT's")
    for _ in range(2):
        rows = [row(probe, name, replica) for replica in REPLICAS]
        for known in filter(None, rows):
            assert (known["size"], known["content_type"]) == (size, "test/ctype")
        seen = listing(probe)[name]
        assert (seen["bytes"], seen["content_type"], seen.get("slo_etag", "").strip('"')) == (size, "test/ctype", etag)
        probe.settle()
    assert rows[0] is not None or posted != "after the node is back"
    probe.assert_equal_tables()
    headers = probe.swift.head_object(probe.container, name)
    assert headers.get("x-object-meta-fruit", "") == ("" if posted == "never" else "Tomato")


def left(probe: Probe, away: list[str]) -> tuple[int, int, int]:
    """One pass of the updater on the nodes that run: rows sent, failed, and left."""
    passes = probe.cluster.run_daemons("object-updater")
    assert passes.keys() == set(probe.cluster.nodes) - set(away)
    figures = [passes[node]["object-updater"] for node in passes]
    sent, failed, waiting = (sum(one[key] for one in figures) for key in ("sent", "failed", "pending"))
    return sent, failed, waiting


def test_the_updater_tells_how_much_is_left_and_then_delivers_it(probe: Probe) -> None:
    containers = [f"{probe.container}-{number}" for number in range(8)]
    for container in containers:
        probe.swift.put_container(container)
    for container in containers:
        probe.swift.head_container(container)
    away = probe.cluster.nodes[:2]
    names: dict[str, list[str]] = {container: [] for container in containers}
    with probe.down(*away):
        for number in range(3):
            for container in containers:
                status = refusal(probe.swift.put_object, container, f"o{number}", b"")
                assert status in (0, 503)
                if status == 0:
                    names[container].append(f"o{number}")
        soon(lambda: left(probe, away) == (0, pending(probe), pending(probe)), "what cannot be sent is counted")
        waiting = pending(probe)
        assert waiting > 0
    accepted = sum(map(len, names.values()))
    assert accepted > 0 and waiting <= 3 * len(containers) * 3
    probe.settle()
    assert pending(probe) == 0
    for container in containers:
        assert set(names[container]) <= set(probe.listed(container))
        probe.assert_equal_tables(f"/AUTH_test/{container}")
