"""Objects with an end: nobody reads them after it, one pass of the expirer removes them everywhere, and nothing else goes with
them, whatever the replicas of object and container know.
"""

import base64
import json
import time

import pytest

from tests.cluster.probes.probe import REPLICAS, Probe, kinds, refusal, soon

OPEN = {"X-Open-Expired": "true"}
LATE_S = 0.05


def put(probe: Probe, name: str, life_s: int, body: bytes = b"foo") -> int:
    """An object that ends within `life_s` seconds; returns the second of its end."""
    end = int(time.time()) + life_s
    probe.swift.put_object(probe.container, name, body, headers={"X-Delete-At": str(end), "X-Object-Meta-Test": "foo"})
    return end


def wait_until(second: int) -> None:
    time.sleep(max(0.0, second + LATE_S - time.time()))


def expire(probe: Probe) -> dict[str, int]:
    """One pass everywhere; the sums of its figures."""
    passes = [figures["object-expirer"] for figures in probe.cluster.run_daemons("object-expirer").values()]
    return {key: sum(figures[key] for figures in passes) for key in ("expired", "stale", "failed", "refused")}


def pending(probe: Probe) -> int:
    return sum(device.pending_updates for node in probe.cluster.nodes for device in probe.cluster.status(node).devices)


def assert_gone(probe: Probe, name: str) -> None:
    """Deleted on all replicas, in no listing."""
    assert refusal(probe.swift.head_object, probe.container, name, headers=OPEN) == 404
    assert name not in probe.listed()
    probe.settle()
    assert kinds(probe.assert_equal_replicas(name)) == ["ts"]
    probe.assert_equal_tables()


def test_an_object_is_expired_although_a_container_replica_never_heard_of_it(probe: Probe) -> None:
    probe.swift.put_container(probe.container)
    missed = probe.homes()[0]
    name = probe.away_from([missed])
    with probe.down(missed):
        end = put(probe, name, 2)
    wait_until(end)
    assert refusal(probe.body, name) == 404 and name in probe.listed(), "the expirer has not been here"
    figures = expire(probe)
    assert figures["expired"] == 0, "it is the turn of the replica that never heard of it"
    probe.settle()  # background jobs tell it, and the expirer is among them
    assert_gone(probe, name)


def test_expiring_leaves_nothing_to_be_told_later(probe: Probe) -> None:
    probe.swift.put_container(probe.container)
    names = [f"o{number}" for number in range(5)]
    ends = [put(probe, name, 3) for name in names]
    probe.settle()
    wait_until(max(ends))
    figures = expire(probe)
    assert (figures["expired"], figures["failed"], pending(probe)) == (5, 0, 0)
    assert probe.listed() == []
    assert sum(expire(probe).values()) == 0, "nothing is left to do"
    for name in names:
        assert_gone(probe, name)


def test_an_object_written_anew_stays_where_one_replica_has_the_old_one(probe: Probe) -> None:
    """Nor does the container replica whose turn it is know of the new one."""
    probe.swift.put_container(probe.container)
    name = probe.choose(lambda homes: not set(homes) & set(probe.homes()))
    end = put(probe, name, 3)
    with probe.down(probe.homes(name)[0], probe.homes()[0]):
        probe.swift.put_object(probe.container, name, b"anew", headers={"X-Object-Meta-Expired": "False"})
    assert probe.direct.head(probe.path(name), 0).delete_at == end
    assert [row.delete_at for row in probe.direct.rows(probe.path(), 0)] == [end]  # type: ignore[union-attr]
    wait_until(end)
    figures = expire(probe)
    assert (figures["expired"], figures["stale"]) == (0, 1)
    for _ in range(6):  # whichever replica a proxy asks first
        assert probe.body(name) == b"anew"
    with probe.cut_off(probe.homes(name)[1]):
        assert probe.body(name) == b"anew", "one old and one new replica are left"
    probe.settle()
    expire(probe)
    assert probe.body(name) == b"anew" and probe.listed() == [name]
    assert probe.swift.head_object(probe.container, name)["x-object-meta-expired"] == "False"
    assert kinds(probe.assert_equal_replicas(name)) == ["data"]


def test_an_expired_object_can_be_opened_until_the_expirer_comes(probe: Probe) -> None:
    probe.swift.put_container(probe.container)
    wait_until(put(probe, "o", 2))
    assert refusal(probe.swift.head_object, probe.container, "o") == 404
    assert refusal(probe.swift.post_object, probe.container, "o", {"X-Object-Meta-Test": "bar"}) == 404
    assert probe.swift.head_object(probe.container, "o", headers=OPEN)["x-object-meta-test"] == "foo"
    assert probe.swift.get_object(probe.container, "o", headers=OPEN)[1] == b"foo"

    end = int(time.time()) + 2
    probe.swift.post_object(probe.container, "o", {**OPEN, "X-Delete-At": str(end), "X-Object-Meta-Test": "bar"})
    assert probe.body("o") == b"foo", "its end has moved"
    assert expire(probe)["expired"] == 0
    assert probe.swift.head_object(probe.container, "o", headers=OPEN)["x-object-meta-test"] == "bar"
    wait_until(end)
    assert expire(probe)["expired"] == 1
    assert_gone(probe, "o")


