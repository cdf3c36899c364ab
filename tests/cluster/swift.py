"""A plain Swift client for the cluster tests: one request per call, no retries, nothing hidden."""

import http.client
import json
from dataclasses import dataclass, field
from urllib.parse import quote, urlsplit

TIMEOUT_S = 60.0


@dataclass(slots=True)
class Answer:
    """What came back. Header names are lower case."""

    status: int
    headers: dict[str, str]
    body: bytes


@dataclass(slots=True)
class Swift:
    """One keep-alive connection of one user. Not for several threads."""

    endpoint: str
    user: str = "test:tester"
    key: str = "testing"
    auth: str = ""
    account: str = ""
    token: str = ""
    _connection: http.client.HTTPConnection | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        where = urlsplit(self.auth or self.endpoint)
        connection = http.client.HTTPConnection(where.hostname or "", where.port, timeout=TIMEOUT_S)
        connection.request("GET", "/auth/v1.0", headers={"X-Auth-User": self.user, "X-Auth-Key": self.key})
        answer = connection.getresponse()
        answer.read()
        connection.close()
        if answer.status != 200:
            raise RuntimeError(f"authentication answered {answer.status}")
        self.token = answer.headers["X-Auth-Token"]
        self.account = urlsplit(answer.headers["X-Storage-Url"]).path

    def request(self, method: str, path: str = "", body: bytes | None = None, headers: dict[str, str] | None = None) -> Answer:
        """One request below the account; `path` unquoted, with a query after `?` taken as it is."""
        where = urlsplit(self.endpoint)
        name, _, query = path.partition("?")
        target = self.account + quote(name) + (f"?{query}" if query else "")
        if self._connection is None:
            self._connection = http.client.HTTPConnection(where.hostname or "", where.port, timeout=TIMEOUT_S)
        try:
            self._connection.request(method, target, body=body, headers={"X-Auth-Token": self.token, **(headers or {})})
            answer = self._connection.getresponse()
            data = answer.read()
        except BaseException:
            self.close()
            raise
        return Answer(answer.status, {key.lower(): value for key, value in answer.getheaders()}, data)

    def names(self, container: str) -> dict[str, dict[str, object]]:
        """The whole listing of a container: name -> row."""
        found: dict[str, dict[str, object]] = {}
        marker = ""
        while True:
            answer = self.request("GET", f"/{container}?format=json&marker={quote(marker)}")
            if answer.status != 200:
                raise RuntimeError(f"listing {container} answered {answer.status}")
            rows = json.loads(answer.body)
            if not rows:
                return found
            found.update((row["name"], row) for row in rows)
            marker = rows[-1]["name"]

    def close(self) -> None:
        """Close the connection; the next request opens another."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
