"""Data, metadata and content type of one object, written to different replicas: what all of them end with follows from the times of
the changes alone, and the listing says the same.

Each test draws its replicas as they are before replication: `few` is one replica, which a write reached that then failed, `most`
are the other two, which make a majority.
"""

import json
import time
from collections.abc import Iterator

import pytest

from objstore.formats.messages import DigestPartitions, PartitionDigests
from objstore.model.timestamps import from_seconds
from objstore.model.version import Version
from tests.cluster.probes.probe import ACCOUNT, Probe, kinds, refusal, soon

PROXIES = 3
WHOLE, FEW, MOST = 1, 2, 3
"""The first proxy reaches every node, the second one only one replica of the object, the third one only the other two."""


class Parts:
    """An object whose replicas can be written apart."""

    def __init__(self, probe: Probe) -> None:
        self.probe = probe
        probe.swift.put_container(probe.container)
        container_homes = probe.homes()
        account_homes = set(probe.direct.homes(f"/{ACCOUNT}"))

        def fits(homes: list[str]) -> bool:
            """The second proxy reaches the container, and a majority of the account."""
            return not set(homes[1:]) & set(container_homes) and len(set(homes[1:]) & account_homes) <= 1

        self.name = probe.choose(fits)
        self.few, *self.most = probe.homes(self.name)
        self.path = probe.path(self.name)
        probe.cluster.partition("proxy2", self.most, refuse=True)
        probe.cluster.partition("proxy3", self.few, refuse=True)

    def put(self, proxy: int, body: bytes, headers: dict[str, str] | None = None, *, query: str = "") -> None:
        """With FEW the client is refused, and yet one replica has it."""
        swift, before = self.probe.swift_of(proxy), self._timestamp_of_few()
        status = refusal(swift.put_object, self.probe.container, self.name, body, headers=headers, query_string=query or None)
        assert status == (503 if proxy == FEW else 0)
        if proxy == FEW:
            soon(lambda: self._timestamp_of_few() > before, "one replica has it")

    def _timestamp_of_few(self) -> int:
        return self.at(0).timestamp if self.probe.direct.has(self.path, 0) else 0

    def post(self, proxy: int, headers: dict[str, str]) -> None:
        self.probe.swift_of(proxy).post_object(self.probe.container, self.name, headers)

    def post_few(self, user: dict[str, str], content_type: str | None = None) -> None:
        """A POST needs a majority to begin with: one whose other requests were lost is sent to the one replica directly."""
        self.probe.direct.post(self.path, 0, from_seconds(time.time(), identity=1), user, content_type)

    def manifest(self, proxy: int) -> None:
        """A static large object: facts that the proxy keeps with the data."""
        segment = self.probe.away_from([*self.most, self.few], "segment")
        self.probe.swift.put_object(self.probe.container, segment, b"segment")
        parts = json.dumps([{"path": f"{self.probe.container}/{segment}"}]).encode()
        self.put(proxy, parts, {"Content-Type": "test/ctype"}, query="multipart-manifest=put")

    def delete(self, proxy: int) -> None:
        self.probe.swift_of(proxy).delete_object(self.probe.container, self.name)

    def at(self, replica: int) -> Version:
        return self.probe.direct.head(self.path, replica)

    def settled(self) -> Version:
        """What all replicas have after replication: the same files, versions, digests; the listing tells it."""
        probe = self.probe
        probe.settle()
        assert kinds(probe.assert_equal_replicas(self.name))[0] == "data"
        version = self.at(0)
        assert self.at(1) == version and self.at(2) == version
        self._digests_are_equal()
        probe.assert_equal_tables()
        row = next(row for row in probe.swift.get_container(probe.container)[1] if row["name"] == self.name)
        headers = probe.swift.head_object(probe.container, self.name)
        assert row["content_type"] == headers["content-type"] == version.content_type
        assert row["bytes"] == int(headers["content-length"])
        assert row.get("slo_etag", row["hash"]).strip('"') == headers["etag"].strip('"')
        shown = time.strptime(row["last_modified"][:19], "%Y-%m-%dT%H:%M:%S")
        assert time.mktime(shown) - time.timezone == int(float(headers["x-timestamp"]))
        return version

    def settled_deleted(self) -> None:
        self.probe.settle()
        assert kinds(self.probe.assert_equal_replicas(self.name)) == ["ts"]
        self._digests_are_equal()
        self.probe.assert_equal_tables()
        assert self.name not in self.probe.listed()
        assert refusal(self.probe.swift.head_object, self.probe.container, self.name) == 404

    def _digests_are_equal(self) -> None:
        found = set()
        for node, replica in zip([self.few, *self.most], self.probe.direct.object_place(self.path).replicas, strict=True):
            reply = self.probe.direct.call(node, DigestPartitions(replica.target.device, 0, [replica.target.partition]))
            assert isinstance(reply, PartitionDigests)
            found.add(tuple(reply.digests))
        assert len(found) == 1 and found != {(0,)}


