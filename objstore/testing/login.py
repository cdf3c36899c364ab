"""Logging in to a cluster under test, and a ready client of it."""

import http.client
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from objstore.testing.failures import ClusterError

if TYPE_CHECKING:
    from swiftclient.client import Connection

USER = "test:tester"
KEY = "testing"
TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a cluster answers, and credentials that it accepts. `token` is good for a day."""

    url: str
    user: str
    key: str
    token: str
    storage_url: str

    @property
    def auth_url(self) -> str:
        """For clients that log in themselves (Swift's v1 authentication)."""
        return f"{self.url}/auth/v1.0"

    @property
    def account(self) -> str:
        """The last part of the storage URL: AUTH_test."""
        return self.storage_url.rpartition("/")[2]

    def swift(self, **options: Any) -> "Connection":
        """As `swift_connection`."""
        return swift_connection(self.auth_url, self.user, self.key, **options)


def log_in(url: str, user: str = USER, key: str = KEY) -> Endpoint:
    """A token for a user. Blocks. Raises OSError, ClusterError."""
    where = urlsplit(url)
    connection = http.client.HTTPConnection(where.hostname or "", where.port, timeout=TIMEOUT_S)
    try:
        connection.request("GET", "/auth/v1.0", headers={"X-Auth-User": user, "X-Auth-Key": key})
        answer = connection.getresponse()
        answer.read()
    finally:
        connection.close()
    if answer.status != 200:
        raise ClusterError(f"{url} does not log {user} in: {answer.status} {answer.reason}")
    return Endpoint(url, user, key, answer.headers["X-Auth-Token"], answer.headers["X-Storage-Url"])


def swift_connection(auth_url: str, user: str, key: str, **options: Any) -> "Connection":
    """A python-swiftclient Connection, which logs in on first use. `options` are its own; `retries` is 0 here unless they say
    otherwise, so that a test sees every failure. Raises ClusterError where the client is not installed.
    """
    try:
        from swiftclient.client import Connection
    except ImportError:
        raise ClusterError("python-swiftclient is not installed: pip install 'objstore[testing]'") from None
    return Connection(auth_url, user, key, **{"retries": 0, **options})
