"""A cluster as users of each kind see it, through either API."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from objstore.testing.blocking import BlockingCluster
from tests.cluster import s3raw
from tests.cluster.s3raw import Answer, Raw, exchange
from tests.cluster.swift import Swift

BODY = b"body"
SECRETS = {"test:tester": "testing", "test:tester3": "testing3", "test2:tester2": "testing2", "admin:admin": "admin"}
OWNER, PLAIN, OTHER, RESELLER, NOBODY = *SECRETS, ""
"""The account's admin; a user of the account without a role; another account's admin; the reseller; anonymous."""


@dataclass
class Site:
    """The cluster, and a session of each user."""

    endpoint: str
    sessions: dict[str, Swift]

    def swift(self, user: str, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None) -> Answer:
        """A request of `user` about the account AUTH_test; `path` below it, as it goes out."""
        fields = {"Host": "localhost", **({"X-Auth-Token": self.sessions[user].token} if user else {}), **(headers or {})}
        raw = Raw(method, f"/v1/AUTH_test{path}", tuple(fields.items()))
        return exchange(self.endpoint, raw if body is None else raw.carrying(body))

    def s3(self, user: str, method: str, target: str, body: bytes = b"", headers: dict[str, str] | None = None) -> Answer:
        if not user:
            raw = Raw(method, target, (("Host", "localhost"), *(headers or {}).items()))
            return exchange(self.endpoint, raw.carrying(body))
        return s3raw.call(self.endpoint, method, target, body, headers, key=user, secret=SECRETS[user])


@contextmanager
def running_site() -> Iterator[Site]:
    """Three nodes and a proxy."""
    with BlockingCluster(nodes=3, devices=1, network_faults=False) as cluster:
        yield Site(cluster.endpoint, {user: Swift(cluster.endpoint, user, key) for user, key in SECRETS.items()})


def put(site: Site, bucket: str, key: str) -> None:
    assert site.swift(OWNER, "PUT", f"/{bucket}/{key}", BODY).status == 201


def new_bucket(site: Site) -> str:
    """A bucket of the account's, which owns its name."""
    name = f"bucket-{os.urandom(4).hex()}"
    assert site.s3(OWNER, "PUT", f"/{name}").status == 200
    return name