@pytest.fixture
def parts(probe: Probe) -> Iterator[Parts]:
    yield Parts(probe)
    probe.cluster.heal()


def test_a_deletion_and_then_a_new_object_reach_all(parts: Parts) -> None:
    parts.put(WHOLE, b"old")
    parts.put(FEW, b"newer")
    parts.delete(MOST)
    parts.settled_deleted()
    parts.put(MOST, b"newest")
    assert parts.settled().etag and parts.probe.body(parts.name) == b"newest"


def test_a_post_applies_to_data_that_comes_later_to_a_replica(parts: Parts) -> None:
    """few: data t1 = newer; most: data t0 = older; all: meta t2."""
    parts.put(WHOLE, b"older", {"Content-Type": "foo"})
    parts.put(FEW, b"newer", {"Content-Type": "bar"})
    parts.post(WHOLE, {"X-Object-Meta-Bar": "meta-bar"})
    version = parts.settled()
    assert (version.content_type, version.user) == ("bar", {"bar": "meta-bar"})
    assert parts.probe.body(parts.name) == b"newer"


def test_facts_kept_with_the_newer_data_win_and_a_post_to_it_stays(parts: Parts) -> None:
    """few: data t0; most: manifest t1, meta t2."""
    parts.put(FEW, b"older")
    parts.manifest(MOST)
    parts.post(MOST, {"X-Object-Meta-Bar": "meta-bar"})
    version = parts.settled()
    assert version.system["manifest"] == "slo" and version.user == {"bar": "meta-bar"}
    assert parts.probe.body(parts.name) == b"segment"


def test_facts_kept_with_newer_data_are_not_changed_by_a_post_to_older_data(parts: Parts) -> None:
    """few: data t0, manifest t1; most: data t0, meta t2."""
    parts.put(WHOLE, b"older")
    parts.manifest(FEW)
    parts.post(MOST, {"X-Object-Meta-Bar": "meta-bar", "Content-Disposition": "attachment"})
    assert parts.at(0).system["manifest"] == "slo" and not parts.at(1).system
    version = parts.settled()
    assert version.system["manifest"] == "slo" and version.user == {"bar": "meta-bar"}
    assert version.headers == {"content-disposition": "attachment"}


def test_a_post_to_older_data_is_void_where_newer_data_follows(parts: Parts) -> None:
    """few: data t0, meta t1; most: data t0, manifest t2."""
    parts.put(WHOLE, b"older")
    parts.post_few({"bar": "meta-bar"})
    assert parts.at(0).user == {"bar": "meta-bar"}
    parts.manifest(MOST)
    version = parts.settled()
    assert version.system["manifest"] == "slo" and version.user == {}


