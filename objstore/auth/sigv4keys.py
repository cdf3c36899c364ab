"""Keys and signatures of Signature Version 4: what a secret becomes for one day, region and service, and what is signed with it."""

import hmac
from collections.abc import Iterator
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import NamedTuple

from objstore.auth.s3refusal import signature_mismatch

ALGORITHM = "AWS4-HMAC-SHA256"
SERVICE = "s3"
TERMINATOR = "aws4_request"
CACHE_ENTRIES_MAX = 1000

_EMPTY_SHA256 = sha256(b"").hexdigest()


class Scope(NamedTuple):
    """What a key is good for: `date` is `20130524`."""

    date: str
    region: str

    def __str__(self) -> str:
        return f"{self.date}/{self.region}/{SERVICE}/{TERMINATOR}"


def derive_key(secret: str, scope: Scope) -> bytes:
    """The 32 bytes that sign in one scope."""
    key = b"AWS4" + secret.encode("utf-8", "surrogatepass")
    for step in (scope.date, scope.region, SERVICE, TERMINATOR):
        key = hmac.digest(key, step.encode(), sha256)
    return key


def string_to_sign(timestamp: str, scope: Scope, request: bytes) -> str:
    """Of a canonical request; `timestamp` is `20130524T000000Z`."""
    return f"{ALGORITHM}\n{timestamp}\n{scope}\n{sha256(request).hexdigest()}"


def sign(key: bytes, text: str) -> str:
    """The signature, 64 hexadecimal digits."""
    return hmac.digest(key, text.encode(), sha256).hex()


def same(ours: str, theirs: str) -> bool:
    """Compares two signatures in constant time, whatever the client sent as one."""
    return hmac.compare_digest(ours.encode(), theirs.encode("utf-8", "surrogatepass"))


class KeyCache:
    """The last keys that made a genuine signature, by access key and scope; bounded. One whose secret changed is not found."""

    def __init__(self, entries_max: int = CACHE_ENTRIES_MAX) -> None:
        self._entries_max = entries_max
        self._keys: dict[tuple[str, Scope], tuple[bytes, bytes]] = {}

    def __len__(self) -> int:
        return len(self._keys)

    def get(self, access_key: str, secret: str, scope: Scope) -> bytes:
        """The cached key, else a new one, which `keep` has to remember."""
        known = self._keys.get((access_key, scope))
        if known is not None and hmac.compare_digest(known[0], _as_bytes(secret)):
            return known[1]
        return derive_key(secret, scope)

    def keep(self, access_key: str, secret: str, scope: Scope, key: bytes) -> None:
        """Remember a key that made a genuine signature: so strangers can push nobody's out."""
        known = self._keys.get((access_key, scope))
        if known is None and len(self._keys) >= self._entries_max:
            del self._keys[next(iter(self._keys))]
        if known is None or known[1] is not key:
            self._keys[access_key, scope] = (_as_bytes(secret), key)


def _as_bytes(secret: str) -> bytes:
    return secret.encode("utf-8", "surrogatepass")


@dataclass(frozen=True, slots=True)
class ChunkSigner:
    """Signs the next chunk of a body; each signature covers the one before it, the first that of the request (`previous`).

    `access_key` and the canonical `request` are what an error document says of the request.
    """

    key: bytes
    timestamp: str
    scope: Scope
    previous: str
    access_key: str = ""
    request: bytes = b""

    def __repr__(self) -> str:
        return f"ChunkSigner({self.timestamp!r}, {str(self.scope)!r})"  # never the key

    def chunk_text(self, digest: str) -> str:
        """The string to sign for a chunk with this sha256 (hexadecimal)."""
        return "\n".join([*self._head("PAYLOAD"), _EMPTY_SHA256, digest])

    def trailer_text(self, trailers: bytes) -> str:
        """The string to sign for the trailers: lines `name:value\\n`, sorted."""
        return "\n".join([*self._head("TRAILER"), sha256(trailers).hexdigest()])

    def sign(self, text: str) -> str:
        return sign(self.key, text)

    def verify(self, text: str, signature: str) -> None:
        """Raises S3Refused SignatureDoesNotMatch."""
        if not same(self.sign(text), signature):
            raise signature_mismatch(self.access_key, text, signature, self.request)

    def after(self, signature: str) -> "ChunkSigner":
        """The signer of what follows."""
        return replace(self, previous=signature)

    def _head(self, what: str) -> Iterator[str]:
        yield from (f"{ALGORITHM}-{what}", self.timestamp, str(self.scope), self.previous)
