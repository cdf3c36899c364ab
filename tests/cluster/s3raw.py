"""S3 requests as raw bytes: signed as botocore signs, and malformed at will before or after the signature is made.

`sign` gives a `Raw`, whose parts may be changed; `Raw.wire()` is what goes out, `exchange` sends it and reads one answer.
"""

import re
import socket
from base64 import b64encode
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from hashlib import md5, sha256
from hmac import digest
from urllib.parse import urlsplit
from zlib import crc32

from botocore.auth import S3SigV4Auth, S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

KEY, SECRET, REGION = "test:tester", "testing", "us-east-1"
UNSIGNED = "UNSIGNED-PAYLOAD"
SIGNED_CHUNKS = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
SIGNED_TRAILER = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"
UNSIGNED_TRAILER = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
CRC_TRAILER = "x-amz-checksum-crc32"
TIMEOUT_S = 20.0
ANSWER_BYTES_MAX = 16 * 2**20

_CODE = re.compile(rb"<Code>([A-Za-z0-9]+)</Code>")


class HeaderAuth(S3SigV4Auth):
    """The signature in a header, for any payload text and time."""

    said = ""

    def payload(self, request: AWSRequest) -> str:
        return self.said


class QueryAuth(S3SigV4QueryAuth):
    """The same in the query."""

    said = ""

    def payload(self, request: AWSRequest) -> str:
        return self.said


@dataclass(frozen=True)
class Answer:
    """What came back; names of fields in lower case. Status 0: the connection ended without an answer."""

    status: int
    fields: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    closed: bool = False

    @property
    def code(self) -> str:
        """S3's error code, "" without one."""
        found = _CODE.search(self.body)
        return found.group(1).decode() if found else ""


@dataclass(frozen=True)
class Raw:
    """One request, `target` and `headers` as they go out. What signed it is kept for the chunks of its body."""

    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    body: bytes = b""
    key: bytes = b""
    timestamp: str = ""
    scope: str = ""
    signature: str = ""

    def wire(self) -> bytes:
        lines = [f"{self.method} {self.target} HTTP/1.1", *(f"{name}: {value}" for name, value in self.headers)]
        return "\r\n".join(lines).encode("utf-8", "surrogateescape") + b"\r\n\r\n" + self.body

    def having(self, name: str, *values: str) -> "Raw":
        """With these values of a header in the place of what it had; none takes it away."""
        kept = [one for one in self.headers if one[0].lower() != name.lower()]
        return replace(self, headers=(*kept, *((name, value) for value in values)))

    def carrying(self, body: bytes) -> "Raw":
        """With another body and its length, which is not signed."""
        return replace(self.having("Content-Length", str(len(body))), body=body)

    def value(self, name: str) -> str:
        return next(value for key, value in self.headers if key.lower() == name.lower())


def sign(
    endpoint: str,
    method: str,
    target: str,
    body: bytes = b"",
    headers: dict[str, str] | None = None,
    *,
    payload: str | None = None,
    query: bool = False,
    expires_s: int = 300,
    at: float | None = None,
    key: str = KEY,
    secret: str = SECRET,
    region: str = REGION,
    host: str = "",
) -> Raw:
    """A request with a good signature: in the header or, with `query`, in the query. `payload` is what it says of its body, the
    body's sha256 by default (unsigned in a query); `at` when it is signed, in seconds since the epoch. Deletions of many keys
    have the Content-MD5 that they need.
    """
    if target.endswith("?delete"):
        headers = {"Content-MD5": b64encode(md5(body, usedforsecurity=False).digest()).decode(), **(headers or {})}
    host = host or urlsplit(endpoint).netloc
    request = AWSRequest(method, f"http://{host}{target}", data=b"" if query else body, headers=headers or {})
    time = datetime.now(UTC) if at is None else datetime.fromtimestamp(at, UTC)
    request.context["timestamp"] = timestamp = time.strftime("%Y%m%dT%H%M%SZ")
    credentials = Credentials(key, secret)
    auth = QueryAuth(credentials, "s3", region, expires_s) if query else HeaderAuth(credentials, "s3", region)
    auth.said = payload if payload is not None else UNSIGNED if query else sha256(body).hexdigest()
    auth._modify_request_before_signing(request)
    signature = auth.signature(auth.string_to_sign(request, auth.canonical_request(request)), request)
    auth._inject_signature_to_request(request, signature)
    split = urlsplit(request.url)
    sent = [(name, value) for name, value in request.headers.items() if name.lower() != "host"]
    date = timestamp[:8]
    derived = b"AWS4" + secret.encode()
    for step in (date, region, "s3", "aws4_request"):
        derived = digest(derived, step.encode(), "sha256")
    raw = Raw(
        method,
        split.path + (f"?{split.query}" if split.query else ""),
        (("Host", host), *sent),
        key=derived,
        timestamp=timestamp,
        scope=f"{date}/{region}/s3/aws4_request",
        signature=signature,
    )
    return raw.carrying(body) if body or method in ("PUT", "POST") else raw