def test_a_posted_content_type_applies_to_data_that_a_replica_missed(parts: Parts) -> None:
    """most: data t0 = foo, meta t2 = baz; few: data t1 = bar."""
    parts.put(MOST, b"older", {"Content-Type": "foo"})
    parts.put(FEW, b"newer", {"Content-Type": "bar"})
    parts.post(MOST, {"Content-Type": "baz"})
    assert parts.settled().content_type == "baz"
    assert parts.probe.body(parts.name) == b"newer"


def test_a_content_type_put_with_newer_data_stays_after_a_post_without_one(parts: Parts) -> None:
    """most: data t0 = foo, meta t2 = Blue; few: data t1 = bar."""
    parts.put(MOST, b"older", {"Content-Type": "foo"})
    parts.put(FEW, b"newer", {"Content-Type": "bar"})
    parts.post(MOST, {"X-Object-Meta-Color": "Blue"})
    version = parts.settled()
    assert (version.content_type, version.user) == ("bar", {"color": "Blue"})


def test_the_newest_posted_content_type_and_the_newest_metadata_win_apart(parts: Parts) -> None:
    """most: data t0 = foo, meta t2 = bif; few: manifest t1 = test/ctype, meta t3 = baz, Red; all: meta t4 = Blue."""
    parts.put(MOST, b"older", {"Content-Type": "foo"})
    parts.manifest(FEW)
    parts.post(MOST, {"Content-Type": "bif"})
    parts.post_few({"color": "Red"}, "baz")
    assert (parts.at(0).content_type, parts.at(1).content_type) == ("baz", "bif")
    parts.post(WHOLE, {"X-Object-Meta-Color": "Blue"})
    version = parts.settled()
    assert (version.content_type, version.user, version.system["manifest"]) == ("baz", {"color": "Blue"}, "slo")


def test_of_posts_without_a_content_type_the_newest_wins(parts: Parts) -> None:
    """all: data t0 = foo; few: data t1 = bar, meta t3 = Blue; most: meta t2 = Red."""
    parts.put(WHOLE, b"older", {"Content-Type": "foo"})
    parts.put(FEW, b"newer", {"Content-Type": "bar"})
    parts.post(MOST, {"X-Object-Meta-Color": "Red"})
    parts.post_few({"color": "Blue"})
    version = parts.settled()
    assert (version.content_type, version.user) == ("bar", {"color": "Blue"})
    assert parts.probe.body(parts.name) == b"newer"


def test_posted_metadata_outlives_an_earlier_put_and_an_older_content_type_does_not(parts: Parts) -> None:
    """few: data t0, meta t2 = newer type, meta t4 = newest metadata; most: data t1, data t3 = newest type."""
    parts.put(FEW, b"t0", {"Content-Type": "oldest", "X-Object-Meta-Test": "oldest"})
    parts.put(MOST, b"t1", {"Content-Type": "oldest", "X-Object-Meta-Test": "oldest"})
    parts.post_few({"test": "newer"}, "newer")
    parts.put(MOST, b"t3", {"Content-Type": "newest", "X-Object-Meta-Test": "newer"})
    parts.post_few({"test": "newest"})
    assert (parts.at(0).content_type, parts.at(0).user) == ("newer", {"test": "newest"})
    version = parts.settled()
    assert (version.content_type, version.user) == ("newest", {"test": "newest"})
    assert parts.probe.body(parts.name) == b"t3"


def test_a_later_post_elsewhere_does_not_outlive_a_deletion(parts: Parts) -> None:
    """few: data t0, meta t3; most: data t1, deleted t2."""
    parts.put(FEW, b"t0", {"Content-Type": "oldest", "X-Object-Meta-Test": "oldest"})
    parts.put(MOST, b"t1", {"Content-Type": "oldest", "X-Object-Meta-Test": "oldest"})
    parts.delete(MOST)
    parts.post_few({"test": "newest"}, "newest")
    assert (parts.at(0).content_type, parts.at(0).user) == ("newest", {"test": "newest"})
    for _ in range(3):
        assert refusal(parts.probe.swift.head_object, parts.probe.container, parts.name) == 404
    parts.settled_deleted()
