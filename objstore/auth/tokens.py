"""Tokens: signed, expiring, and known to nobody but by their signature, so every worker of every proxy accepts them.

A token is `AUTH_tk` and the URL-safe base64 of

    version (1 byte) | expiry, seconds since the epoch (8 bytes) | nonce (8 bytes) | user name (UTF-8) | HMAC-SHA256 (32 bytes)

The signing key is derived from the cluster's secret by HKDF (RFC 5869), so it is of no use elsewhere. The signature also covers
a digest of the user's own key: a user who gets a new key, or is removed, has no valid tokens left.
"""

import base64
import binascii
import hashlib
import hmac
import struct
from collections.abc import Callable
from typing import NamedTuple

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from objstore.runtime.interface import Clock, Rng

PREFIX = "AUTH_tk"
LIFE_S = 86_400
SKEW_S = 30
"""How far the clocks of two proxies may differ: one accepts what the other issued a little in the future, or lets expire."""
TOKEN_CHARS_MAX = 1024
SECRET_BYTES_MIN = 32

_VERSION = 1
_HEAD = struct.Struct(">BQ8s")
_MAC_BYTES = 32


class Claims(NamedTuple):
    """What a valid token says: who, and until when (seconds since the epoch)."""

    user: str
    expires_s: int


def derive_key(secret: bytes, purpose: str) -> bytes:
    """32 bytes for one purpose from the cluster's secret (HKDF-SHA256). Raises ValueError for a secret that is too short."""
    if len(secret) < SECRET_BYTES_MIN:
        raise ValueError(f"the cluster secret must have at least {SECRET_BYTES_MIN} bytes")
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=f"objstore {purpose}".encode()).derive(secret)


class TokenSigner:
    """Issues and verifies tokens. Stateless: two signers with the same secret are the same signer."""

    def __init__(self, secret: bytes, clock: Clock, rng: Rng, life_s: int = LIFE_S) -> None:
        self._key = derive_key(secret, "token signing 1")
        self._clock = clock
        self._rng = rng
        self.life_s = life_s

    def digest(self, user_key: str) -> bytes:
        """A keyed digest of a user's key: what tokens are bound to, and what keys are compared by."""
        return hmac.digest(self._key, b"user key\0" + user_key.encode("utf-8", "surrogatepass"), hashlib.sha256)

    def issue(self, user: str, binding: bytes) -> tuple[str, Claims]:
        """A new token for `user`, bound to `binding` (the digest of its key)."""
        claims = Claims(user, int(self._clock.now()) + self.life_s)
        body = _HEAD.pack(_VERSION, claims.expires_s, self._rng.token_bytes(8)) + user.encode()
        raw = base64.urlsafe_b64encode(body + self._mac(body, binding))
        return PREFIX + raw.rstrip(b"=").decode("ascii"), claims

    def verify(self, token: str, binding_of: Callable[[str], bytes]) -> Claims | None:
        """What the token says, or None when it is malformed, forged, from too far in the future, or expired.

        `binding_of` gives the digest for a user name, a random one for an unknown user.
        """
        if not token.startswith(PREFIX) or len(token) > TOKEN_CHARS_MAX or not token.isascii():
            return None
        text = token[len(PREFIX) :]
        try:
            raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
            version, expires_s, _ = _HEAD.unpack_from(raw)
            user = raw[_HEAD.size : -_MAC_BYTES].decode()
        except (binascii.Error, struct.error, UnicodeDecodeError):
            return None
        body, mac = raw[:-_MAC_BYTES], raw[-_MAC_BYTES:]
        genuine = hmac.compare_digest(mac, self._mac(body, binding_of(user)))
        claims = Claims(user, expires_s)
        return claims if genuine and version == _VERSION and self.in_time(claims) else None

    def in_time(self, claims: Claims) -> bool:
        """Whether a token's time has neither ended nor, beyond any skew, not begun."""
        now = self._clock.now()
        return now < claims.expires_s + SKEW_S and claims.expires_s <= now + self.life_s + SKEW_S

    def _mac(self, body: bytes, binding: bytes) -> bytes:
        return hmac.digest(self._key, binding + body, hashlib.sha256)
