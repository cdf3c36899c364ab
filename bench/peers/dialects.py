"""The heads of requests, as each API wants them: Swift's with a token, S3's with a signature. They are made before a load."""

import hashlib
import hmac
import time
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import quote

REGION = "us-east-1"
EMPTY_SHA256 = hashlib.sha256().hexdigest()
SIGNED_HEADERS = "host;x-amz-content-sha256;x-amz-date"
S3_PAGE = 1000
"""Names in a page of S3, at most; Swift gives 10,000."""


@dataclass(frozen=True, slots=True)
class Body:
    """What a PUT carries: a file whose bytes, repeated, are `length` bytes."""

    path: str
    length: int
    sha256: str


class Dialect(Protocol):
    """One API at one port."""

    port: int
    made: tuple[int, ...]
    """Statuses of a PUT that went well."""
    overwritten: tuple[int, ...]
    """The same where the object was there before."""

    def head(self, method: str, container: str, key: str = "", body: Body | None = None) -> bytes:
        """The head of a request for a container, or an object in it."""

    def listing(self, container: str, names: list[str]) -> list[bytes]:
        """The heads that list a container with these names, in order: one for each page."""


class Swift:
    """Swift's API with a token."""

    made: tuple[int, ...] = (201,)
    overwritten: tuple[int, ...] = (201, 202)  # 202: another PUT of the same object, begun later, came first

    def __init__(self, port: int, account: str, token: str) -> None:
        self.port = port
        self._account = account
        self._rest = f" HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nX-Auth-Token: {token}\r\n"

    def head(self, method: str, container: str, key: str = "", body: Body | None = None) -> bytes:
        path = f"{self._account}/{container}/{key}" if key else f"{self._account}/{container}"
        length = f"Content-Length: {body.length if body else 0}\r\n" if method == "PUT" else ""
        return f"{method} {path}{self._rest}{length}\r\n".encode()

    def listing(self, container: str, names: list[str]) -> list[bytes]:
        query = f"?format=json&limit={len(names)}"
        return [f"GET {self._account}/{container}{query}{self._rest}\r\n".encode()]


class S3:
    """S3's API with a signature of version 4 in the header, the payload's hash included, as SDKs send it over plain HTTP."""

    made: tuple[int, ...] = (200,)
    overwritten: tuple[int, ...] = (200,)

    def __init__(self, port: int, access: str, secret: str) -> None:
        self.port = port
        self._host = f"127.0.0.1:{port}"
        self._access = access
        self._secret = secret
        self._day = ""
        self._key = b""

    def _key_of(self, day: str) -> bytes:
        if day != self._day:
            key = f"AWS4{self._secret}".encode()
            for part in (day, REGION, "s3", "aws4_request"):
                key = hmac.digest(key, part.encode(), "sha256")
            self._day, self._key = day, key
        return self._key

    def head(self, method: str, container: str, key: str = "", body: Body | None = None, query: str = "") -> bytes:
        path = f"/{container}/{key}" if key else f"/{container}"
        now = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        scope = f"{now[:8]}/{REGION}/s3/aws4_request"
        payload = body.sha256 if body else EMPTY_SHA256
        headers = f"host:{self._host}\nx-amz-content-sha256:{payload}\nx-amz-date:{now}\n"
        canonical = f"{method}\n{path}\n{query}\n{headers}\n{SIGNED_HEADERS}\n{payload}"
        text = f"AWS4-HMAC-SHA256\n{now}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
        signature = hmac.digest(self._key_of(now[:8]), text.encode(), "sha256").hex()
        length = f"Content-Length: {body.length if body else 0}\r\n" if method == "PUT" else ""
        return (
            f"{method} {path}{'?' if query else ''}{query} HTTP/1.1\r\nHost: {self._host}\r\n"
            f"X-Amz-Content-SHA256: {payload}\r\nX-Amz-Date: {now}\r\n"
            f"Authorization: AWS4-HMAC-SHA256 Credential={self._access}/{scope}, SignedHeaders={SIGNED_HEADERS}, "
            f"Signature={signature}\r\n{length}\r\n"
        ).encode()

    def listing(self, container: str, names: list[str]) -> list[bytes]:
        """Pages of 1,000 that begin after the last name of the page before."""
        befores = [f"&start-after={quote(names[at - 1], safe='')}" if at else "" for at in range(0, len(names), S3_PAGE)]
        query = f"list-type=2&max-keys={min(S3_PAGE, len(names))}"
        return [self.head("GET", container, query=query + before) for before in befores]