def chunk_signature(raw: Raw, previous: str, chunk: bytes) -> str:
    """Of one chunk behind the signature `previous`."""
    lines = ("AWS4-HMAC-SHA256-PAYLOAD", raw.timestamp, raw.scope, previous, sha256(b"").hexdigest(), sha256(chunk).hexdigest())
    return digest(raw.key, "\n".join(lines).encode(), "sha256").hex()


def trailer_signature(raw: Raw, previous: str, trailers: dict[str, str]) -> str:
    """Of the trailers behind the last chunk's signature."""
    text = "".join(f"{name}:{value}\n" for name, value in sorted(trailers.items()))
    lines = ("AWS4-HMAC-SHA256-TRAILER", raw.timestamp, raw.scope, previous, sha256(text.encode()).hexdigest())
    return digest(raw.key, "\n".join(lines).encode(), "sha256").hex()


def crc_text(payload: bytes) -> str:
    return b64encode(crc32(payload).to_bytes(4, "big")).decode()


def encoded(raw: Raw, mode: str, chunks: list[bytes], trailers: dict[str, str] | None = None) -> list[bytes]:
    """The body in aws-chunked, as `mode` has it: one item per chunk, that of no bytes included, then the trailers."""
    signed, previous, parts = mode.startswith("STREAMING-AWS4"), raw.signature, []
    for chunk in [*chunks, b""]:
        head = f"{len(chunk):x}"
        if signed:
            previous = chunk_signature(raw, previous, chunk)
            head += f";chunk-signature={previous}"
        parts.append(head.encode() + b"\r\n" + (chunk + b"\r\n" if chunk else b""))
    end = ""
    if mode.endswith("-TRAILER"):
        trailers = {CRC_TRAILER: crc_text(b"".join(chunks))} if trailers is None else trailers
        end = "".join(f"{name}:{value}\r\n" for name, value in trailers.items())
        if signed:
            end += f"x-amz-trailer-signature:{trailer_signature(raw, previous, trailers)}\r\n"
    return [*parts, end.encode() + b"\r\n"]


class Wire:
    """One connection, on which requests follow each other. Not for several threads."""

    def __init__(self, endpoint: str, timeout_s: float = TIMEOUT_S) -> None:
        where = urlsplit(endpoint)
        self.socket = socket.create_connection((where.hostname or "", where.port or 80), timeout_s)
        self._held = b""

    def __enter__(self) -> "Wire":
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        """What the server does not want any more is no error here: its answer tells."""
        try:
            self.socket.sendall(data)
        except ConnectionError:
            pass

    def end(self) -> None:
        """Say that nothing more comes."""
        try:
            self.socket.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def answer(self, method: str = "GET") -> Answer:
        """The next answer behind any 100 Continue."""
        while b"\r\n\r\n" not in self._held:
            if not self._more():
                return Answer(0, closed=True)
        head, _, self._held = self._held.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        status = int(first.split(" ", 2)[1])
        if status == 100:
            return self.answer(method)
        fields = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        body = b"" if method == "HEAD" or status in (204, 304) else self._body(fields)
        return Answer(status, fields, body, fields.get("connection", "").lower() == "close")

    def _body(self, fields: dict[str, str]) -> bytes:
        if "content-length" in fields:
            return self._take(int(fields["content-length"]))
        if fields.get("transfer-encoding") != "chunked":
            while self._more():
                pass
            return self._take(len(self._held))
        body = b""
        while True:
            while b"\r\n" not in self._held and self._more():
                pass
            size, _, self._held = self._held.partition(b"\r\n")
            body += self._take(int(size, 16) + 2)[:-2]
            if not int(size, 16):
                return body

    def _take(self, count: int) -> bytes:
        assert count <= ANSWER_BYTES_MAX
        while len(self._held) < count and self._more():
            pass
        taken, self._held = self._held[:count], self._held[count:]
        return taken

    def _more(self) -> bool:
        try:
            data = self.socket.recv(65536)
        except ConnectionError:
            data = b""
        self._held += data
        return bool(data)


def exchange(endpoint: str, raw: Raw | bytes, timeout_s: float = TIMEOUT_S) -> Answer:
    """Send one request on a connection of its own, and read its answer."""
    with Wire(endpoint, timeout_s) as wire:
        wire.send(raw if isinstance(raw, bytes) else raw.wire())
        return wire.answer("GET" if isinstance(raw, bytes) else raw.method)


def call(endpoint: str, method: str, target: str, body: bytes = b"", headers: dict[str, str] | None = None, **how) -> Answer:
    """`sign` and `exchange` in one."""
    return exchange(endpoint, sign(endpoint, method, target, body, headers, **how))