def test_a_large_object_and_its_segments_end_each_in_its_own_time(probe: Probe) -> None:
    probe.swift.put_container(probe.container)
    segments = {"segment_1": b"12", "segment_2": b"5678"}
    for name, body in segments.items():
        probe.swift.put_object(probe.container, name, body)
    parts = [{"path": f"{probe.container}/segment_1"}, {"data": base64.b64encode(b"\n").decode()}]
    parts.append({"path": f"{probe.container}/segment_2"})
    probe.swift.put_object(probe.container, "slo", json.dumps(parts), query_string="multipart-manifest=put")
    end = int(time.time()) + 2
    probe.swift.post_object(probe.container, "slo", {"X-Delete-At": str(end), "X-Object-Meta-Test": "foo"})
    wait_until(end)
    assert refusal(probe.swift.head_object, probe.container, "slo") == 404
    headers = probe.swift.head_object(probe.container, "slo", headers=OPEN, query_string="part-number=1")
    assert headers["x-object-meta-test"] == "foo" and headers["x-static-large-object"].lower() == "true"
    assert (headers["content-range"], headers["content-length"], headers["x-parts-count"]) == ("bytes 0-1/7", "2", "3")
    assert probe.swift.get_object(probe.container, "slo", headers=OPEN)[1] == b"12\n5678"

    end = int(time.time()) + 2
    for name in segments:
        probe.swift.post_object(probe.container, name, {"X-Delete-At": str(end)})
    assert expire(probe)["expired"] == 1
    assert sorted(probe.listed()) == sorted(segments), "a manifest's end is not its segments'"
    wait_until(end)
    assert expire(probe)["expired"] == 2
    for name in ("slo", *segments):
        assert_gone(probe, name)


def test_deleting_a_large_object_takes_its_segments_along_at_once(probe: Probe) -> None:
    """Swift can leave them to the expirer (`async=true`); here they are gone when the client is answered."""
    probe.swift.put_container(probe.container)
    for name in ("segment_1", "segment_2"):
        probe.swift.put_object(probe.container, name, b"1234")
    parts = json.dumps([{"path": f"{probe.container}/{name}"} for name in ("segment_1", "segment_2")])
    probe.swift.put_object(probe.container, "slo", parts, query_string="multipart-manifest=put")
    probe.swift.delete_object(probe.container, "slo", query_string="multipart-manifest=delete&async=true")
    assert probe.listed() == []
    for name in ("slo", "segment_1", "segment_2"):
        assert refusal(probe.body, name) == 404


def test_rows_agree_about_size_and_end_after_a_post_to_replicas_that_differ(probe: Probe) -> None:
    """Most have the old object of 24 bytes, one a new one of 32, which was not acknowledged; then all are given an end."""
    probe.swift.put_container(probe.container)
    container_homes, account_homes = set(probe.homes()), set(probe.direct.homes("/AUTH_test"))
    name = probe.choose(lambda homes: not set(homes[1:]) & container_homes and len(set(homes[1:]) & account_homes) <= 1)
    probe.swift.put_object(probe.container, name, bytes(24))
    with probe.cut_off(*probe.homes(name)[1:]):
        assert refusal(probe.swift.put_object, probe.container, name, bytes(32)) == 503
        soon(lambda: probe.direct.head(probe.path(name), 0).size == 32, "one replica has it")
    end = int(time.time()) + 3
    probe.swift.post_object(probe.container, name, {"X-Delete-At": str(end)})
    probe.settle()
    probe.assert_equal_tables()
    rows = [(row.size, row.delete_at) for replica in REPLICAS for row in probe.direct.rows(probe.path(), replica)]  # type: ignore[union-attr]
    assert rows == [(32, end)] * 3
    wait_until(end)
    expire(probe)
    assert_gone(probe, name)


@pytest.mark.parametrize("older", [False, True], ids=["no older version", "an older version that stays"])
def test_what_the_expirer_cannot_see_is_tried_again(probe: Probe, older: bool) -> None:
    """Only a replica that missed the object is there at its end: the expirer does nothing, and comes back."""
    probe.swift.put_container(probe.container)
    name = probe.choose(lambda homes: not set(homes) & set(probe.homes()))
    first, *others = probe.homes(name)
    if older:
        probe.swift.put_object(probe.container, name, b"older")
    with probe.down(first):
        end = put(probe, name, 3)
    assert probe.direct.has(probe.path(name), 0) == older
    with probe.down(*others):
        wait_until(end)
        figures = expire(probe)
        assert (figures["expired"], figures["stale"]) == (0, 0) and figures["failed"] >= 1
        assert refusal(probe.body, name) == 503
        assert name in probe.listed()
    for _ in range(3):
        assert refusal(probe.body, name) == 404, "the older version does not come back"
    soon(lambda: expire(probe)["expired"] == 1, "it is expired now")
    assert_gone(probe, name)
